"""A worker whose decoder is killed by one kind of image, and hangs at another.

It stands for a fault in a codec's C code; production code has no such hook. With HARD_LIMIT_S set,
what hangs is ended after so many seconds.
"""

from __future__ import annotations

import os
import signal
import time

from PIL import Image

import contract.clocks
import recognition.images
from recognition.card import InputSpec

POISON = b"this image kills whoever opens it"  # after an image's end, where no decoder looks
HANGS = b"this image is never decoded"
FOR_EVER_S = 3600.0

_open_image = recognition.images.open_image


def deadly_open_image(data: bytes, spec: InputSpec | None = None) -> Image.Image:
    """Open an image, and die of poison as an out-of-memory kill would end the process."""
    if data.endswith(POISON):
        os.kill(os.getpid(), signal.SIGKILL)
    if data.endswith(HANGS):
        time.sleep(FOR_EVER_S)
    return _open_image(data, spec)


if __name__ == "__main__":
    # Before the workers' modules take it from there.
    recognition.images.open_image = deadly_open_image
    contract.clocks.HARD_LIMIT_S = int(os.environ.get("HARD_LIMIT_S", contract.clocks.HARD_LIMIT_S))
    from pifleet.cli import main

    main()
