"""The most costly files that are still read stay within a Pi's time and memory."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from contract.errors import ImageError
from contract.reasons import Reason
from recognition.budget.tiff import check_directories
from recognition.card import InputSpec
from recognition.images import _grey, open_image, to_tensor
from tests.support import costly_images as costly

MOST_MB = 200  # beyond what Python and Pillow take themselves
MOST_S = 2.0  # of processor time, which other work on these cores stretches; a quiet core needs 0.6
MEASURE = """
import sys, time
from PIL import Image
from recognition.images import open_image

def peak():
    return int(open("/proc/self/status").read().split("VmHWM:")[1].split()[0]) // 1024

Image.init()
data = open(sys.argv[1], "rb").read()
before, started = peak(), time.process_time()
open_image(data)
print(peak() - before, time.process_time() - started)
"""


def saved(image: Image.Image, file_format: str, **options: object) -> bytes:
    file = BytesIO()
    image.save(file, file_format, **options)
    return file.getvalue()


WORST: dict[str, Callable[[], bytes]] = {
    "progressive JPEG of 25 more scans": lambda: costly.jpeg_of_scans(25),
    "progressive JPEG of full colour": lambda: saved(
        Image.new("RGB", (3990, 3990)), "JPEG", progressive=True, subsampling=0
    ),
    "baseline JPEG of 39 more scans": lambda: costly.jpeg_of_sequential_scans(13),
    "deep PNG with transparency": lambda: costly.png_of(4000, 4000, depth=16, kind=6),
    "PNG of 30 profiles": lambda: costly.png_of_profiles(30),
    "transparent GIF": lambda: saved(Image.new("P", (4000, 4000)), "GIF", transparency=0),
    "transparent WebP": lambda: costly.webp(4000, 3050),
    "TIFF of floats": lambda: saved(
        Image.new("F", (4000, 4000)), "TIFF", compression="tiff_adobe_deflate"
    ),
    "turned TIFF": lambda: saved(
        Image.new("RGBA", (4000, 4000)), "TIFF", compression="tiff_lzw", tiffinfo={274: 6}
    ),
    "plain PGM": lambda: b"P2 750 800 65535\n" + b"123 " * 600_000,
}


@pytest.mark.parametrize("make", WORST.values(), ids=WORST)
def test_costly_file_that_is_read_stays_within_its_budget(
    make: Callable[[], bytes], tmp_path: Path
) -> None:
    (tmp_path / "image").write_bytes(make())
    command = [sys.executable, "-c", MEASURE, str(tmp_path / "image")]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    most_mb, took_s = done.stdout.split()
    assert int(most_mb) < MOST_MB
    assert float(took_s) < MOST_S


def test_small_progressive_image_may_have_many_scans() -> None:
    image = Image.effect_noise((200, 60), 60).convert("RGB")
    assert open_image(saved(image, "JPEG", progressive=True)).size == (200, 60)


def test_grey_by_rows_is_the_same_as_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(5)
    for mode, levels in (("RGBA", 4), ("LA", 2), ("RGB", 3)):
        image = Image.fromarray(rng.integers(0, 256, (37, 23, levels), dtype=np.uint8), mode)
        at_once = np.asarray(_grey(image))
        monkeypatch.setattr("recognition.images.BAND_PIXELS", 60)
        assert (np.asarray(_grey(image)) == at_once).all(), mode
        monkeypatch.undo()


def test_tags_that_share_their_bytes_are_refused_before_they_are_copied() -> None:
    with pytest.raises(ImageError, match="more bytes than there are") as caught:
        check_directories(costly.shared_notes(1000, 50_000))
    assert caught.value.reason is Reason.TOO_COMPLEX


def test_character_is_read_although_its_notes_are_refused() -> None:
    image = Image.new("L", (60, 60), 255)
    image.paste(0, (25, 10, 32, 50))
    file = saved(image, "PNG", exif=b"Exif\0\0" + costly.shared_notes(1000, 50_000))
    spec = InputSpec(height=28, width=28, max_width=28, fit="character")
    assert to_tensor(open_image(file), spec).max() > 200
