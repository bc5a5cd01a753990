"""The units are ones that systemd takes, and give what they run as little as it needs."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

INFRA = Path(__file__).parents[2] / "infra"
UNITS = [*INFRA.glob("*.service")]
LASTING = [path for path in UNITS if path.name != "pifleet-first-boot.service"]
MOST_EXPOSED = 2.5
LATER_KEYS = re.compile(r"Unknown key '(RestartSteps|RestartMaxDelaySec)'")  # systemd 254 has them
PROGRAM = re.compile(r"(?m)^ExecStart=\S+")

pytestmark = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="no systemd-analyze here"
)


@pytest.mark.parametrize("unit", UNITS, ids=lambda path: path.stem)
def test_unit_is_taken_by_systemd(unit: Path, tmp_path: Path) -> None:
    copy = tmp_path / unit.name
    copy.write_text(PROGRAM.sub("ExecStart=/bin/true", unit.read_text()))  # it must be there
    command = ["systemd-analyze", "verify", "--man=no", str(copy)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    about_it = [line for line in done.stderr.splitlines() if unit.name in line]
    assert [line for line in about_it if not LATER_KEYS.search(line)] == []


@pytest.mark.parametrize("unit", LASTING, ids=lambda path: path.stem)
def test_unit_exposes_little(unit: Path) -> None:
    command = ["systemd-analyze", "security", "--offline=true", "--no-pager", str(unit)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    found = re.search(r"exposure level for \S+: ([\d.]+)", done.stdout)
    if found is None:
        pytest.skip("this systemd-analyze judges no file")  # before 250
    assert float(found[1]) <= MOST_EXPOSED
