"""Why an image got no text: the only words that stand in a failures CSV."""

from __future__ import annotations

from enum import StrEnum


class Reason(StrEnum):
    """One word for each way in which an image can fail."""

    BAD_URL = "bad_url"
    """Not an absolute http(s) URL."""
    FORBIDDEN_ADDRESS = "forbidden_address"
    """The host is, or resolves to, an address that the fetch policy refuses."""
    DNS = "dns"
    """The host name does not resolve."""
    CONNECT = "connect"
    """No connection, or it broke before an answer came."""
    TIMEOUT = "timeout"
    """The origin was too slow."""
    HTTP_BUSY = "http_busy"
    """408, 425, 429 or 5xx, after all retries."""
    HTTP_STATUS = "http_status"
    """Any other status that is not 200."""
    REDIRECTS = "redirects"
    """Too many redirects, or one without a target."""
    CUT_SHORT = "cut_short"
    """The body ended before its announced length."""
    TOO_LARGE = "too_large"
    """More bytes than the cap allows."""
    RATE_LIMIT = "rate_limit"
    """Its turn under --rate or --per-host did not come in time; it is sent again."""
    EMPTY = "empty"
    """Zero bytes."""
    NOT_AN_IMAGE = "not_an_image"
    """No image format that we read; an HTML page with status 200, say."""
    TRUNCATED = "truncated"
    """The file ends in the middle of its pixels."""
    DAMAGED = "damaged"
    """The decoder refuses the file."""
    TOO_MANY_PIXELS = "too_many_pixels"
    """Larger than the pixel cap."""
    TOO_COMPLEX = "too_complex"
    """Its structure would cost far more time or memory than its pixels."""
    ANIMATED = "animated"
    """More than one frame: it is not clear which one to read."""
    BLANK = "blank"
    """A model of single characters finds nothing drawn on it."""
    MODEL = "model"
    """The model could not read this image."""
    POISON = "poison"
    """Delivered several times, and each worker died of it."""
    CANCELLED = "cancelled"
    """The job was cancelled before this image was read."""


PASSING = frozenset(
    {
        Reason.DNS,
        Reason.CONNECT,
        Reason.TIMEOUT,
        Reason.HTTP_BUSY,
        Reason.CUT_SHORT,
        Reason.RATE_LIMIT,
        Reason.CANCELLED,
    }
)
"""Reasons that may pass: another worker, a little later, may succeed."""

NO_ATTEMPT = frozenset({Reason.RATE_LIMIT, Reason.CANCELLED})
"""Reasons that are nobody's fault: such an answer does not count as an attempt."""
