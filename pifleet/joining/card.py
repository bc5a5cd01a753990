"""What an SD card has to hold so that a Pi joins at its first boot: cloud-init's two files.

Source: https://docs.cloud-init.io/en/latest/reference/modules.html (user-data, network-config v2).
"""

from __future__ import annotations

import importlib.resources
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from contract.errors import OutputError, SettingsError
from pifleet.access.users_file import write_secret

USER_DATA, NETWORK_CONFIG = "user-data", "network-config"
ETC = Path("/etc/pifleet")
INSTALLER = "/usr/local/sbin/pifleet-install"
UNIT = "pifleet-first-boot.service"
JOURNAL = "/etc/systemd/journald.conf.d/pifleet.conf"
IN_RAM = "[Journal]\nStorage=volatile\nRuntimeMaxUse=32M\n"  # a card bears only so many writes
COUNTRY = re.compile(r"[A-Z]{2}")
HOST = re.compile(r"[A-Za-z0-9.:_-]+")
ADDRESS = re.compile(r"https://[A-Za-z0-9.:_\[\]-]+/?")
PUBLIC_KEY = re.compile(r"(ssh|ecdsa|sk)-[\w@.-]+ [A-Za-z0-9+/]+=*( [^\n]*)?")
ROOT_ONLY = "0600"
FROM_SERIAL = (  # cards written from one image all call themselves alike
    'n=$(tr -d "\\0" < /proc/device-tree/serial-number 2>/dev/null || cat /etc/machine-id);'
    ' n=pi-$(printf %s "$n" | tail -c 8); hostnamectl set-hostname "$n";'
    ' printf "127.0.1.1 %s\\n" "$n" >> /etc/hosts'
)


@dataclass(frozen=True, slots=True)
class Wifi:
    """A wireless network.

    Attributes:
        ssid: its name.
        password: of it.
        country: whose rules of radio hold, such as ``DE``; a Pi's radio is off without it.
    """

    ssid: str
    password: str
    country: str

    def __post_init__(self) -> None:
        """Refuse what no access point can have.

        Raises:
            SettingsError: names what.
        """
        if not 1 <= len(self.ssid.encode()) <= 32:
            raise SettingsError("--wifi", self.ssid, "a name of 1 to 32 bytes")
        if not 8 <= len(self.password) <= 63:
            raise SettingsError("Wi-Fi password", "***", "8 to 63 letters (WPA)")
        if not COUNTRY.fullmatch(self.country):
            raise SettingsError("--wifi-country", self.country, "two capitals, such as DE")


@dataclass(frozen=True, slots=True)
class Site:
    """What all cards of a fleet have in common.

    Attributes:
        at: address of the control node.
        authority: the fleet's certificate, PEM.
        time_servers: to set the clock by; none leaves the system's own.
        ssh_key: a public key that may log in; empty for none.
        wifi: None where there is a cable.
    """

    at: str
    authority: str
    time_servers: tuple[str, ...] = ()
    ssh_key: str = ""
    wifi: Wifi | None = None

    def __post_init__(self) -> None:
        """Refuse what a Pi could do nothing with, or another thing than what was meant.

        Raises:
            SettingsError: names what.
        """
        if not ADDRESS.fullmatch(self.at):
            raise SettingsError("--at", self.at, "an address such as https://192.168.1.10:8765")
        for server in self.time_servers:
            if not HOST.fullmatch(server):
                raise SettingsError("--time-server", server, "a host's name or address")
        if self.ssh_key and not PUBLIC_KEY.fullmatch(self.ssh_key):
            found = "***" if "PRIVATE" in self.ssh_key else self.ssh_key[:40]
            raise SettingsError("--ssh-key", found, "one public key, such as id_ed25519.pub holds")


@dataclass(frozen=True, slots=True)
class Card:
    """One card, or one for many.

    Attributes:
        site: what it has in common with others.
        secret: what lets its Pi in: a settings file, or a token.
        name: of the Pi; empty for many, which are named by their serial numbers and have a token.
    """

    site: Site
    secret: str
    name: str = ""

    def user_data(self) -> str:
        """Write cloud-init's user-data."""
        start = ["systemctl", "enable", "--now", "--no-block", UNIT]
        first_boot = [["systemctl", "daemon-reload"], start]
        data: dict[str, Any] = {
            "manage_etc_hosts": True,
            "write_files": self._files(),
            "runcmd": first_boot,
        }
        if self.name:
            data["hostname"] = self.name
        else:
            data["preserve_hostname"] = True
            data["manage_etc_hosts"] = False
            data["runcmd"] = [["sh", "-c", FROM_SERIAL], *first_boot]
        if self.site.time_servers:
            servers = {"enabled": True, "ntp_client": "systemd-timesyncd"}
            data["ntp"] = {**servers, "servers": list(self.site.time_servers)}
        if self.site.ssh_key:
            data["ssh_authorized_keys"] = [self.site.ssh_key]
        return f"#cloud-config\n{_yaml(data)}"

    def network_config(self) -> str:
        """Write cloud-init's network-config: a cable always, Wi-Fi where there is one."""
        network: dict[str, Any] = {
            "version": 2,
            "ethernets": {"eth0": {"dhcp4": True, "optional": True}},
        }
        if self.site.wifi is not None:
            network["wifis"] = {
                "wlan0": {
                    "dhcp4": True,
                    "optional": True,
                    "regulatory-domain": self.site.wifi.country,
                    "access-points": {self.site.wifi.ssid: {"password": self.site.wifi.password}},
                }
            }
        return _yaml({"network": network})

    def _files(self) -> list[dict[str, str]]:
        infra = importlib.resources.files("infra")
        installer = (infra / "install.sh").read_text(encoding="utf-8")
        unit = (infra / UNIT).read_text(encoding="utf-8").replace("AT", self.site.at)
        secret = f"{ETC}/pifleet.env" if self.name else f"{ETC}/token"
        return [
            {"path": f"{ETC}/ca.crt", "permissions": "0644", "content": self.site.authority},
            {"path": secret, "permissions": ROOT_ONLY, "content": self.secret},
            {"path": INSTALLER, "permissions": "0755", "content": installer},
            {"path": f"/etc/systemd/system/{UNIT}", "permissions": "0644", "content": unit},
            {"path": JOURNAL, "permissions": "0644", "content": IN_RAM},
        ]


def write_card(card: Card, folder: Path) -> list[Path]:
    """Write both files for their owner's eyes: they hold passwords.

    Raises:
        OutputError: they cannot be written.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder} cannot be made: {error.strerror}") from error
    texts = {USER_DATA: card.user_data(), NETWORK_CONFIG: card.network_config()}
    for name, text in texts.items():
        write_secret(folder / name, text)
    return [folder / name for name in texts]


class _Dumper(yaml.SafeDumper):
    """Writes what has lines as lines."""


def _lines(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _lines)


def _yaml(data: dict[str, Any]) -> str:
    return yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=1000)
