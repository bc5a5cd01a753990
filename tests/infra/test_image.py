"""The container image: built from infra/Dockerfile, it reads a folder that is mounted into it.

Minutes of network and disk, so only `make image` asks for it. The base is a small Debian with its
Python, made here by debootstrap, since no registry may be in reach.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
IMAGES = sorted((ROOT / "tests" / "data").glob("captcha-0.7.1-?.png"))
BASE, TAG = "localhost/pifleet-base", "localhost/pifleet"
MIRROR = os.environ.get("PIFLEET_DEBIAN_MIRROR", "http://deb.debian.org/debian")
PACKAGES = "python3,python3-pip,python3-venv,ca-certificates"
OF_THE_HOST = ("/etc/pip.conf", "/etc/ssl/certs", "/usr/local/share/ca-certificates")
SETTINGS = re.compile(r"PIP_|SSL_CERT_|REQUESTS_CA|(https?|no)_proxy$", re.IGNORECASE)

pytestmark = [
    pytest.mark.timeout(1200),
    pytest.mark.skipif("PIFLEET_TEST_IMAGE" not in os.environ, reason="only for `make image`"),
    pytest.mark.skipif(
        not (shutil.which("buildah") and shutil.which("debootstrap")),
        reason="buildah or debootstrap is not installed: apt install buildah debootstrap",
    ),
]


@dataclass(frozen=True)
class Buildah:
    """buildah with a storage of its own, which needs no kernel's help."""

    folder: Path

    def __call__(self, *arguments: object) -> str:
        """Run a command; gives what it prints."""
        storage = ("--root", self.folder / "root", "--runroot", self.folder / "run")
        options = {"STORAGE_DRIVER": "vfs", "BUILDAH_ISOLATION": "chroot"}
        command = [str(part) for part in ("buildah", *storage, *arguments)]
        done = subprocess.run(
            command, env=os.environ | options, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, (done.stdout + done.stderr)[-2000:]
        return done.stdout


@pytest.fixture(scope="module")
def buildah(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Buildah]:
    """Build the image."""
    folder = tmp_path_factory.mktemp("image")
    run = Buildah(folder)
    base = folder / "base"
    suite = re.findall(r"VERSION_CODENAME=(\w+)", Path("/etc/os-release").read_text())[0]
    subprocess.run(
        ["debootstrap", "--variant=minbase", f"--include={PACKAGES}", suite, str(base), MIRROR],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    (base / "usr" / "bin" / "python").symlink_to("python3")
    for mark in base.glob("usr/lib/python3*/EXTERNALLY-MANAGED"):  # which python's own image lacks
        mark.unlink()
    container = run("from", "scratch").strip()
    run("copy", "--quiet", container, base, "/")
    run("commit", "--quiet", "--rm", container, BASE)
    here = [f"--volume={path}:{path}:ro" for path in OF_THE_HOST if Path(path).exists()]
    here += [f"--env={name}={os.environ[name]}" for name in os.environ if SETTINGS.match(name)]
    run("build", "--from", BASE, *here, "-f", ROOT / "infra" / "Dockerfile", "-t", TAG, ROOT)
    yield run
    shutil.rmtree(folder)


@pytest.mark.parametrize("model", ["captcha", "captcha-small", "captcha-wide", "emnist", "words"])
def test_image_reads_a_folder_that_is_mounted_into_it(
    buildah: Buildah, model: str, tmp_path: Path
) -> None:
    for path in IMAGES:
        shutil.copy(path, tmp_path)
    tmp_path.chmod(0o755)
    container = buildah("from", TAG).strip()
    entry = ("--", "pifleet", "classify", "/data", "--model", model, "--format", "csv")
    printed = buildah("run", "--volume", f"{tmp_path}:/data:ro", container, *entry)
    rows = [line.split(",")[0] for line in printed.splitlines()]
    assert rows == [path.name for path in IMAGES]
    assert all(line.split(",")[1] for line in printed.splitlines())


def test_image_begins_with_the_command_and_runs_a_worker_by_itself(buildah: Buildah) -> None:
    entry = "{{.OCIv1.Config.Entrypoint}} {{.OCIv1.Config.Cmd}} {{.OCIv1.Config.User}}"
    assert buildah("inspect", "--type", "image", "--format", entry, TAG).strip() == (
        "[pifleet] [worker] pifleet"
    )
