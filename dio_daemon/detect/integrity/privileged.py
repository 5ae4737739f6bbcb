"""The detector of new files that give privileges: setuid, setgid, and files with capabilities.

The folders where commands are, and those where everybody may write, are watched (`quick`); the rest of the disks is
walked slowly, a slice a step. What is there after the first walk is the baseline.
"""

from __future__ import annotations

import contextlib
import math
import os
import re
import stat
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

from dio_daemon.clock import Clock
from dio_daemon.detect.finding import Finding
from dio_daemon.detect.integrity.baseline import Baseline
from dio_daemon.detect.integrity.capabilities import capabilities_of
from dio_daemon.detect.integrity.dpkg import Packages, aliases
from dio_daemon.detect.integrity.facts import group_name, user_name
from dio_daemon.detect.integrity.host import Host
from dio_daemon.detect.integrity.inotify import Inotify
from dio_daemon.detect.integrity.quick import OPEN, Entry, QuickFolders, entries_of
from dio_daemon.detect.integrity.runs import Runs
from dio_daemon.detect.integrity.state import examine
from dio_daemon.text import for_shell, safe

BITS = stat.S_ISUID | stat.S_ISGID
_TELLING = BITS | 0o111
"""A walk asks files with any of these."""
WALK_S = 3 * 3600.0
"""From the beginning of a walk of all disks to the next."""
MOST_ENTRIES, LEAST_ENTRIES = 500, 20
"""Of a slice. The first walk, which makes the baseline, takes the most; the next ones what they need for `WALK_SHARE`
of the time, since each name of a cold disk costs a read; one that is late, the most again."""
WALK_SHARE = 0.8
SLICE_S = 5.0
"""Between two slices of a walk: as often as processes are looked at, so that the walk wakes nobody by itself."""
MOST_KNOWN = 5000
MOST_FINDINGS = 1000
"""Further ones are looked at again when some of these are gone."""
MOST_COMPARED_BYTES = 8 << 20
MOST_DEPTH = 32


class PrivilegedWatch:
    """Watches for privileged files. Belongs to one thread.

    Args:
        host: whose.
        packages, runs: what the package manager installed, and when.
        baseline: remembers those that are well.
        notify: the kernel's news, of its own; None to go without.
        ignored: paths that are not watched.
        announced: whether a moment of the wall clock lies in a change window.
        clock: for what is due.
        record: where what is known is recorded.
        appeared: told of every new name where a privileged file matters at once, with the monotonic seconds.
    """

    def __init__(
        self,
        host: Host,
        packages: Packages,
        runs: Runs,
        baseline: Baseline,
        notify: Inotify | None,
        ignored: tuple[re.Pattern[str], ...],
        announced: Callable[[float], bool],
        clock: Clock,
        record: Callable[[str, str, dict[str, Any]], None],
        appeared: Callable[[str, float], None] = lambda path, now: None,
    ) -> None:
        self._host = host
        self._packages = packages
        self._runs = runs
        self._baseline = baseline
        self._notify = notify
        self._ignored = ignored
        self._announced = announced
        self._clock = clock
        self._record = record
        memory = baseline.memory.get("privileged")
        memory = memory if isinstance(memory, dict) else {}
        known = memory.get("files")
        self._known: dict[str, Any] = dict(known) if isinstance(known, dict) else {}
        self._complete: bool = memory.get("complete") is True
        self._quick_known: bool = memory.get("quick") is True
        names = memory.get("names")
        self._names = names if isinstance(names, int) else 0
        """How many there were at the last whole walk."""
        self._walked = 0
        self._walk: Iterator[Entry] | None = None
        self._walk_at = float("-inf")
        self._slice_at = float("-inf")
        self._quick = QuickFolders(host, notify, clock, appeared)
        self._waiting: dict[str, float] = {}
        self._findings: dict[str, Finding] = {}

    def step(self) -> list[Finding]:
        """Do a slice of the work; what is the case."""
        now = self._clock.monotonic()
        self._look_at_quick_ones()
        if self._walk is None and now >= self._walk_at:
            self._walk, self._walked, self._walk_at = (
                entries_of(self._host, "/", MOST_DEPTH, True),
                0,
                now + WALK_S,
            )
        if self._walk is not None and now >= self._slice_at:
            self._slice_at = now + SLICE_S
            self._go_on(now)
        self._judge()
        for path in list(self._findings):
            if _privilege(self._host, path) is None:
                del self._findings[path]
        return list(self._findings.values())

    def wait_s(self) -> float:
        """Seconds that may pass until the next step when nothing is told."""
        if self._waiting or self._notify is None:
            return 1.0
        walk_at = self._slice_at if self._walk is not None else self._walk_at
        return max(0.0, min(self._quick.wait_s(), walk_at - self._clock.monotonic()))

    @property
    def walked(self) -> bool:
        """Whether all disks were walked once."""
        return self._complete

    def accept(self) -> int:
        """Take all that is told as well; how many they were."""
        for path in self._findings:
            self._know(path, _privilege(self._host, path))
        count = len(self._findings)
        self._findings.clear()
        return count

    def _look_at_quick_ones(self) -> None:
        if self._quick.all_due():
            for entry in self._quick.everything():
                self._consider(entry, self._quick_known)
            if not self._quick_known:
                self._quick_known = True
                self._keep()
        names, entries = self._quick.told()
        for path in names:
            self._look(path, self._quick_known)
        for entry in entries:
            self._consider(entry, self._quick_known)

    def _go_on(self, now: float) -> None:
        if self._walk is None:
            return
        most, count = self._slice(now), 0
        for found in islice(self._walk, most):
            count += 1
            if found.mode & _TELLING:
                self._look(found.path, self._complete)
        self._walked += count
        if count < most:
            self._walk, self._names = None, self._walked
            if not self._complete:
                self._complete = True
                self._keep()

    def _slice(self, now: float) -> int:
        """How many names to look at now."""
        if self._names == 0 or now >= self._walk_at:
            return MOST_ENTRIES
        needed = math.ceil(self._names * SLICE_S / (WALK_S * WALK_SHARE))
        return min(MOST_ENTRIES, max(LEAST_ENTRIES, needed))

    def _consider(self, entry: Entry, tell: bool) -> None:
        if entry.mode & _TELLING:
            self._look(entry.path, tell)

    def _look(self, path: str, tell: bool) -> None:
        found = _privilege(self._host, path)
        if found is None:
            if path in self._known:
                self._known.pop(path)
                self._keep()
            return
        if self._known.get(path) == found or path in self._findings:
            return
        if any(pattern.fullmatch(path) for pattern in self._ignored):
            return
        if tell:
            if len(self._waiting) + len(self._findings) < MOST_FINDINGS:
                self._waiting.setdefault(path, self._clock.now().timestamp())
        else:
            self._know(path, found, at_once=False)  # the end of the look that learns is written

    def _judge(self) -> None:
        if not self._waiting or self._runs.busy(self._clock.now().timestamp()):
            return
        for path, noticed in list(self._waiting.items())[:50]:
            del self._waiting[path]
            found = _privilege(self._host, path)
            if found is None:
                continue
            if self._announced(noticed) or self._by_dpkg(path) or self._copied(path, found):
                self._know(path, found)
                words = f"{safe(path, 300)} gives privileges (a package's, a copy of one in its tree, or announced)"
                self._record("known_changes", words, {"paths": [safe(path, 300)], "count": 1})
            else:
                self._findings[path] = self._finding(path, found)

    def _by_dpkg(self, path: str) -> bool:
        try:
            changed = os.lstat(self._host.at(path)).st_ctime
        except OSError:
            return False
        return self._packages.owner(path) is not None and self._runs.during(changed)

    def _copied(self, path: str, found: list[Any]) -> bool:
        """Whether it lies in a copy of the host's tree (a backup, a snapshot) and gives what the original gives."""
        if path.startswith(tuple(f"{folder}/" for folder in OPEN)):
            return False
        at = path.find("/", 1)
        while at != -1:
            for original in aliases(path[at:]):
                if self._known.get(original) == found and self._packages.owner(original) is not None:
                    return self._same_content(path, original)
            at = path.find("/", at + 1)
        return False

    def _same_content(self, path: str, other: str) -> bool:
        try:
            if os.lstat(self._host.at(path)).st_size > MOST_COMPARED_BYTES:
                return False
            contents = [self._host.read(each, MOST_COMPARED_BYTES) for each in (path, other)]
        except OSError:
            return False
        return contents[0] == contents[1]

    def _finding(self, path: str, found: list[Any]) -> Finding:
        mode, uid, gid, capabilities = found
        user, shown, word = user_name(self._host, uid), safe(path, 300), for_shell(path, 300)
        loose = path.startswith((*(f"{folder}/" for folder in OPEN), "/home/"))
        try:
            look = examine(self._host, path, None, True)
        except OSError:
            look = None
        owner = self._packages.owner(path)
        if capabilities:
            type_, what = "capability_file", f"has capabilities of its own ({capabilities})"
            mend = f"getcap {word}. Take them away: setcap -r {word}"
        elif mode & stat.S_ISUID:
            type_, what = "setuid_file", f"runs as {user} whoever starts it (setuid)"
            mend = f"ls -l {word}. Take that away: chmod u-s {word}"
        else:
            group = group_name(self._host, gid)
            type_, what = "setgid_file", f"runs with group {group} whoever starts it (setgid)"
            mend = f"ls -l {word}. Take that away: chmod g-s {word}"
        severity = "critical" if (uid == 0 and loose and mode & stat.S_ISUID) else "high"
        if mode & stat.S_ISUID == 0 and not capabilities and gid >= 1000:
            severity = "low"
        elif uid >= 1000 and not capabilities:
            severity = "medium"
        return Finding(
            type=type_,
            severity=severity,
            confidence=0.9,
            subject=path,
            summary=f"{shown} {what}, and it did not before",
            why="Such a file turns any user into another one, mostly root: the classic way to keep root's rights.",
            next=f"{mend}. Keep a copy if it is no system's own; who was there: present, in the evidence.",
            technique="T1548.001",
            title="New privileged file",
            evidence={
                "path": shown,
                "mode": f"{mode:04o}",
                "uid": uid,
                "gid": gid,
                "user": user,
                "capabilities": capabilities,
                "package": owner.package if owner else None,
                "file": look.state.shown() if look is not None else None,
            },
        )

    def _know(self, path: str, found: list[Any] | None, at_once: bool = True) -> None:
        if found is not None and len(self._known) < MOST_KNOWN:
            self._known[path] = found
            if at_once:
                self._keep()

    def _keep(self) -> None:
        self._baseline.memory["privileged"] = {
            "files": self._known,
            "complete": self._complete,
            "quick": self._quick_known,
            "names": self._names,
        }
        self._baseline.changed()


def _privilege(host: Host, path: str) -> list[Any] | None:
    """Mode, uid, gid and capabilities of a file that gives privileges; None for one that gives none."""
    real = host.at(path)
    try:
        seen = os.lstat(real)
        if not stat.S_ISREG(seen.st_mode):
            return None
    except (OSError, ValueError):
        return None
    capabilities = None
    # those of a file that nobody may execute yet: nothing but a program is ever given any
    with contextlib.suppress(OSError):
        capabilities = capabilities_of(os.getxattr(real, "security.capability", follow_symlinks=False))
    # setgid without the right to execute for the group is mandatory locking of old, no privilege
    bits = seen.st_mode & (stat.S_ISUID | (stat.S_ISGID if seen.st_mode & stat.S_IXGRP else 0))
    bits = bits if seen.st_mode & 0o111 else 0
    if not bits and not capabilities:
        return None
    return [stat.S_IMODE(seen.st_mode), seen.st_uid, seen.st_gid, capabilities]
