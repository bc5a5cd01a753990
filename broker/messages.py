"""How a message is read: its size bounded first, then its version, then its fields.

Whoever holds a worker's password can write anything of any size where answers and heartbeats go.
Messages are JSON; a reader refuses an unknown version, and ignores fields that it does not know, so
that old workers and new producers get along.
"""

from __future__ import annotations

from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta

from contract.errors import MessageError

MAX_NUMBER = 2**53  # what JSON carries exactly, and SQLite takes
MAX_NAME = 200  # characters of a worker's, a host's or a runtime's name
MAX_SECONDS = 1e6  # a chunk's time decides when others count as late

Count = Annotated[int, Meta(ge=0, le=MAX_NUMBER)]
Seconds = Annotated[float, Meta(ge=0.0, le=MAX_SECONDS)]
Share = Annotated[float, Meta(ge=0.0, le=1.0)]

UNREADABLE = (msgspec.MsgspecError, UnicodeError, RecursionError)

M = TypeVar("M", bound="Message")


class Message(msgspec.Struct, frozen=True, tag_field="v"):
    """What two machines say to each other; the ``tag`` of a subclass is its version."""

    def to_json(self) -> bytes:
        """Write the message."""
        return msgspec.json.encode(self)


class _Envelope(msgspec.Struct):
    v: int


def from_json(kind: type[M], text: bytes | str, *, limit: int) -> M:
    """Read a message.

    Args:
        kind: of message.
        text: its JSON.
        limit: the most bytes that one of ours has.

    Raises:
        MessageError: it is larger, no JSON, of an unknown version, or a field does not fit.
    """
    what = kind.__name__
    if len(text) > limit:
        raise MessageError(f"{what} of {len(text)} bytes, at most {limit} are accepted")
    try:
        _check_version(msgspec.json.decode(text, type=_Envelope).v, kind)
        return msgspec.json.decode(text, type=kind)
    except UNREADABLE as error:
        raise MessageError(f"{what} cannot be read: {error}") from error


def from_object(kind: type[M], value: object) -> M:
    """Read a message that somebody has parsed from JSON already.

    Raises:
        MessageError: it is of an unknown version, or a field does not fit.
    """
    try:
        _check_version(msgspec.convert(value, _Envelope).v, kind)
        return msgspec.convert(value, kind)
    except UNREADABLE as error:
        raise MessageError(f"{kind.__name__} cannot be read: {error}") from error


def printable(text: str, *, most: int = MAX_NAME) -> str:
    """Cut a text for a person, and replace what a terminal would take for more than text."""
    cut = text[:most]
    if cut.isprintable():
        return cut
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in cut)


def make_printable(message: msgspec.Struct, *names: str, most: int = MAX_NAME) -> None:
    """Do so with fields of a message, when it is made or read."""
    for name in names:
        text: Any = getattr(message, name)
        msgspec.structs.force_setattr(message, name, printable(text, most=most))


def is_storable(text: str) -> bool:
    """Tell whether a text can be written as UTF-8: half a surrogate pair cannot."""
    return text.isascii() or not any("\ud800" <= letter <= "\udfff" for letter in text)


def _check_version(found: int, kind: type[Message]) -> None:
    known = kind.__struct_config__.tag
    if found != known:
        raise MessageError(
            f"{kind.__name__} is of version {found}, this program knows {known}:"
            " run the same version of pifleet everywhere"
        )
