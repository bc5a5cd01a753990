"""How a command ends: the one map from what happened to what a shell sees."""

from __future__ import annotations

from contract.errors import FleetError, TransientError, UserError

DONE = 0
SOME_FAILED = 1  # of the images; Python itself ends with 1 after a traceback
USAGE = 2  # or settings; click's own choice for a wrong option
UNREACHABLE = 3  # a service that is needed
INTERRUPTED = 130  # by Ctrl-C; 128 + SIGINT, as shells count


def exit_code(error: FleetError) -> int:
    """Return the exit code of a command that an error ends."""
    if isinstance(error, UserError):
        return USAGE
    return UNREACHABLE if isinstance(error, TransientError) else SOME_FAILED
