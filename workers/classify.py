"""Read files and folders on this machine, without any queue, and write the answers."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from broker.messages import printable
from broker.results import Row
from contract.errors import ImageError, SourceError
from contract.files import format_row
from contract.processes import ProcessPool
from contract.reasons import Reason
from recognition.automaton import Automaton
from recognition.charset import capitalise, code_points
from recognition.decoding import Decoder, make_decoder
from recognition.images import SUFFIXES
from recognition.recogniser import Recogniser
from workers.health.host import usable_cores
from workers.pipeline import failure_row, read_bytes

BATCH = 64
WORTH_PROCESSES = 256  # starting a process costs as much as reading about this many images
MAX_BYTES = 64 * 1024 * 1024  # the pixel cap decides; this only keeps memory whole
MAX_SHOWN = 4096  # characters of a name in a line; a path of Linux has as many

FAILURE_COLUMNS = ("name", "reason", "detail")

AnswerFormat = Literal["text", "csv", "json"]


@dataclass(frozen=True, slots=True)
class NamedImage:
    """A file, and the name that it has in the output."""

    name: str
    path: Path


@dataclass(frozen=True, slots=True)
class Answer:
    """What was read in one file."""

    name: str
    row: Row


@dataclass(frozen=True, slots=True)
class AnswerStyle:
    """How an answer is written.

    Attributes:
        capitalise: whether letters are folded to upper case.
        code_points: whether those of the text stand behind it.
        confidence: whether it stands at the end.
    """

    capitalise: bool = False
    code_points: bool = False
    confidence: bool = False


def find_images(paths: Sequence[Path]) -> list[NamedImage]:
    """Find the images to read, sorted by name, each once.

    Args:
        paths: files, taken whatever they are called, and folders, searched for image files to
            the bottom. Names are relative to the folder if it is the only path.

    Raises:
        SourceError: a path is missing, a folder cannot be read, or there is no image at all.
    """
    found: dict[str, Path] = {}
    for path in paths:
        if path.is_dir():
            for file in _walk(path):
                found[(file.relative_to(path) if len(paths) == 1 else file).as_posix()] = file
        elif path.exists():
            found[path.name if len(paths) == 1 else path.as_posix()] = path
        else:
            raise SourceError(f"{path}: no such file or folder")
    if not found:
        raise SourceError(f"{paths[0]}: no image in it ({', '.join(sorted(SUFFIXES))})")
    return [NamedImage(_utf8(name), found[name]) for name in sorted(found)]


def _utf8(name: str) -> str:
    """Write a name as text: what is no UTF-8 in it could stand in no output."""
    return os.fsencode(name).decode(errors="replace")


def classify_files(
    images: Sequence[NamedImage],
    model: bytes,
    *,
    symbols: str | None,
    automaton: Automaton | None = None,
    processes: int | None = None,
) -> Iterator[Answer]:
    """Read images in order; every one of them gets an answer.

    Args:
        images: what to read.
        model: a ``.tflite`` file with its card.
        symbols: those that may be written; None allows all of the model's.
        automaton: of the texts that may be written; None allows all.
        processes: None takes one a core, or none for a few images.

    Raises:
        UserError: the model cannot be used, or lacks one of the symbols.
        SourceError: an image killed the process that read it.
    """
    recogniser = Recogniser(model)
    decoder = make_decoder(
        recogniser.card, symbols, automaton
    )  # raises here, before anything is read
    batches = [images[start : start + BATCH] for start in range(0, len(images), BATCH)]
    if processes is None:
        processes = 1 if len(images) < WORTH_PROCESSES else usable_cores()
    if processes == 1:
        for batch in batches:
            yield from _read_batch(batch, recogniser, decoder)
        return
    del recogniser  # it does not survive the fork
    yield from _in_processes(batches, processes, (model, symbols, automaton))


def format_answers(
    answers: Iterable[Answer], how: AnswerFormat, style: AnswerStyle
) -> Iterator[str]:
    """Yield a line an answer, with its LF: fields by tabs, CSV, or a JSON object."""
    for answer in answers:
        if how == "json":
            yield json.dumps(_object(answer, style), ensure_ascii=False) + "\n"
        elif how == "csv":
            yield format_row(answer_fields(answer, style))
        else:
            name, *fields = answer_fields(answer, style)
            yield "\t".join((printable(name, most=MAX_SHOWN), *fields)) + "\n"


def answer_fields(answer: Answer, style: AnswerStyle) -> list[str]:
    """Write name, text and what else is wanted; only a name where nothing was read."""
    text = _text(answer, style)
    fields = [answer.name, text or ""]
    if style.code_points:
        fields.append(code_points(text or ""))
    if style.confidence:
        fields.append("" if text is None else f"{answer.row.confidence:.4f}")
    return fields


def failure_fields(answer: Answer) -> list[str]:
    """Write the name of an image without a text, the reason, and the sentence that explains it."""
    return [answer.name, str(answer.row.reason), answer.row.detail]


def _object(answer: Answer, style: AnswerStyle) -> dict[str, object]:
    row, text = answer.row, _text(answer, style)
    found = {"name": answer.name, "text": text, "confidence": round(row.confidence, 4)}
    named = {"code_points": code_points(text or "") or None} if style.code_points else {}
    return {**found, **named, "reason": row.reason}


def _text(answer: Answer, style: AnswerStyle) -> str | None:
    text = answer.row.text
    return capitalise(text) if text and style.capitalise else text


def _in_processes(
    batches: Sequence[Sequence[NamedImage]],
    processes: int,
    tools: tuple[bytes, str | None, Automaton | None],
) -> Iterator[Answer]:
    try:
        with ProcessPool(processes, _begin_process, tools) as pool:
            for answers in pool.map(_read_in_process, batches):
                yield from answers
    except BrokenProcessPool as error:
        message = "an image killed the process that read it: read half of them to find it"
        raise SourceError(message) from error


def _read_batch(
    batch: Sequence[NamedImage], recogniser: Recogniser, decoder: Decoder
) -> list[Answer]:
    return [
        Answer(image.name, _read_file(index, image.path, recogniser, decoder))
        for index, image in enumerate(batch)
    ]


def _read_file(index: int, path: Path, recogniser: Recogniser, decoder: Decoder) -> Row:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)  # a device says that its size is 0, and never ends
        if len(data) > MAX_BYTES:
            raise ImageError(Reason.TOO_LARGE, f"the cap is {MAX_BYTES} bytes")
    except OSError as error:
        return failure_row(index, ImageError(Reason.DAMAGED, f"cannot be read: {error.strerror}"))
    except ImageError as error:
        return failure_row(index, error)
    return read_bytes(index, data, recogniser, decoder)


def _walk(folder: Path) -> Iterator[Path]:
    def refuse(error: OSError) -> None:
        raise SourceError(f"{error.filename}: {error.strerror}") from error

    for root, folders, files in os.walk(folder, onerror=refuse):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in files:
            if Path(name).suffix.lower() in SUFFIXES and not name.startswith("."):
                yield Path(root) / name


_tools: tuple[Recogniser, Decoder] | None = None


def _begin_process(model: bytes, symbols: str | None, automaton: Automaton | None) -> None:
    global _tools
    recogniser = Recogniser(model)
    _tools = (recogniser, make_decoder(recogniser.card, symbols, automaton))


def _read_in_process(batch: Sequence[NamedImage]) -> list[Answer]:
    assert _tools is not None, "the pool's initialiser ran first"
    return _read_batch(batch, *_tools)
