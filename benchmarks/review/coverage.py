"""How often the interval of the errors left holds them: ``python -m benchmarks.review.coverage``.

Images are drawn as a release does that the model knows, and with fonts that it has never seen, and
read once. Jobs are made of these readings, looked at in several ways, and estimated.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import click
import numpy as np
from numpy.typing import NDArray

from benchmarks.machine import circumstances, write_figures
from producer.review.estimate import Looks, estimate
from recognition.decoding import make_decoder
from recognition.model_file import load_model
from recognition.recogniser import Recogniser
from training.measuring.evaluation import open_labelled

KNOWN = ("0.7.0", "0.5.0")  # releases; unknown fonts are drawn like the first
POOL = 3_000  # readings of a kind
IMAGES = 2_000  # of a job
LOOKS = ((0, 0), (48, 0), (200, 0), (200, 40), (0, 50))  # least sure, and at random
MIXED = 0.3  # of a mixed job's images are in an unknown font


@dataclass(frozen=True, slots=True, eq=False)
class Readings:
    """Confidences, (n,) float64, and which of them are of wrong texts, (n,) bool."""

    confidence: NDArray[np.float64]
    is_wrong: NDArray[np.bool_]

    def some(self, n: int, rng: np.random.Generator) -> Readings:
        """Take some by chance."""
        chosen = rng.choice(len(self.confidence), n, replace=False)
        return Readings(self.confidence[chosen], self.is_wrong[chosen])


@click.command()
@click.option("--font", "fonts", multiple=True, type=click.Path(path_type=Path, exists=True))
@click.option("--jobs", default=50, show_default=True, help="Of each kind, for each way to look.")
@click.option("--json", "out", type=click.Path(path_type=Path), help="Keep the figures there.")
def main(fonts: tuple[Path, ...], jobs: int, out: Path | None) -> None:
    """Count, with folders of a font each that the model does not know."""
    kinds = {release: read_drawn("--preset", release) for release in KNOWN}
    kinds |= {p.name: read_drawn("--preset", KNOWN[0], "--fonts", str(p)) for p in fonts}
    found: dict[str, dict[str, dict[str, float]]] = {kind: {} for kind in (*kinds, "mixed")}
    for kind in found:
        for looks in LOOKS:
            rng = np.random.default_rng(list(looks))
            made = [make_job(kind, kinds, rng) for _ in range(jobs)]
            found[kind]["{} + {}".format(*looks)] = count_held(made, looks, rng)
        print(kind, json.dumps(found[kind]), flush=True)
    if out is not None:
        about = circumstances("benchmarks.review.coverage", ("numpy",))
        write_figures(out, {**about, "jobs": jobs, "images": IMAGES, "kinds": found})


def read_drawn(*how: str) -> Readings:
    """Draw images, and read them."""
    recogniser = Recogniser(load_model("captcha").data)
    decoder = make_decoder(recogniser.card)
    with TemporaryDirectory(prefix="pifleet-coverage-") as scratch:
        folder = Path(scratch) / "drawn"
        draw = ("generate", "captcha", "-n", str(POOL), "-o", str(folder), "--packed", *how)
        subprocess.run([sys.executable, "-m", "pifleet", *draw, "--seed", "71"], check=True)
        labelled = open_labelled(folder, recogniser.card.input)
        read = [(recogniser.read([one.tensor], decoder)[0], one.text) for one in labelled.images]
    confidence = np.array([round(reading.confidence, 4) for reading, _ in read])
    return Readings(confidence, np.array([reading.text != text for reading, text in read]))


def make_job(kind: str, kinds: Mapping[str, Readings], rng: np.random.Generator) -> Readings:
    """Make one job, the least sure image first; a mixed one has an unknown font in a part of it."""
    parts = {kind: IMAGES}
    if kind == "mixed":
        unknown = rng.choice([name for name in kinds if name not in KNOWN])
        parts = {str(unknown): int(MIXED * IMAGES), KNOWN[0]: IMAGES - int(MIXED * IMAGES)}
    taken = [kinds[name].some(n, rng) for name, n in parts.items()]
    confidence = np.concatenate([one.confidence for one in taken])
    order = np.argsort(confidence)
    return Readings(confidence[order], np.concatenate([one.is_wrong for one in taken])[order])


def count_held(
    made: list[Readings], looks: tuple[int, int], rng: np.random.Generator
) -> dict[str, float]:
    """Tell in which share the interval held, and the means of the truth and of the interval."""
    rows = []
    for job in made:
        shuffled = rng.permutation(np.arange(looks[0], IMAGES))
        is_random = np.isin(np.arange(IMAGES), shuffled[: looks[1]])
        seen = is_random | (np.arange(IMAGES) < looks[0])
        left = int((job.is_wrong & ~seen).sum())
        found = Looks(IMAGES, 0, job.confidence, seen, job.is_wrong & seen, is_random)
        said = estimate(found).errors_left
        rows.append((said.low <= left <= said.high, left, said.value, said.low, said.high))
    names = ("held", "left", "said", "low", "high")
    means = np.mean(np.array(rows, dtype=np.float64), axis=0)
    return {name: round(float(mean), 2) for name, mean in zip(names, means, strict=True)}


if __name__ == "__main__":
    main()
