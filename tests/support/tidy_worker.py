"""A worker that puts back after 15 s, and not after 90, what a dead one left unacknowledged.

Put back or not, nobody begins a delivery twice: the time only says for how long Redis keeps it, and
so for how long a test of what is left in Redis has to wait.
"""

from __future__ import annotations

import broker.app

if __name__ == "__main__":
    broker.app.TRANSPORT |= {"visibility_timeout": 15, "unacked_restore_interval": 4}
    from pifleet.cli import main

    main()
