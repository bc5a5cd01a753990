"""A model that reads: from images as tensors to texts with their confidences."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contract.errors import ModelError
from recognition.card import ModelCard, read_card, read_golden
from recognition.decoding import Decoder, FloatArray, Reading, make_decoder
from recognition.images import load_tensor
from recognition.interpreter import Interpreter, load_interpreter

KEPT_SHAPES = 12  # of a model of free width: an interpreter of `words` takes 3 MB beside its pixels


class Recogniser:
    """A model that is ready to read; one a process, made after any fork, for one thread."""

    def __init__(self, model: bytes, *, only: str | None = None) -> None:
        self.card: ModelCard = read_card(model)
        self._decoder = make_decoder(self.card)
        self._model, self._only = model, only
        first = load_interpreter(model, only=only)
        self._input = first.get_input_details()[0]
        self._output = first.get_output_details()[0]
        self._levels = _levels(self._output)
        self._check_shapes()
        self._kept = OrderedDict({tuple(map(int, self._input["shape"])): first})

    def read(
        self, images: Sequence[NDArray[np.uint8]], decoder: Decoder | None = None
    ) -> list[Reading]:
        """Read images one by one: a batch was measured to be no faster.

        Args:
            images: each (h, w, 1) uint8 as ``to_tensor`` makes them.
            decoder: of this model, made once for many images; None writes all of its symbols.
        """
        decoder = decoder or self._decoder
        return [decoder.read(self.logits(image)[None])[0] for image in images]

    def logits(self, image: NDArray[np.uint8]) -> FloatArray:
        """Run the network on one image: (h, w, 1) uint8 to (t, k) float32."""
        interpreter = self._interpreter((1, *image.shape))
        interpreter.set_tensor(self._input["index"], image[None])
        interpreter.invoke()
        raw = interpreter.get_tensor(self._output["index"])[0, 0]
        if self._levels is not None:
            raw = self._levels.take(raw.view(np.uint8))
        values: FloatArray = raw.astype(np.float32, copy=False)
        return values

    def _interpreter(self, shape: tuple[int, ...]) -> Interpreter:
        """Take the interpreter of a shape: resizing one takes as long as reading an image."""
        kept = self._kept.get(shape)
        if kept is None:
            kept = load_interpreter(self._model, only=self._only)
            kept.resize_tensor_input(self._input["index"], list(shape))
            kept.allocate_tensors()
            self._kept[shape] = kept
            if len(self._kept) > KEPT_SHAPES:
                self._kept.popitem(last=False)
        self._kept.move_to_end(shape)
        return kept

    def _check_shapes(self) -> None:
        found, named = self._output["shape"][-1], self._decoder.classes
        if found != named:
            raise ModelError(f"the model writes {found} classes, its card names {named}")
        if self._input["dtype"] != np.uint8:
            raise ModelError(f"the model takes {self._input['dtype'].__name__}, not uint8")


def _levels(output: dict[str, Any]) -> FloatArray | None:
    """List what each byte of a quantized output stands for; None where it is not quantized."""
    if output["dtype"] != np.int8:
        return None
    scale, zero = output["quantization"]
    steps = np.arange(256, dtype=np.uint8).view(np.int8).astype(np.float32)
    return (steps - np.float32(zero)) * np.float32(scale)


def verify_golden(model: bytes, *, only: str | None = None) -> int:
    """Read the golden images inside a model, and count them.

    Raises:
        ModelError: one is read otherwise than its card says.
    """
    recogniser = Recogniser(model, only=only)
    for golden in recogniser.card.golden:
        pixels = load_tensor(read_golden(model, golden), recogniser.card.input)
        text = recogniser.read([pixels])[0].text
        if text != golden.text:
            wanted = f"reads {text!r} in {golden.file}, its card says {golden.text!r}"
            raise ModelError(f"model {recogniser.card.name} {wanted}: do not use it here")
    return len(recogniser.card.golden)
