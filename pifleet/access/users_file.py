"""The broker's users file: a line a user, with the hash of its password and what it may do.

Redis takes no comments in it; infra/README.md says what each role is for.

Source: https://redis.io/docs/latest/operate/oss_and_stack/management/security/acl/.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from dataclasses import dataclass, field
from pathlib import Path

from contract.errors import OutputError, SettingsError, UserError
from contract.files import atomic_write
from pifleet.access.roles import ROLES, Role

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
NOBODY = "user default off resetpass resetkeys resetchannels -@all"
PASSWORD_BYTES = 32  # too many to guess, so a fast hash of them is enough


@dataclass(frozen=True, slots=True)
class User:
    """One user of the broker.

    Attributes:
        name: that it logs in with.
        role: what it may do.
        hashed: SHA-256 of its password, which is what the broker stores.
        password: in the clear; empty where it is known to nobody but the user itself.
    """

    name: str
    role: Role
    hashed: str
    password: str = field(default="", repr=False)

    def rules(self) -> list[str]:
        """List what `ACL SETUSER` takes after the name."""
        return f"reset on #{self.hashed} {self.role.rules(self.name)}".split()

    def line(self) -> str:
        """Write its line of the users file."""
        return f"user {self.name} {' '.join(self.rules()[1:])}"  # a file begins from nothing


def new_user(name: str, role: Role, *, hashed: str | None = None) -> User:
    """Make a user with a password of its own.

    Args:
        name: that it logs in with.
        role: what it may do.
        hashed: SHA-256 of a password that it has made itself; None makes one.

    Raises:
        SettingsError: the name cannot be one.
    """
    check_name(name)
    if hashed is not None:
        return User(name, role, hashed)
    password = secrets.token_urlsafe(PASSWORD_BYTES)
    return User(name, role, hashlib.sha256(password.encode()).hexdigest(), password)


def check_name(name: str) -> None:
    """Refuse what cannot be a user's name.

    Raises:
        SettingsError: it cannot.
    """
    if not NAME.fullmatch(name) or name == "default":
        raise SettingsError("user", name, "letters, digits, dots and dashes; not `default`")


def read_users(path: Path) -> dict[str, str]:
    """Read the lines of a users file, by user.

    Raises:
        UserError: there is none, or it is no users file.
    """
    try:
        lines = path.read_text().splitlines()
    except OSError as error:
        advice = "make one with `pifleet access init`"
        raise UserError(f"{path} cannot be read: {error.strerror} ({advice})") from error
    users = {}
    for line in filter(None, lines):
        word, _, rest = line.partition(" ")
        if word != "user":
            raise UserError(f"{path} is no users file of Redis: {line!r:.60}")
        users[rest.partition(" ")[0]] = line
    return users


def write_users(path: Path, users: dict[str, str]) -> None:
    """Write a users file, whole or not at all, for its owner's eyes.

    Raises:
        OutputError: it cannot be written.
    """
    write_secret(path, "".join(f"{line}\n" for line in users.values()))


def role_of(line: str) -> str:
    """Tell a user's role by its commands: Redis writes a line anew in words of its own."""
    granted = {word for word in line.split() if word.startswith("+")}
    for role in ROLES.values():
        if granted == {word for word in role.rules("").split() if word.startswith("+")}:
            return role.name
    return "of somebody else's making"


def write_secret(path: Path, text: str) -> None:
    """Write a file that only its owner may read, whole or not at all.

    Raises:
        OutputError: it cannot be written.
    """
    try:
        with atomic_write(path, is_secret=True) as file:
            file.write(text.encode())
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror}") from error
