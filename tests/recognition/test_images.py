"""Whatever the bytes: pixels, or a reason from one enumeration."""

from __future__ import annotations

import random
import struct
import subprocess
import sys
import zlib
from io import BytesIO

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw, ImageFont

from contract.errors import ImageError
from contract.reasons import Reason
from recognition.card import Fit, InputSpec
from recognition.images import FORMATS, MAX_PIXELS, load_tensor, open_image, to_tensor
from tests.support.costly_images import chunk
from tests.support.stripes import draw, encoded, png

STRIPES = np.asarray(draw("AB"), dtype=np.int16)
LOSSY = {"JPEG", "WEBP", "GIF"}


def png_of_size(width: int, height: int, packed: bytes) -> bytes:
    """Put a PNG together that claims a size, with the compressed pixels given."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", packed) + chunk(b"IEND", b"")


def saved(image: Image.Image, file_format: str, **options: object) -> bytes:
    file = BytesIO()
    image.save(file, file_format, **options)
    return file.getvalue()


def outcome_of(data: bytes) -> str:
    """Name the mode of the image, or the reason why there is none."""
    try:
        return open_image(data).mode
    except ImageError as error:
        return error.reason


def reason_of(data: bytes) -> Reason:
    with pytest.raises(ImageError) as caught:
        open_image(data)
    return caught.value.reason


@pytest.mark.parametrize("file_format", FORMATS)
def test_every_format_gives_the_same_pixels(file_format: str) -> None:
    image = open_image(encoded(draw("AB"), file_format))
    assert (image.mode, image.size) == ("L", (128, 64))
    difference = np.abs(np.asarray(image, dtype=np.int16) - STRIPES)
    assert difference.mean() < (3 if file_format in LOSSY else 0.01)


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "LA", "CMYK", "YCbCr", "I;16"])
def test_every_mode_becomes_eight_bit_grey(mode: str) -> None:
    half = Image.fromarray(np.array([[0] * 8 + [255] * 8] * 8, dtype=np.uint8))
    file_format = "TIFF" if mode in ("CMYK", "YCbCr") else "PNG"
    if mode == "I;16":
        half = Image.fromarray(np.asarray(half).astype(np.uint16) * 257)
    else:
        half = half.convert(mode)
    pixels = np.asarray(open_image(saved(half, file_format)))
    assert pixels.dtype == np.uint8
    assert pixels[:, :8].max() <= 2
    assert pixels[:, 8:].min() >= 253


def test_transparency_lies_on_white() -> None:
    clear = Image.new("RGBA", (4, 4), (0, 0, 0, 0))
    assert np.asarray(open_image(saved(clear, "PNG"))).min() == 255


def test_transparent_palette_entry_lies_on_white() -> None:
    image = Image.new("P", (4, 4), 3)
    image.putpalette([0] * 768)
    assert np.asarray(open_image(saved(image, "PNG", transparency=3))).min() == 255


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", Reason.EMPTY),
        (b"<!DOCTYPE html><html>not found</html>", Reason.NOT_AN_IMAGE),
        (b"\0" * 1000, Reason.NOT_AN_IMAGE),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", Reason.NOT_AN_IMAGE),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", Reason.NOT_AN_IMAGE),
        (png("ABCDeF")[:80], Reason.TRUNCATED),
        (png("ABCDeF")[:33], Reason.DAMAGED),
        (encoded(draw("AB").convert("RGB"), "JPEG")[:500], Reason.TRUNCATED),
        (png_of_size(128, 64, b"no zlib at all"), Reason.DAMAGED),
        (png_of_size(4001, 4000, b""), Reason.TOO_MANY_PIXELS),
        (png_of_size(60000, 60000, b""), Reason.TOO_MANY_PIXELS),
    ],
    ids=[
        *("empty", "html", "zeros", "postscript", "svg", "cut png", "png header only"),
        *("cut jpeg", "no zlib", "over the cap", "bomb"),
    ],
)
def test_bad_bytes_get_their_reason(data: bytes, reason: Reason) -> None:
    assert reason_of(data) is reason


def test_compressed_bomb_in_a_small_image_is_survived() -> None:
    bomb = png_of_size(128, 64, zlib.compress(b"\0" * 50_000_000))
    assert open_image(bomb).size == (128, 64)


def test_text_bomb_is_refused() -> None:
    text = chunk(b"zTXt", b"key\0\0" + zlib.compress(b"a" * 80_000_000))
    image = png("AB")
    assert reason_of(image[:33] + text + image[33:]) is Reason.DAMAGED


@pytest.mark.parametrize("file_format", ["GIF", "PNG", "WEBP", "TIFF"])
def test_animation_is_refused(file_format: str) -> None:
    frames = [draw("A"), draw("B")]
    data = saved(frames[0], file_format, save_all=True, append_images=frames[1:])
    assert reason_of(data) is Reason.ANIMATED


def test_largest_image_that_is_allowed_is_read() -> None:
    side = int(MAX_PIXELS**0.5)
    image = open_image(saved(Image.new("1", (side, side), 1), "PNG"))
    assert image.size == (side, side)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from(FORMATS), st.integers(0, 2**32))
def test_damaged_file_is_an_image_or_a_reason(file_format: str, seed: int) -> None:
    rng = random.Random(seed)
    data = bytearray(encoded(draw("AB"), file_format))
    for _ in range(rng.randint(1, 8)):
        data[rng.randrange(len(data))] = rng.randrange(256)
    damaged = bytes(data[: rng.randint(1, len(data))]) if rng.random() < 0.5 else bytes(data)
    assert outcome_of(damaged) in {"L", *Reason}


@pytest.mark.parametrize("size", [(128, 64), (32, 16), (640, 480), (1, 1)])
def test_stretch_gives_exactly_the_input(size: tuple[int, int]) -> None:
    tensor = to_tensor(Image.new("L", size, 7), InputSpec(height=64, width=128))
    assert tensor.shape == (64, 128, 1)
    assert tensor.dtype == np.uint8
    assert set(np.unique(tensor)) == {7}


@pytest.mark.parametrize(
    ("size", "width"),
    [((320, 32), 320), ((20, 32), 160), ((640, 64), 320), ((9999, 10), 1024)],
    ids=["as it is", "padded", "halved", "capped"],
)
def test_kept_aspect_gives_the_height_and_a_fitting_width(
    size: tuple[int, int], width: int
) -> None:
    spec = InputSpec(height=32, width=160, fit="keep_aspect")
    assert to_tensor(Image.new("L", size, 9), spec).shape == (32, width, 1)


PHOTO = (4000, 3000)
MOST_MB = 12  # in grey, all of its pixels would take as many, in colour four times that


@pytest.mark.parametrize("fit", ["stretch", "keep_aspect", "character"])
def test_large_photograph_is_decoded_as_small_as_the_input_allows(fit: Fit) -> None:
    """The same pixels within what JPEG's own scaling rounds, and a quarter of the side at most."""
    spec = InputSpec(height=64, width=128, fit=fit, max_width=1024)
    data = photograph(PHOTO)
    small, whole = open_image(data, spec), open_image(data)
    assert whole.size == PHOTO
    assert small.width <= PHOTO[0] / 4
    assert small.width >= 2 * spec.width or fit == "keep_aspect"
    assert small.height >= 2 * spec.height
    near, exact = (to_tensor(image, spec).astype(int) for image in (small, whole))
    assert near.shape == exact.shape
    assert np.abs(near - exact).mean() < 4


@pytest.mark.parametrize("options", [{"keep_rgb": True}, {"progressive": True}, {"subsampling": 0}])
def test_brightness_of_a_jpeg_is_what_its_colours_make(options: dict[str, object]) -> None:
    colours = Image.new("RGB", (64, 64), (200, 30, 90))
    data = saved(colours, "JPEG", quality=95, **options)
    spec = InputSpec(height=64, width=64)
    assert (
        np.abs(load_tensor(data, spec).astype(int) - 87).max() <= 3
    )  # 0.299 R + 0.587 G + 0.114 B


def test_large_photograph_takes_little_memory() -> None:
    """Measured in a process of its own, that has read a small image before."""
    script = (
        "import resource, sys; from recognition.card import InputSpec;"
        "from recognition.images import load_tensor; spec = InputSpec(64, 128);"
        "used = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024;"
        "small, large = sys.stdin.buffer.read(SIZE), sys.stdin.buffer.read();"
        "load_tensor(small, spec); before = used(); load_tensor(large, spec);"
        "print(used() - before)"
    )
    small, large = photograph((128, 64)), photograph(PHOTO)
    run = subprocess.run(
        [sys.executable, "-c", script.replace("SIZE", str(len(small)))],
        input=small + large,
        capture_output=True,
        check=True,
    )
    assert float(run.stdout) < MOST_MB


def photograph(size: tuple[int, int]) -> bytes:
    """Save a letter on lit paper as a camera would."""
    image = Image.linear_gradient("L").resize(size).convert("RGB")
    draw_on = ImageDraw.Draw(image)
    font = ImageFont.load_default(size[1] // 2)
    draw_on.text((size[0] // 3, size[1] // 5), "B", fill=(20, 20, 90), font=font)
    return saved(image, "JPEG", quality=90)
