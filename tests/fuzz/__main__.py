"""Fuzz the decoder path with atheris: ``python -m tests.fuzz [WORK_FOLDER] [-libfuzzer=...]``.

Starts from the kept corpus and writes what it finds new into the folder; ends with a traceback and
a ``crash-...`` file at the first finding. See CONTRIBUTING.md for the whole run.
"""

from __future__ import annotations

import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["PIL", "recognition"]):
    from PIL import Image

    from tests.fuzz.reader import Reader

    Image.init()  # imports the decoders, here where their branches are counted

CORPUS = Path(__file__).parent / "corpus"
WORDS = Path(__file__).parent / "words.dict"
LIMITS = (
    "-rss_limit_mb=1500",  # the largest image allowed takes a third of it
    "-timeout=20",  # seconds for one input; a chunk's other images wait for it
    "-max_len=32768",  # an image of this size has every structure that a large one has
)


def main() -> None:
    """Run until something is found, or until ``-max_total_time``, ``-runs`` or Ctrl-C."""
    given = sys.argv[1:]
    is_one_file = any(Path(argument).is_file() for argument in given)
    corpus = [] if is_one_file else [str(CORPUS)]  # libFuzzer reads files, or fills folders
    again = f"{sys.executable} -m tests.fuzz"  # a merge starts itself anew, through a shell
    atheris.Setup([again, *LIMITS, f"-dict={WORDS}", *given, *corpus], Reader().read_twice)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
