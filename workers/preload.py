"""Import what every pool process needs before the fork: they then share its pages."""

from __future__ import annotations

import gc
import importlib
import logging

from contract.errors import ServiceError
from recognition.interpreter import runtime_name

log = logging.getLogger(__name__)

MODULES = (
    "aiohttp",
    "numpy",
    "PIL.BmpImagePlugin",
    "PIL.GifImagePlugin",
    "PIL.JpegImagePlugin",
    "PIL.PngImagePlugin",
    "PIL.PpmImagePlugin",
    "PIL.TiffImagePlugin",
    "PIL.WebPImagePlugin",
)
OPTIONAL = ("uvloop",)


def preload() -> None:
    """Import, and keep the garbage collector from touching (and so copying) what came of it.

    No interpreter and no loop is made here: neither survives a fork.
    """
    for name in MODULES:
        importlib.import_module(name)
    for name in OPTIONAL:
        try:
            importlib.import_module(name)
        except ImportError:
            log.debug("not-installed module=%s", name)
    try:
        runtime_name()
    except ServiceError as error:  # each chunk will say so, with an outcome of its own
        log.error("no-runtime error=%s", error)
    gc.collect()
    gc.freeze()
