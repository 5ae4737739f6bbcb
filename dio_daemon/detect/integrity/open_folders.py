"""Folders of watched files that others than root may change: whoever adds a file there becomes root.

Folders of the system are looked at, not those in homes. Those that were so at the first look are known.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable

from dio_daemon.detect.finding import Finding
from dio_daemon.detect.integrity.baseline import Baseline
from dio_daemon.detect.integrity.facts import user_name
from dio_daemon.detect.integrity.host import Host
from dio_daemon.text import for_shell, safe

EVERY_S = 15.0
TOLD_S = 600.0
"""The same where the kernel tells when one changes."""
SYSTEM = ("/etc", "/usr", "/root", "/boot", "/var/spool", "/var/lib/dpkg")
MOST_KNOWN = 1000
FIRST_USER = 1000


class OpenFolders:
    """Watches who may change folders. Belongs to one thread.

    Args:
        host: whose.
        folders: those that hold watched files, as they are now.
        rights: another number when one of them changed; None where nobody tells of that.
        baseline: remembers those that were open before.
        announced: whether a change window is open.
    """

    def __init__(
        self,
        host: Host,
        folders: Callable[[], Iterable[str]],
        rights: Callable[[], int | None],
        baseline: Baseline,
        announced: Callable[[], bool],
    ) -> None:
        self._host = host
        self._folders = folders
        self._baseline = baseline
        self._announced = announced
        self._rights = rights
        self._seen: int | None = None
        self._look_at = self._backstop_at = float("-inf")
        self._findings: dict[str, Finding] = {}

    def look(self, now: float) -> list[Finding]:
        """One look; what is the case. `now` is monotonic seconds."""
        if now >= self._look_at:
            self._look_at = now + EVERY_S
            before, self._seen = self._seen, self._rights()
            told = self._seen is not None and self._seen == before
            if not told or self._findings or self._announced() or now >= self._backstop_at:
                self._backstop_at = now + TOLD_S
                self._look()
        return list(self._findings.values())

    def accept(self) -> int:
        """Take all that is told as well; how many they were."""
        count = len(self._findings)
        self._keep([*self._known(), *self._findings])
        self._findings = {}
        return count

    def _look(self) -> None:
        found = {}
        for folder in list(self._folders()):
            if not folder.startswith(SYSTEM):
                continue
            try:
                seen = os.stat(self._host.at(folder))
            except OSError:
                continue
            if stat.S_ISDIR(seen.st_mode) and (seen.st_mode & 0o002 or seen.st_uid >= FIRST_USER):
                found[folder] = (stat.S_IMODE(seen.st_mode), seen.st_uid)
        first = not isinstance(self._baseline.memory.get("open_folders"), list)
        if (first and found) or (self._announced() and found.keys() - set(self._known())):
            self._keep([*self._known(), *found])
        elif first:
            self._keep([])
        known = set(self._known())
        self._findings = {
            folder: self._findings.get(folder) or self._finding(folder, *how)
            for folder, how in found.items()
            if folder not in known
        }

    def _finding(self, folder: str, mode: int, uid: int) -> Finding:
        shown, word = safe(folder, 300), for_shell(folder, 300)
        who = "everybody" if mode & 0o002 else f"user {user_name(self._host, uid)}, whose it is now,"
        return Finding(
            type="folder_open",
            severity="high",
            confidence=0.9,
            subject=folder,
            summary=f"In folder {shown} {who} may add and replace files (mode {mode:04o}), and it was not so before",
            why="What lies there is run or believed by root: whoever may change it can become root.",
            next=f"chown root {word}; chmod go-w {word}; then see what was put there: ls -latc {word}.",
            technique="T1222.002",
            title="System folder is open to others",
            evidence={"path": shown, "mode": f"{mode:04o}", "uid": uid},
        )

    def _known(self) -> list[str]:
        kept = self._baseline.memory.get("open_folders")
        return [str(each) for each in kept] if isinstance(kept, list) else []

    def _keep(self, folders: list[str]) -> None:
        self._baseline.memory["open_folders"] = sorted(set(folders))[:MOST_KNOWN]
        self._baseline.changed()
