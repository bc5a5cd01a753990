"""One screen of the fleet: its queue, its jobs, what fails, what holds it back, and each Pi."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from broker.heartbeats import Heartbeat
from broker.loads import OriginLoad
from broker.overview import Overview
from producer.fitted_table import shorten
from producer.registry import KnownJob
from producer.tables import BAD, is_in_trouble, state_words
from producer.watch.history import Pace
from producer.words import counted, duration

MOST_JOBS = 4
MOST_ORIGINS = 3
MOST_REASONS = 5
NARROW = 70  # characters; below, memory and version go
YELLOW, DIM = "yellow", "dim"


@dataclass(frozen=True, slots=True)
class Scene:
    """What there is to see.

    Attributes:
        overview: of the broker.
        jobs: of this machine that are not at their end.
        paces: of those, by id.
        failures: of the last minute, by reason.
        problem: why nothing newer is known; empty if all is well.
    """

    overview: Overview = field(default_factory=Overview)
    jobs: Sequence[KnownJob] = ()
    paces: Mapping[str, Pace] = field(default_factory=dict)
    failures: Counter[str] = field(default_factory=Counter)
    problem: str = ""


@dataclass(frozen=True, slots=True)
class View:
    """How somebody looks at it.

    Attributes:
        order: the key of ``ORDERS`` that workers stand in.
        first: the worker that the list begins with.
    """

    order: str = "!"
    first: int = 0

    def pressed(self, key: str, *, page: int, workers: int) -> View:
        """Take in a key; one that means nothing changes nothing."""
        steps = {"up": -1, "down": 1, "k": -1, "j": 1, "pageup": -page, "pagedown": page}
        if key in steps:
            return replace(self, first=min(max(0, self.first + steps[key]), max(0, workers - page)))
        return View(key) if key in ORDERS else self


ORDERS: dict[str, tuple[str, Callable[[Heartbeat], tuple[object, ...]]]] = {
    "!": ("!trouble", lambda w: (not is_in_trouble(w), not w.slowed, w.worker)),
    "n": ("name", lambda w: (w.worker,)),
    "r": ("rate", lambda w: (-w.images_per_s, w.worker)),
    "t": ("temp", lambda w: (-(w.temperature_c or -99.0), w.worker)),
    "m": ("memory", lambda w: (-w.rss_mb, w.worker)),
    "v": ("version", lambda w: (w.version, w.worker)),
    "h": ("hand", lambda w: (-len(w.in_hand), w.worker)),
    "u": ("up", lambda w: (w.started_at, w.worker)),
}


def draw(scene: Scene, view: View, *, width: int, height: int) -> RenderableType:
    """Draw it in exactly the room that there is."""
    head = [_summary(scene), *_jobs(scene, width), _failures(scene), *_origins(scene, width)]
    keys = _keys(view)
    room = max(1, height - len(head) - 3)  # the table's header, what is left out, the keys
    workers = sorted(scene.overview.fleet.workers, key=ORDERS[view.order][1])
    first = min(view.first, max(0, len(workers) - room))
    silent = [] if first else sorted(scene.overview.silent.items())[: room // 2]
    shown = workers[first : first + room - len(silent)]
    table = _table(shown, silent, width)
    return Group(*head, table, _left_out(len(workers), first, len(shown), scene), keys)


def _summary(scene: Scene) -> Text:
    if scene.problem:
        return _one_line(Text(scene.problem, style=BAD))
    seen = scene.overview
    fleet = seen.fleet
    rate = sum(worker.images_per_s for worker in fleet.workers)
    parts = [counted(len(fleet.workers), "worker"), f"{rate:,.0f} img/s"]
    waits = f", {duration(seen.oldest_s)}" if seen.oldest_s is not None else ""
    parts.append(f"{counted(fleet.waiting, 'chunk')} waiting{waits}")
    parts.append(f"{len(fleet.in_hand):,} in hand")
    parts.append(f"Redis {seen.memory_bytes / 1e6:,.1f} MB")
    return _one_line(Text(" · ".join(parts), style="bold"))


def _jobs(scene: Scene, width: int) -> list[RenderableType]:
    if not scene.jobs:
        return [Text("no job of this machine is open", style=DIM)]
    lines: list[RenderableType] = []
    for job in scene.jobs[-MOST_JOBS:]:
        counts, pace = job.counts, scene.paces.get(job.spec.job, Pace())
        done = counts.total - counts.open
        bar = ProgressBar(total=max(1, counts.total), completed=done, width=max(8, width - 66))
        to_go = "" if pace.to_go_s is None else f"{duration(pace.to_go_s)} to go"
        line = Table.grid(padding=(0, 1, 0, 0))
        for _ in range(6):
            line.add_column(no_wrap=True)
        line.add_row(
            Text(job.spec.job, style="bold"),
            Text(job.state if job.state != "running" else f"{pace.images_per_s:,.0f}/s"),
            bar,
            Text(f"{done:,} of {counts.total:,}"),
            Text(to_go),
            Text(f"{counts.failed:,} failed", style=BAD) if counts.failed else Text(""),
        )
        lines.append(line)
    return lines


def _failures(scene: Scene) -> Text:
    if not scene.failures:
        return Text("nothing failed within the last minute", style=DIM)
    named = [f"{reason} {n:,}" for reason, n in scene.failures.most_common(MOST_REASONS)]
    more = ", …" if len(scene.failures) > MOST_REASONS else ""
    return _one_line(Text(f"failed within a minute: {', '.join(named)}{more}", style=BAD))


def _origins(scene: Scene, width: int) -> list[RenderableType]:
    """Name the origins of which most is asked, those first that hold the fleet back."""
    origins = sorted(scene.overview.fleet.origins, key=lambda one: not one.held_by)
    return [_origin(one, width) for one in origins[:MOST_ORIGINS]]


def _origin(one: OriginLoad, width: int) -> Text:
    load = f"{one.in_flight:,} of {one.limit:,.0f} in flight, {one.waiting:,} wait"
    held = Text(f", held by {one.held_by}", style=YELLOW) if one.held_by else Text("")
    said = Text.assemble("  ", load, f", {one.latency_ms:,.0f} ms", held)
    name = shorten(Text(one.origin), max(12, width - said.cell_len))
    return _one_line(Text.assemble(name, said))


def _table(
    workers: Sequence[Heartbeat], silent: Sequence[tuple[str, float]], width: int
) -> RenderableType:
    columns = [one for one in COLUMNS if width >= NARROW or one.name not in LEFT_WHERE_NARROW]
    rest = sum(one.width + 1 for one in columns) + STATE_WIDTH
    name_width = max(10, min(40, width - rest - 1))
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, header_style="bold reverse")
    table.add_column("worker", width=name_width, no_wrap=True)
    for one in columns:
        table.add_column(one.name, width=one.width, justify=one.justify, no_wrap=True)
    table.add_column("state", width=width - (rest - STATE_WIDTH) - name_width - 1, no_wrap=True)
    for name, since_s in silent:
        blank = [""] * len(columns)
        words = Text(f"silent for {duration(since_s)}", style=BAD)
        table.add_row(shorten(Text(name), name_width), *blank, words)
    for worker in workers:
        cells = [one.cell(worker) for one in columns]
        table.add_row(shorten(Text(worker.worker), name_width), *cells, state_words(worker))
    return table


@dataclass(frozen=True, slots=True)
class _Column:
    name: str
    width: int
    cell: Callable[[Heartbeat], Text]
    justify: Literal["left", "right"] = "right"


def _temperature(worker: Heartbeat) -> Text:
    if worker.temperature_c is None:
        return Text("")
    return Text(f"{worker.temperature_c:.0f}", style=BAD if worker.slowed else "")


STATE_WIDTH = 21  # "84 °C, under-voltage"
LEFT_WHERE_NARROW = ("MB", "version")
COLUMNS = (
    _Column("img/s", 6, lambda w: Text(f"{w.images_per_s:,.0f}")),
    _Column("°C", 3, _temperature),
    _Column("hand", 5, lambda w: Text(f"{len(w.in_hand)}/{w.processes}")),
    _Column("MB", 5, lambda w: Text(f"{w.rss_mb:,.0f}")),
    _Column("version", 8, lambda w: Text(w.version), "left"),
    _Column("up", 6, lambda w: Text(duration(time.time() - w.started_at).replace(" ", ""))),
)


def _left_out(total: int, first: int, shown: int, scene: Scene) -> Text:
    if not total and not scene.overview.silent:
        return Text("no worker is there: start one with `pifleet worker`", style=YELLOW)
    if shown == total:
        return Text("")
    return Text(f"{first + 1} to {first + shown} of {total} workers; ↑ ↓ for the others", style=DIM)


def _keys(view: View) -> Text:
    names = Text("sort: ", style=DIM)
    for key, (name, _) in ORDERS.items():
        chosen = "bold reverse" if key == view.order else ""
        names.append(name[0], style=f"{chosen} underline").append(name[1:], style=chosen).append(
            " "
        )
    return _one_line(names.append(" ").append("q", style="underline").append(" quits"))


def _one_line(text: Text) -> Text:
    text.no_wrap, text.overflow = True, "ellipsis"
    return text
