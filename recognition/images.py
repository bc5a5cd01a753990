"""From a file's bytes to pixels, with a reason for everything that can be wrong with it."""

from __future__ import annotations

import struct
import warnings
import zlib
from collections.abc import Callable
from functools import partial
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from contract.errors import ImageError
from contract.reasons import Reason
from recognition.budget.check import check_decoders, check_work
from recognition.budget.tiff import check_directories
from recognition.card import InputSpec
from recognition.character.foreground import draw_character
from recognition.plain_png import open_plain_png

FORMATS = ("PNG", "JPEG", "GIF", "BMP", "WEBP", "PPM", "TIFF")  # nothing that runs other programs
SUFFIXES = frozenset(  # of their files
    (".png", ".jpg", ".jpeg", ".gif", ".bmp", ".webp", ".ppm", ".pgm", ".pbm", ".tif", ".tiff")
)
SIGNATURES = (b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"BM", b"RIFF", b"II*\0", b"MM\0*")
MAX_PIXELS = 16_000_000  # a phone's photograph passes; a bomb of 100 Mpx does not
MAX_WEBP_PIXELS = 12_200_000  # its decoder keeps three copies of 4 bytes a pixel beside the image
MAX_SIDE = 65_535  # JPEG's own; rows cost memory too: an image of 1x16000000 took 870 MB
BAND_PIXELS = 1_000_000
REDUCING_GAP = 2  # times the size that is resized to: what Pillow's own thumbnails keep
CHARACTER_PX = 640  # a character is looked for in 160 pixels, and again where it is small
JPEG_COLOURS = ("L", "RGB")  # of those whose first component is the brightness
DECODER_FAULTS = (
    OSError,
    SyntaxError,  # Pillow's word for a broken PNG chunk
    ValueError,
    IndexError,
    KeyError,
    TypeError,
    AttributeError,
    EOFError,
    NotImplementedError,
    struct.error,
    zlib.error,
    OverflowError,
    MemoryError,
    RuntimeError,
)


def open_image(data: bytes, spec: InputSpec | None = None) -> Image.Image:
    """Decode one still image to 8-bit grey.

    Args:
        data: a whole file in one of ``FORMATS``.
        spec: the input that it is for. A large JPEG is then decoded at the smallest of JPEG's own
            scales (1/2, 1/4, 1/8) that leaves more detail than the input takes.

    Returns:
        An image of mode ``L``; transparency lies on white.

    Raises:
        ImageError: with one of the reasons empty, not_an_image, truncated, damaged,
            too_many_pixels, too_complex or animated.
    """
    return _opened(data, _grey, spec)


def open_coloured(data: bytes, *, most_px: int) -> Image.Image:
    """Decode one still image for a person's eye.

    Args:
        data: a whole file in one of ``FORMATS``.
        most_px: a larger side is reduced to it.

    Returns:
        An image of mode ``RGB``, or ``L`` where it has no colour; transparency lies on white.

    Raises:
        ImageError: as of ``open_image``.
    """
    return _opened(data, partial(_coloured, most_px=most_px))


def _opened(
    data: bytes, convert: Callable[[Image.Image], Image.Image], spec: InputSpec | None = None
) -> Image.Image:
    if not data:
        raise ImageError(Reason.EMPTY)
    try:
        return _decode(data, convert, spec)
    except UnidentifiedImageError:
        reason = Reason.DAMAGED if data.startswith(SIGNATURES) else Reason.NOT_AN_IMAGE
        raise ImageError(reason, f"starts with {data[:12]!r}") from None
    except Image.DecompressionBombError as error:
        raise ImageError(Reason.TOO_MANY_PIXELS, str(error)) from error
    except DECODER_FAULTS as error:
        raise ImageError(_fault_reason(error), str(error)[:200]) from error


def load_tensor(data: bytes, spec: InputSpec) -> NDArray[np.uint8]:
    """Decode a file and fit it to a model's input; see ``open_image`` and ``to_tensor``."""
    return to_tensor(open_image(data, spec), spec)


def to_tensor(image: Image.Image, spec: InputSpec) -> NDArray[np.uint8]:
    """Fit a grey image to a model's input.

    Args:
        image: mode ``L``.
        spec: the model's input; ``stretch`` fits exactly its size, ``keep_aspect`` its height
            and a width of at least ``spec.width``, a multiple of ``spec.width_step``, padded on the
            right with the image's border,
            ``character`` exactly its size with the one character in it, turned as EXIF says.

    Returns:
        (h, w, 1) uint8, 0 black to 255 white; of a character 0 background to 255 foreground.

    Raises:
        ImageError: ``blank``, where a character is asked for and nothing is drawn.
    """
    if spec.fit == "character":
        return draw_character(_upright(image), spec.height, spec.width)
    if spec.fit == "stretch":
        return _stretch(image, spec.width, spec.height)
    width = max(1, round(image.width * spec.height / image.height))
    pixels = _stretch(image, min(width, spec.max_width), spec.height)
    wanted = min(-(-pixels.shape[1] // spec.width_step) * spec.width_step, spec.max_width)
    missing = max(spec.width, wanted) - pixels.shape[1]
    if missing <= 0:
        return pixels
    return np.pad(pixels, ((0, 0), (0, missing), (0, 0)), mode="edge")


def _upright(image: Image.Image) -> Image.Image:
    """Turn a photograph as the camera was held; an L that lies is read as something else."""
    try:
        _check_notes(image)
        return ImageOps.exif_transpose(image)
    except (ImageError, *DECODER_FAULTS):  # damaged metadata is no reason to refuse the pixels
        return image


def _check_notes(image: Image.Image) -> None:
    """Refuse notes that name the same bytes over and over; Pillow would copy them each time."""
    notes = image.info.get("exif", b"")
    profile = image.info.get("Raw profile type exif")
    if not notes and isinstance(profile, str):  # as ImageMagick writes it: a name, a length, hex
        notes = bytes.fromhex("".join(profile.split("\n")[3:]))
    if isinstance(notes, bytes):
        check_directories(notes.removeprefix(b"Exif\0\0"))


def _stretch(image: Image.Image, width: int, height: int) -> NDArray[np.uint8]:
    if image.size != (width, height):
        image = image.resize((width, height), Image.Resampling.BILINEAR, reducing_gap=REDUCING_GAP)
    return np.asarray(image, dtype=np.uint8)[:, :, None]


def _decode(
    data: bytes, convert: Callable[[Image.Image], Image.Image], spec: InputSpec | None
) -> Image.Image:
    plain = open_plain_png(data)
    if plain is not None:
        return convert(plain)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # odd metadata is no reason to refuse the pixels
        check_work(data)
        with Image.open(BytesIO(data), formats=FORMATS) as image:
            _check(image)
            check_decoders(image, size=len(data))
            if spec is not None and image.mode in JPEG_COLOURS:
                image.draft("L", _enough(spec))  # JPEG's own brightness: no colours, no copies
            image.load()
            return convert(image)


def _enough(spec: InputSpec) -> tuple[int, int]:
    """Tell the size that an image needs at least; resizing would smooth what is beyond."""
    if spec.fit == "character":
        return (CHARACTER_PX, CHARACTER_PX)
    width = spec.width if spec.fit == "stretch" else 1  # else as wide as its height makes it
    return (REDUCING_GAP * width, REDUCING_GAP * spec.height)


def _check(image: Image.Image) -> None:
    most = MAX_WEBP_PIXELS if image.format == "WEBP" else MAX_PIXELS
    size = f"{image.width}x{image.height}"
    if image.width * image.height > most:
        raise ImageError(Reason.TOO_MANY_PIXELS, f"{size} is over {most} pixels")
    if max(image.size) > MAX_SIDE:
        raise ImageError(Reason.TOO_MANY_PIXELS, f"{size}: a side is over {MAX_SIDE} pixels")
    # Not n_frames: it reads every frame, and 30,000 pages of a TIFF took it 18 s.
    if getattr(image, "is_animated", False) and image.format != "MPO":
        raise ImageError(Reason.ANIMATED, "more than one frame")


def _grey(image: Image.Image) -> Image.Image:
    """Bring an image to 8-bit grey, some rows at a time: whole copies of 16 Mpx took 400 MB."""
    if image.mode == "L":
        return image.copy()
    top = _brightest(image) if image.mode == "F" else 1.0
    if image.width * image.height <= BAND_PIXELS:
        return _band_grey(image, top)
    grey = Image.new("L", image.size)
    grey.info = image.info  # with the camera's notes
    rows = max(1, BAND_PIXELS // max(1, image.width))
    for start in range(0, image.height, rows):
        band = image.crop((0, start, image.width, min(image.height, start + rows)))
        grey.paste(_band_grey(band, top), (0, start))
    return grey


def _coloured(image: Image.Image, *, most_px: int) -> Image.Image:
    """Reduce first: a copy in colour of 16 Mpx takes 64 MB."""
    if image.mode in ("L", "I", "F") or image.mode.startswith("I;"):
        image = _grey(image)
    elif image.mode == "P":
        image = image.convert("RGBA" if "transparency" in image.info else "RGB")
    image.thumbnail((most_px, most_px), Image.Resampling.BILINEAR)
    image = _upright(image)
    if image.mode == "L":
        return image
    if image.mode in ("LA", "PA", "RGBA", "La", "RGBa") or "transparency" in image.info:
        over = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", over.size, "white"), over).convert("RGB")
    return image.convert("RGB")


def _band_grey(band: Image.Image, top: float) -> Image.Image:
    """Bring a part to grey; 16-bit by its range, floats by the whole image's brightest."""
    if band.mode.startswith("I"):
        return Image.fromarray((np.asarray(band).clip(0, 65535) // 257).astype(np.uint8))
    if band.mode == "F":
        values = np.nan_to_num(np.asarray(band)).clip(0, top)
        return Image.fromarray((values * (255.0 / top)).astype(np.uint8))
    if band.mode in ("LA", "PA", "RGBA", "La", "RGBa") or "transparency" in band.info:
        over = band.convert("RGBA")
        white = Image.new("RGBA", over.size, "white")
        return Image.alpha_composite(white, over).convert("L")
    return band.convert("L")


def _brightest(image: Image.Image) -> float:
    """Find the largest value of a float image, 1 at least; infinity counts as the largest float."""
    rows = max(1, BAND_PIXELS // max(1, image.width))
    starts = range(0, image.height, rows)
    bands = (image.crop((0, at, image.width, min(image.height, at + rows))) for at in starts)
    return max(1.0, *(float(np.nan_to_num(np.asarray(band)).max()) for band in bands))


def _fault_reason(error: BaseException) -> Reason:
    words = str(error).lower()
    if "truncated" in words or "unexpected end" in words or isinstance(error, EOFError):
        return Reason.TRUNCATED
    return Reason.DAMAGED
