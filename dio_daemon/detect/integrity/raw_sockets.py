"""Raw sockets of IP, by who has them.

A raw socket takes or sends whole packets of a protocol past the ports: what hides its commands in pings, and what
floods others with made-up senders, needs one. So do ping, DHCP clients, routing daemons and networkd. These are
packages' programs; one of a program that no package has, or that runs from a temporary folder, is told. An
interpreter's is not: monitoring pings from scripts.
"""

from __future__ import annotations

from dio_daemon.collect.procfs import read
from dio_daemon.detect.finding import Finding
from dio_daemon.detect.integrity.dpkg import Packages
from dio_daemon.detect.integrity.facts import (
    DELETED,
    describe,
    exe_of,
    is_of_package,
    name_of,
    owner_of_socket,
    place_of,
    status_of,
    user_name,
)
from dio_daemon.detect.integrity.host import Host
from dio_daemon.detect.integrity.processes import TEMPORARY
from dio_daemon.detect.integrity.runs import Runs
from dio_daemon.text import safe

MOST_READ = 1 << 20
MOST_JUDGED = 20
LOOKS = 2
"""Who pings once is gone before the second look."""
_PROTOCOLS = {
    ("raw", 1): "ICMP (pings)",
    ("raw", 6): "TCP",
    ("raw", 17): "UDP",
    ("raw", 255): "made-up packets",
    ("raw6", 58): "ICMPv6 (pings)",
}


class RawSockets:
    """Watches raw sockets. Belongs to one thread.

    Args:
        host: whose.
        packages: what is installed.
        runs: when the package manager was at work.
    """

    def __init__(self, host: Host, packages: Packages, runs: Runs) -> None:
        self._host = host
        self._packages = packages
        self._runs = runs
        self._looks: dict[int, int] = {}
        self._judged: dict[int, Finding | None] = {}

    def look(self) -> list[Finding]:
        """One look; what is the case."""
        there = self._sockets()
        self._looks = {inode: self._looks.get(inode, 0) + 1 for inode in there}
        self._judged = {inode: said for inode, said in self._judged.items() if inode in there}
        due = [inode for inode, looks in self._looks.items() if looks >= LOOKS and inode not in self._judged]
        for inode in due[:MOST_JUDGED]:
            self._judged[inode] = self._judge(inode, *there[inode])
        return [said for said in self._judged.values() if said is not None]

    def _sockets(self) -> dict[int, tuple[str, int]]:
        """Inode to family and protocol; the protocol stands where TCP has its port (raw(7))."""
        found: dict[int, tuple[str, int]] = {}
        for family in ("raw", "raw6"):
            try:
                rows = read(f"{self._host.proc}/1/net/{family}", MOST_READ).split(b"\n")[1:]
            except OSError:
                continue
            for row in rows:
                fields = row.decode("ascii", "replace").split()
                if len(fields) > 9 and fields[9].isdigit():
                    try:
                        found[int(fields[9])] = family, int(fields[1].rpartition(":")[2], 16)
                    except ValueError:
                        continue
        return found

    def _judge(self, inode: int, family: str, protocol: int) -> Finding | None:
        pid = owner_of_socket(self._host, inode)
        exe = exe_of(self._host, pid) if pid is not None else None
        if pid is None or exe is None or place_of(self._host, pid).container is not None:
            return None
        path = exe.removesuffix(DELETED)
        temporary = path.startswith(TEMPORARY)
        if not temporary and is_of_package(self._host, self._packages, self._runs, pid, exe):
            return None
        uid, _ = status_of(self._host, pid)
        user, shown = user_name(self._host, uid), safe(path, 300)
        what = _PROTOCOLS.get((family, protocol), f"protocol {protocol}")
        return Finding(
            type="raw_socket",
            severity="high" if temporary or path != exe else "medium",
            confidence=0.7,
            subject=f"{path} as {user}",
            summary=f"{name_of(self._host, pid)} (pid {pid}, user {user}) takes or sends whole packets, {what}, past "
            f"all ports: {shown}, which no package has",
            why="Commands hide in pings, and floods with made-up senders are sent this way. A tool of your own that "
            "pings or routes does the same.",
            next="ss -wpn names it; ask who runs it; see its parents in the evidence. Yours: mark it as normal.",
            technique="T1095",
            title="Raw socket",
            evidence={
                "protocol": protocol,
                "family": family,
                "process": describe(self._host, self._packages, pid),
            },
        )
