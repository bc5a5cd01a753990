"""Begin a run with the weights of another run, or of a model file.

A run's weights are taken as they are. A model file holds int8 kernels with a scale a channel, and
batch normalisation folded into them. Put back into the network they read as the model does, to
within its rounding; the normalisation is given the statistics that it would have had, so that
training goes on where the model stands.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contract.errors import UserError
from recognition.card import ModelCard
from recognition.interpreter import Interpreter, load_interpreter
from recognition.model_file import ModelFile, load_model
from training.run_folder import card_of, load_weights

CONVOLUTIONS = ("CONV_2D", "DEPTHWISE_CONV_2D")
Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Folded:
    """One convolution of a model file.

    Attributes:
        kernel: (h, w, in, out), or (h, w, channels, 1) where it is depthwise; Keras's layout.
        bias: (out,).
    """

    kernel: Floats
    bias: Floats


def begin_with_run(run: Path, network: Any, card: ModelCard) -> None:
    """Give a network the weights of another run; new symbols start as its mean symbol.

    Raises:
        UserError: the run has none yet, or they are of another network.
    """
    *inner, kernel, bias = load_weights(run)
    last = _for_symbols(Folded(kernel, bias), card_of(run), card)
    try:
        network.set_weights([*inner, last.kernel, last.bias])
    except ValueError as error:
        raise UserError(f"{run} cannot be started from: {error}") from error


def begin_with_model(name: str, network: Any, *, card: ModelCard, pixels: Floats) -> ModelFile:
    """Give a network the weights of a model; symbols that are new to it start as its mean symbol.

    Args:
        name: a shipped model's, or a ``.tflite`` file.
        network: built, with random weights; of convolutions, each normalised but the last.
        card: what the network is to read.
        pixels: (n, h, w, 1), network input of images as it will be trained on.

    Returns:
        The model.

    Raises:
        ModelError: there is no such model.
        UserError: it is of another network, or another decoder.
    """
    model = load_model(name)
    if model.card.decoder != card.decoder:
        raise UserError(f"{name} is decoded by {model.card.decoder}, the run by {card.decoder}")
    folded = read_convolutions(load_interpreter(model.data))
    folded[-1] = _for_symbols(folded[-1], model.card, card)
    try:
        _put(network, folded)
    except ValueError as error:
        raise UserError(f"{name} is of another network, and cannot be started from") from error
    _settle_statistics(network, pixels)
    return model


def read_convolutions(interpreter: Interpreter) -> list[Folded]:
    """Read the convolutions of a model, in the order in which they run."""
    details: Any = interpreter
    tensors = {tensor["index"]: tensor for tensor in details.get_tensor_details()}
    found = []
    for operation in details._get_ops_details():  # neither runtime has a public way to the graph
        if operation["op_name"] in CONVOLUTIONS:
            kernel, bias = (
                _dequantised(tensors[index], interpreter) for index in operation["inputs"][1:3]
            )
            # (out, h, w, in) to (h, w, in, out), and (1, h, w, channels) to (h, w, channels, 1)
            found.append(Folded(kernel.transpose(1, 2, 3, 0), bias))
    return found


def _dequantised(tensor: dict[str, Any], interpreter: Interpreter) -> Floats:
    values: Floats = interpreter.get_tensor(tensor["index"]).astype(np.float32)
    scales = tensor["quantization_parameters"]["scales"]  # zero points of weights are 0
    if len(scales) == 0:
        return values
    shape = [1] * values.ndim
    shape[tensor["quantization_parameters"]["quantized_dimension"]] = -1
    floats: Floats = values * scales.reshape(shape)
    return floats


def _for_symbols(last: Folded, old: ModelCard, new: ModelCard) -> Folded:
    """Take the last layer's classes apart, and put them together as the new symbols need them.

    The mean of all symbols scores low wherever one of them is clear: a symbol that is never there.
    """
    blanks = int(new.decoder == "ctc")
    kernel = np.concatenate([last.kernel, last.kernel[..., blanks:].mean(-1, keepdims=True)], -1)
    bias = np.append(last.bias, last.bias[blanks:].mean())
    places = {symbol: place for place, symbol in enumerate(old.symbols, start=blanks)}
    unseen = len(bias) - 1
    taken = [*range(blanks), *(places.get(symbol, unseen) for symbol in new.symbols)]
    return Folded(kernel[..., taken], bias[taken])


def _put(network: Any, folded: Sequence[Folded]) -> None:
    """Set the kernels, and the biases as what normalisation adds; it scales nothing yet.

    Raises:
        ValueError: the network has other layers.
    """
    *inner, last = _convolutions_of(network)
    for layer, norm, one in zip(inner, _norms_of(network), folded[:-1], strict=True):
        layer.set_weights([one.kernel])
        nothing = np.zeros_like(one.bias)
        norm.set_weights([nothing + 1.0, one.bias, nothing, nothing + 1.0 - norm.epsilon])
    last.set_weights([folded[-1].kernel, folded[-1].bias])


def _settle_statistics(network: Any, pixels: Floats) -> None:
    """Give each normalisation its mean and variance on images, and undo them by its scale."""
    import keras

    from training.network import BATCH

    norms = _norms_of(network)
    seen = keras.Model(network.inputs, [norm.input for norm in norms])
    outputs = [seen.predict_on_batch(pixels[i : i + BATCH]) for i in range(0, len(pixels), BATCH)]
    for norm, *parts in zip(norms, *outputs, strict=True):
        values = np.concatenate([np.asarray(part, dtype=np.float32) for part in parts])
        mean, variance = values.mean((0, 1, 2)), values.var((0, 1, 2))
        beta = norm.get_weights()[1]
        norm.set_weights([np.sqrt(variance + norm.epsilon), beta + mean, mean, variance])


def _convolutions_of(network: Any) -> list[Any]:
    from keras import layers

    kinds = (layers.Conv2D, layers.DepthwiseConv2D)
    return [layer for layer in network.layers if isinstance(layer, kinds)]


def _norms_of(network: Any) -> list[Any]:
    from keras import layers

    return [layer for layer in network.layers if isinstance(layer, layers.BatchNormalization)]
