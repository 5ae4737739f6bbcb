"""The detector of covered tracks: logs cut or gone, shell history turned off, security services stopped.

Logs that are rotated leave their old content behind under another name, and those that a package takes along go while
dpkg works; neither is told. A journal that is removed is made anew at once, so the one before must be beside it; one
that was rotated and vacuumed at once, so that nothing is left of it, is told as what administrators do: low. What was
cut does not come back, so that is told for an hour. Logs are only added to: one that begins otherwise than before
and is no shorter was written over.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from dio_daemon.clock import Clock
from dio_daemon.detect.finding import Finding
from dio_daemon.detect.integrity.audit import AuditTrail
from dio_daemon.detect.integrity.baseline import Baseline
from dio_daemon.detect.integrity.histories import Histories
from dio_daemon.detect.integrity.host import Host
from dio_daemon.detect.integrity.rotations import VACUUMED, Rotations, Seen, is_journal
from dio_daemon.detect.integrity.runs import Runs
from dio_daemon.detect.integrity.services import Services
from dio_daemon.detect.integrity.state import read_start
from dio_daemon.detect.integrity.told import Told

LOGS = (
    *(
        f"/var/log/{name}"
        for name in ("auth.log", "syslog", "messages", "kern.log", "wtmp", "btmp", "lastlog", "faillog")
    ),
    *(
        f"/var/log/{name}"
        for name in ("dpkg.log", "daemon.log", "user.log", "cron.log", "wtmp.db", "lastlog2.db", "secure")
    ),
    *("/var/log/mail.log", "/var/log/apache2/access.log", "/var/log/nginx/access.log"),
    *("/var/log/audit/audit.log", "/var/log/apt/history.log", "/var/log/fail2ban.log", "/var/log/ufw.log"),
)
FOLDER = "/var/log"
MOST_OTHERS = 100
LEAST_BYTES = 512
"""A shorter log says nothing when it is cut."""
GONE_LOOKS = 3
HEAD_BYTES = 64
_BINARY = frozenset(f"/var/log/{name}" for name in ("wtmp", "btmp", "lastlog", "faillog"))
"""Some of these have a place for each user and are written to anywhere."""


@dataclass
class _Log:
    """A log, as it was at the last look."""

    inode: int
    size: int
    seen_at: float
    """Seconds of the wall clock, as the rest of what is compared with the package manager's runs."""
    ctime_ns: int = 0
    head: bytes = b""
    """How it begins, of a log that is only added to; nothing where that is not known."""
    gone: int = 0
    ordinary: bool = False


class TamperWatch:
    """Watches logs, histories and services. Belongs to one thread.

    Args:
        host: whose.
        runs: when the package manager was at work.
        baseline: remembers which services ran and which histories were off.
        cgroups: where systemd's services are.
        announced: whether a change window is open.
        clock: for how long something lasts.
    """

    def __init__(
        self,
        host: Host,
        runs: Runs,
        baseline: Baseline,
        cgroups: str,
        announced: Callable[[], bool],
        clock: Clock,
    ) -> None:
        self._host = host
        self._runs = runs
        self._baseline = baseline
        self._announced = announced
        self._clock = clock
        self._logs: dict[str, _Log] = {}
        self._cut = Told(baseline, "logs", clock)
        memory = baseline.memory.get("tamper")
        self._memory: dict[str, Any] = memory if isinstance(memory, dict) else {}
        self._histories = Histories(
            host,
            announced,
            self._list("histories") if "histories" in self._memory else None,
            lambda known: self._set("histories", known),
            Told(baseline, "histories", clock),
        )
        self._services = Services(
            host,
            runs,
            cgroups,
            announced,
            self._list,
            self._set,
            baseline.saved_at or clock.now().timestamp(),
        )
        self._audit = AuditTrail(host, runs, announced)
        self._rotations = Rotations(host)

    def look(self, now: float) -> list[Finding]:
        """One look; what is the case. `now` is monotonic seconds."""
        wall = self._clock.now().timestamp()
        for path in (*LOGS, *self._journals(), *self._others()):
            self._look_at_log(path, wall)
        return [
            *self._cut.findings(),
            *self._histories.look(),
            *self._services.look(now, wall),
            *self._audit.look(now, wall),
        ]

    def close(self) -> None:
        """Let go of what is held."""
        self._rotations.close()

    def accept(self) -> int:
        """Take all that is told as well; how many they were."""
        return self._cut.accept() + self._histories.accept() + self._services.accept() + self._audit.accept()

    def _journals(self) -> list[str]:
        """The journal that is written to; a rotation makes another one of the same name at once."""
        try:
            machine = self._host.read("/etc/machine-id", 64).decode("ascii", "replace").strip()
        except OSError:
            return []
        return [f"/var/log/journal/{machine}/system.journal"] if machine.isalnum() else []

    def _others(self) -> list[str]:
        """Further logs where the system's are: programs begin some of them anew, and few of them remove one."""
        known = [path for path in self._logs if _is_other(path)]
        try:
            names = [name for name in os.listdir(self._host.at(FOLDER)) if name.endswith(".log")]
        except OSError:
            names = []
        found = [path for path in (f"{FOLDER}/{name}" for name in names) if _is_other(path)]
        return list(dict.fromkeys([*known, *sorted(found)]))[:MOST_OTHERS]

    def _look_at_log(self, path: str, wall: float) -> None:
        known = self._logs.get(path)
        try:
            seen = os.lstat(self._host.at(path))
        except OSError:
            if known is not None:
                self._gone(path, known, wall)
            return
        if not stat.S_ISREG(seen.st_mode):
            told = known is not None and not _is_other(path) and not self._announced()
            if known is not None and told and stat.S_ISLNK(seen.st_mode):
                self._tell(path, "log_removed", f"Log {path} was replaced by a link", known.size, 0)
            self._logs.pop(path, None)
            return
        self._logs[path] = _Log(
            seen.st_ino, seen.st_size, wall, seen.st_ctime_ns, self._head(path, known, seen)
        )
        self._judge_log(path, known, seen, wall)
        self._rotations.hold(path, seen.st_ino)

    def _judge_log(self, path: str, known: _Log | None, seen: os.stat_result, wall: float) -> None:
        """A log that is there, against how it was."""
        anew = path.endswith(".db") or _is_other(path)  # a database is, and programs' own logs are
        if known is None or known.size < LEAST_BYTES or anew:
            return
        another, shorter = known.inode != seen.st_ino, seen.st_size < known.size
        head = self._logs[path].head
        overwritten = not another and not shorter and b"" not in (known.head, head) and head != known.head
        if not (shorter or overwritten or (another and is_journal(path))):
            return
        if known.ordinary or self._ordinary(known, wall):
            return
        explained = self._rotations.explain(path, Seen(known.inode, known.seen_at, _is_other(path)), wall)
        if explained == VACUUMED:
            self._tell_vacuumed(path, known.size, seen.st_size)
        elif explained is not None:
            return
        elif another:
            words = f"Log {path} was removed and begun anew"
            self._tell(path, "log_removed", words, known.size, seen.st_size)
        elif overwritten:
            words = f"Log {path} was written over from its beginning"
            self._tell(path, "log_truncated", words, known.size, seen.st_size)
        else:
            words = f"Log {path} was cut from {known.size} to {seen.st_size} bytes"
            self._tell(path, "log_truncated", words, known.size, seen.st_size)

    def _head(self, path: str, known: _Log | None, seen: os.stat_result) -> bytes:
        """How a log begins; it is read when it is new or was written to."""
        if path.endswith(".db") or path in _BINARY or _is_other(path) or is_journal(path):
            return b""
        if known is not None and (known.inode, known.ctime_ns) == (seen.st_ino, seen.st_ctime_ns):
            return known.head
        try:
            head = read_start(self._host.at(path), HEAD_BYTES)
        except OSError:
            return b""
        return head if len(head) == HEAD_BYTES else b""

    def _gone(self, path: str, known: _Log, wall: float) -> None:
        if known.gone == 0:  # what explains it is over when it is told
            known.ordinary = self._ordinary(known, wall)
        known.gone += 1
        if known.gone < GONE_LOOKS:  # a rotation makes the new file a moment later
            return
        del self._logs[path]
        explained = self._rotations.explain(path, Seen(known.inode, known.seen_at, _is_other(path)), wall)
        self._rotations.let_go(path)
        if known.ordinary or known.size < LEAST_BYTES or explained is not None:
            return
        self._tell(path, "log_removed", f"Log {path} was removed", known.size, 0)

    def _ordinary(self, known: _Log, wall: float) -> bool:
        """Whether what happened to a log since it was seen is the package manager's work or announced."""
        return self._announced() or self._runs.busy(wall) or self._runs.between(known.seen_at, wall)

    def _tell(self, path: str, type_: str, words: str, before: int, after: int) -> None:
        self._cut.say(
            path,
            Finding(
                type=type_,
                severity="medium" if _is_other(path) else "high",
                confidence=0.85,
                subject=path,
                summary=f"{words}, and no rotation put its content elsewhere",
                why="Logs tell who came in and what was done; whoever cuts them has something to hide.",
                next="Compare with the journal and with what was sent away. Who was there: present, in the evidence.",
                technique="T1070.002",
                title="Log cut short" if type_ == "log_truncated" else "Log removed",
                evidence={"path": path, "size_before": before, "size_after": after},
            ),
        )

    def _tell_vacuumed(self, path: str, before: int, after: int) -> None:
        """Whoever clears the journal to have room does it so, and an intruder can do the same."""
        self._cut.say(
            path,
            Finding(
                type="log_removed",
                severity="low",
                confidence=0.5,
                subject=path,
                summary="The journal was rotated and vacuumed at once: nothing that was logged before is left",
                why="It is how administrators clear it by hand, and how somebody does who has something to hide: what"
                " happened on this host before can no longer be read here.",
                next="Ask who did it: present, in the evidence. To have room and keep the last days, journalctl "
                "--vacuum-time=7d without --rotate.",
                technique="T1070.002",
                title="Journal emptied",
                evidence={"path": path, "size_before": before, "size_after": after},
            ),
        )

    def _list(self, name: str) -> list[str]:
        value = self._memory.get(name)
        return [str(each) for each in value] if isinstance(value, list) else []

    def _set(self, name: str, value: list[str]) -> None:
        if self._memory.get(name) != value:
            self._memory[name] = value
            self._baseline.memory["tamper"] = self._memory
            self._baseline.changed()


def _is_other(path: str) -> bool:
    return path not in _LOGS and not is_journal(path)


_LOGS = frozenset(LOGS)
