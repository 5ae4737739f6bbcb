"""Sockets as /proc/net has them."""

from __future__ import annotations

import ipaddress
import sys
from collections.abc import Sequence
from dataclasses import dataclass

LISTEN, ESTABLISHED = "listen", "established"
MOST_LINES = 20_000
CHUNK = 65536
NAMES = ("tcp", "tcp6", "udp", "udp6")

_STATES = {"01": ESTABLISHED, "0A": LISTEN, "07": "unconnected"}


@dataclass(frozen=True)
class Connection:
    """One socket: `local` and `remote` are address and port."""

    protocol: str  # tcp, udp
    address: str
    port: int
    remote_address: str
    remote_port: int
    state: str
    uid: int
    inode: int

    @property
    def local(self) -> str:
        """Address and port here."""
        return _joined(self.address, self.port)

    @property
    def remote(self) -> str:
        """Address and port there."""
        return _joined(self.remote_address, self.remote_port)

    @property
    def loopback(self) -> bool:
        """Whether only this host gets to it."""
        return ipaddress.ip_address(self.address).is_loopback


def connections(net: str, only_listening: bool = False, names: Sequence[str] = NAMES) -> list[Connection]:
    """All sockets of a network namespace.

    Args:
        net: its folder, such as /proc/1/net. What cannot be read there has none.
        only_listening: TCP listeners and unconnected UDP alone; the kernel lists the former first, so a host with
            100,000 connections costs no more.
        names: the files that are read.
    """
    found: list[Connection] = []
    for name in names:
        found += _read(f"{net}/{name}", name[:3], only_listening)
    return found


def _read(path: str, protocol: str, only_listening: bool) -> list[Connection]:
    found: list[Connection] = []
    try:
        with open(path, "rb", buffering=CHUNK) as stream:
            stream.readline()
            for line, _ in zip(stream, range(MOST_LINES), strict=False):
                each = parse(line.decode("ascii", "replace"), protocol)
                if each is None:
                    continue
                if only_listening and each.state not in (LISTEN, "unconnected"):
                    if protocol == "tcp":
                        break
                    continue
                found.append(each)
    except OSError:
        pass
    return found


def parse(line: str, protocol: str) -> Connection | None:
    """One line of /proc/net/tcp and its kin; None for what is none (proc_net_tcp(5))."""
    fields = line.split()
    try:
        address, _, port = fields[1].partition(":")
        remote, _, remote_port = fields[2].partition(":")
        return Connection(
            protocol,
            _address(address),
            int(port, 16),
            _address(remote),
            int(remote_port, 16),
            _STATES.get(fields[3], fields[3]),
            int(fields[7]),
            int(fields[9]),
        )
    except (IndexError, ValueError):
        return None


def _address(text: str) -> str:
    raw = bytes.fromhex(text)
    words = [raw[at : at + 4] for at in range(0, len(raw), 4)]
    if sys.byteorder == "little":
        words = [word[::-1] for word in words]
    address = ipaddress.ip_address(b"".join(words))
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return str(mapped or address)


def _joined(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
