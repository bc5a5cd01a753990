"""The playbooks and scripts are ones that their tools take; `make test-ansible` runs them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

INFRA = Path(__file__).parents[2] / "infra"
ANSIBLE = INFRA / "ansible"
INVENTORY = yaml.safe_load((ANSIBLE / "inventory.example.yml").read_text())
SCRIPTS = [INFRA / "install.sh", *sorted((INFRA / "proof").glob("*.sh"))]
SETTING = re.compile(r"\bpifleet_\w+")
OF_A_ROLE = {f"pifleet_{name}" for name in ("installed", "pin", "wheels", "packed", "lacking")}


def test_every_setting_of_the_playbooks_is_known() -> None:
    known = set(yaml.safe_load((ANSIBLE / "playbooks/group_vars/all.yml").read_text()))
    texts = [path.read_text() for path in ANSIBLE.rglob("*.yml")]
    used = {name for text in texts for name in SETTING.findall(text)}
    assert used - OF_A_ROLE == known


def test_every_unit_and_script_that_a_role_copies_is_there() -> None:
    texts = [path.read_text() for path in ANSIBLE.rglob("*.yml")]
    copied = {name for text in texts for name in re.findall(r"pifleet_infra }}/([\w.-]+)", text)}
    assert copied
    assert {name for name in copied if not (INFRA / name).exists()} == set()


@pytest.mark.skipif(shutil.which("ansible-lint") is None, reason="no ansible-lint here")
def test_ansible_lint_finds_nothing() -> None:
    command = ["ansible-lint", "--offline", "-q"]
    env = {**os.environ, "ANSIBLE_INVENTORY": "inventory.example.yml"}
    done = subprocess.run(
        command, cwd=ANSIBLE, env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout


@pytest.mark.skipif(shutil.which("ansible-playbook") is None, reason="no Ansible here")
@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"worker": {"hosts": {"pi3": {}}}}, "there is no group worker: the inventory may have"),
        ({"workers": {"host": {"pi3": {}}}}, "the group workers has no hosts: name some below"),
        ({"broker": {"hosts": {"a": {}, "b": {}}}}, "the group broker has 2 hosts: name one"),
        ({"all": {"vars": {"pifleet_versoin": "1"}}}, "pi1 has pifleet_versoin: no setting of"),
        ({"all": {"vars": {"worker_least_rat": 1}}}, "pi1 has worker_least_rat: no setting of"),
        ({"workers": {"hosts": ["pi1"]}}, "requires a dictionary"),
    ],
    ids=["group", "hosts", "two brokers", "setting", "setting of a role", "list"],
)
def test_slip_in_the_inventory_is_named_before_anything_is_touched(
    change: dict[str, object], said: str, tmp_path: Path
) -> None:
    inventory = tmp_path / "inventory.yml"
    inventory.write_text(yaml.safe_dump({**INVENTORY, **change}))
    command = ["ansible-playbook", "-i", str(inventory), "playbooks/site.yml"]
    done = subprocess.run(command, cwd=ANSIBLE, capture_output=True, text=True, check=False)
    assert (done.returncode != 0, said in done.stdout + done.stderr) == (True, True), done.stdout
    assert "One machine is the broker" not in done.stdout


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="no shellcheck here")
@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_shellcheck_finds_nothing(script: Path) -> None:
    command = ["shellcheck", "-x", str(script.relative_to(INFRA.parent))]
    done = subprocess.run(command, cwd=INFRA.parent, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_installer_says_what_is_wrong_with_how_it_was_called() -> None:
    for arguments, said in ((["--nonsense", "x"], "unknown option"), (["--at"], "wants a value")):
        command = ["sh", str(INFRA / "install.sh"), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert (done.returncode, said in done.stderr) == (2, True), done.stderr
