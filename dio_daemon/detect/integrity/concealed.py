"""The detector of what hides below the usual view: processes under a mount, sniffers, kernel modules from nowhere.

- A mount over `/proc/PID` hides that process from ps and top; there is no other use for one.
- A packet socket that takes everything reads the network's traffic, and can wait for a secret knock. One of a package's
  program (a DHCP client, tcpdump) or of a container is no finding, one of an interpreter or of a program that no
  package has is.
- A kernel module that the running kernel's own list does not have was loaded from somewhere else.
"""

from __future__ import annotations

import os
import re

from dio_daemon.collect.mounts import parse
from dio_daemon.collect.procfs import read
from dio_daemon.detect.finding import Finding
from dio_daemon.detect.integrity.baseline import Baseline
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
from dio_daemon.detect.integrity.listeners import GENERAL
from dio_daemon.detect.integrity.raw_sockets import RawSockets
from dio_daemon.detect.integrity.runs import Runs
from dio_daemon.text import safe

MOST_READ = 1 << 20
MOST_TOLD = 20
MODULES_S = 60.0
_OVER_PROCESS = re.compile(rb"/proc/(\d+)(/.*)?")
_EVERYTHING = ("0003", "0800")
"""ETH_P_ALL and ETH_P_IP: packet(7)."""
_MODULE = re.compile(rb"([^/:]+)\.ko(?:\.\w+)?(?=:|$)", re.MULTILINE)


class ConcealedWatch:
    """Watches for what is hidden. Belongs to one thread.

    Args:
        host: whose.
        packages: what is installed.
        runs: when the package manager was at work: what it has upgraded goes on running.
        baseline: remembers the modules from elsewhere that were there at the first look.
    """

    def __init__(self, host: Host, packages: Packages, runs: Runs, baseline: Baseline) -> None:
        self._host = host
        self._packages = packages
        self._runs = runs
        self._baseline = baseline
        self._sniffers: dict[int, Finding | None] = {}
        self._raw = RawSockets(host, packages, runs)
        self._modules: list[Finding] = []
        self._modules_at = float("-inf")

    def look(self, now: float) -> list[Finding]:
        """One look; what is the case. `now` is monotonic seconds."""
        if now >= self._modules_at:
            self._modules_at = now + MODULES_S
            self._modules = self._look_at_modules()
        return [*self._hidden(), *self._look_at_packets(), *self._raw.look(), *self._modules]

    def _hidden(self) -> list[Finding]:
        found: dict[int, str] = {}
        try:
            text = read(f"{self._host.proc}/1/mountinfo", MOST_READ)
        except OSError:
            return []
        for line in parse(b"\n".join(line for line in text.split(b"\n") if b" /proc/" in line)):
            match = _OVER_PROCESS.fullmatch(line.mount.path)
            if match is not None and len(found) < MOST_TOLD:
                found[int(match[1])] = safe(line.mount.path, 300)
        return [self._hidden_process(pid, path) for pid, path in found.items()]

    def _hidden_process(self, pid: int, path: str) -> Finding:
        described = describe(self._host, self._packages, pid)
        return Finding(
            type="process_hidden",
            severity="critical",
            confidence=0.95,
            subject=path,
            summary=f"Something is mounted over {path}, which hides process {pid} ({described['name'] or 'ended'}) "
            "from ps and top",
            why="There is no other use for such a mount than to hide a process.",
            next=f"umount {path} shows it again; see its executable and parents in the evidence before ending it.",
            technique="T1564.013",
            title="Hidden process",
            evidence={"path": path, "process": described},
        )

    def _look_at_packets(self) -> list[Finding]:
        try:
            rows = read(f"{self._host.proc}/1/net/packet", MOST_READ).split(b"\n")[1:]
        except OSError:
            return []
        inodes = []
        for row in rows:
            fields = row.decode("ascii", "replace").split()
            if len(fields) > 8 and fields[3] in _EVERYTHING and fields[8].isdigit():
                inodes.append(int(fields[8]))
        known, self._sniffers = self._sniffers, {}
        for inode in inodes[:MOST_TOLD]:
            self._sniffers[inode] = known[inode] if inode in known else self._judge_packets(inode)
        return [finding for finding in self._sniffers.values() if finding is not None]

    def _judge_packets(self, inode: int) -> Finding | None:
        pid = owner_of_socket(self._host, inode)
        exe = exe_of(self._host, pid) if pid is not None else None
        if pid is None or exe is None or place_of(self._host, pid).container is not None:
            return None
        path = exe.removesuffix(DELETED)
        general = GENERAL.fullmatch(os.path.basename(path)) is not None
        if not general and is_of_package(self._host, self._packages, self._runs, pid, exe):
            return None
        uid, _ = status_of(self._host, pid)
        user, shown = user_name(self._host, uid), safe(path, 300)
        return Finding(
            type="packet_capture",
            severity="high",
            confidence=0.75,
            subject=f"{path} as {user}",
            summary=f"{name_of(self._host, pid)} (pid {pid}, user {user}) takes everything that the network carries to "
            f"this host: {shown}",
            why="It reads passwords that are sent in clear, or waits for a secret sign to open a way in.",
            next="ss -0 -p names it; ask who runs it; see its executable and parents in the evidence.",
            technique="T1040",
            title="Sniffer",
            evidence={"process": describe(self._host, self._packages, pid)},
        )

    def _look_at_modules(self) -> list[Finding]:
        own = self._own_modules()
        if not own:  # a container, or a kernel that Debian did not install
            return []
        try:
            text = read(f"{self._host.proc}/modules", MOST_READ)
        except OSError:
            return []
        loaded = {line.split(b" ", 1)[0] for line in text.split(b"\n") if line}
        strangers = sorted(safe(name, 64) for name in loaded - own)
        known = self._baseline.memory.get("modules")
        if not isinstance(known, list):
            self._baseline.memory["modules"] = strangers
            self._baseline.changed()
            return []
        return [_module(name) for name in strangers if name not in known][:MOST_TOLD]

    def _own_modules(self) -> set[bytes]:
        """The names of the running kernel's modules, as it calls them; empty where it has no list here."""
        found: set[bytes] = set()
        try:
            release = os.fsdecode(read(f"{self._host.proc}/sys/kernel/osrelease", 256).strip())
            for name in ("modules.dep", "modules.builtin"):
                text = self._host.read(f"/usr/lib/modules/{release}/{name}", 16 << 20)
                found |= {match.replace(b"-", b"_") for match in _MODULE.findall(text)}
        except OSError:
            return set()
        return found


def _module(name: str) -> Finding:
    return Finding(
        type="kernel_module_loaded",
        severity="critical",
        confidence=0.8,
        subject=name,
        summary=f"Kernel module {name} is loaded, and is none of the installed kernel's",
        why="A module can do anything and hide anything; root kits come as one.",
        next=f"modinfo {name} and dmesg tell where it came from; a driver that was built here belongs into DKMS.",
        technique="T1547.006",
        title="Foreign kernel module",
        evidence={"module": name},
    )
