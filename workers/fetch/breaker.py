"""The circuit breaker of one origin: that it is down is found out once, and not by each image.

A few failures in a row open it. Then one image at a time is the probe, after pauses that grow; the
others wait for what becomes of it, so that an origin that restarts costs none of them anything. An
answer, whatever its status, closes it. When the origin has been down for as long as its patience
lasts, all that wait fail with its reason, and what comes later fails at once, save for a probe now
and then.

How long that is hangs on how much is at stake. An origin that has answered before gets the time
that a restart takes, for a job of a million images outlives that. Of one that never did, each image
brings the patience of its own attempts, so a list of a thousand dead hosts is through quickly.

Source: Nygard, "Release It!" (2007), "Circuit Breaker"; the probes' pauses are of
``contract.backoff``.
"""

from __future__ import annotations

import random

from contract.backoff import full_jitter
from contract.errors import ImageError

OPENS_AT = 3  # failures in a row; two are an accident
PATIENCE_S = 20.0  # what a server takes to start again; each image has it at each of its deliveries
PATIENCE_AN_IMAGE_S = 1.0  # what four attempts with backoff take
PROBE_EVERY_S = 4.0  # at most, jittered: a known dead host gets a connection each two seconds


class Breaker:
    """Whether one origin is down, since when, and why."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._failures = 0
        self._since = 0.0
        self._has_answered = False
        self.error: ImageError | None = None
        self.probe_at = 0.0
        self.is_given_up = False

    @property
    def is_open(self) -> bool:
        """Whether the origin counts as down."""
        return self._failures >= OPENS_AT

    def note_answer(self) -> None:
        """Take in that the origin gave one."""
        self._failures = 0
        self._has_answered = True
        self.is_given_up = False

    def note_failure(
        self, error: ImageError, now: float, *, started: float, images: int, is_certain: bool
    ) -> None:
        """Take in that the origin gave no answer.

        Args:
            error: why.
            now: monotonic time, in seconds.
            started: when the attempt did.
            images: that wait for this origin here, the failed one included.
            is_certain: nothing but a person can mend it, so it is given up once it is open.
        """
        if self._failures == 0:
            self._since = started
        self._failures += 1
        self.error = error
        pause_s = full_jitter(max(0, self._failures - OPENS_AT), self._rng)
        self.probe_at = now + min(pause_s, PROBE_EVERY_S)
        patience_s = PATIENCE_S
        if not self._has_answered:
            patience_s = 0.0 if is_certain else min(PATIENCE_S, PATIENCE_AN_IMAGE_S * images)
        if self.is_open and now - self._since >= patience_s:
            self.is_given_up = True
