"""The histories of shells: turned off by a link to /dev/null, or emptied.

What was off before the first look is known. An emptied one does not come back; it is told for an hour.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable

from dio_daemon.detect.finding import Finding
from dio_daemon.detect.integrity.host import Host
from dio_daemon.detect.integrity.told import Told
from dio_daemon.text import safe

HISTORIES = (
    *(".bash_history", ".zsh_history", ".sh_history", ".history", ".local/share/fish/fish_history"),
    *(".python_history", ".mysql_history", ".psql_history"),
)
LEAST_BYTES = 64
"""A shorter history says nothing when it is emptied."""
LEFT = 8
"""Shells append; what is cut to less than this part of it, and below `LEAST_BYTES`, was emptied."""
EMPTY_LOOKS = 2
MOST_HOMES = 200


class Histories:
    """Watches the histories in all homes. Belongs to one thread.

    Args:
        host: whose.
        announced: whether a change window is open.
        known: those that are known to be off; None before the first look.
        keep: remembers those.
        emptied: tells those that were emptied.
    """

    def __init__(
        self,
        host: Host,
        announced: Callable[[], bool],
        known: list[str] | None,
        keep: Callable[[list[str]], None],
        emptied: Told,
    ) -> None:
        self._host = host
        self._announced = announced
        self._known = known
        self._keep = keep
        self._sizes: dict[str, int] = {}
        self._empty: dict[str, int] = {}
        self._off: dict[str, Finding] = {}
        self._emptied = emptied

    def look(self) -> list[Finding]:
        """One look; what is the case."""
        off = []
        for home in self._host.homes(MOST_HOMES, services=True):
            for name in HISTORIES:
                path = f"{home}/{name}"
                try:
                    seen = os.lstat(self._host.at(path))
                except OSError:
                    seen = None
                if seen is not None and stat.S_ISLNK(seen.st_mode) and self._leads_nowhere(path):
                    off.append(path)
                    self._sizes.pop(path, None)
                elif seen is not None or path in self._sizes:
                    self._look_at(home, path, seen)
        if self._known is None or self._announced():
            self._known = sorted({*(self._known or []), *off})
            self._keep(self._known)
        self._off = {path: self._off.get(path) or _off(path) for path in off if path not in self._known}
        return [*self._off.values(), *self._emptied.findings()]

    def accept(self) -> int:
        """Take all that is told as well; how many they were."""
        count = len(self._off) + self._emptied.accept()
        self._known = sorted({*(self._known or []), *self._off})
        self._keep(self._known)
        self._off.clear()
        return count

    def _leads_nowhere(self, path: str) -> bool:
        try:
            return os.readlink(self._host.at(path)) == "/dev/null"
        except OSError:
            return False

    def _look_at(self, home: str, path: str, seen: os.stat_result | None) -> None:
        """Judge one that is there, or was and is gone."""
        if seen is not None and not stat.S_ISREG(seen.st_mode):
            return
        size = seen.st_size if seen is not None else 0
        before = self._sizes.get(path, 0)
        if size >= LEAST_BYTES or size * LEFT > before:
            self._sizes[path] = size
            self._empty.pop(path, None)
            return
        self._empty[path] = self._empty.get(path, 0) + 1
        if before < LEAST_BYTES or self._empty[path] < EMPTY_LOOKS:
            return
        del self._sizes[path]
        if os.path.isdir(self._host.at(home)) and not self._announced():
            self._emptied.say(path, _emptied(path, before))


def _off(path: str) -> Finding:
    return Finding(
        type="shell_history_off",
        severity="medium",
        confidence=0.8,
        subject=path,
        summary=f"The shell history {safe(path, 300)} leads to /dev/null",
        why="What is typed leaves no trace any more.",
        next="Ask the user; remove the link if nobody meant it.",
        technique="T1562.003",
        title="Shell history turned off",
        evidence={"path": safe(path, 300), "target": "/dev/null"},
    )


def _emptied(path: str, before: int) -> Finding:
    return Finding(
        type="shell_history_cleared",
        severity="medium" if path.startswith("/root/") else "low",
        confidence=0.6,
        subject=path,
        summary=f"The history {safe(path, 300)} held {before} bytes and was emptied or removed",
        why="It told what was typed here; people seldom clear it, intruders do before they leave.",
        next="Ask the user; see what else changed then: dioctl threats. Who was there: present, in the evidence.",
        technique="T1070.003",
        title="Shell history cleared",
        evidence={"path": safe(path, 300), "size_before": before},
    )
