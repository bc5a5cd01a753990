"""``make models``: every recipe's command exists, runs once, and goes on where it stopped."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from contract.errors import SettingsError
from training import cli, cli_train, make_models
from training.config import read_mapping
from training.experiment import load_experiment
from training.make_models import CONFIGS, RECIPES, Place, machine, write_rehearsal

ROOT = Path(__file__).parents[2]


@pytest.fixture
def at_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


@pytest.mark.parametrize("command", [c for recipe in RECIPES.values() for c in recipe])
def test_every_command_of_a_recipe_is_one_that_pifleet_takes(command: str, at_root: None) -> None:
    place = Place(Path("runs/models"), Path("README.md"), is_rehearsal=False)
    verb, *arguments = place.fill(command)

    parser = cli.export if verb == "export" else cli_train.train.commands[arguments.pop(0)]

    parser.make_context(verb, arguments)
    if "--config" in arguments:
        assert Path(arguments[arguments.index("--config") + 1]).is_file()


def test_every_recipe_ends_with_the_export_of_its_model() -> None:
    for model, commands in RECIPES.items():
        assert commands[-1].endswith(f"-o {{out}}/{model}.tflite")


def test_a_rehearsal_changes_sizes_and_no_more(tmp_path: Path, at_root: None) -> None:
    write_rehearsal(tmp_path)

    for file in CONFIGS.glob("*.yaml"):
        small = load_experiment(tmp_path / "configs" / file.name).config
        assert small.name == load_experiment(file).config.name
        assert small.seed == load_experiment(file).config.seed
        assert small.schedule.budget_minutes == 0
        assert set(read_mapping(file)) <= set(
            yaml.safe_load((tmp_path / "configs" / file.name).read_text())
        )


def test_what_was_done_is_not_done_again_and_what_failed_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = "train captcha --out {out}/run", "export {out}/run -o {out}/captcha.tflite"
    monkeypatch.setattr(make_models, "RECIPES", {"captcha": (one, two)})
    place = Place(tmp_path, None, is_rehearsal=False)
    monkeypatch.setattr(make_models, "PIFLEET", standing_in(tmp_path))
    (tmp_path / "fail").touch()
    with pytest.raises(subprocess.CalledProcessError):
        make_models.make_models(("captcha",), place)
    (tmp_path / "fail").unlink()

    for _ in range(2):
        make_models.make_models(("captcha",), place)

    said = (tmp_path / "said").read_text().splitlines()
    assert said == [
        f"train captcha --out {tmp_path}/run",
        f"train captcha --out {tmp_path}/run --resume",
        f"export {tmp_path}/run -o {tmp_path}/captcha.tflite",
    ]
    times = json.loads((tmp_path / "times.json").read_text())
    assert all(times[command]["is_done"] for command in (one, two))


def standing_in(folder: Path) -> tuple[str, ...]:
    """Write a program in place of pifleet: it writes down its arguments, and may fail."""
    program = folder / "standing_in.py"
    program.write_text(
        "import sys\n"
        "from pathlib import Path\n"
        "here = Path(sys.argv[0]).parent\n"
        "(here / 'run').mkdir(exist_ok=True)\n"
        "(here / 'run' / 'state.npz').touch()\n"
        "(here / 'captcha.tflite').touch()\n"
        "with (here / 'said').open('a') as said:\n"
        "    print(*sys.argv[1:], file=said)\n"
        "sys.exit((here / 'fail').exists())\n"
    )
    return (sys.executable, str(program))


def test_emnist_alone_asks_for_its_data(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="--emnist"):
        make_models.make_models(("emnist",), Place(tmp_path, None, is_rehearsal=False))


def test_the_machine_is_named_with_its_cores_and_backend() -> None:
    assert " cores, " in machine()
