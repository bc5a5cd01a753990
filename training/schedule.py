"""How far a run is, and the learning rate that follows from it."""

from __future__ import annotations

import math

from training.config import ScheduleConfig

LONGEST_STEP_S = 2.0  # 10 times a step's usual time: what is longer was a pause, and is not counted
FINAL_LEARNING_RATE = 0.005  # of the highest


def progress(schedule: ScheduleConfig, *, step: int, total_steps: int, elapsed_s: float) -> float:
    """Give the share of the run that is done, by steps or by the clock, whichever is ahead."""
    if schedule.stop_step and step >= schedule.stop_step:
        return 1.0
    by_steps = step / total_steps
    if schedule.budget_minutes <= 0:
        return min(1.0, by_steps)
    return min(1.0, max(by_steps, elapsed_s / (60.0 * schedule.budget_minutes)))


def learning_rate(schedule: ScheduleConfig, done: float) -> float:
    """Rise linearly, then fall as a cosine; ``done`` is the share in [0, 1]."""
    warmup = schedule.learning_rate_warmup
    if done < warmup:
        return schedule.learning_rate * max(done / warmup, 0.01)
    angle = math.pi * (done - warmup) / (1.0 - warmup)
    cosine = 0.5 * (1.0 + math.cos(angle))
    return schedule.learning_rate * max(cosine, FINAL_LEARNING_RATE)
