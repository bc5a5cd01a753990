"""The doors of a run: all that it touches besides its ledger, which are the broker and time.

The real ones lead to Redis. A simulation puts others in their place, and so runs the scheduler
itself on a clock and a broker of its own, see docs/reliability.md.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Protocol

from broker.automata import push_automaton
from broker.claims import ChunkTask, Claims
from broker.heartbeats import Fleet, ask_to_rest, look
from broker.models import push_model
from broker.rates import forget_limits
from broker.repair import repair
from broker.results import ChunkResult, ResultStream

if TYPE_CHECKING:
    from redis import Redis

    from contract.clocks import Clocks


class Stream(Protocol):
    """Where answers come in, as ``broker.results.ResultStream``."""

    position: str

    def is_there(self) -> bool:
        """Tell whether it exists."""

    def make(self) -> None:
        """Make it."""

    def read(self, *, wait_ms: int) -> tuple[list[ChunkResult], str, bool]:
        """Read what came after the position: answers, the next position, whether more may wait."""

    def trim(self) -> None:
        """Drop what came before the position."""

    def delete(self) -> None:
        """End the job in the broker."""


class Claimable(Protocol):
    """What workers may claim, as ``broker.claims.Claims``."""

    def send(self, tasks: Sequence[ChunkTask]) -> None:
        """Let deliveries be claimed, and put their notices into the queue."""

    def withdraw(self, deliveries: Iterable[int]) -> int | None:
        """Let nobody begin them any more, and count those that nobody had begun, if it knows."""

    def ended(self, delivery: int, outcome: str, *, is_answer: bool) -> None:
        """Note what became of one."""

    def close(self) -> None:
        """Leave them."""

    def recall(self) -> None:
        """Let workers answer what they have read of a chunk, and drop the rest."""

    def resume(self) -> None:
        """Let workers read the job again."""


@dataclass(frozen=True, slots=True)
class Doors:
    """What a run reaches the world by; the functions are those of the broker's modules.

    Attributes:
        stream: of the answers.
        claims: sends deliveries, and withdraws those that nobody has begun.
        look: reads the fleet; some workers are known by name.
        repair: removes keys of a wrong type; ``buckets=True`` has it look for those of hosts.
        push_model: puts the model there.
        push_automaton: puts the automaton of the accepted texts there.
        ask_to_rest: asks a worker to take nothing for a while.
        forget_limits: removes the limits of rate of these hosts.
        monotonic: tells the time, seconds.
        sleep: waits for so many seconds.
    """

    stream: Stream
    claims: Claimable
    look: Callable[[Clocks, Iterable[str]], Fleet]
    repair: Callable[..., object]
    push_model: Callable[[str, bytes, str | None], None]
    push_automaton: Callable[[str, bytes], None]
    ask_to_rest: Callable[[str, str], None]
    forget_limits: Callable[[Iterable[str]], None]
    monotonic: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep


def redis_doors(client: Redis, job: str, *, is_traced: bool = False) -> Doors:
    """Build the doors of a job that lead to Redis, with or without a span for each delivery."""
    return Doors(
        stream=ResultStream(client, job),
        claims=Claims(client, job, is_traced=is_traced),
        look=partial(look, client),
        repair=partial(repair, client, job),
        push_model=partial(push_model, client),
        push_automaton=partial(push_automaton, client),
        ask_to_rest=partial(ask_to_rest, client),
        forget_limits=partial(forget_limits, client, job),
    )
