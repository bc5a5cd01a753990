"""The word for what is over its budget."""

from __future__ import annotations

from contract.errors import ImageError
from contract.reasons import Reason


def too_complex(detail: str) -> ImageError:
    """Build the refusal of a file that would cost too much to decode."""
    return ImageError(Reason.TOO_COMPLEX, detail)
