"""The card of a model: what it reads, how, how well, and where it comes from.

The card and a few golden images are a zip archive appended to the ``.tflite`` file, the convention
of TFLite metadata: any TFLite tool still opens the file, and one digest covers both.

Source: https://ai.google.dev/edge/litert/models/metadata (associated files as an appended zip).
"""

from __future__ import annotations

import json
import struct
import zipfile
import zlib
from dataclasses import asdict, dataclass, field
from io import BytesIO
from typing import Annotated, Literal, get_args

import msgspec

from contract.errors import ModelError
from recognition.charset import Charset

CARD_FILE = "card.json"
GOLDEN_FOLDER = "golden/"
CARD_VERSION = 1
MAX_FILE_BYTES = 16 * 1024 * 1024  # of one file of the archive, unpacked: a card is a few kB
MAX_INPUT_PIXELS = 4_000_000  # a nonsensical size must not take a worker's memory
MIN_TEMPERATURE = 0.01  # what is fitted lies near 1; a nonsensical one must not divide by nothing
MAX_GOLDEN = 1000  # each worker reads them all before it takes a model; a dozen are usual
ARCHIVE_FAULTS = (
    zipfile.BadZipFile,
    KeyError,  # no such file in it
    zlib.error,
    NotImplementedError,  # of a version or a compression that zipfile does not know
    RuntimeError,  # encrypted
    ValueError,
    EOFError,
    OSError,
    struct.error,
)
CARD_FAULTS = (
    LookupError,
    TypeError,
    ValueError,
    OverflowError,
    RecursionError,
    msgspec.ValidationError,
)

DecoderName = Literal["ctc", "argmax"]
Fit = Literal["stretch", "keep_aspect", "character"]
Temperature = Annotated[float, msgspec.Meta(ge=MIN_TEMPERATURE, le=1 / MIN_TEMPERATURE)]


@dataclass(frozen=True, slots=True)
class InputSpec:
    """The pixels that a model takes: grey, uint8, (n, height, width, 1).

    Attributes:
        height: in pixels, fixed.
        width: in pixels; the least one where the aspect is kept.
        fit: ``stretch`` to exactly this size, ``keep_aspect`` at this height, or ``character``: the
            one character of the image, light on black, as EMNIST would have it.
        max_width: in pixels, the most a kept aspect may ask for.
        width_step: in pixels; a kept aspect is widened to a multiple of it, so that images of any
            width come in a few shapes, each of which an interpreter is kept for.

    Raises:
        ModelError: the size is nonsense.
    """

    height: int
    width: int
    fit: Fit = "stretch"
    max_width: int = 1024
    width_step: int = 1

    def __post_init__(self) -> None:
        """Refuse what would take a worker's memory."""
        sides = (self.height, self.width, self.max_width)
        if min(*sides, self.width_step) < 1 or self.height * max(sides[1:]) > MAX_INPUT_PIXELS:
            raise ModelError(f"the card inside the model cannot be used: input of {self}")

    @property
    def told(self) -> str:
        """Say height and width in px; the height alone where the width is the image's."""
        is_free = self.fit == "keep_aspect"
        return f"{self.height} high" if is_free else f"{self.height}x{self.width}"


@dataclass(frozen=True, slots=True)
class Golden:
    """One image inside the model file, and the text that every runtime must read in it."""

    file: str
    text: str


@dataclass(frozen=True, slots=True)
class ModelCard:
    """What a person and a worker need to know of a model.

    Attributes:
        name: the model's name, ``captcha`` say.
        symbols: the charset, in class order.
        decoder: how its logits become text.
        input: the pixels it takes.
        metrics: measured figures; names say on what, values are in [0, 1] unless named otherwise.
        provenance: command line, data, seed, versions, date of training.
        golden: images of known text inside the file.
        temperature: divides the logits, so that the confidence is how often the text is right; 1
            on a card without one. Texts do not depend on it.

    Raises:
        ModelError: the symbols are no charset.
    """

    name: str
    symbols: str
    decoder: DecoderName
    input: InputSpec
    metrics: dict[str, float] = field(default_factory=dict)
    provenance: dict[str, str] = field(default_factory=dict)
    golden: Annotated[tuple[Golden, ...], msgspec.Meta(max_length=MAX_GOLDEN)] = ()
    temperature: Temperature = 1.0

    def __post_init__(self) -> None:
        """Refuse symbols that could not be decoded without doubt."""
        _ = self.charset

    @property
    def charset(self) -> Charset:
        """The symbols as a charset."""
        return Charset(self.symbols)

    @property
    def shown_symbols(self) -> str:
        """The symbols as a person can see them: a space as U+2423, the open box."""
        return self.symbols.replace(" ", "\N{OPEN BOX}")

    def told(self, allowed: str | None = None) -> str:
        """Say in a line what the model reads, and to which symbols a job keeps it."""
        kept = "" if allowed is None else f"; allowed: {allowed}"
        return f"model {self.name} reads {len(self.symbols)} symbols: {self.shown_symbols}{kept}"

    @property
    def reads_one_symbol(self) -> bool:
        """Whether an image holds a single character, rather than a text of any length."""
        return self.decoder == "argmax"

    def to_json(self) -> str:
        """Write the card as the JSON that stands in the model file."""
        return json.dumps({"version": CARD_VERSION, **asdict(self)}, indent=1, sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> ModelCard:
        """Read a card; unknown fields are ignored, so that an older worker reads a newer card.

        Raises:
            ModelError: it is no card, or of a version that we do not know.
        """
        try:
            fields = json.loads(text)
            if fields["version"] != CARD_VERSION:
                raise ValueError(f"version {fields['version']}, known is {CARD_VERSION}")
            fit = fields["input"]["fit"]
            if fit not in get_args(Fit):  # by name: a newer one is what an old worker meets
                raise ValueError(f"fit {fit!r}, known are {', '.join(get_args(Fit))}")
            return msgspec.convert(fields, cls)
        except CARD_FAULTS as error:
            raise ModelError(f"the card inside the model cannot be used: {error!r}") from error


def append_card(model: bytes, card: ModelCard, golden_files: dict[str, bytes]) -> bytes:
    """Append a card and its golden images to a plain ``.tflite`` file.

    Args:
        model: the flatbuffer, without a card.
        card: the card; each of its ``golden`` names a key of ``golden_files``.
        golden_files: file name to bytes.
    """
    packed = BytesIO()
    packed.write(model)
    with zipfile.ZipFile(packed, "a", zipfile.ZIP_DEFLATED) as archive:
        _add(archive, CARD_FILE, card.to_json().encode())
        for golden in card.golden:
            _add(archive, GOLDEN_FOLDER + golden.file, golden_files[golden.file])
    return packed.getvalue()


def read_card(model: bytes) -> ModelCard:
    """Read the card of a model file.

    Raises:
        ModelError: the file carries no card, or one that cannot be used.
    """
    return ModelCard.from_json(_read(model, CARD_FILE).decode(errors="replace"))


def read_golden(model: bytes, golden: Golden) -> bytes:
    """Read the bytes of one golden image of a model file."""
    return _read(model, GOLDEN_FOLDER + golden.file)


def _add(archive: zipfile.ZipFile, name: str, data: bytes) -> None:
    fixed = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))  # same card, same digest
    archive.writestr(fixed, data, zipfile.ZIP_DEFLATED)


def _read(model: bytes, name: str) -> bytes:
    try:
        with zipfile.ZipFile(BytesIO(model)) as archive, archive.open(name) as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except ARCHIVE_FAULTS as error:
        message = f"the model carries no {name}: make it with `pifleet export`"
        raise ModelError(message) from error
    if len(data) > MAX_FILE_BYTES:
        raise ModelError(f"{name} in the model unpacks to more than {MAX_FILE_BYTES} bytes")
    return data
