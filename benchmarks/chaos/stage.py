"""Everything that a run needs: a broker, an origin, workers with and without a proxy."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.chaos.broker import Broker, running_broker
from benchmarks.chaos.injector import Victim
from benchmarks.chaos.keeper import Command, Kept, end_all
from benchmarks.chaos.plan import Plan
from benchmarks.chaos.programs import program
from tests.support.stripes import png, some_text

DISTINCT = 500  # images drawn; a job asks for them again and again, under names of their own
LOCAL_NETWORK = "127.0.0.0/8"


@dataclass(slots=True)
class Stage:
    """A running stack.

    Attributes:
        orphans: pool processes that outlived their worker; counted when the stage is left.
    """

    folder: Path
    broker: Broker
    origin: str
    victims: Sequence[Victim]
    env: Mapping[str, str]
    orphans: int = 0

    def tick(self) -> None:
        """Start workers again that ended."""
        for victim in self.victims:
            victim.worker.tick()


def texts() -> list[str]:
    """Give what stands in the images that the origin serves, in its order."""
    return [some_text(number) for number in range(DISTINCT)]


@contextmanager
def running_stage(
    plan: Plan, folder: Path, argv: Sequence[str], *, env: Mapping[str, str] | None = None
) -> Iterator[Stage]:
    """Run a stack for as long as the block lasts.

    Args:
        plan: of the run.
        folder: an empty one.
        argv: starts one worker; ``{name}`` stands for its name.
        env: variables for everything that is started.
    """
    with ExitStack() as stack:
        broker = stack.enter_context(running_broker(folder / "redis"))
        arguments = (str(_draw(folder / "images")), str(plan.delay_ms))
        origin = stack.enter_context(program("benchmarks.chaos.origin", *arguments))
        variables = {**_env(folder, broker.url()), **(env or {})}
        stage = Stage(folder, broker, origin.address, [], variables)
        stage.victims = [
            _victim(stage, stack, plan, argv, number) for number in range(plan.workers)
        ]
        try:
            yield stage
        finally:
            stage.orphans = end_all([victim.worker for victim in stage.victims])


def _victim(stage: Stage, stack: ExitStack, plan: Plan, argv: Sequence[str], number: int) -> Victim:
    """Start one worker; the first reaches Redis directly, so that some always do."""
    proxy = None
    if number:
        arguments = (str(stage.broker.port), str(plan.silent_s))
        proxy = stack.enter_context(program("benchmarks.chaos.proxy", *arguments))
    name = f"chaos-{number + 1}"
    url = stage.broker.url(int(proxy.address) if proxy else None)
    env = {**stage.env, "PIFLEET_REDIS_URL": url, "PIFLEET_WORKER_NAME": name}
    command = [word.format(name=name) for word in argv]
    return Victim(Kept(Command(name, command, env, stage.folder / f"{name}.log")), proxy)


def fleet_argv(plan: Plan) -> list[str]:
    """Spell the command that starts one of our workers."""
    return [sys.executable, "-m", "pifleet", "worker", "--concurrency", str(plan.processes)]


def _env(folder: Path, redis_url: str) -> dict[str, str]:
    return {
        **os.environ,
        "PIFLEET_REDIS_URL": redis_url,
        "PIFLEET_STATE_DIR": str(folder / "state"),
        "PIFLEET_CACHE_DIR": str(folder / "cache"),
        "PIFLEET_FETCH_ALLOW": LOCAL_NETWORK,
    }


def _draw(folder: Path) -> Path:
    folder.mkdir()
    for number, text in enumerate(texts()):
        (folder / f"{number:04}.png").write_bytes(png(text))
    return folder
