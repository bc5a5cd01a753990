"""Ports for servers that cannot choose their own and tell us."""

from __future__ import annotations

import socket
import sys


def free_port() -> int:
    """Find a free port, and keep it for this process: nobody else is given it.

    On Linux a socket that is bound and never listens keeps the kernel from handing its port out,
    and lets a server with SO_REUSEADDR listen there: every server of ours sets it.
    """
    keeper = socket.socket()
    keeper.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    keeper.bind(("127.0.0.1", 0))
    port: int = keeper.getsockname()[1]
    if sys.platform == "linux":
        keeper.detach()  # open until the process ends
    else:
        keeper.close()
    return port
