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

from broker.loads import MAX_ORIGINS, OriginLoad, merge_origins
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
    return merge_origins(load for pid in pids for load in _read_one(pid))[:MAX_ORIGINS]


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
