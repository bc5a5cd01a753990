"""Hosts that are network namespaces on a bridge, each with its share of a core; needs root.

A namespace is a host's network: its own interface, which can be cut and mended. A control group of
version 1 or 2 is its processor. Where the kernel has `tc netem` it is the way between them, too.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

BRIDGE = "pifleet0"
NETWORK = "10.203.0"
PERIOD_US = 100_000
CGROUPS = Path("/sys/fs/cgroup")


@dataclass(frozen=True, slots=True)
class Way:
    """The network between a host and the broker, in each direction.

    Attributes:
        delay_ms: of each packet.
        loss_percent: of the packets.
        rate: as tc spells it.
    """

    delay_ms: int = 5
    loss_percent: float = 0.1
    rate: str = "90mbit"

    @property
    def words(self) -> list[str]:
        """Spell it for tc."""
        loss = f"{self.loss_percent}%"
        return ["netem", "delay", f"{self.delay_ms}ms", "loss", loss, "rate", self.rate]


@dataclass(frozen=True, slots=True)
class Host:
    """One host.

    Attributes:
        name: of it, and of its worker.
        number: of its address.
        share: of one core that it may use.
    """

    name: str
    number: int
    share: float

    @property
    def space(self) -> str:
        """Name its network namespace."""
        return f"pifleet-{self.number}"

    @property
    def link(self) -> str:
        """Name the bridge's end of its cable."""
        return f"pifleet-v{self.number}"

    def command(self, *words: str) -> list[str]:
        """Spell a command that is run on it."""
        return ["ip", "netns", "exec", self.space, *words]

    def cut(self) -> None:
        """Pull its cable out."""
        run("ip", "link", "set", self.link, "down")

    def mend(self) -> None:
        """Put it in again."""
        run("ip", "link", "set", self.link, "up")

    def slow_down(self, pid: int) -> None:
        """Keep a process and its children to this host's share; after their start, to save time."""
        group = _group(self)
        group.mkdir(exist_ok=True)
        quota = int(self.share * PERIOD_US)
        if (group / "cpu.max").exists():
            (group / "cpu.max").write_text(f"{quota} {PERIOD_US}")
        else:
            (group / "cpu.cfs_quota_us").write_text(str(quota))
        process = psutil.Process(pid)
        for one in (process, *process.children(recursive=True)):
            (group / "cgroup.procs").write_text(str(one.pid))


def run(*words: str) -> None:
    """Run a command of iproute2.

    Raises:
        CalledProcessError: it refuses.
    """
    subprocess.run(words, check=True, capture_output=True, text=True)


@contextmanager
def bridge() -> Iterator[str]:
    """Make the bridge that all hosts hang on; gives the address of this machine on it."""
    run("ip", "link", "add", BRIDGE, "type", "bridge")
    try:
        run("ip", "addr", "add", f"{NETWORK}.1/24", "dev", BRIDGE)
        run("ip", "link", "set", BRIDGE, "up")
        yield f"{NETWORK}.1"
    finally:
        run("ip", "link", "del", BRIDGE)


@contextmanager
def on_the_bridge(host: Host, way: Way) -> Iterator[bool]:
    """Make a host; gives whether the kernel knows netem, else the way to it is a plain one."""
    run("ip", "netns", "add", host.space)
    try:
        run(
            "ip",
            "link",
            "add",
            host.link,
            "type",
            "veth",
            "peer",
            "name",
            "eth0",
            "netns",
            host.space,
        )
        run("ip", "link", "set", host.link, "master", BRIDGE, "up")
        inside = host.command("ip")
        run(*inside, "addr", "add", f"{NETWORK}.{10 + host.number}/24", "dev", "eth0")
        for device in ("lo", "eth0"):
            run(*inside, "link", "set", device, "up")
        yield _delayed(host, way)
    finally:
        run("ip", "netns", "del", host.space)
        group = _group(host)
        if group.is_dir():
            group.rmdir()


def _delayed(host: Host, way: Way) -> bool:
    try:
        run("tc", "qdisc", "add", "dev", host.link, "root", *way.words)
        run(*host.command("tc", "qdisc", "add", "dev", "eth0", "root", *way.words))
    except (subprocess.CalledProcessError, FileNotFoundError):
        return False
    return True


def _group(host: Host) -> Path:
    root = CGROUPS if (CGROUPS / "cgroup.controllers").exists() else CGROUPS / "cpu"
    return root / f"{host.space}-{os.getpid()}"
