"""Print what a runtime reads in drawn images: run by the interpreter of another environment.

``python -m tests.support.tflite_readings MODEL COUNT`` prints JSON: the runtime, the number of its
golden images verified, and the texts. It needs numpy, Pillow and a TFLite runtime, no Celery.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from recognition.images import open_image, to_tensor
from recognition.interpreter import runtime_name
from recognition.recogniser import Recogniser, verify_golden
from tests.support.stripes import png, some_text


def readings(model: bytes, count: int) -> list[str]:
    """Read images whose true texts are those of ``some_text``."""
    recogniser = Recogniser(model)
    spec = recogniser.card.input
    tensors = [to_tensor(open_image(png(some_text(seed))), spec) for seed in range(count)]
    return [recogniser.read([tensor], None)[0].text for tensor in tensors]


def main() -> None:
    """Read, and print."""
    model = Path(sys.argv[1]).read_bytes()
    said = {
        "runtime": runtime_name(),
        "golden": verify_golden(model),
        "texts": readings(model, int(sys.argv[2])),
    }
    print(json.dumps(said))


if __name__ == "__main__":
    main()
