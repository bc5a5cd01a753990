"""A worker whose decoder is killed by one kind of image.

It stands for a fault in a codec's C code; production code has no such hook.
"""

from __future__ import annotations

import os
import signal

from PIL import Image

import recognition.images
from recognition.card import InputSpec

POISON = b"this image kills whoever opens it"  # after an image's end, where no decoder looks

_open_image = recognition.images.open_image


def deadly_open_image(data: bytes, spec: InputSpec | None = None) -> Image.Image:
    """Open an image, and die of poison as an out-of-memory kill would end the process."""
    if data.endswith(POISON):
        os.kill(os.getpid(), signal.SIGKILL)
    return _open_image(data, spec)


if __name__ == "__main__":
    # Before the workers' modules take it from there.
    recognition.images.open_image = deadly_open_image
    from pifleet.cli import main

    main()
