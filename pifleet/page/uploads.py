"""What a browser sends along: files and fields, counted and measured before they are kept."""

from __future__ import annotations

from dataclasses import dataclass, field

from aiohttp import BodyPartReader, web
from aiohttp.http_exceptions import HttpProcessingError

MOST_FILES = 32
MOST_FIELDS = 32
MOST_BYTES = 8 * 1024 * 1024  # of a file; as many as a worker fetches
MOST_UPLOAD = 48 * 1024 * 1024  # together
MOST_FIELD = 8 * 1024
MOST_NAME = 200
FRAMING = 64 * 1024  # boundaries and headers of a whole form
PIECE = 64 * 1024


@dataclass(frozen=True, slots=True)
class UploadLimits:
    """What one form may hold.

    Attributes:
        files: how many.
        file_bytes: of each; a larger one is kept as ``None``.
        all_bytes: of them together.
    """

    files: int = MOST_FILES
    file_bytes: int = MOST_BYTES
    all_bytes: int = MOST_UPLOAD


@dataclass(frozen=True, slots=True)
class UploadedFile:
    """A file of a form; its name is whatever the other side says. No data: it was too large."""

    field: str
    name: str
    data: bytes | None


@dataclass(frozen=True, slots=True)
class Upload:
    """A form."""

    files: list[UploadedFile] = field(default_factory=list)
    fields: dict[str, str] = field(default_factory=dict)

    def named(self, field_name: str) -> list[UploadedFile]:
        """List the files of one field."""
        return [file for file in self.files if file.field == field_name]


async def read_upload(request: web.Request, limits: UploadLimits) -> Upload:
    """Read a form, and stop as soon as it is too much.

    Raises:
        HTTPException: it does not say how long it is (411), is too large, holds too many files
            (413), or is no form (400).
    """
    check_length(request, limits.all_bytes + FRAMING)
    if not request.content_type.startswith("multipart/"):
        raise web.HTTPUnsupportedMediaType(text="send a form: multipart/form-data")
    found = Upload()
    try:
        async for part in await request.multipart():
            if not isinstance(part, BodyPartReader):
                raise web.HTTPBadRequest(text="a form within a form is not read")
            await _take(part, found, limits)
    except (ValueError, HttpProcessingError) as error:
        raise web.HTTPBadRequest(text=f"the form is damaged: {error}") from error
    return found


def check_length(request: web.Request, most: int) -> None:
    """Refuse a body by what it says of its length, before any of it is read.

    Raises:
        HTTPException: 411 or 413.
    """
    if request.content_length is None:
        raise web.HTTPLengthRequired(text="say how long it is: Content-Length")
    if request.content_length > most:
        raise web.HTTPRequestEntityTooLarge(
            max_size=most,
            actual_size=request.content_length,
            text=f"too much at once: {most // 2**20} MB at most",
        )


async def _take(part: BodyPartReader, found: Upload, limits: UploadLimits) -> None:
    if part.filename is None:
        if len(found.fields) >= MOST_FIELDS:
            raise web.HTTPBadRequest(text="too many fields")
        data = await _read_capped(part, MOST_FIELD)
        if data is None:
            raise web.HTTPBadRequest(text=f"field {part.name!r:.40} is too long")
        found.fields[part.name or ""] = data.decode(errors="replace")
        return
    if len(found.files) >= limits.files:
        text = f"too many files: {limits.files} at once"
        raise web.HTTPRequestEntityTooLarge(
            max_size=limits.files, actual_size=limits.files + 1, text=text
        )
    data = await _read_capped(part, limits.file_bytes)
    found.files.append(UploadedFile(part.name or "", part.filename[:MOST_NAME], data))


async def _read_capped(part: BodyPartReader, most: int) -> bytes | None:
    """Read a part; of one that is too large nothing is kept."""
    body: bytearray | None = bytearray()
    while piece := await part.read_chunk(PIECE):
        if body is not None:
            body += piece
            if len(body) > most:
                body = None
    return None if body is None else bytes(body)
