"""The detector of processes that should not be.

Every few seconds: one whose executable was deleted (and not by a package upgrade), one that runs from a temporary
folder or from memory alone, a shell that talks to the network, one that burns cpu and looks like a miner, one that
calls itself like a thread of the kernel or has a name of dots and blanks, one with a library from a temporary folder,
and a program for logins that another process traces. What is gone before the next look is not told, for compilers and
their tests make many such processes, but for odd names: nobody means those well.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from dio_daemon.collect.processes import parse_stat
from dio_daemon.collect.procfs import read, read_line
from dio_daemon.detect.finding import Finding
from dio_daemon.detect.integrity.dpkg import Packages
from dio_daemon.detect.integrity.facts import (
    DELETED,
    describe,
    exe_of,
    name_of,
    parents,
    started_at,
    status_of,
    user_name,
)
from dio_daemon.detect.integrity.host import Host
from dio_daemon.detect.integrity.process_signs import handles_passwords, has_odd_name, preloaded, tracer
from dio_daemon.detect.integrity.process_words import WORDS
from dio_daemon.detect.integrity.runs import Runs
from dio_daemon.detect.integrity.shells import is_shell, remote_end
from dio_daemon.text import for_shell, safe

TEMPORARY = ("/tmp/", "/var/tmp/", "/dev/", "/run/user/", "/run/shm/")  # noqa: S108 - looked at, never written
BUILDERS = frozenset(
    (
        "make",
        "gmake",
        "ninja",
        "cmake",
        "ctest",
        "meson",
        "go",
        "cargo",
        "rustc",
        "gcc",
        "g++",
        "cc",
        "c++",
        "clang",
        "ld",
        "dpkg-buildpackage",
        "dh",
        "debuild",
        "sbuild",
        "bazel",
        "gradle",
        "mvn",
        "tox",
        "pytest",
        "npm",
        "node-gyp",
        "configure",
        "rpmbuild",
        "scons",
        "ccache",
        "apt",
        "dpkg",
        "apt-get",
    )
)
"""Parents that run what they have just built, or what a package brings along."""
_BUILD_PATH = re.compile(r"/(go-build|go-link|cargo-install|\.mount_|conftest|tmp\.[^/]+/build)")
_CLONED = re.compile(r"/memfd:(runc_cloned|crun|lxc-|.*systemd)")
_MINER = re.compile(
    rb"xmrig|minerd|cpuminer|ccminer|cgminer|nbminer|ethminer|t-rex|phoenixminer|lolminer|nanominer|kdevtmpfsi|kinsing"
    rb"|stratum\+(?:tcp|ssl|tls)|--donate-level|randomx|cryptonight|moneroocean|nicehash|minexmr|supportxmr|monero",
    re.IGNORECASE,
)
_KERNEL_THREAD = re.compile(
    r"(kworker/|ksoftirqd/|migration/|rcu_|kswapd\d|kcompactd\d|khugepaged|kthreadd|kdevtmpfs|kauditd|jbd2/|scsi_eh_"
    r"|cpuhp/|watchdog/|irq/\d|oom_reaper|khungtaskd|kblockd|kintegrityd|kthrotld)"
)
MINER_CORES = 0.5
"""Cores that a process keeps busy from one look to the next to count as burning; or it waits for one at each look."""
MINER_LOOKS = 3
NAME_LOOKS = 12
"""A process may call itself otherwise at any time: so often that is looked at again."""
OLD_LOOKS = 12
"""From then on the executable of a process is asked for at every third look, of each third of them in turn."""
OLD_EVERY = 3
MOST_PROCESSES = 20_000
MOST_TOLD = 100


@dataclass(slots=True)
class _Known:
    """A process, as it was at the looks before."""

    exe: str
    """Empty for a thread of the kernel, and for what may not be looked at."""
    looks: int = 0
    shell: bool = False
    guarded: bool = False
    """Whether passwords go through it."""
    kind: str | None = None
    hinted: bool = False
    disguised: bool = False
    preloaded: str | None = None
    ticks: int | None = None
    burning: int = 0

    @property
    def plain(self) -> bool:
        """Whether nothing of it is to be looked at or told at each look."""
        return not (
            self.shell or self.guarded or self.hinted or self.disguised or self.kind or self.preloaded
        )


class ProcessWatch:
    """Watches processes. Belongs to one thread.

    Args:
        host: whose.
        packages, runs: what the package manager has installed, and when.
        own: pids that are never told: the agent's.
    """

    def __init__(self, host: Host, packages: Packages, runs: Runs, own: frozenset[int]) -> None:
        self._host = host
        self._packages = packages
        self._runs = runs
        self._own = own
        self._known: dict[int, _Known] = {}
        self._findings: dict[tuple[int, str], Finding] = {}
        self._ticks_per_s = os.sysconf("SC_CLK_TCK")
        self._looked: float | None = None

    def look(self, now: float) -> list[Finding]:
        """One look at all processes; what is the case. `now` is monotonic seconds."""
        elapsed = None if self._looked is None else now - self._looked
        self._looked = now
        seen = {pid: self._seen(pid) for pid in self._pids()}
        exes = {pid: known.exe for pid, known in seen.items() if known.exe}
        current: dict[tuple[int, str], Finding] = {}
        for pid, exe in exes.items():
            known = seen[pid]
            if known.plain and known.looks > 2 and known.looks % NAME_LOOKS:  # nearly all
                continue
            for kind in self._kinds(pid, known, elapsed, exes):
                key = (pid, kind)
                if len(current) < MOST_TOLD:
                    finding = self._findings.get(key) or self._finding(pid, exe, kind, exes)
                    if finding is not None:
                        current[key] = finding
        self._known, self._findings = seen, current
        return list(current.values())

    def _seen(self, pid: int) -> _Known:
        """A process at one more look."""
        known = self._known.get(pid)
        if known is None or known.looks < OLD_LOOKS or (known.looks + pid) % OLD_EVERY == 0:
            exe = exe_of(self._host, pid) or ""
            if known is None or known.exe != exe:
                known = _Known(exe)
                if exe:
                    known.shell, known.guarded = is_shell(exe), handles_passwords(exe)
                    known.hinted = self._hinted(pid)
                    known.kind = self._kind(pid, exe)
                    known.preloaded = preloaded(self._host, pid, TEMPORARY)
        known.looks += 1
        return known

    def _pids(self) -> Iterable[int]:
        try:
            names = os.listdir(self._host.proc)
        except OSError:
            return []
        return [int(name) for name in names[:MOST_PROCESSES] if name.isdigit() and int(name) not in self._own]

    def _kinds(self, pid: int, known: _Known, elapsed: float | None, exes: dict[int, str]) -> list[str]:
        kinds: list[str] = []
        if known.kind is not None and known.looks >= (1 if known.kind == "process_odd_path" else 2):
            temporary = known.kind == "process_from_temporary_folder"
            if known.looks == 2 and temporary and self._built(pid):
                known.kind = None
            else:
                kinds.append(known.kind)
        if known.shell and remote_end(self._host, pid, exes) is not None:
            kinds.append("shell_on_socket")
        if known.hinted and self._burns(pid, known, elapsed):
            kinds.append("miner_like_process")
        if known.looks <= 2 or known.looks % NAME_LOOKS == 0:
            known.disguised = self._disguised(pid)
        if known.disguised and known.looks >= 2:
            kinds.append("process_masquerading")
        if known.preloaded is not None and known.looks == 2 and self._built(pid):
            known.preloaded = None
        if known.preloaded is not None and known.looks >= 2:
            kinds.append("process_preloads")
        if known.guarded and tracer(self._host, pid) is not None:
            kinds.append("process_traced")
        return kinds

    def _kind(self, pid: int, exe: str) -> str | None:
        if exe.startswith("/memfd:"):
            return None if _CLONED.match(exe) else "process_from_memory"
        path = exe.removesuffix(DELETED)
        if path != exe and self._removed(pid, path):
            return "process_deleted_executable"
        if has_odd_name(path):
            return "process_odd_path"
        if path.startswith(TEMPORARY) and not _BUILD_PATH.search(path):
            return "process_from_temporary_folder"
        return None

    def _removed(self, pid: int, path: str) -> bool:
        """Whether an executable was removed rather than replaced: by an upgrade or by whoever deploys it."""
        if os.path.lexists(f"{self._host.proc}/{pid}/root{path}") or self._packages.owner(path) is not None:
            return False
        started = started_at(self._host, pid)
        if started is None:
            return False
        system = path.startswith(("/usr/", "/opt/", "/lib", "/bin/", "/sbin/"))
        return not (system and self._runs.since(started))

    def _built(self, pid: int) -> bool:
        """Whether who started it has just built it."""
        return any(str(each["name"]) in BUILDERS for each in parents(self._host, pid))

    def _disguised(self, pid: int) -> bool:
        """Whether a program calls itself like a thread of the kernel; a real one has no executable."""
        try:
            name = name_of(self._host, pid) or ""
            first = read_line(f"{self._host.proc}/{pid}/cmdline")[:256].split(b"\0")[0]
        except OSError:
            return False
        shown = os.fsdecode(first)
        in_brackets = shown.startswith("[") and "]" in shown and _KERNEL_THREAD.match(shown[1:]) is not None
        return in_brackets or _KERNEL_THREAD.match(name) is not None

    def _hinted(self, pid: int) -> bool:
        try:
            return _MINER.search(read(f"{self._host.proc}/{pid}/cmdline", 8192)) is not None
        except OSError:
            return False

    def _burns(self, pid: int, known: _Known, elapsed: float | None) -> bool:
        try:
            process = parse_stat(read_line(f"{self._host.proc}/{pid}/stat"))
        except OSError:
            return False
        if process is None:
            return False
        before, known.ticks = known.ticks, process.ticks
        if before is None or not elapsed:
            return False
        cores = (process.ticks - before) / self._ticks_per_s / elapsed
        busy = cores >= MINER_CORES or process.state == b"R"  # on a busy host it gets less than it wants
        known.burning = known.burning + 1 if busy else max(0, known.burning - 1)
        return known.burning >= MINER_LOOKS or (
            known.burning > 0 and (pid, "miner_like_process") in self._findings
        )

    def _finding(self, pid: int, exe: str, kind: str, exes: dict[int, str]) -> Finding | None:
        uid, _ = status_of(self._host, pid)
        if uid is None:
            return None
        user = user_name(self._host, uid)
        name = name_of(self._host, pid) or "?"
        path = safe(exe.removesuffix(DELETED), 300)
        evidence = describe(self._host, self._packages, pid)
        words = WORDS[kind]
        subject, about = f"{path} as {user}", f"{name} (pid {pid}, user {user})"
        other = self._other(pid, kind, evidence)
        if other is None:  # it is over by now
            return None
        summary = words.summary.format(about=about, path=path, other=other)
        address = ""
        if kind == "shell_on_socket":
            connection = remote_end(self._host, pid, exes)
            if connection is None:
                return None
            subject = f"{path} as {user} with {connection.remote_address}"
            summary = words.summary.format(about=about, path=connection.remote)
            evidence["connection"] = {"local": connection.local, "remote": connection.remote}
            address = connection.remote_address
        if other:
            subject = f"{subject} by {other}"
        in_temporary = path.startswith(TEMPORARY)
        severity = words.severity
        if kind == "process_from_temporary_folder" and uid == 0:
            severity = "high"
        if kind == "process_deleted_executable" and in_temporary:
            severity = "critical" if uid == 0 else "high"
        return Finding(
            type=kind,
            severity=severity,
            confidence=words.confidence,
            subject=subject,
            summary=summary,
            why=words.why,
            next=words.next.format(pid=pid, file=for_shell(exe.removesuffix(DELETED), 300), address=address),
            technique=words.technique,
            title=words.title,
            evidence=evidence,
            version=str(pid) if kind == "shell_on_socket" else "",
        )

    def _other(self, pid: int, kind: str, evidence: dict[str, Any]) -> str | None:
        """What else it is about, for the summary and into the evidence; empty for most kinds, None when it is gone."""
        if kind == "process_preloads":
            library = preloaded(self._host, pid, TEMPORARY)
            evidence["library"] = library
            return library
        if kind == "process_traced":
            by = tracer(self._host, pid)
            if by is None:
                return None
            evidence["traced_by"] = describe(self._host, self._packages, by)
            uid, _ = status_of(self._host, by)
            return f"{name_of(self._host, by) or 'a process'} (of {user_name(self._host, uid)})"
        return ""
