"""The detector of password hashes that lie open: a copy of /etc/shadow, or of lines of it, in a file that others read.

Who reads shadow leaves no trace, and what an intruder takes away is put somewhere first, mostly into /tmp, where what
root writes everybody may read. Every new file where that is told (`quick`) is looked into, a moment after it was made
and once more when it has grown since. A backup keeps the rights of the original and is none of this. Nothing of a hash
is kept or leaves the host.
"""

from __future__ import annotations

import os
import re
import stat
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from dio_daemon.detect.finding import Finding
from dio_daemon.detect.integrity.baseline import Baseline
from dio_daemon.detect.integrity.facts import user_name
from dio_daemon.detect.integrity.host import Host
from dio_daemon.detect.integrity.quick import OPEN
from dio_daemon.detect.integrity.state import read_regular, read_start
from dio_daemon.text import for_shell, safe

LOOKS_S = (1.0, 8.0)
"""After a name appears: what is written at once, and what takes a while."""
MOST_WAITING = 256
MOST_AT_ONCE = 16
"""Files that one look reads; a storm of new files leaves most of them unread."""
MOST_BYTES = 64 * 1024
LEAST_BYTES = 20
"""A name and the shortest hash."""
MOST_TOLD = 20
MOST_NAMED = 5
NOBODY_ELSE = 0
"""The user whose files are nobody else's: root, who may read shadow itself."""
_PRIVATE = "/root/"
_HASHED = re.compile(rb"(?:^|\n)([^:\n]{1,256}):(\$[0-9a-z]{1,3}\$[^:\s]{8,512})(?=:)")
"""A line of shadow, or of what a cracker takes: name, hash, more."""


@dataclass(frozen=True)
class _Name:
    """A file that appeared, and how it was at the last look."""

    path: str
    appeared_at: float
    looks: int = 0
    size: int = -1


class ExposedWatch:
    """Looks into new files. Belongs to one thread.

    Args:
        host: whose.
        baseline: remembers the files that are told.
        ignored: paths that are not looked into.
        announced: whether a change window is open.
    """

    def __init__(
        self,
        host: Host,
        baseline: Baseline,
        ignored: tuple[re.Pattern[str], ...],
        announced: Callable[[], bool],
    ) -> None:
        self._host = host
        self._baseline = baseline
        self._ignored = ignored
        self._announced = announced
        self._waiting: deque[_Name] = deque(maxlen=MOST_WAITING)
        self._findings: dict[str, Finding] = {}
        kept = baseline.memory.get("exposed")
        for path in kept if isinstance(kept, list) else []:
            self._waiting.append(_Name(str(path), float("-inf")))

    def appeared(self, path: str, now: float) -> None:
        """A file was made, or renamed to this. `now` is monotonic seconds."""
        if not any(pattern.fullmatch(path) for pattern in self._ignored):
            self._waiting.append(_Name(path, now))

    def look(self, now: float) -> list[Finding]:
        """What is the case. `now` is monotonic seconds."""
        before = set(self._findings)
        for path in list(self._findings):
            seen = self._open(path)
            if seen is None or seen.st_size < LEAST_BYTES:
                del self._findings[path]
        read = 0
        for _ in range(len(self._waiting)):
            name = self._waiting.popleft()
            if now - name.appeared_at < LOOKS_S[name.looks] or read == MOST_AT_ONCE:
                self._waiting.append(name)
                continue
            read += self._look_into(name)
        if before != set(self._findings):
            self._keep()
        return list(self._findings.values())

    def accept(self) -> int:
        """Take all that is told as well; how many they were."""
        count = len(self._findings)
        self._findings.clear()
        self._keep()
        return count

    def _look_into(self, name: _Name) -> int:
        """How many files were read."""
        seen = self._open(name.path)
        size = seen.st_size if seen is not None else 0
        if name.looks + 1 < len(LOOKS_S):
            self._waiting.append(_Name(name.path, name.appeared_at, name.looks + 1, size))
        if seen is None or size < LEAST_BYTES or size == name.size or name.path in self._findings:
            return 0
        found = _HASHED.findall(read_start(self._host.at(name.path), MOST_BYTES))
        accounts = self._accounts_of(found) if found else []
        if accounts and not self._announced() and len(self._findings) < MOST_TOLD:
            self._findings[name.path] = self._finding(name.path, seen, accounts)
        return 1

    def _open(self, path: str) -> os.stat_result | None:
        """A file that others than root may read; None for any other."""
        try:
            seen = os.lstat(self._host.at(path))
        except (OSError, ValueError):
            return None
        others = seen.st_uid != NOBODY_ELSE or (seen.st_mode & stat.S_IROTH and not path.startswith(_PRIVATE))
        return seen if others and stat.S_ISREG(seen.st_mode) else None

    def _accounts_of(self, found: list[tuple[bytes, bytes]]) -> list[str]:
        """The accounts of this host whose hashes these are."""
        lines = (read_regular(self._host.at("/etc/shadow")) or b"").split(b"\n")
        own = {fields[1]: fields[0] for line in lines if len(fields := line.split(b":", 2)) > 2}
        return sorted({safe(own[secret], 64) for _, secret in found if secret in own})

    def _finding(self, path: str, seen: os.stat_result, accounts: list[str]) -> Finding:
        shown, word, owner = safe(path, 300), for_shell(path, 300), user_name(self._host, seen.st_uid)
        named = ", ".join(accounts[:MOST_NAMED])
        more = f" and {len(accounts) - MOST_NAMED} more" if len(accounts) > MOST_NAMED else ""
        if not seen.st_mode & stat.S_IROTH:
            who = f"user {owner}"
        else:
            who = (
                "everybody" if path.startswith(tuple(f"{folder}/" for folder in OPEN)) else "others than root"
            )
        return Finding(
            type="password_hashes_exposed",
            severity="high",
            confidence=0.95,
            subject=path,
            summary=f"Password hashes of this host ({named}{more}) lie in {shown}, where {who} may read them",
            why="Whoever has them tries passwords elsewhere, unseen and as fast as a machine can; intruders copy "
            "/etc/shadow as soon as they are root.",
            next=f"rm {word}, then new passwords for these accounts: passwd NAME. Only root reads the original: "
            "who was there is in the evidence (present).",
            technique="T1003.008",
            title="Password hashes lie open",
            evidence={
                "path": shown,
                "accounts": accounts[:50],
                "owner": owner,
                "mode": f"{stat.S_IMODE(seen.st_mode):04o}",
                "size": seen.st_size,
            },
        )

    def _keep(self) -> None:
        self._baseline.memory["exposed"] = sorted(self._findings)
        self._baseline.changed()
