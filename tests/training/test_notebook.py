"""The notebook runs from its first cell to its last, and is kept without outputs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOK = Path(__file__).parents[2] / "training" / "notebooks" / "captcha.ipynb"
TINY = """
SYMBOLS, MAX_LENGTH = "A1", 2
RELEASES = {"0.7.1": 1.0}
IMAGES, CHECK_IMAGES = 512, 60
EPOCHS, BATCH, LEARNING_RATE = 4, 32, 1e-2
CHANNELS = [4, 4, 8, 8, 8, 8, 16]
import os
print(os.getpid())
"""


@pytest.fixture
def notebook() -> Any:
    return nbformat.read(NOTEBOOK, as_version=4)  # type: ignore[no-untyped-call]


def test_the_notebook_is_kept_without_outputs(notebook: Any) -> None:
    nbformat.validate(notebook)
    for cell in notebook.cells:
        assert not cell.get("outputs")
        assert cell.get("execution_count") is None
        assert set(cell.metadata) <= {"tags"}


def test_the_notebook_finds_the_checkout_that_it_lies_in(notebook: Any, tmp_path: Path) -> None:
    sources = [cell.source for cell in notebook.cells if cell.cell_type == "code"][:2]
    parameters, set_up = sources
    told = f"FOLDER = {str(tmp_path)!r}"
    program = "\n".join([parameters, told, set_up, "import training; print(training.__file__)"])
    done = subprocess.run(
        [sys.executable, "-S", "-c", program],  # -S: nothing is installed
        cwd=NOTEBOOK.parent,
        env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.strip()) == NOTEBOOK.parents[1] / "__init__.py"


@pytest.mark.model
@pytest.mark.timeout(900)  # a minute on two idle cores
def test_the_notebook_generates_trains_exports_and_evaluates(
    notebook: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parameters = [cell.metadata.get("tags") for cell in notebook.cells].index(["parameters"])
    notebook.cells[parameters].source += TINY
    monkeypatch.setenv("PYTHONPATH", str(NOTEBOOK.parent.parent.parent))
    for name in ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_RUNTIME_DIR", "MPLCONFIGDIR"):
        monkeypatch.setenv(name, str(tmp_path / name))
    client = NotebookClient(notebook, resources={"metadata": {"path": str(tmp_path)}})

    client.execute()

    made = tmp_path / "captcha-notebook"
    assert (made / "mine.tflite").stat().st_size > 5_000
    shown = [cell.id for cell in notebook.cells if has_image(cell)]
    assert shown == ["generate", "curves", "figures", "mistakes"]
    assert has_bar(next(cell for cell in notebook.cells if cell.id == "train"))
    assert "of 60 are misread" in str(notebook.cells[-2].outputs)
    with pytest.raises(ProcessLookupError):  # the kernel has ended
        os.kill(int(notebook.cells[parameters].outputs[0].text), 0)


def has_image(cell: Any) -> bool:
    return any("image/png" in output.get("data", {}) for output in cell.get("outputs", []))


def has_bar(cell: Any) -> bool:
    kind = "application/vnd.jupyter.widget-view+json"
    return any(kind in output.get("data", {}) for output in cell.get("outputs", []))
