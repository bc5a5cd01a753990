"""A toy recogniser, made as docs/adding_a_recogniser.md says: it counts the stripes of an image."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from recognition.card import InputSpec, ModelCard
from training.experiment import CheckSet
from training.schedule import ScheduleConfig

SYMBOLS = "1234"
HEIGHT, WIDTH = 16, 32  # px
CHECK_SEED_OFFSET = 1_000


@dataclass(frozen=True, slots=True)
class StripesDataConfig:
    """What is drawn: so many images, stripes of this width."""

    images: int = 512
    stripe_px: int = 3


@dataclass(frozen=True, slots=True)
class StripesConfig:
    """One experiment."""

    task: Literal["stripes"] = "stripes"
    name: str = "stripes"
    seed: int = 1
    data: StripesDataConfig = StripesDataConfig()
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)


def draw_stripes(config: StripesDataConfig, *, seed: int, n: int) -> CheckSet:
    """Draw images of one to four stripes; the first ones do not depend on how many are drawn."""
    images = np.empty((n, HEIGHT, WIDTH), np.uint8)
    texts = []
    for index in range(n):
        rng = np.random.default_rng([seed, index])
        images[index] = rng.integers(200, 256, (HEIGHT, WIDTH))
        places = rng.permutation(len(SYMBOLS))[: rng.integers(1, len(SYMBOLS) + 1)]
        for place in places:
            left = 8 * place + int(rng.integers(0, 8 - config.stripe_px))
            images[index, :, left : left + config.stripe_px] = rng.integers(0, 60)
        texts.append(str(len(places)))
    return CheckSet("drawn", images, tuple(texts))


@dataclass(frozen=True, slots=True)
class StripesBatches:
    """Batches of the drawn images, shuffled anew each epoch."""

    drawn: CheckSet
    config: StripesConfig

    @property
    def steps_per_epoch(self) -> int:
        """Count the whole batches of an epoch."""
        return len(self.drawn.images) // self.config.schedule.batch

    def order(self, epoch: int) -> NDArray[np.int64]:
        """Shuffle the images for an epoch (from 0): (steps, batch) indices."""
        rng = np.random.default_rng([self.config.seed, epoch])
        used = self.steps_per_epoch * self.config.schedule.batch
        return rng.permutation(len(self.drawn.images))[:used].reshape(self.steps_per_epoch, -1)

    def take(self, indices: NDArray[np.int64], *, done: float) -> tuple[Any, Any]:
        """Read one batch as (pixels, classes)."""
        classes = [SYMBOLS.index(self.drawn.texts[index]) for index in indices]
        return stripe_pixels(self.drawn.stacked[indices]), np.array(classes)


def stripe_pixels(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Turn images (n, h, w) into the network's input (n, h, w, 1) in [0, 1]."""
    pixels: NDArray[np.float32] = images[..., None].astype(np.float32) / np.float32(255)
    return pixels


def build_stripes_network() -> Any:
    """Build the graph: (n, 16, 32, 1) to logits (n, 1, 1, 4), convolutions alone."""
    import keras
    from keras import layers

    pixels = keras.Input((HEIGHT, WIDTH, 1), name="pixels")
    x = layers.AveragePooling2D((HEIGHT, 1))(pixels)
    x = layers.Conv2D(16, (1, 8), strides=(1, 8), activation="relu")(x)
    x = layers.Conv2D(16, (1, WIDTH // 8), activation="relu")(x)
    return keras.Model(pixels, layers.Conv2D(len(SYMBOLS), 1, name="logits")(x))


class StripesExperiment:
    """An ``Experiment`` (see ``training.experiment``)."""

    config_kind = StripesConfig

    def __init__(self, config: StripesConfig) -> None:
        self.config = config

    def described_data(self) -> dict[str, str]:
        """Say what it learns from."""
        return {"data": f"{self.config.data.images} images of stripes"}

    def prepare(self, run: Path, *, workers: int) -> None:
        """Draw nothing ahead: a set is drawn in an instant."""

    def batches(self) -> StripesBatches:
        """Draw what it learns from."""
        return StripesBatches(self._drawn(0, self.config.data.images), self.config)

    def compiled_model(self) -> Any:
        """Build its network with loss and optimiser."""
        import keras

        from training.network import compile_network

        network = self.network()
        model = keras.Model(network.inputs, keras.layers.Flatten()(network.outputs[0]))
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        compile_network(model, self.config.schedule, loss=loss)
        return model

    def network(self) -> Any:
        """Build its network alone."""
        return build_stripes_network()

    def exact_match(self, model: Any) -> float:
        """Compute the share of fresh images that a model counts right."""
        from training.network import predict

        check = self.check_set(200)
        likeliest = predict(model, check.stacked, stripe_pixels).argmax(axis=1)
        right = [SYMBOLS[c] == text for c, text in zip(likeliest, check.texts, strict=True)]
        return sum(right) / len(right)

    def blank_card(self) -> ModelCard:
        """Say what its models read."""
        spec = InputSpec(height=HEIGHT, width=WIDTH)
        return ModelCard(self.config.name, SYMBOLS, "argmax", spec)

    def to_pixels(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Turn images into the network's input."""
        return stripe_pixels(images)

    def calibration_images(self, n: int) -> NDArray[np.uint8]:
        """Draw images that it learns from."""
        return self._drawn(0, n).stacked

    def check_set(self, n: int) -> CheckSet:
        """Draw images that it never learnt from."""
        return self._drawn(CHECK_SEED_OFFSET, n)

    def check_image(self, index: int) -> Image.Image:
        """Draw one of them."""
        return Image.fromarray(self.check_set(index + 1).images[index])

    def _drawn(self, seed_offset: int, n: int) -> CheckSet:
        return draw_stripes(self.config.data, seed=self.config.seed + seed_offset, n=n)
