"""The one error tree: who can act on a failure decides its branch.

FleetError
├── UserError            fix the input or the settings (exit code 2)
│   ├── SettingsError    a flag or a PIFLEET_* variable has a bad value
│   ├── SourceError      the list of images cannot be used
│   ├── ModelError       a model is unknown, damaged or does not fit
│   ├── LedgerError      a ledger belongs to another job, or is in use
│   ├── OutputError      a result cannot be written where it was asked for
│   └── AccessError      the broker knows us and refuses: a wrong password, a missing right
├── TransientError       trying again may help
│   └── ServiceError     a service cannot be reached (exit code 3)
└── PermanentError       trying again cannot help
    ├── MessageError     a message on the wire is not one of ours
    └── ImageError       an image cannot be fetched or read; carries its reason
"""

from __future__ import annotations

from contract.reasons import Reason


class FleetError(Exception):
    """Root of everything this project raises on purpose."""


class UserError(FleetError):
    """The person at the command line can fix this."""


class SettingsError(UserError):
    """A setting has a value that is not accepted."""

    def __init__(self, name: str, value: object, accepted: str) -> None:
        super().__init__(name, value, accepted)
        self.name = name
        self.value = value
        self.accepted = accepted

    def __str__(self) -> str:
        return f"{self.name}={self.value!r} is not accepted: give {self.accepted}"


class SourceError(UserError):
    """The source of a job cannot be used as it is."""


class ModelError(UserError):
    """A model is unknown, damaged, or does not fit what is asked of it."""


class LedgerError(UserError):
    """A ledger belongs to another job, is in use, or is damaged."""


class OutputError(UserError):
    """A result cannot be written where it was asked for."""


class AccessError(UserError):
    """The broker refuses us; it will as long as nobody changes the password or the rights."""


class TransientError(FleetError):
    """Trying again may help."""


class ServiceError(TransientError):
    """A service that is needed cannot be reached."""


class PermanentError(FleetError):
    """Trying again cannot help."""


class MessageError(PermanentError):
    """A message on the wire is missing a field, or is of a version we do not know."""


class ImageError(PermanentError):
    """One image cannot be fetched or read."""

    def __init__(self, reason: Reason, detail: str = "") -> None:
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail

    def __str__(self) -> str:
        return f"{self.reason}: {self.detail}" if self.detail else str(self.reason)
