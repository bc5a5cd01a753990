"""What a person looked at, as a labelled set: ``evaluate`` and ``train`` take it."""

from __future__ import annotations

import asyncio
import shlex
import shutil
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path

import msgspec
from PIL import Image

from contract.errors import ImageError, OutputError, UserError
from producer.review.review import Review, ReviewImage
from recognition.card import ModelCard, read_card
from recognition.images import FORMATS, SUFFIXES, open_image
from recognition.model_file import digest_of, shipped_models
from training.image_sets import LABELS_FILE, write_labels

START_FILE = "start.tflite"
BATCH = 200
AT_ONCE = 16
SUFFIX_OF = {"JPEG": ".jpg", "PPM": ".ppm", "TIFF": ".tif"}
MAY_BE_THERE = SUFFIXES | {".tsv", ".tflite"}

Fetch = Callable[[ReviewImage], Awaitable[bytes]]


class LabelledSet(msgspec.Struct, frozen=True):
    """A set that was written.

    Attributes:
        folder: it lies there, with ``labels.tsv``.
        images: how many it holds.
        corrected: of these, the ones that the model had read wrong.
        left_out: names of those that are not in it, each with the reason.
        next: the commands that take it.
    """

    folder: str
    images: int
    corrected: int
    left_out: dict[str, str]
    next: list[str]


@dataclass(slots=True)
class _Found:
    texts: dict[str, str] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    wrong: int = 0


def labelled_path(output: Path) -> Path:
    """Name the folder of a submission's labelled set: ``submission.labelled``."""
    return output.resolve().with_name(output.stem + ".labelled")


async def write_labelled(review: Review, folder: Path, fetch: Fetch) -> LabelledSet:
    """Write what was looked at; the folder appears whole, in place of an earlier set.

    An image in which nothing stands is left out: it teaches nothing, and ``train`` takes none.

    Args:
        review: of the job.
        folder: where; a set that stands there is replaced.
        fetch: gives an image's file.

    Raises:
        UserError: nobody looked at an image.
        OutputError: something else stands there, or it cannot be written.
    """
    check_folder(folder)
    fresh = folder.with_name(f".{folder.name}.new")
    try:
        _begin(fresh)
        found = await _write_images(fresh, review, fetch)
        if not found.texts:
            why = next(iter(found.left_out.values()), "look at some, and press Enter, or type")
            raise UserError(f"job {review.spec.job} has nothing for a labelled set yet: {why}")
        write_labels(fresh, found.texts)
        start = _keep_start(fresh, folder, review)
        shutil.rmtree(folder, ignore_errors=True)
        fresh.replace(folder)
    except OSError as error:
        raise OutputError(f"{folder} cannot be written: {error.strerror}") from error
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    commands = next_commands(folder, start, card=read_card(review.model()))
    return LabelledSet(str(folder), len(found.texts), found.wrong, found.left_out, commands)


def check_folder(folder: Path) -> None:
    """Refuse to replace anything but an earlier set.

    Raises:
        OutputError: a file stands there, or a folder with something else in it.
    """
    if not folder.exists():
        return
    is_set = folder.is_dir() and (folder / LABELS_FILE).is_file()
    is_ours = is_set and all(path.suffix.lower() in MAY_BE_THERE for path in folder.iterdir())
    is_empty = folder.is_dir() and not any(folder.iterdir())
    if not is_ours and not is_empty:
        raise OutputError(f"{folder} exists and is no labelled set: name a new folder")


def next_commands(folder: Path, start: str, *, card: ModelCard) -> list[str]:
    """Say which commands take the set: learn it, and measure what came of that."""
    data = shlex.quote(str(folder))
    if card.reads_one_symbol:  # `train emnist` takes no labels of one's own
        return [f"pifleet evaluate {shlex.quote(start)} {data}"]
    return [
        f"pifleet train captcha --data {data} --start {shlex.quote(start)} --out runs/mine",
        "pifleet export runs/mine -o mine.tflite",
        f"pifleet evaluate mine.tflite {data}",
    ]


def _begin(fresh: Path) -> None:
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)


async def _write_images(folder: Path, review: Review, fetch: Fetch) -> _Found:
    found = _Found()
    indices = sorted(review.corrections.current())
    for begin in range(0, len(indices), BATCH):
        images = review.images(indices[begin : begin + BATCH])
        for image, data in zip(images, await _fetched(images, fetch), strict=True):
            try:
                if isinstance(data, ImageError):
                    raise data
                name = _file_name(image, data)
            except ImageError as error:
                found.left_out[image.name] = str(error)
                continue
            if not image.text:
                found.left_out[image.name] = "nothing stands in it"
                continue
            (folder / name).write_bytes(data)
            found.texts[name] = image.text
            found.wrong += image.text != image.read
    return found


async def _fetched(images: Sequence[ReviewImage], fetch: Fetch) -> list[bytes | ImageError]:
    """Fetch images, or find why one cannot be had."""
    turns = asyncio.Semaphore(AT_ONCE)

    async def one(image: ReviewImage) -> bytes | ImageError:
        async with turns:
            try:
                return await fetch(image)
            except ImageError as error:
                return error

    return list(await asyncio.gather(*(one(image) for image in images)))


def _file_name(image: ReviewImage, data: bytes) -> str:
    """Name a file by its index and its true form: the job's own name may be any text.

    Raises:
        ImageError: it is no image that we read.
    """
    open_image(data)
    with Image.open(BytesIO(data), formats=FORMATS) as opened:
        form = opened.format or "PNG"
    return f"{image.index:06}{SUFFIX_OF.get(form, f'.{form.lower()}')}"


def _keep_start(fresh: Path, folder: Path, review: Review) -> str:
    """Name the model that the job was read with; one that is not shipped goes along."""
    spec = review.spec
    shipped = shipped_models()
    if (
        spec.model_name in shipped
        and digest_of(shipped[spec.model_name].read_bytes()) == spec.model
    ):
        return spec.model_name
    (fresh / START_FILE).write_bytes(review.model())
    return str(folder / START_FILE)
