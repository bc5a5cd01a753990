"""Every bad image gets the outcome that docs/failures.md promises, soon and in little memory."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

from contract.reasons import Reason
from recognition.decoding import Reading
from recognition.recogniser import Recogniser
from tests.support.bad_images import IMAGES, READ, TEXT, BadImage
from tests.support.failures_table import table
from tests.support.make_tiny_model import TINY_MODEL
from tests.support.stripes import png
from workers.pipeline import read_bytes

SLOWEST_S = 5.0  # of a core, whoever shares it; far more than any needs
DEEP = """
from io import BytesIO
import numpy as np
from PIL import Image
from recognition.images import MAX_PIXELS, open_image

side = int(MAX_PIXELS**0.5)
file = BytesIO()
Image.fromarray(np.zeros((side, side), np.uint16)).save(file, "PNG", compress_level=1)
open_image(file.getvalue())
status = open("/proc/self/status").read()  # getrusage would tell of the parent before the exec, too
print(int(status.split("VmHWM:")[1].split()[0]) // 1024)
"""
DEEP_MB = 300  # a Pi's process may have about this much; 64-bit copies took 505


@pytest.fixture(scope="module")
def recogniser() -> Recogniser:
    return Recogniser(TINY_MODEL.read_bytes())


@pytest.mark.parametrize("image", IMAGES, ids=lambda image: image.name)
def test_image_has_its_outcome(image: BadImage, recogniser: Recogniser) -> None:
    data = image.make()
    started = time.process_time()
    row = read_bytes(0, data, recogniser, None)
    assert (row.reason or READ) == image.outcome, row.detail
    assert row.text == (TEXT if image.outcome == READ else None)
    assert time.process_time() - started < SLOWEST_S, "its chunk's other images wait for it"


def test_table_of_images_is_what_is_tested() -> None:
    assert table("Images") == {image.name: image.outcome for image in IMAGES}


def test_largest_16_bit_image_needs_little_memory() -> None:
    command = [sys.executable, "-c", DEEP]
    most_mb = int(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    assert 50 < most_mb < DEEP_MB


def test_model_that_gives_no_number_is_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    recogniser = Recogniser(TINY_MODEL.read_bytes())
    nothing = [Reading("A", float("nan"))]
    monkeypatch.setattr(recogniser, "read", lambda images, decoder: nothing)
    assert read_bytes(0, png(TEXT), recogniser, None).reason is Reason.MODEL
