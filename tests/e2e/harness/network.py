"""A network of its own for each test: a switch and hosts on it, in network namespaces.

The switch is a namespace with a bridge, 10.77.0.254. Every host gets a namespace with one interface on it. A
namespace outlives a reboot of its host, so addresses stay. Traffic never leaves the machine.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from pathlib import Path

from .commands import CommandFailedError, run

PREFIX = "dioe2e"
SWITCH_ADDRESS = "10.77.0.254"


class Network:
    """One switch; `add` puts a host on it."""

    def __init__(self, label: str) -> None:
        """Make the switch; `label` tells networks of one process apart."""
        self._name = f"{PREFIX}-{os.getpid()}-{label}"
        self._hosts: list[str] = []
        self.switch = f"{self._name}-switch"
        _ip("netns", "add", self.switch)
        _in(self.switch, "link", "set", "lo", "up")
        _in(self.switch, "link", "add", "br0", "type", "bridge")
        _in(self.switch, "address", "add", f"{SWITCH_ADDRESS}/24", "dev", "br0")
        _in(self.switch, "link", "set", "br0", "up")

    def add(self) -> tuple[str, str]:
        """A namespace for one more host; returns its path and its address."""
        number = len(self._hosts) + 1
        name = f"{self._name}-{number}"
        address = f"10.77.0.{number}"
        self._hosts.append(name)
        _ip("netns", "add", name)
        _in(
            self.switch,
            "link",
            "add",
            f"port{number}",
            "type",
            "veth",
            "peer",
            "name",
            "host0",
            "netns",
            name,
        )
        _in(name, "link", "set", "lo", "up")
        _in(name, "address", "add", f"{address}/24", "dev", "host0")
        _in(name, "link", "set", "host0", "up")
        self.connect(address)
        return f"/run/netns/{name}", address

    def connect(self, address: str) -> None:
        """Put the host's cable into the switch."""
        port = f"port{address.rsplit('.', 1)[1]}"
        _in(self.switch, "link", "set", port, "master", "br0", "up")

    def cut(self, address: str) -> None:
        """Lose everything from and to the host, silently: its link stays up."""
        _in(self.switch, "link", "set", f"port{address.rsplit('.', 1)[1]}", "nomaster")

    def lose(self, sender: str, receiver: str) -> None:
        """Lose everything that one host sends to another one, silently."""
        nobody = ("lladdr", "02:00:00:00:00:99", "nud", "permanent")
        _in(self._of(sender), "neigh", "replace", receiver, "dev", "host0", *nobody)

    def deliver(self, sender: str, receiver: str) -> None:
        """Undo `lose`."""
        _in(self._of(sender), "neigh", "delete", receiver, "dev", "host0")

    def tunnel_to_nowhere(self, address: str) -> None:
        """Give the host a tunnel, vx0, whose other end no route leads to: what it sends to 10.98.0.2 is an error."""
        end = ("vxlan", "id", "5", "remote", "10.99.0.1", "dstport", "4789")
        _in(self._of(address), "link", "add", "vx0", "type", *end)
        _in(self._of(address), "address", "add", "10.98.0.1/24", "dev", "vx0")
        _in(self._of(address), "link", "set", "vx0", "up")
        nobody = ("lladdr", "02:00:00:00:00:99", "nud", "permanent")
        _in(self._of(address), "neigh", "replace", "10.98.0.2", "dev", "vx0", *nobody)

    def _of(self, address: str) -> str:
        return f"{self._name}-{address.rsplit('.', 1)[1]}"

    def close(self) -> None:
        """Take it all away."""
        for name in [*self._hosts, self.switch]:
            with suppress(CommandFailedError):
                _ip("netns", "delete", name)


def sweep() -> None:
    """Remove what a test run left that was killed."""
    for path in Path("/run/netns").glob(f"{PREFIX}-*"):
        match = re.match(rf"{PREFIX}-(\d+)-", path.name)
        if match and not Path("/proc", match[1]).exists():
            with suppress(CommandFailedError):
                _ip("netns", "delete", path.name)


def _ip(*words: str) -> None:
    run(["ip", *words])


def _in(namespace: str, *words: str) -> None:
    run(["ip", "-n", namespace, *words])
