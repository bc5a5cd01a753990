"""Measure how well words are read; ``--help`` tells more."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from benchmarks.machine import circumstances, write_figures
from benchmarks.words.readers import (
    answers_of,
    compare,
    has_tesseract,
    lexicon_reader,
    our_reader,
    read_by_form,
    read_drawn,
    tesseract_version,
)
from benchmarks.words.sets import (
    Answer,
    drawn_images,
    folded,
    real_images,
    score_answers,
    share_by,
)
from benchmarks.words.timing import timings
from contract.errors import FleetError
from contract.settings import Settings
from recognition.model_file import load_model
from training.words.samples import KIND_WEIGHTS, WordSet
from training.words.wanted import Wanted, word_set_of

FORMS = "codes in boxes"
PACKAGES = ("ai-edge-litert", "numpy", "pillow", "opencv-python-headless")
CONFIG = Path(__file__).parents[2] / "training" / "configs" / "words.yaml"
SEED = 2_000
MODERATE = 0.5  # of the hardness that training goes up to
PATHS = click.Path(path_type=Path, exists=True)
Figures = dict[str, Any]


@dataclass(frozen=True, slots=True)
class DrawnTest:
    """A set that is drawn to be read: with fonts, texts and hands that training never saw."""

    name: str
    n: int
    word_set: WordSet


@click.command()
@click.option("--model", default="words", show_default=True, help="A shipped name or a file.")
@click.option("--fonts", type=PATHS, multiple=True, help="Folders of fonts [the system's].")
@click.option("--hand", type=PATHS, help="EMNIST; without it no handwriting is drawn.")
@click.option("--real", type=PATHS, help="A folder of real words with labels.tsv, folded.")
@click.option("--share", default=1.0, show_default=True, help="Of the images that are drawn.")
@click.option("--tesseract", default=500, show_default=True, help="Images that it reads of a set.")
@click.option("--workers", default=os.cpu_count() or 1, help="Processes [default: cores].")
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write figures there.")
def main(
    model: str,
    fonts: tuple[Path, ...],
    hand: Path | None,
    real: Path | None,
    share: float,
    tesseract: int,
    workers: int,
    json_path: Path | None,
) -> None:
    """Read drawn and real words with a model, and some of them with Tesseract too.

    \b
    Example:  python -m benchmarks.words --real iiit5k --json benchmarks/results/words.json
    """
    kept = Settings.from_env(os.environ).cache_dir
    try:
        wanted = Wanted(SEED, fonts, hand=hand, hardness=MODERATE, held_out=True)
        drawn = word_set_of(wanted, workers=workers, kept=kept)
        tests = [replace(t, n=max(1, round(t.n * share))) for t in tests_of(drawn)]
        sets = {
            t.name: figures_of(read_drawn(model, t.word_set, t.n, workers=workers)) for t in tests
        }
        forms = next(test for test in tests if test.name == FORMS)
        by_form = read_by_form(model, forms.word_set, forms.n, workers=workers)
        sets[f"{FORMS}, with the pattern of each"] = figures_of(by_form)
        if real is not None:
            images = list(real_images(real))
            answers = answers_of(our_reader(model), images)
            sets["real, folded"] = figures_of(answers, is_folded=True)
            reader = lexicon_reader(model, [image.text for image in images])
            answers = answers_of(reader, images)
            sets["real, folded, with the lexicon of all"] = figures_of(answers, is_folded=True)
        figures: Figures = {"model": told_model(model), "sets": sets}
        if tesseract and has_tesseract():
            figures["beside Tesseract"] = beside_tesseract(model, drawn, real, n=tesseract)
        figures["ms an image by width"] = timings(model, CONFIG)
    except FleetError as error:
        raise click.ClickException(str(error)) from error
    for table in tables_of(figures):
        Console(width=80).print(table)
    if json_path is not None:
        write_figures(json_path, circumstances("benchmarks.words", PACKAGES) | figures)


def tests_of(drawn: WordSet) -> list[DrawnTest]:
    """Describe what is drawn: at moderate and full hardness, forms, hands, and empty images."""
    texts = {kind: weight for kind, weight in KIND_WEIGHTS.items() if kind != "nothing"}
    forms = replace(drawn, kinds={"code": 1.0}, cells_share=1.0, hand_share=0.3)
    tests = [
        DrawnTest("held out, moderate", 10_000, replace(drawn, kinds=texts)),
        DrawnTest("held out, hard", 2_000, replace(drawn, kinds=texts, hardness=1.0)),
        DrawnTest(FORMS, 5_000, forms),
        DrawnTest("without text", 500, replace(drawn, kinds={"nothing": 1.0}, hardness=1.0)),
    ]
    if drawn.hand is not None:
        by_hand = replace(drawn, kinds={"code": 1.0}, hand_share=1.0)
        tests.append(DrawnTest("codes by hand", 1_000, by_hand))
    return tests


def figures_of(answers: Sequence[Answer], *, is_folded: bool = False) -> Figures:
    """Put what a set says into JSON."""
    if is_folded:
        answers = [replace(a, text=folded(a.text), read=folded(a.read)) for a in answers]
    if not any(answer.text for answer in answers):
        return {
            "n": len(answers),
            "exact_match": sum(not answer.read for answer in answers) / len(answers),
        }
    scores = score_answers(answers)
    any_case = score_answers(answers, is_folded=True)
    return {
        "n": scores.n,
        "exact_match": round(scores.exact_match, 4),
        "exact_match_folded": round(any_case.exact_match, 4),
        "character_accuracy": round(scores.character_accuracy, 4),
        "by_length": {one.length: [one.n, round(one.exact_match, 4)] for one in scores.by_length},
        "by_kind": share_by(answers, "kind"),
        "by_font": share_by(answers, "font"),
        "confusions": [[c.truth, c.read, c.n] for c in scores.confusions[:20]],
    }


def told_model(model: str) -> Figures:
    """Name the model, and say how large it is."""
    file = load_model(model)
    return {"name": file.card.name, "sha256": file.digest, "bytes": len(file.data)}


def beside_tesseract(model: str, drawn: WordSet, real: Path | None, *, n: int) -> Figures:
    """Read the first images of two sets with both."""
    sets = {"held out, moderate": list(drawn_images(tests_of(drawn)[0].word_set, range(n)))}
    if real is not None:
        sets["real"] = list(islice(real_images(real), n))
    found: Figures = {"version": tesseract_version()}
    for name, images in sets.items():
        both = compare(model, images)
        found[name] = {
            "n": len(images),
            "ours": _folded_share(both.ours),
            "tesseract": _folded_share(both.tesseract),
            "our_ms": round(both.our_ms, 2),
            "tesseract_ms": round(both.tesseract_ms, 1),
        }
    return found


def _folded_share(answers: Sequence[Answer]) -> float:
    return round(score_answers(answers, is_folded=True).exact_match, 4)


def tables_of(figures: Mapping[str, Any]) -> list[Table]:
    """Lay the figures out for a terminal."""
    reads = Table(title=f"Exact match of {figures['model']['name']}, %")
    for head in ("set", "images", "exact", "folded", "characters"):
        reads.add_column(head, justify="left" if head == "set" else "right")
    for name, found in figures["sets"].items():
        shares = [found.get(f"exact_match{part}") for part in ("", "_folded")]
        cells = [_percent(share) for share in (*shares, found.get("character_accuracy"))]
        reads.add_row(name, f"{found['n']:,}", *cells)
    tables = [reads, _by(figures["sets"], "by_length"), _by(figures["sets"], "by_kind")]
    beside = {k: v for k, v in figures.get("beside Tesseract", {}).items() if k != "version"}
    if beside:
        tables.append(_beside_table(beside, figures["beside Tesseract"]["version"]))
    times = Table(title="ms an image by width in px, one thread, the network alone")
    times.add_column("")
    spent = figures["ms an image by width"]
    for width in spent["int8"]:
        times.add_column(str(width), justify="right")
    for name, by_width in spent.items():
        times.add_row(name, *(f"{ms:.2f}" for ms in by_width.values()))
    return [*tables, times]


def _beside_table(beside: Figures, version: str) -> Table:
    table = Table(title=f"Beside {version}, folded, %")
    for head in ("set", "images", "ours", "Tesseract", "our ms", "its ms"):
        table.add_column(head, justify="left" if head == "set" else "right")
    for name, found in beside.items():
        shares = [_percent(found[key]) for key in ("ours", "tesseract")]
        spent = [f"{found[key]:.1f}" for key in ("our_ms", "tesseract_ms")]
        table.add_row(name, str(found["n"]), *shares, *spent)
    return table


def _by(sets: Mapping[str, Any], part: str) -> Table:
    """Show a set's parts in one row: of the first set."""
    name, found = next(iter(sets.items()))
    table = Table(title=f"{name}, {part.replace('_', ' ')}: exact match, % (images)")
    table.add_column(part.removeprefix("by_"))
    table.add_column("exact", justify="right")
    table.add_column("images", justify="right")
    for key, (n, share) in found[part].items():
        table.add_row(str(key), _percent(share), f"{n:,}")
    return table


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.1f}"


if __name__ == "__main__":
    main()
