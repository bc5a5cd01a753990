"""What a worker says of itself, every two seconds."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

from broker.fields import need, need_or_none, need_version, parse_object
from broker.limits import (
    MAX_HEARTBEAT_BYTES,
    MAX_PROCESSES,
    check_size,
    number,
    printable,
)

VERSION = 1


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """One pulse of a worker.

    Attributes:
        worker: its name.
        pid: of its main process, on its host.
        host: the host's name.
        processes: how many chunks it reads at once.
        in_hand: task ids of the chunks it holds, waiting ones included.
        images: read since its start, failed ones included.
        failed: of those, the ones without a text.
        images_per_s: over the last seconds.
        started_at: Unix time, seconds.
        temperature_c: of the processor; None where the machine does not tell.
        throttled: the Pi's ``get_throttled`` flags; None where there are none.
        rss_mb: memory of all its processes, in MB.
        version: of pifleet.
        runtime: which TFLite runtime it uses.
        models: digests that lie in its cache.
    """

    worker: str
    pid: int
    host: str
    processes: int
    in_hand: tuple[str, ...]
    images: int
    failed: int
    images_per_s: float
    started_at: float
    temperature_c: float | None
    throttled: int | None
    rss_mb: float
    version: str
    runtime: str
    models: tuple[str, ...]

    def to_json(self) -> str:
        """Write the heartbeat."""
        return json.dumps({"v": VERSION, **asdict(self)}, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: bytes | str) -> Heartbeat:
        """Read a heartbeat.

        Raises:
            MessageError: of an unknown version, or a field is missing or mistyped.
        """
        check_size(text, MAX_HEARTBEAT_BYTES, "heartbeat")
        fields = parse_object(text, "heartbeat")
        need_version(fields, VERSION, "heartbeat")
        return cls(
            worker=printable(need(fields, "worker", str)),
            pid=number(need(fields, "pid", int), "pid"),
            host=printable(need(fields, "host", str)),
            processes=number(need(fields, "processes", int), "processes", most=MAX_PROCESSES),
            in_hand=tuple(str(task) for task in need(fields, "in_hand", list)),
            images=need(fields, "images", int),
            failed=need(fields, "failed", int),
            images_per_s=need(fields, "images_per_s", float),
            started_at=need(fields, "started_at", float),
            temperature_c=need_or_none(fields, "temperature_c", float),
            throttled=need_or_none(fields, "throttled", int),
            rss_mb=need(fields, "rss_mb", float),
            version=printable(need(fields, "version", str)),
            runtime=printable(need(fields, "runtime", str)),
            models=tuple(str(digest) for digest in need(fields, "models", list)),
        )
