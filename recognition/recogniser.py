"""A model that reads: from images as tensors to texts with their confidences."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from contract.errors import ModelError
from recognition.card import ModelCard, read_card, read_golden
from recognition.decoding import Decoder, FloatArray, Reading, make_decoder
from recognition.images import load_tensor
from recognition.interpreter import load_interpreter


class Recogniser:
    """A model that is ready to read; one a process, made after any fork, for one thread."""

    def __init__(self, model: bytes, *, only: str | None = None) -> None:
        self.card: ModelCard = read_card(model)
        self._decoder = make_decoder(self.card)
        self._interpreter = load_interpreter(model, only=only)
        self._input = self._interpreter.get_input_details()[0]
        self._output = self._interpreter.get_output_details()[0]
        self._check_shapes()
        self._shape = tuple(self._input["shape"])

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
        self._fit(image.shape)
        self._interpreter.set_tensor(self._input["index"], image[None])
        self._interpreter.invoke()
        raw = self._interpreter.get_tensor(self._output["index"])[0, 0]
        values: FloatArray = raw.astype(np.float32)
        if raw.dtype == np.int8:
            scale, zero = self._output["quantization"]
            values = (values - np.float32(zero)) * np.float32(scale)
        return values

    def _fit(self, shape: tuple[int, ...]) -> None:
        wanted = (1, *shape)
        if wanted == self._shape:
            return
        self._interpreter.resize_tensor_input(self._input["index"], list(wanted))
        self._interpreter.allocate_tensors()
        self._shape = wanted

    def _check_shapes(self) -> None:
        found, named = self._output["shape"][-1], self._decoder.classes
        if found != named:
            raise ModelError(f"the model writes {found} classes, its card names {named}")
        if self._input["dtype"] != np.uint8:
            raise ModelError(f"the model takes {self._input['dtype'].__name__}, not uint8")


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
