"""Write docs/first-hour.md: the README's commands as a newcomer types them, with what they say.

Run it from a checkout in which `make install` was run: python -m tests.docs.first_hour
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from pifleet.local.children import end_child, start_child
from tests.conftest import wait_until
from tests.support.commands import PIFLEET
from tests.support.documented import ROOT

OUTPUT = ROOT / "docs" / "first-hour.md"
MOST_LINES = 24  # of an output; the middle of a longer one is left out
INTRODUCTION = """\
# The first hour

The README's commands, typed one after the other at 80 columns in a home that was empty but for
sixteen images and lists of them, beside a `pifleet up --workers 2`: the seconds that each took, and
what it said. `make install` had gone before, so that every extra is there; a training is left out,
for it takes hours. The machine has two cores with little else to do. Written by
`python -m tests.docs.first_hour`, not by hand.
"""
COMMANDS = (
    "pifleet --version",
    "pifleet doctor",
    "pifleet demo --images 200",
    "pifleet models list",
    "pifleet models verify captcha",
    "pifleet status",
    "pifleet submit urls.txt -o urls.csv",
    "pifleet submit list.csv -o list-read.csv --first-line bob",
    "pifleet submit photos/ -o submission.csv",
    "pifleet submit urls.txt -o digits.csv --symbols digits",
    "pifleet submit urls.txt -o later.csv --detach",
    "pifleet jobs",
    "pifleet collect later.csv",
    "pifleet submit gone.txt -o gone.csv",
    "pifleet dead list gone.csv",
    "pifleet dead replay gone.csv --rate 5",
    "pifleet jobs",
    "pifleet symbols submission.csv",
    "pifleet classify photos/",
    "pifleet generate captcha -n 200 -o set --seed 1",
    "pifleet evaluate captcha set",
)


def main() -> None:
    """Type them all, and write what came of it."""
    with tempfile.TemporaryDirectory(prefix="me-") as scratch:
        folder = Path(scratch)
        env = newcomer(folder)
        with stack(folder, env) as settings, origin(folder):
            sections = [typed(command, folder, {**env, **settings}) for command in COMMANDS]
    OUTPUT.write_text("\n".join([INTRODUCTION, *sections]))


def newcomer(folder: Path) -> dict[str, str]:
    """Make a home with nothing but a few images and lists of them."""
    photos = folder / "photos"
    photos.mkdir()
    for path in sorted((ROOT / "tests" / "data").glob("captcha-*-[0-9].png")):
        shutil.copy(path, photos)
    kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
    return {
        **kept,
        "PYTHONPATH": str(ROOT),
        "HOME": str(folder),
        "COLUMNS": "80",
        "PIFLEET_FETCH_ALLOW": "127.0.0.0/8",
    }


@contextmanager
def stack(folder: Path, env: Mapping[str, str]) -> Iterator[dict[str, str]]:
    """Keep ``pifleet up`` running, and take from it what it says to type."""
    said = folder / "up.txt"
    child = start_child([*PIFLEET, "up", "--workers", "2"], env=env, stdout=said)
    try:
        wait_until(lambda: "Only this machine" in said.read_text(), timeout_s=60, what="the stack")
        found = re.search(r"export PIFLEET_REDIS_URL=(\S+)", said.read_text())
        assert found is not None
        yield {"PIFLEET_REDIS_URL": found[1]}
    finally:
        end_child(child, grace_s=60)


@contextmanager
def origin(folder: Path) -> Iterator[None]:
    """Serve the photos, and list them in each of the forms that ``submit`` takes."""
    from tests.support.faulty_origin import faulty_origin

    with faulty_origin() as server:
        names = sorted(path.name for path in (folder / "photos").iterdir())
        urls = [server.add(f"/{name}", (folder / "photos" / name).read_bytes()) for name in names]
        (folder / "urls.txt").write_text("\n".join(urls))
        rows = [f"{url},{name}" for url, name in zip(urls, names, strict=True)]
        (folder / "list.csv").write_text("\n".join(["url,name", *rows]))
        (folder / "gone.txt").write_text("\n".join([*urls[:3], server.url("/gone.png")]))
        yield


def typed(command: str, folder: Path, env: Mapping[str, str]) -> str:
    """Type one command; gives its section of the document."""
    started = time.monotonic()
    done = subprocess.run(
        command.split(),
        cwd=folder,
        env=dict(env),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    seconds = time.monotonic() - started
    said = re.sub(r":[^:@/\s]{12,}@", ":***@", done.stdout)  # the password of that stack
    said = said.replace(str(ROOT), "/home/me/pifleet")
    lines = said.rstrip().splitlines()
    if len(lines) > MOST_LINES:
        half = MOST_LINES // 2
        lines = [*lines[:half], f"… {len(lines) - 2 * half} lines …", *lines[-half:]]
    body = "\n".join([f"$ {command}", *lines])
    return f"{seconds:.1f} s, exit code {done.returncode}:\n\n```\n{body}\n```\n"


if __name__ == "__main__":
    main()
