"""The detector of new listening sockets.

What listens at the first look is the baseline. After that, a new one of a package's service is recorded, and so is a
user's on the loopback address; any other is told until it is closed.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from typing import Any

from dio_daemon.detect.finding import Finding
from dio_daemon.detect.integrity.baseline import Baseline
from dio_daemon.detect.integrity.dpkg import Packages
from dio_daemon.detect.integrity.facts import describe, exe_of, name_of, owner_of_socket, place_of
from dio_daemon.detect.integrity.host import Host
from dio_daemon.detect.integrity.net import Connection
from dio_daemon.detect.integrity.sockdiag import listening
from dio_daemon.text import safe

MOST_KNOWN = 2000
MOST_JUDGED = 5
"""In one look: whose a socket is takes a look at every process."""
LOOKS = 2
"""What is closed again before the next look is not told."""

GENERAL = re.compile(
    r"(python|perl|ruby|php|node|nodejs|java|lua|tclsh|bash|dash|sh|zsh|nc|ncat|netcat|socat|busybox|openssl|ssh|inetd"
    r"|xinetd|gunicorn|uwsgi|websocat|stunnel)[0-9.]*([.-](openbsd|traditional))?"
)
"""Programs that listen for whoever starts them: that a package has them says nothing."""
TUNNEL = "/usr/bin/ssh"

_NEXT_PROCESS = "ss -lpn 'sport = :{0}' names the process; end it, or mark this as normal."
_NEXT_KERNEL = (
    "A tunnel of the kernel's (ip -d link show; wg show) or its file server has such a port; if none does,"
    " ss -lpne 'sport = :{0}' shows the socket, and whoever has it hides. Mark a tunnel as normal."
)

Key = tuple[str, int, bool]


class ListenerWatch:
    """Watches listening sockets. Belongs to one thread.

    Args:
        host: whose.
        packages: what is installed.
        baseline: remembers what listened before.
        announced: whether a change window is open.
        record: where what is known is recorded.
    """

    def __init__(
        self,
        host: Host,
        packages: Packages,
        baseline: Baseline,
        announced: Callable[[], bool],
        record: Callable[[str, str, dict[str, Any]], None],
    ) -> None:
        self._host = host
        self._packages = packages
        self._baseline = baseline
        self._announced = announced
        self._record = record
        self._new: dict[Key, int] = {}
        self._findings: dict[Key, Finding] = {}
        kept = baseline.memory.get("listeners")
        self._known: set[Key] | None = None
        if isinstance(kept, list):
            self._known = {(str(each[0]), int(each[1]), bool(each[2])) for each in kept}

    def look(self) -> list[Finding]:
        """One look; what is the case."""
        ephemeral = self._ephemeral()
        found: dict[Key, Connection] = {}
        for each in listening(self._host.proc):
            if each.protocol == "udp" and each.port >= ephemeral:
                continue
            found.setdefault((each.protocol, each.port, each.loopback), each)
        if self._known is None:
            self._known = set(found)
            self._keep()
            return []
        self._new = {key: self._new.get(key, 0) + 1 for key in found if key not in self._known}
        self._findings = {key: finding for key, finding in self._findings.items() if key in self._new}
        due = [key for key, looks in self._new.items() if looks >= LOOKS and key not in self._findings]
        for key in due[:MOST_JUDGED]:
            self._judge(key, found[key])
        return list(self._findings.values())

    def accept(self) -> int:
        """Take all that is told as well; how many they were."""
        count = len(self._findings)
        if self._known is not None:
            self._known |= set(self._findings)
            self._keep()
        self._findings.clear()
        return count

    def _judge(self, key: Key, socket: Connection) -> None:
        pid = owner_of_socket(self._host, socket.inode)
        exe = exe_of(self._host, pid) if pid is not None else None
        known = "announced" if self._announced() else self._vouched(pid, exe)
        if known is None and socket.loopback and socket.uid >= 1000:
            known = "a user's, on the loopback address"
        if known is None and socket.loopback and exe == TUNNEL:
            known = "a tunnel's near end, on the loopback address"
        # Nobody's: the kernel itself listens for VXLAN, WireGuard or NFS, and no process has the socket.
        name = (name_of(self._host, pid) if pid is not None else None) or "an unknown process"
        who = "the kernel, or no process that can be seen," if pid is None else f"{name} (pid {pid})"
        about = f"{who} listens on {socket.protocol} {socket.local}"
        if known is not None:
            if self._known is not None and len(self._known) < MOST_KNOWN:
                self._known.add(key)
                self._keep()
            self._record("listening_socket", f"{about} ({known})", {"reason": known, "port": socket.port})
            return
        evidence = {
            "protocol": socket.protocol,
            "address": socket.address,
            "port": socket.port,
            "uid": socket.uid,
        }
        evidence["process"] = describe(self._host, self._packages, pid) if pid is not None else None
        self._findings[key] = Finding(
            type="listening_socket",
            severity="low" if socket.loopback else "medium",
            confidence=0.6 if socket.loopback else 0.75,
            subject=f"{socket.protocol} {socket.port}{' loopback' if socket.loopback else ''}",
            summary=f"{about}, which nothing did before and no package's service is known for",
            why="An open port lets others in: a service that was forgotten, or a way back that somebody left.",
            next=_NEXT_PROCESS.format(socket.port) if pid is not None else _NEXT_KERNEL.format(socket.port),
            technique="T1571",
            title="New listening socket",
            evidence=evidence,
        )

    def _vouched(self, pid: int | None, exe: str | None) -> str | None:
        """The package whose service it is."""
        if pid is None or exe is None:
            return None
        place = place_of(self._host, pid)
        if place.container is not None:
            return f"container {safe(place.container, 16)}"
        if place.unit is not None and place.unit.endswith(".service"):
            template = re.sub(r"@.*(?=\.service$)", "@", place.unit)
            for unit in dict.fromkeys((place.unit, template)):
                owner = self._packages.owner(f"/usr/lib/systemd/system/{unit}")
                if owner is not None:
                    return f"service of package {owner.package}"
        if GENERAL.fullmatch(os.path.basename(exe)):
            return None
        owner = self._packages.owner(exe)
        return None if owner is None else f"package {owner.package}"

    def _ephemeral(self) -> int:
        try:
            with open(f"{self._host.proc}/sys/net/ipv4/ip_local_port_range", "rb") as stream:
                return int(stream.read(64).split()[0])
        except (OSError, ValueError, IndexError):
            return 32768

    def _keep(self) -> None:
        self._baseline.memory["listeners"] = [list(key) for key in sorted(self._known or set())]
        self._baseline.changed()
