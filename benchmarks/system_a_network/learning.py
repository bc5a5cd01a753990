"""Who reads better after the same images: system A's network and ours, each by its own recipe.

Both learn the same images in the same batches of 32. System A's has Adam at 1e-3 and no
augmentation; as its learning rate stands still, a longer run goes on from a shorter one. Ours has
the recipe of its configuration (AdamW, cosine, CTC begun with the cross-entropy of frames, averaged
weights), from random weights, without a teacher.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from benchmarks.system_a_network.experiment import SystemAExperiment, read_colours
from benchmarks.system_a_network.reading import decode_image
from contract.errors import UserError
from recognition.card import InputSpec
from recognition.charset import Charset
from recognition.images import open_image, to_tensor
from training.captcha.config import CaptchaConfig, DataConfig, TeacherConfig
from training.captcha.experiment import CaptchaExperiment
from training.config import load_config
from training.experiment import Experiment
from training.labels_file import read_labels
from training.measuring.scores import Scores, score
from training.run_state import STATE_FILE, load_state, load_weights
from training.train import RunOptions, train

BATCH = 32  # system A's
LEARNING_RATE = 1e-3  # of both: half of what ours has with batches of 128
CHECKPOINT_STEPS = 50
VALIDATION_IMAGES = 256
SYSTEM_A = "system-a"


@dataclass(frozen=True, slots=True)
class Lesson:
    """What is learnt.

    Attributes:
        images: distinct ones.
        passes: over them.
        preset: the release of the library that they are drawn like.
        precision: Keras's policy, for both.
    """

    images: int
    passes: int
    preset: str = "0.7.1"
    precision: Literal["float32", "mixed_bfloat16"] = "mixed_bfloat16"

    @property
    def seen(self) -> int:
        """Count the images that are learnt from, each as often as it is."""
        return self.images // BATCH * BATCH * self.passes


@dataclass(frozen=True, slots=True)
class Learner:
    """One experiment, and where it is run."""

    experiment: CaptchaExperiment
    run: Path

    @property
    def name(self) -> str:
        """Name it by its configuration."""
        return self.experiment.config.name


def compare(
    lesson: Lesson, folder: Path, configs: Sequence[Path], test: Path, *, n: int
) -> dict[str, Scores]:
    """Train all, or go on from where they stopped, and let each read the first images of a test.

    Args:
        lesson: what is learnt.
        folder: of all runs, and of the images that they share.
        configs: of our networks; their sizes, and how they learn, are taken from there.
        test: a folder with ``labels.tsv``.
        n: images of it.

    Returns:
        Name to scores, system A's first.
    """
    labels = dict(list(read_labels(test).items())[:n])
    files = [(test / name).read_bytes() for name in labels]
    found = {}
    for learner in learners(lesson, folder, configs):
        learn(learner, lesson)
        found[learner.name] = score([*labels.values()], read_files(learner, files))
    return found


def learners(lesson: Lesson, folder: Path, configs: Sequence[Path]) -> list[Learner]:
    """Give system A's experiment and ours, over the same images."""
    system_a = SystemAExperiment(_taught(CaptchaConfig(name=SYSTEM_A), lesson))
    ours = [
        CaptchaExperiment(_taught(load_config(CaptchaConfig, path), lesson)) for path in configs
    ]
    return [
        Learner(system_a, folder / SYSTEM_A),
        *(Learner(one, folder / f"{one.config.name}-{lesson.seen}") for one in ours),
    ]


def learn(learner: Learner, lesson: Lesson) -> None:
    """Train one of them to the lesson's end.

    Raises:
        UserError: the run in its folder has gone further.
    """
    learner.run.mkdir(parents=True, exist_ok=True)
    shared, own = learner.run.parent / "data", learner.run / "data"
    shared.mkdir(exist_ok=True)
    if not own.exists():
        own.symlink_to(shared.absolute(), target_is_directory=True)
    is_resumed = (learner.run / STATE_FILE).exists()
    options = RunOptions("benchmarks.system_a_network", is_resumed, 1, report=lambda _: None)
    experiment: Experiment = learner.experiment
    position = train(experiment, learner.run, options)
    if position.step * BATCH != lesson.seen:
        raise UserError(f"{learner.run} has seen {position.step * BATCH} images: take another")


def read_files(learner: Learner, files: Sequence[bytes]) -> list[str]:
    """Read image files in float32: system A's network as it ended, ours with averaged weights."""
    import keras

    from training.captcha.keras_reading import read_texts

    keras.mixed_precision.set_global_policy("float32")
    network = learner.experiment.compiled_model()
    if isinstance(learner.experiment, SystemAExperiment):
        network.optimizer.build(network.trainable_variables)
        load_state(learner.run, network)
        return read_colours(network, np.stack([decode_image(file) for file in files]))
    network.set_weights(load_weights(learner.run))
    data = learner.experiment.config.data
    spec = InputSpec(height=data.height, width=data.width)
    images = np.stack([to_tensor(open_image(file), spec)[:, :, 0] for file in files])
    return read_texts(network, images, Charset(data.symbols))


def _taught(config: CaptchaConfig, lesson: Lesson) -> CaptchaConfig:
    schedule = replace(
        config.schedule,
        epochs=lesson.passes,
        budget_minutes=0.0,
        batch=BATCH,
        learning_rate=LEARNING_RATE,
        precision=lesson.precision,
        checkpoint_steps=CHECKPOINT_STEPS,
    )
    data = DataConfig(lesson.images, VALIDATION_IMAGES, {lesson.preset: 1.0})
    return replace(config, seed=1, data=data, schedule=schedule, teacher=TeacherConfig())
