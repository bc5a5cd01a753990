"""Run an experiment: learn its images, measure it, keep what is needed to repeat it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from training.experiment import Batches, Experiment
from training.progress_bar import progress_bar
from training.run_folder import (
    Epoch,
    Position,
    Weights,
    is_run,
    load_state,
    open_run,
    save_state,
    save_weights,
    write_curves,
)
from training.schedule import LONGEST_STEP_S, learning_rate, progress
from training.start_model import begin_with_model, begin_with_run

log = logging.getLogger(__name__)

LOG_STEPS = 250
STATISTICS_IMAGES = 512  # 65,000 to a million places a channel: more move no mean
EVERY_STEPS = 8  # an average copies all weights, 3 ms; every step it would cost 2 % of the run


@dataclass(frozen=True, slots=True)
class TrainingOptions:
    """How a run is done; what it learns stands in its ``Experiment``.

    Attributes:
        command: that repeats it; written down beside the weights.
        is_resumed: go on from the state in the run's folder.
        start: the folder of another run, whose averaged weights this one begins with, or a model:
            a shipped one's name or a ``.tflite`` file; None begins at random.
        workers: processes that draw.
        report: called with the figures of each epoch.
    """

    command: str
    is_resumed: bool
    workers: int
    report: Callable[[Epoch], None]
    start: Path | None = None


class Pace:
    """The time of an epoch, parted into reading and learning: whether the input holds it up."""

    def __init__(self) -> None:
        """Begin with none."""
        self._images = 0
        self._reading_s = 0.0
        self._learning_s = 0.0

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Time the making of one batch."""
        started = time.monotonic()
        yield
        self._reading_s += time.monotonic() - started

    @contextmanager
    def learning(self, images: int) -> Iterator[None]:
        """Time one step of the optimiser, with a batch of some images."""
        started = time.monotonic()
        yield
        self._learning_s += time.monotonic() - started
        self._images += images

    @property
    def reading_per_s(self) -> float:
        """Images a second, were reading all that is done."""
        return self._images / max(self._reading_s, 1e-9)

    @property
    def learning_per_s(self) -> float:
        """Images a second, were learning all that is done."""
        return self._images / max(self._learning_s, 1e-9)

    def __str__(self) -> str:
        """Say both, as the log does."""
        reading, learning = self.reading_per_s, self.learning_per_s
        return f"reading_images_per_s={reading:.0f} learning_images_per_s={learning:.0f}"


class WeightAverage:
    """An exponential moving average of a model's weights, that forgets its start.

    It is kept outside the optimiser because Keras averages trainable weights alone; the statistics
    of batch normalisation have to belong to the weights that they are used with.
    """

    def __init__(self, weights: Weights, *, momentum: float, updates: int = 0) -> None:
        """Start from given weights; ``momentum`` is that of one step."""
        self.weights = [weight.copy() for weight in weights]
        self.updates = updates
        self._momentum = momentum**EVERY_STEPS

    def update(self, weights: Weights) -> None:
        """Take one more set of weights in; a short history weighs its latest more."""
        self.updates += 1
        momentum = min(self._momentum, (1 + self.updates) / (10 + self.updates))
        for average, weight in zip(self.weights, weights, strict=True):
            average *= momentum
            average += (1.0 - momentum) * weight


def weights_of(model: Any) -> Weights:
    """Copy a model's weights, in Keras's order."""
    return [np.array(weight, dtype=np.float32) for weight in model.get_weights()]


def run_training(experiment: Experiment, run: Path, options: TrainingOptions) -> Position:
    """Run an experiment to its end, or on from where it stopped.

    Args:
        experiment: what is learnt.
        run: its folder; made if need be.
        options: the rest.

    Returns:
        Where the run ended, with the figures of every epoch.

    Raises:
        UserError: there is nothing to resume from, or to begin with.
        OutputError: the folder holds a run that was not asked to be resumed.
    """
    open_run(
        experiment,
        run,
        command=options.command,
        is_resumed=options.is_resumed,
        start=options.start,
    )
    experiment.prepare(run, workers=options.workers)
    model = _compiled_model(experiment)
    position, average = _start(experiment, run, model, options)
    under_way = _Run(experiment, run, model, average, experiment.batches())
    while under_way.progress(position) < 1.0:
        pace = Pace()
        position = _run_epoch(under_way, position, pace)
        position = _close_epoch(under_way, position, pace)
        options.report(position.epochs[-1])
    return position


@dataclass(frozen=True, slots=True)
class _Run:
    """A run under way: what does not change from step to step, and what each step trains."""

    experiment: Experiment
    folder: Path
    model: Any
    average: WeightAverage
    batches: Batches

    def progress(self, position: Position) -> float:
        """Compute the share of the run that is done."""
        schedule = self.experiment.config.schedule
        total = schedule.epochs * self.batches.steps_per_epoch
        elapsed = position.elapsed_s
        return progress(schedule, step=position.step, total_steps=total, elapsed_s=elapsed)

    def save(self, position: Position) -> None:
        """Write the state to go on from."""
        position = replace(position, average_updates=self.average.updates)
        save_state(self.folder, position, self.model, self.average.weights)


def _compiled_model(experiment: Experiment) -> Any:
    """Build the network with its first weights, which follow from the run's seed."""
    import keras

    keras.utils.set_random_seed(experiment.config.seed)
    keras.mixed_precision.set_global_policy(experiment.config.schedule.precision)
    model = experiment.compiled_model()
    model.optimizer.build(model.trainable_variables)
    return model


def _start(
    experiment: Experiment, run: Path, model: Any, options: TrainingOptions
) -> tuple[Position, WeightAverage]:
    """Begin at random, with the weights of another run or a model, or where this one stopped."""
    momentum = experiment.config.schedule.average_momentum
    if not options.is_resumed:
        if options.start is not None:
            _begin_with(options.start, experiment, model)
        match = None if options.start is None else experiment.exact_match(model)
        begun = Position(match_at_start=match)
        return begun, WeightAverage(weights_of(model), momentum=momentum)
    position, weights = load_state(run, model)
    log.info("resumed run=%s step=%d elapsed_s=%.0f", run, position.step, position.elapsed_s)
    updates = position.average_updates
    return position, WeightAverage(weights, momentum=momentum, updates=updates)


def _begin_with(start: Path, experiment: Experiment, model: Any) -> None:
    card = experiment.blank_card()
    if is_run(start):
        begin_with_run(start, model, card)
    else:
        pixels = experiment.to_pixels(experiment.calibration_images(STATISTICS_IMAGES))
        begin_with_model(str(start), model, card=card, pixels=pixels)
    log.info("begun with=%s", start)


def _run_epoch(run: _Run, position: Position, pace: Pace) -> Position:
    """Run to the end of the epoch under way, or of the budget."""
    schedule = run.experiment.config.schedule
    epoch, first = divmod(position.step, run.batches.steps_per_epoch)
    order = run.batches.order(epoch)
    with progress_bar(f"epoch {epoch + 1}", len(order), done=first) as advance:
        for indices in order[first:]:
            done = run.progress(position)
            if done >= 1.0:
                break
            started = time.monotonic()
            run.model.optimizer.learning_rate = learning_rate(schedule, done)
            with pace.reading():
                batch = run.batches.take(indices, done=done)
            with pace.learning(len(indices)):
                run.model.reset_metrics()
                loss = float(run.model.train_on_batch(*batch))
            position = _advanced(position, loss, time.monotonic() - started)
            if position.step % EVERY_STEPS == 0:
                run.average.update(weights_of(run.model))
            if position.step % schedule.checkpoint_steps == 0:
                run.save(position)
            if position.step % LOG_STEPS == 0:
                log.info("step=%d done=%.4f loss=%.4f %s", position.step, done, loss, pace)
            advance(1)
    return position


def _advanced(position: Position, loss: float, seconds: float) -> Position:
    return replace(
        position,
        step=position.step + 1,
        elapsed_s=position.elapsed_s + min(seconds, LONGEST_STEP_S),
        loss_sum=position.loss_sum + loss,
        loss_steps=position.loss_steps + 1,
    )


def _close_epoch(run: _Run, position: Position, pace: Pace) -> Position:
    """Measure the averaged weights, and write all that an epoch leaves."""
    own = weights_of(run.model)
    run.model.set_weights(run.average.weights)
    match = run.experiment.exact_match(run.model)
    run.model.set_weights(own)
    loss = position.loss_sum / max(1, position.loss_steps)
    number = len(position.epochs) + 1
    epoch = Epoch(number, loss, match, position.elapsed_s, pace.reading_per_s, pace.learning_per_s)
    log.info("epoch=%d loss=%.4f exact_match=%.4f %s", number, loss, match, pace)
    position = replace(position, loss_sum=0.0, loss_steps=0, epochs=[*position.epochs, epoch])
    save_weights(run.folder, run.average.weights)
    run.save(position)
    write_curves(run.folder, position.epochs)
    return position
