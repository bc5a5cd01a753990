"""Draw a data set into a folder, as files or packed, with a progress bar."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from pathlib import Path

from contract.errors import OutputError, SettingsError
from training.captcha.drawer import Size
from training.captcha.samples import CaptchaSet
from training.draw_set import draw_files, draw_packed
from training.progress_bar import progress_bar


@dataclass(frozen=True, slots=True)
class GenerateOptions:
    """How a set is drawn and kept.

    Attributes:
        n: images.
        is_packed: arrays of grey images, or PNG files in colour.
        workers: processes.
    """

    n: int
    is_packed: bool
    workers: int


def generate_captcha(captcha_set: CaptchaSet, out: Path, options: GenerateOptions) -> float:
    """Draw a set into ``out``, a folder that is new or empty.

    Returns:
        The seconds that it took.

    Raises:
        OutputError: the folder holds something, or cannot be made.
    """
    _make_empty(out)
    draw = draw_packed if options.is_packed else draw_files
    started = time.monotonic()
    with progress_bar("drawing", options.n) as advance:
        draw(captcha_set, out, n=options.n, workers=options.workers, progress=advance)
    return time.monotonic() - started


def parse_size(value: str) -> Size:
    """Read ``WIDTHxHEIGHT`` in px.

    Raises:
        SettingsError: it is of another form.
    """
    found = re.fullmatch(r"(\d{1,4})x(\d{1,4})", value)
    if found is None:
        raise SettingsError("--size", value, "WIDTHxHEIGHT in pixels, such as 128x64")
    return Size(int(found[1]), int(found[2]))


def _make_empty(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        is_used = any(folder.iterdir())
    except OSError as error:
        raise OutputError(f"{folder} cannot be made: {error.strerror}") from error
    if is_used:
        raise OutputError(f"{folder} is not empty: give a new folder, so that no sets mix")
