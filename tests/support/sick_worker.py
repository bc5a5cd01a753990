"""A worker with one thing wrong: ``python -m tests.support.sick_worker`` with SICKNESS set.

``no-dns``: no name resolves. ``old``: it knows notices of another version only.
"""

from __future__ import annotations

import os
import socket
from functools import partial
from typing import Any

from aiohttp import ThreadedResolver

from broker.chunks import Notice
from contract.errors import MessageError
from workers.fetch.fetcher import FetchLimits


async def resolve_nothing(*arguments: Any, **options: Any) -> Any:
    """Fail as a resolver does that has no server; uvloop's own asks no function of Python's."""
    raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")


def understand_nothing(_: Any) -> Any:
    """Refuse a notice as a program of another version does."""
    raise MessageError("Notice is of version 3, this program knows 2")


def of_another_version(_: Any) -> bool:
    """Say that whatever cannot be read is of another version."""
    return True


if __name__ == "__main__":
    if os.environ["SICKNESS"] == "no-dns":
        from workers import process

        setattr(ThreadedResolver, "resolve", resolve_nothing)  # noqa: B010  # as below
        setattr(process, "FetchLimits", partial(FetchLimits, attempts=1))  # noqa: B010  # so fast
    else:
        from workers import tasks

        setattr(Notice, "from_wire", understand_nothing)  # noqa: B010  # mypy sees no harm then
        setattr(tasks, "is_of_another_version", of_another_version)  # noqa: B010
    from pifleet.cli import main

    main()
