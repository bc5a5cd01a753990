"""A release is a wheel that carries the models, and installs from a folder with no network."""

from __future__ import annotations

import re
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

from contract.errors import ServiceError
from pifleet.joining.wheelhouse import TARGETS, fill, find_releases
from pifleet.release import describe, find_commit

pytestmark = pytest.mark.timeout(180)  # an environment is made, and pip takes its time

ROOT = Path(__file__).parents[2]
COMMIT = "0123abc"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel of this tree, as `make dist` does of a commit."""
    pytest.importorskip("build")
    place = tmp_path_factory.mktemp("release")
    names = ["ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(["git", "-C", str(ROOT), *names], capture_output=True, check=False)
    if listed.returncode:
        pytest.skip("no checkout of git")
    for name in listed.stdout.decode().rstrip("\0").split("\0"):
        if (ROOT / name).is_file() and not name.startswith(("tests/", "docs/", "benchmarks/")):
            (place / "src" / name).parent.mkdir(parents=True, exist_ok=True)
            (place / "src" / name).write_bytes((ROOT / name).read_bytes())
    (place / "src" / "pifleet" / "commit.txt").write_text(f"{COMMIT}\n")
    command = [sys.executable, "-m", "build", "--wheel", "--outdir", str(place)]
    done = subprocess.run([*command, str(place / "src")], capture_output=True, text=True)
    if "Could not find a version" in done.stdout + done.stderr:
        pytest.skip("setuptools cannot be downloaded here")
    assert done.returncode == 0, done.stdout + done.stderr
    (built,) = place.glob("*.whl")
    return built


def test_wheel_carries_models_and_what_pis_are_set_up_with(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    shipped = {f"models/{path.name}" for path in (ROOT / "models").glob("*.tflite")}
    signatures = {f"models/{path.name}" for path in (ROOT / "models").glob("*.sig")}
    given = {f"infra/{path.name}" for path in (ROOT / "infra").glob("*.service")}
    assert shipped
    assert shipped | signatures | given | {"infra/install.sh"} <= names
    assert not [name for name in names if name.startswith(("tests/", "benchmarks/"))]


def test_release_installs_without_a_network_and_reads(wheel: Path, tmp_path: Path) -> None:
    """Its requirements are this environment's: whether they download is the wheelhouse's proof."""
    venv.create(tmp_path / "venv", with_pip=True)
    python = tmp_path / "venv" / "bin" / "python"
    install = [str(python), "-m", "pip", "install", "-q", "--no-index", "--no-deps", str(wheel)]
    subprocess.run(install, check=True, capture_output=True)
    (site,) = (tmp_path / "venv" / "lib").glob("python*/site-packages")
    (site / "borrowed.pth").write_text(next(path for path in sys.path if "site-packages" in path))

    def run(*words: str) -> str:
        command = [str(tmp_path / "venv" / "bin" / "pifleet"), *words]
        env = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}
        done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=env)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert re.match(rf"pifleet \S+ \({COMMIT}\) from {re.escape(str(site))} ", run("--version"))
    assert "golden images read as the card says" in run("models", "verify", "captcha")


def test_checkout_knows_its_commit() -> None:
    assert re.fullmatch(r"[0-9a-f]{7,40}(-dirty)?", find_commit())
    assert find_commit() in describe()


def test_wheelhouse_that_cannot_be_filled_names_what_lacks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")  # no test asks an index for what is not there
    (tmp_path / "constraints.txt").write_text("")
    wheel = make_wheel(tmp_path, requires="absent-package-of-nobody")
    with pytest.raises(ServiceError, match="bookworm-arm64: no wheel of a"):
        fill(tmp_path / "wheels", wheel, ["bookworm-arm64"], pinned=tmp_path)


def make_wheel(folder: Path, *, requires: str) -> Path:
    path = folder / "pifleet-9.9-py3-none-any.whl"
    metadata = f"Metadata-Version: 2.1\nName: pifleet\nVersion: 9.9\nRequires-Dist: {requires}\n"
    about = {"METADATA": metadata, "WHEEL": "Wheel-Version: 1.0\nTag: py3-none-any\n", "RECORD": ""}
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in about.items():
            archive.writestr(f"pifleet-9.9.dist-info/{name}", text)
    return path


def test_wheelhouse_says_which_releases_it_has(tmp_path: Path) -> None:
    make_wheel(tmp_path, requires="click")
    (tmp_path / "click-8.5.1-py3-none-any.whl").touch()
    assert find_releases(tmp_path) == ["9.9"]


def test_every_target_names_constraints_that_are_there() -> None:
    assert {target.constraints for target in TARGETS.values()} <= {
        path.name for path in ROOT.glob("constraints*.txt")
    }
