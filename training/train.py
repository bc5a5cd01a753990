"""Run an experiment: learn its images, measure it, keep what is needed to repeat it."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from contract.errors import OutputError, UserError
from training.average import EVERY_STEPS, WeightAverage, weights_of
from training.config import dump_config
from training.curves import write_curves
from training.experiment import Batches, Experiment
from training.pace import Pace
from training.progress_bar import progress_bar
from training.provenance import begun_with, continued, provenance
from training.run_state import (
    STATE_FILE,
    Epoch,
    Position,
    load_state,
    save_state,
    save_weights,
    saved_position,
    start_from,
)
from training.schedule import LONGEST_STEP_S, learning_rate, progress

log = logging.getLogger(__name__)

LOG_STEPS = 250


@dataclass(frozen=True, slots=True)
class RunOptions:
    """How a run is done; what it learns stands in its ``Experiment``.

    Attributes:
        command: that repeats it; written down beside the weights.
        is_resumed: go on from the state in the run's folder.
        start: another run, whose averaged weights this one begins with; None begins at random.
        workers: processes that draw.
        report: called with the figures of each epoch.
    """

    command: str
    is_resumed: bool
    workers: int
    report: Callable[[Epoch], None]
    start: Path | None = None


def train(experiment: Experiment, run: Path, options: RunOptions) -> Position:
    """Run an experiment to its end, or on from where it stopped.

    Args:
        experiment: what is learnt.
        run: its folder; made if need be.
        options: the rest.

    Returns:
        Where the run ended, with the figures of every epoch.

    Raises:
        UserError: there is nothing to resume from.
        OutputError: the folder holds a run that was not asked to be resumed.
    """
    _open_run(experiment, run, options)
    experiment.prepare(run, workers=options.workers)
    batches = experiment.batches()
    model = _compiled_model(experiment)
    position, average = _start(experiment, run, model, options)
    while not _is_done(experiment, position, batches):
        pace = Pace(experiment.config.schedule.batch)
        position = _run_epoch(
            experiment, run, position, model=model, average=average, batches=batches, pace=pace
        )
        position = _close_epoch(experiment, run, position, model=model, average=average, pace=pace)
        options.report(position.epochs[-1])
    return position


def _open_run(experiment: Experiment, run: Path, options: RunOptions) -> None:
    """Make the run's folder, and write down what repeats it."""
    has_state = (run / STATE_FILE).exists()
    if has_state and not options.is_resumed:
        raise OutputError(f"{run} holds a run: go on with --resume, or give another --out")
    if options.is_resumed and not has_state:
        raise UserError(f"{run} cannot be resumed: it holds no {STATE_FILE}")
    try:
        run.mkdir(parents=True, exist_ok=True)
        (run / "config.yaml").write_text(dump_config(experiment.config), encoding="utf-8")
        _write_provenance(run, _story(experiment, options))
    except OSError as error:
        raise OutputError(f"{run} cannot be written: {error.strerror}") from error


def _story(experiment: Experiment, options: RunOptions) -> dict[str, str]:
    told = provenance(experiment, options.command)
    return told if options.start is None else {**told, **begun_with(options.start)}


def _write_provenance(run: Path, told: dict[str, str]) -> None:
    path = run / "provenance.json"
    if (run / STATE_FILE).exists():
        before = json.loads(path.read_text("utf-8"))
        told = continued(before, told, step=saved_position(run).step)
    path.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")


def _compiled_model(experiment: Experiment) -> Any:
    import keras

    keras.utils.set_random_seed(experiment.config.seed)
    keras.mixed_precision.set_global_policy(experiment.config.schedule.precision)
    model = experiment.compiled_model()
    model.optimizer.build(model.trainable_variables)
    return model


def _start(
    experiment: Experiment, run: Path, model: Any, options: RunOptions
) -> tuple[Position, WeightAverage]:
    momentum = experiment.config.schedule.average_momentum
    if not options.is_resumed:
        if options.start is not None:
            start_from(options.start, model)
        return Position(), WeightAverage(weights_of(model), momentum=momentum)
    position, weights = load_state(run, model)
    log.info("resumed run=%s step=%d elapsed_s=%.0f", run, position.step, position.elapsed_s)
    updates = position.average_updates
    return position, WeightAverage(weights, momentum=momentum, updates=updates)


def _is_done(experiment: Experiment, position: Position, batches: Batches) -> bool:
    return _progress(experiment, position, batches) >= 1.0


def _progress(experiment: Experiment, position: Position, batches: Batches) -> float:
    schedule = experiment.config.schedule
    total = schedule.epochs * batches.steps_per_epoch
    elapsed = position.elapsed_s
    return progress(schedule, step=position.step, total_steps=total, elapsed_s=elapsed)


def _run_epoch(
    experiment: Experiment,
    run: Path,
    position: Position,
    *,
    model: Any,
    average: WeightAverage,
    batches: Batches,
    pace: Pace,
) -> Position:
    """Run to the end of the epoch under way, or of the budget."""
    schedule = experiment.config.schedule
    epoch, first = divmod(position.step, batches.steps_per_epoch)
    order = batches.order(epoch)
    with progress_bar(f"epoch {epoch + 1}", len(order), done=first) as advance:
        for indices in order[first:]:
            done = _progress(experiment, position, batches)
            if done >= 1.0:
                break
            started = time.monotonic()
            model.optimizer.learning_rate = learning_rate(schedule, done)
            with pace.reading():
                batch = batches.take(indices, done=done)
            with pace.learning():
                model.reset_metrics()
                loss = float(model.train_on_batch(*batch))
            position = _advanced(position, loss, time.monotonic() - started)
            if position.step % EVERY_STEPS == 0:
                average.update(weights_of(model))
            if position.step % schedule.checkpoint_steps == 0:
                save_state(run, _with_updates(position, average), model, average.weights)
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


def _with_updates(position: Position, average: WeightAverage) -> Position:
    return replace(position, average_updates=average.updates)


def _close_epoch(
    experiment: Experiment,
    run: Path,
    position: Position,
    *,
    model: Any,
    average: WeightAverage,
    pace: Pace,
) -> Position:
    """Measure the averaged weights, and write all that an epoch leaves."""
    own = weights_of(model)
    model.set_weights(average.weights)
    match = experiment.exact_match(model)
    model.set_weights(own)
    loss = position.loss_sum / max(1, position.loss_steps)
    number = len(position.epochs) + 1
    epoch = Epoch(number, loss, match, position.elapsed_s, pace.reading_per_s, pace.learning_per_s)
    log.info("epoch=%d loss=%.4f exact_match=%.4f %s", number, loss, match, pace)
    position = replace(position, loss_sum=0.0, loss_steps=0, epochs=[*position.epochs, epoch])
    save_weights(run, average.weights)
    save_state(run, _with_updates(position, average), model, average.weights)
    write_curves(run, position.epochs)
    return position
