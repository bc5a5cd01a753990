"""The board of origins: how each pool process finds its origins now, for its parent to read.

A chunk on a slow origin lasts minutes, and then it matters most. So the state does not wait for the
chunk's end, but stands in memory that both share: one slot a process, a line of JSON in it. A line
that was read while it was written has another checksum, and is passed over.
"""

from __future__ import annotations

import mmap
import os
import struct
import time
import zlib
from collections.abc import Iterable, Sequence

import msgspec

from broker.heartbeats import MAX_ORIGINS, OriginLoad
from workers.fetch.origins import OriginState

SLOTS = 4096  # by process id
SLOT_BYTES = 4096
HEADER = struct.Struct("=qdII")  # process id, monotonic time, length, checksum
FORGET_S = 60.0  # what nobody asked for that long says nothing of now

_table: mmap.mmap | None = None
_lines = msgspec.json.Decoder(tuple[OriginLoad, ...])


def prepare() -> None:
    """Make the board; called in the parent, before it forks. A page is taken when it is used."""
    global _table
    if _table is None:
        _table = mmap.mmap(-1, SLOTS * SLOT_BYTES)


def post(states: Sequence[OriginState]) -> None:
    """Write how this process finds its origins; nothing where no board is."""
    if _table is None:
        return
    loads = [
        OriginLoad(one.origin, one.in_flight, one.waiting, one.limit, one.latency_ms, one.held_by)
        for one in states[:MAX_ORIGINS]
    ]
    line = msgspec.json.encode(loads)
    if len(line) > SLOT_BYTES - HEADER.size:  # names of hosts may be long
        line = b"[]"
    pid = os.getpid()
    at = pid % SLOTS * SLOT_BYTES
    _table[at + HEADER.size : at + HEADER.size + len(line)] = line
    HEADER.pack_into(_table, at, pid, time.monotonic(), len(line), zlib.crc32(line))


def read(pids: Iterable[int]) -> tuple[OriginLoad, ...]:
    """Add up what these processes wrote of late, the busiest origins first."""
    loads: dict[str, list[OriginLoad]] = {}
    for pid in pids:
        for load in _read_one(pid):
            loads.setdefault(load.origin, []).append(load)
    merged = sorted((merge(same) for same in loads.values()), key=_business, reverse=True)
    return tuple(merged[:MAX_ORIGINS])


def merge(loads: Sequence[OriginLoad]) -> OriginLoad:
    """Add up what several say of one origin; its latency is that of the slowest."""
    held = [load.held_by for load in loads if load.held_by]
    return OriginLoad(
        origin=loads[0].origin,
        in_flight=sum(load.in_flight for load in loads),
        waiting=sum(load.waiting for load in loads),
        limit=round(sum(load.limit for load in loads), 2),
        latency_ms=max(load.latency_ms for load in loads),
        held_by=max(held, key=held.count, default=""),
    )


def _business(load: OriginLoad) -> tuple[int, float]:
    return load.in_flight + load.waiting, load.limit


def _read_one(pid: int) -> tuple[OriginLoad, ...]:
    if _table is None:
        return ()
    at = pid % SLOTS * SLOT_BYTES
    written_by, written_at, length, checksum = HEADER.unpack_from(_table, at)
    line = _table[at + HEADER.size : at + HEADER.size + min(length, SLOT_BYTES)]
    if (
        written_by != pid
        or time.monotonic() - written_at > FORGET_S
        or zlib.crc32(line) != checksum
    ):
        return ()
    return _lines.decode(line)
