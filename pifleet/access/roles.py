"""Who may do what in the broker: an ACL rule for each role, with the least that it needs.

Each exchange says in its own module what a role needs of it; a role may do what its exchanges need,
and no more. Redis 6.2 cannot tell reading a key from writing it, so what must not happen is kept
out by the commands: a worker has none that deletes, expires or overwrites a key of another type,
reads a stream, or runs a script.
"""

from __future__ import annotations

from dataclasses import dataclass

from broker import automata, chunks, claims, heartbeats, models, rates, repair, results, transport
from broker.heartbeats import OWN
from broker.keys import RoleName

EXCHANGES = (transport, chunks, claims, results, models, automata, rates, heartbeats, repair)
CONNECT = ("ping", "info", "time")


@dataclass(frozen=True, slots=True)
class Role:
    """What one kind of program may do.

    Attributes:
        name: of the role.
        keys: that it may touch, and channels, as an ACL spells them.
        commands: that it may use, likewise.
        why: a line for whoever reads the users file.
    """

    name: str
    keys: tuple[str, ...]
    commands: tuple[str, ...]
    why: str

    def rules(self, user: str) -> str:
        """Spell it as Redis does, from nothing, for the user of this name."""
        keys = (pattern.replace(OWN, user) for pattern in self.keys)
        return " ".join(("resetkeys resetchannels -@all", *keys, *self.commands))


def _role(name: RoleName, why: str) -> Role:
    rights = [module.RIGHTS[name] for module in EXCHANGES if name in module.RIGHTS]
    keys = dict.fromkeys(pattern for one in rights for pattern in one.keys)
    commands = dict.fromkeys((*CONNECT, *(command for one in rights for command in one.commands)))
    return Role(
        name=name,
        keys=tuple(sorted(k if k.startswith("&") else f"~{k}" for k in keys)),
        commands=tuple(f"+{command}" for command in sorted(commands)),
        why=why,
    )


WORKER = _role("worker", "A Pi. `pifleet access grant` makes one of these for each.")
PRODUCER = _role("producer", "The laptop: submit, collect, cancel, status, models push.")
DASHBOARD = _role("dashboard", "Flower. It sees no chunk and no row; its broker tab stays empty.")
METRICS = _role("metrics", "What may only look: `pifleet status`, a Prometheus exporter.")
ADMIN = Role(
    name="admin",
    keys=("~*", "&*"),
    commands=("+@all",),
    why="Grants and revokes; its password stays on the machine that made it.",
)

ROLES = {role.name: role for role in (ADMIN, PRODUCER, WORKER, DASHBOARD, METRICS)}
