"""Word images as TFRecord: what ``annotations.jsonl`` says of each, with its image, as an Example.

``file``, ``text``, ``kind``, ``font``, ``cells`` and ``image`` (the bytes of a PNG file) hold one
bytes value each, ``boxes`` four floats a symbol: left, top, right, bottom in px. An image without
text has an empty one.

Source: the format is that of https://www.tensorflow.org/tutorials/load_data/tfrecord
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from contract.errors import OutputError
from contract.processes import spread
from training.words.draw_set import CHUNK, annotation, png
from training.words.samples import WordSet, draw_sample

RECORDS_FILE = "words.tfrecord"


def draw_records(
    word_set: WordSet, folder: Path, *, n: int, workers: int, progress: Callable[[int], None]
) -> None:
    """Draw ``n`` images into one file of records; half a set never has its name.

    Raises:
        OutputError: the file cannot be written.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    import tensorflow as tf

    path = folder / RECORDS_FILE
    partial_path = folder / f".{RECORDS_FILE}"  # TensorFlow opens files itself, and by their names
    try:
        with tf.io.TFRecordWriter(str(partial_path)) as records:
            for part in spread(partial(_draw_chunk, word_set), n, workers, chunk=CHUNK):
                for told in part:
                    records.write(_example(tf.train, told).SerializeToString(deterministic=True))
                progress(len(part))
        partial_path.replace(path)
    except tf.errors.OpError as error:
        raise OutputError(f"{path} cannot be written: {error.message}") from error
    finally:
        partial_path.unlink(missing_ok=True)


def _draw_chunk(word_set: WordSet, chunk: range) -> list[dict[str, Any]]:
    samples = ((index, draw_sample(word_set, index)) for index in chunk)
    return [annotation(sample, index) | {"image": png(sample)} for index, sample in samples]


def _example(train: Any, told: dict[str, Any]) -> Any:
    boxes = [side for box in told.pop("boxes") for side in box]
    features = {"boxes": train.Feature(float_list=train.FloatList(value=boxes))}
    for key, value in told.items():
        data = value if isinstance(value, bytes) else value.encode()
        features[key] = train.Feature(bytes_list=train.BytesList(value=[data]))
    return train.Example(features=train.Features(feature=features))
