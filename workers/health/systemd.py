"""Tell systemd that this worker is ready, and that it gets on with its work.

The watchdog is fed by progress: a worker that holds chunks and has begun or ended none for longer
than a chunk may take is stuck, however alive its threads are, and systemd starts it again.

Source: sd_notify(3); a state is a datagram to the socket that NOTIFY_SOCKET names.
"""

from __future__ import annotations

import socket

from contract.clocks import HARD_LIMIT_S

READY = "READY=1"
ALIVE = "WATCHDOG=1"
STUCK_AFTER_S = HARD_LIMIT_S + 60.0  # by then the hard time limit has ended what hangs


def notify(address: str | None, state: str) -> bool:
    """Send one state to systemd; gives whether there was anybody to tell.

    Args:
        address: of the socket; None where the worker was not started by systemd.
        state: such as ``READY``.
    """
    if not address:
        return False
    path = "\0" + address[1:] if address.startswith("@") else address  # an abstract socket
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.setblocking(False)
        try:
            sender.sendto(state.encode(), path)
        except OSError:  # systemd is restarting, or busy, and will ask again
            return False
    return True


def is_getting_on(*, in_hand: int, moved_at: float, now: float) -> bool:
    """Say whether a worker makes progress, or has nothing to make it with.

    Args:
        in_hand: chunks that it holds.
        moved_at: when a chunk last came in or was done, seconds.
        now: on the same clock.
    """
    return in_hand == 0 or now - moved_at < STUCK_AFTER_S
