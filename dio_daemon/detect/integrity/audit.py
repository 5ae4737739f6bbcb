"""The detector of an audit system that was switched off, or lost its rules, while auditd runs on.

The kernel says so itself, as the last thing that it notes, in auditd's log. Only what is written after the first look
is read. Rules that are loaded anew are all removed first, so what counts is whether any came after that.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable

from dio_daemon.detect.finding import Finding
from dio_daemon.detect.integrity.host import Host
from dio_daemon.detect.integrity.runs import Runs

LOG = "/var/log/audit/audit.log"
MOST_BYTES = 512 * 1024
"""Read at one look; of what is longer the end."""
RULES_S = 20.0
"""So long rules may be away while they are loaded anew."""

_CHANGE = re.compile(
    rb"^(?:node=\S+ )?type=CONFIG_CHANGE .*?\bop=(?:(?P<op>remove_rule|add_rule)\b|set audit_enabled=(?P<on>\d))",
    re.MULTILINE,
)


class AuditTrail:
    """Follows auditd's log. Belongs to one thread.

    Args:
        host: whose.
        runs: when the package manager was at work: it stops and starts auditd.
        announced: whether a change window is open.
    """

    def __init__(self, host: Host, runs: Runs, announced: Callable[[], bool]) -> None:
        self._host = host
        self._runs = runs
        self._announced = announced
        self._file: tuple[int, int] | None = None
        self._off = False
        self._removed_at: float | None = None

    def look(self, now: float, wall: float) -> list[Finding]:
        """One look; what is the case. `now` is monotonic, `wall` the wall clock, both in seconds."""
        was_off, was_removed = self._off, self._removed_at
        for change in _CHANGE.finditer(self._news()):
            if change["on"] is not None:
                self._off = change["on"] == b"0"
            else:
                self._removed_at = now if change["op"] == b"remove_rule" else None
        if self._announced() or self._runs.busy(wall):
            self._off, self._removed_at = self._off and was_off, self._removed_at and was_removed
        found = []
        if self._off:
            found.append(_finding("switched off", "auditctl -e 1 switches it on"))
        elif self._removed_at is not None and now - self._removed_at >= RULES_S:
            found.append(_finding("left without some of its rules", "augenrules --load loads them again"))
        return found

    def accept(self) -> int:
        """Take what is told as well; how many it were."""
        count = int(self._off or self._removed_at is not None)
        self._off, self._removed_at = False, None
        return count

    def _news(self) -> bytes:
        """What was written since the last look, in whole lines."""
        try:
            fd = os.open(self._host.at(LOG), os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW)
        except OSError:
            return b""
        try:
            seen = os.fstat(fd)
            inode, at = self._file or (seen.st_ino, seen.st_size)
            if seen.st_ino != inode or seen.st_size < at:
                at = 0
            at = max(at, seen.st_size - MOST_BYTES)
            data = os.pread(fd, MOST_BYTES, at)
        except OSError:
            return b""
        finally:
            os.close(fd)
        end = data.rfind(b"\n") + 1
        self._file = (seen.st_ino, at + end)
        return data[:end]


def _finding(what: str, back: str) -> Finding:
    return Finding(
        type="audit_switched_off",
        severity="high",
        confidence=0.8,
        subject="audit",
        summary=f"The kernel's audit system was {what} while auditd runs on",
        why="What happens on this host is no longer recorded, though the service that records it looks well.",
        next=f"auditctl -s and auditctl -l show how it is, {back}; who did it: ausearch -m CONFIG_CHANGE -ts recent.",
        technique="T1562.012",
        title="Audit switched off",
        evidence={"log": LOG, "change": what},
        version=what,
    )
