"""What a JPEG costs: its segments, and how often its scans pass over its pixels.

Source: ITU-T T.81, annex B; libjpeg-turbo's ``jdmarker.c`` for what a decoder skips.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from recognition.budget.tiff import check_directories
from recognition.budget.work import too_complex

MARKER = re.compile(rb"\xff+([^\x00\xff])", re.DOTALL)
AFTER_SCAN = re.compile(rb"\xff+([^\x00\xff\xd0-\xd7])", re.DOTALL)  # restarts belong to a scan
WITHOUT_LENGTH = frozenset((0x01, *range(0xD0, 0xD9)))
FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
ARITHMETIC = range(0xC9, 0xD0)
PROGRESSIVE = frozenset((0xC2, 0xC6, 0xCA, 0xCE))
SCAN, END, APP1, APP2, APP13 = 0xDA, 0xD9, 0xE1, 0xE2, 0xED
SCAN_MARKER = b"\xff\xda"

MAX_SEGMENTS = 2_000  # a camera's file has twenty; Pillow reads each in Python
MAX_TABLES_BYTES = 1_000_000  # of quantisation tables and Photoshop's notes, read likewise
MAX_PADDING = 65_536  # bytes between segments, which Pillow reads one by one
MAX_PASSED = 640_000_000  # samples that all scans pass over: 40 times the largest grey image
ARITHMETIC_COST = 10  # of one sample, against Huffman's; and it needs no input to go on
MAX_COEFFICIENT_BYTES = 100_000_000  # kept until the last scan, where there are several


@dataclass(slots=True)
class JpegWork:
    """What was counted so far of one file.

    Attributes:
        planes: samples of each component, by its number.
        is_progressive: whether its pixels come in passes.
        weight: what a sample of a pass costs.
        passed: samples that the scans so far pass over, by weight.
        segments: markers with a body.
        tables: bytes that are read in Python.
        padding: bytes that belong to no segment.
        exif: the notes of the camera, whose parts are put together.
    """

    planes: dict[int, int] = field(default_factory=dict)
    is_progressive: bool = False
    weight: int = 1
    passed: int = 0
    segments: int = 0
    tables: int = 0
    padding: int = 0
    exif: bytearray = field(default_factory=bytearray)


def check_jpeg(data: bytes) -> None:
    """Refuse a JPEG of too many scans, segments or tables.

    Raises:
        ImageError: too_complex.
    """
    work, position = JpegWork(), 2
    finder = MARKER
    while (found := finder.search(data, position)) is not None:
        kind = found[1][0]
        if kind == END:
            break
        if finder is MARKER:
            work.padding += found.end() - position - 2
        position = found.end()
        if kind not in WITHOUT_LENGTH:
            body = data[position + 2 : position + int.from_bytes(data[position : position + 2])]
            position += len(body) + 2
            _count(work, kind, body)
        _check(work)
        if kind == SCAN and finder is MARKER:
            finder = AFTER_SCAN
            if _is_cheap(work, data.count(SCAN_MARKER, position)):
                break
    check_directories(bytes(work.exif))


def _count(work: JpegWork, kind: int, body: bytes) -> None:
    work.segments += 1
    if kind in FRAMES:
        _count_frame(work, kind, body)
    elif kind == SCAN:
        work.passed += _samples(work, body) * work.weight
    elif kind in (0xDB, APP13):
        work.tables += len(body)
    elif kind == APP1 and body.startswith(b"Exif\0\0"):
        work.exif += body[6:]
    elif kind == APP2 and body.startswith(b"MPF\0"):
        check_directories(body[4:])


def _count_frame(work: JpegWork, kind: int, body: bytes) -> None:
    """Read size and sampling: a component has a share of the pixels."""
    height, width = int.from_bytes(body[1:3]), int.from_bytes(body[3:5])
    parts = [(body[at], body[at + 1]) for at in range(6, len(body) - 2, 3)]
    shares = [max(1, sampling >> 4) * max(1, sampling & 15) for _, sampling in parts]
    most = max(shares, default=1)
    for (number, _), share in zip(parts, shares, strict=True):
        work.planes[number] = max(work.planes.get(number, 0), width * height * share // most)
    work.is_progressive = work.is_progressive or kind in PROGRESSIVE
    work.weight = ARITHMETIC_COST if kind in ARITHMETIC else work.weight


def _samples(work: JpegWork, scan: bytes) -> int:
    """Count the samples that a scan passes over; one that leaves some out needs them all kept."""
    numbers = [scan[at] for at in range(1, min(len(scan), 1 + 2 * scan[0]) if scan else 0, 2)]
    is_whole = not work.is_progressive and len(numbers) >= len(work.planes)
    if not is_whole and 2 * sum(work.planes.values()) > MAX_COEFFICIENT_BYTES:
        raise too_complex("more coefficients than memory is set apart for")
    largest = max(work.planes.values(), default=0)
    return sum(work.planes.get(number, largest) for number in numbers)


def _is_cheap(work: JpegWork, scans: int) -> bool:
    """Tell whether so many scans stay within the budget, whatever they pass over."""
    return work.passed + scans * sum(work.planes.values()) * work.weight <= MAX_PASSED


def _check(work: JpegWork) -> None:
    if work.passed > MAX_PASSED:
        raise too_complex("its scans pass over its pixels too often")
    if work.segments > MAX_SEGMENTS:
        raise too_complex(f"more than {MAX_SEGMENTS} segments")
    if work.tables > MAX_TABLES_BYTES or work.padding > MAX_PADDING:
        raise too_complex("too many tables, or bytes between its segments")
