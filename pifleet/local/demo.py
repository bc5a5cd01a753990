"""``pifleet demo``: a whole fleet on this machine, from freshly drawn images to the CSV."""

from __future__ import annotations

import csv
import json
import os
import random
import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import click

from contract.errors import OutputError, UserError
from contract.exit_codes import DONE, SOME_FAILED
from contract.installing import install_command
from contract.processes import ProcessPool
from pifleet.local.submitting import Submission, SubmitReport, run_submit
from producer.cli import Finite
from recognition.charset import CAPTCHA_SYMBOLS

FAULT_SEED = 7
TRUTH = "truth.csv"  # it also marks a folder as a demo's, which the next demo may empty
IMAGES = "images"
SUBMISSION = "submission.csv"

WIDTH_PX, HEIGHT_PX = 128, 64
LONGEST = 6
PART = 25  # images drawn between two steps of the progress bar
PROCESSES = 2


@dataclass(frozen=True, slots=True)
class DemoOptions:
    """What the demo does.

    Attributes:
        images: how many images are drawn and read.
        out: the folder that gets the images, what they say, and the submission.
        workers: worker processes.
        model: a shipped model's name or a path.
        faults: the share of requests that the origin fails, in [0, 1].
        seed: of the texts; the library itself cannot be seeded. None takes fresh ones.
    """

    images: int = 500
    out: Path = Path("demo")
    workers: int = 2
    model: str = "captcha"
    faults: float = 0.0
    seed: int | None = None


@dataclass(frozen=True, slots=True)
class DemoResult:
    """How the demo went.

    Attributes:
        rows: lines of the submission.
        right: of those, the ones that say exactly what was drawn.
        summary: of the job.
        csv: the submission.
    """

    rows: int
    right: int
    summary: SubmitReport
    csv: Path

    @property
    def is_complete(self) -> bool:
        """Whether every image has a row, and a text in it."""
        return self.rows == self.summary.images and self.summary.failed == 0


def run_demo(options: DemoOptions) -> DemoResult:
    """Run the whole fleet once and compare what it read with what was drawn.

    Raises:
        UserError: the model, the folder or an extra is missing.
        ServiceError: a part of the stack does not start.
    """
    from recognition.model_file import load_model

    load_model(options.model)  # first: better no start than a failure after the drawing
    _empty_folder(options.out)
    with tempfile.TemporaryDirectory(prefix="pifleet-demo-") as scratch:
        summary = _run_stack(options, Path(scratch))
        submission = options.out / SUBMISSION
        for path in sorted(Path(scratch).glob("submission*.csv")):
            shutil.move(path, options.out / path.name)
    truth, rows = _read_csv(options.out / TRUTH), _read_csv(submission)
    right = sum(truth.get(name) == text for name, text in rows.items())
    return DemoResult(rows=len(rows), right=right, summary=summary, csv=submission)


@dataclass(frozen=True, slots=True)
class Image:
    """An image to draw, and what it says."""

    name: str
    text: str


def make_up(count: int, rng: random.Random) -> list[Image]:
    """Make up texts of 1 to 6 of the 49 symbols; lengths and symbols are uniform."""
    return [
        Image(
            name=f"{number:06d}.png",
            text="".join(rng.choices(CAPTCHA_SYMBOLS, k=rng.randint(1, LONGEST))),
        )
        for number in range(count)
    ]


def draw_all(images: list[Image], folder: Path) -> Iterator[int]:
    """Draw images into a folder, and yield how many are done, every now and then.

    Raises:
        UserError: the library is not installed.
    """
    _check_library()
    parts = [images[at : at + PART] for at in range(0, len(images), PART)]
    with ProcessPool(PROCESSES) as pool:
        done = 0
        for drawn in pool.map(_draw_part, parts, [folder] * len(parts)):
            done += drawn
            yield done


def write_truth(images: list[Image], path: Path) -> None:
    """Write what every image says: ``name,text``, as a submission has it."""
    rows = ((image.name, image.text) for image in images)
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows(rows)


def _run_stack(options: DemoOptions, scratch: Path) -> SubmitReport:
    from pifleet.local.origin import OriginOptions, running_origin
    from pifleet.local.redis_server import embedded_redis
    from pifleet.local.supervisor import FleetOptions, local_fleet

    with embedded_redis() as redis_url:
        env = {
            **os.environ,
            "PIFLEET_REDIS_URL": redis_url,
            "PIFLEET_STATE_DIR": str(scratch / "state"),  # a demo is no job of the user's
        }
        fleet_options = FleetOptions(options.workers, redis_url, env, scratch, scratch / "cache")
        with local_fleet(fleet_options) as fleet:
            images = _draw(options)  # the workers start meanwhile
            fleet.wait_ready()
            origin_options = OriginOptions(faults=options.faults, seed=FAULT_SEED)
            with running_origin(images, origin_options) as index_url:
                return run_submit(_submission(options, index_url, scratch), env, fleet.tick)


def _submission(options: DemoOptions, index_url: str, scratch: Path) -> Submission:
    from pifleet.local.origin import index_item

    return Submission(
        source=index_url,
        # Not in the out folder: a ledger left there by a killed demo would be resumed.
        csv=scratch / SUBMISSION,
        model=options.model,
        options=("--index-item", index_item(index_url)),
    )


def _draw(options: DemoOptions) -> Path:
    from rich.console import Console
    from rich.progress import Progress

    images, folder = make_up(options.images, random.Random(options.seed)), options.out / IMAGES
    write_truth(images, options.out / TRUTH)
    folder.mkdir()
    console = Console(stderr=True)
    with Progress(console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task("drawing", total=len(images))
        for done in draw_all(images, folder):
            progress.update(task, completed=done)
    return folder


def _draw_part(images: list[Image], folder: Path) -> int:
    from captcha.image import ImageCaptcha

    drawer = ImageCaptcha(width=WIDTH_PX, height=HEIGHT_PX)
    for image in images:
        drawer.write(image.text, str(folder / image.name))
    return len(images)


def _check_library() -> None:
    try:
        import captcha.image  # noqa: F401 (only to see whether it is there)
    except ImportError as error:
        raise UserError(f"{error}: {install_command('demo')}") from error


def _empty_folder(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
        if any(out.iterdir()) and not (out / TRUTH).exists():
            raise OutputError(f"folder {out} holds something else: name another with --out")
        shutil.rmtree(out / IMAGES, ignore_errors=True)
        for old in out.glob("submission*.csv"):
            old.unlink()
    except OSError as error:
        message = f"folder {out} cannot be written: {error.strerror} (name another with --out)"
        raise OutputError(message) from error


def _read_csv(path: Path) -> dict[str, str]:
    with path.open(encoding="utf-8", newline="") as file:
        return {row[0]: row[1] for row in csv.reader(file)}


@click.command()
@click.option("--images", type=click.IntRange(1), default=500, show_default=True)
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("demo"),
    help="Folder for the images and the submission.  [default: ./demo]",
)
@click.option("--workers", type=click.IntRange(1), default=2, show_default=True)
@click.option("--model", default="captcha", show_default=True, help="Shipped name, or a path.")
@click.option("--faults", type=Finite(0, 1), default=0.0, help="Share of requests that fail.")
@click.option("--json", "as_json", is_flag=True, help="Write the result as JSON.")
def demo(images: int, out: Path, workers: int, model: str, faults: float, as_json: bool) -> None:
    """Try a whole fleet on this machine: a Redis, an origin, workers, a job, its CSV.

    Example: pifleet demo --images 2000 --faults 0.05
    """
    from pifleet.local.children import sigterm_as_exit

    options = DemoOptions(images=images, out=out, workers=workers, model=model, faults=faults)
    click.echo(
        f"A Redis of its own, {workers} workers and an origin on this machine, and a job of "
        f"{images} freshly drawn images.",
        err=True,
    )
    with sigterm_as_exit():
        result = run_demo(options)
    click.echo(_as_json(result) if as_json else _sentence(result))
    sys.exit(DONE if result.is_complete else SOME_FAILED)


def _as_json(result: DemoResult) -> str:
    fields = {**asdict(result), "csv": str(result.csv)}
    return json.dumps(fields, indent=1)


def _sentence(result: DemoResult) -> str:
    rows, right, summary = result.rows, result.right, result.summary
    folder = result.csv.parent
    is_on_path = shutil.which("pifleet") == sys.argv[0] or os.sep not in sys.argv[0]
    me = "pifleet" if is_on_path else os.path.relpath(sys.argv[0])
    return (
        f"{right} of {rows} images read right ({right / max(1, rows):.1%}), {summary.failed} "
        f"failed, {summary.images_per_s:.0f} images/s.\n"
        f"The rows are in {result.csv}, what was drawn is in {folder / TRUTH}.\n"
        f"Next: `{me} up` keeps such a fleet running; `{me} classify {folder / IMAGES}` reads "
        "a folder without one."
    )
