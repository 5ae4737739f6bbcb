"""Whether what is missing from a log was put elsewhere in order: a rotation, or journald's files that were vacuumed.

logrotate leaves the old content beside the log under another name, and notes when it rotated each log. journald gives
its file another name before it begins a new one, and `journalctl --vacuum-*` removes only files that have one. To see
that, the journal that is written to is held on to: of a file that is gone, the kernel knows the last name still.
"""

from __future__ import annotations

import os
import re
import time
from dataclasses import dataclass

from dio_daemon.detect.integrity.host import Host

ROTATED_S = 180.0
SLACK_S = 3.0
KEEP_FREE = (0.15, 4 << 30)
"""journald removes even what it has just rotated where less than both of a disk (a share, bytes) are free."""
LOGROTATE = "/var/lib/logrotate/status"
MOST_STATUS_BYTES = 1 << 20
_ARCHIVED = re.compile(r"system@[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{16}\.journal")
_DELETED = " (deleted)"

ROTATED, VACUUMED = "rotated", "vacuumed"


@dataclass(frozen=True)
class Seen:
    """A log at the last look at which it was whole: its inode, and when that was in seconds of the wall clock."""

    inode: int
    at: float
    any_name: bool = False
    """Whether a rotation may give it any name, as programs do with logs of their own."""


def is_journal(path: str) -> bool:
    """Whether a log is one of journald's."""
    return path.endswith(".journal")


class Rotations:
    """What explains that a log is cut or gone. Belongs to one thread.

    Args:
        host: whose logs.
    """

    def __init__(self, host: Host) -> None:
        self._host = host
        self._held: dict[str, tuple[int, int]] = {}
        """The journal that is written to, by its path: its inode and a descriptor, which reads nothing."""

    def hold(self, path: str, inode: int) -> None:
        """Hold on to this file until it is let go, or another one is there under its path."""
        if not is_journal(path) or self._held.get(path, (0, 0))[0] == inode:
            return
        self.let_go(path)
        try:
            fd = os.open(self._host.at(path), os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError:
            return
        self._held[path] = (os.fstat(fd).st_ino, fd)

    def let_go(self, path: str) -> None:
        """Its room on the disk is given back, where it was removed."""
        held = self._held.pop(path, None)
        if held is not None:
            os.close(held[1])

    def close(self) -> None:
        """Let go of all."""
        for path in list(self._held):
            self.let_go(path)

    def explain(self, path: str, seen: Seen, wall: float) -> str | None:
        """What became of it: ROTATED where its content was put elsewhere or logrotate took it away, VACUUMED where
        journald rotated it and it was removed after that; None where nothing explains it.

        Args:
            path: the log.
            seen: it at the last look.
            wall: now.
        """
        if is_journal(path):
            folder, _, name = path.rpartition("/")
            if self._is_full(folder) or self._beside(folder, name.removesuffix(".journal"), name, seen, None):
                return ROTATED
            return VACUUMED if _ARCHIVED.fullmatch(self._last_name(path, seen.inode)) else None
        folder, _, name = path.rpartition("/")
        if self._beside(folder, name, name, seen, wall) or self._noted(path, seen.at, wall):
            return ROTATED
        return None

    def _beside(self, folder: str, start: str, name: str, seen: Seen, wall: float | None) -> bool:
        """Whether it has another name now, or (`wall`) a file of such a name was made a while ago."""
        try:
            names = os.listdir(self._host.at(folder))
        except OSError:
            return False
        for each in names:
            alike = each.startswith(start)
            if each == name or not (alike or seen.any_name):
                continue
            try:
                found = os.lstat(self._host.at(f"{folder}/{each}"))
            except OSError:
                continue
            if found.st_ino == seen.inode:
                return True
            if alike and wall is not None and wall - found.st_ctime < ROTATED_S and found.st_size > 0:
                return True
        return False

    def _noted(self, path: str, since: float, wall: float) -> bool:
        """Whether logrotate has rotated it since: twice within a moment, or where it keeps no old ones."""
        try:
            text = self._host.read(LOGROTATE, MOST_STATUS_BYTES)
        except OSError:
            return False
        found = re.search(
            rb'^"' + re.escape(os.fsencode(path)) + rb'" (\d+-\d+-\d+-\d+:\d+:\d+)$', text, re.M
        )
        if found is None:
            return False
        try:
            moment = time.mktime(time.strptime(found[1].decode("ascii"), "%Y-%m-%d-%H:%M:%S"))
        except (ValueError, OverflowError):
            return False
        return since - SLACK_S <= moment <= wall + SLACK_S

    def _last_name(self, path: str, inode: int) -> str:
        held = self._held.get(path)
        if held is None or held[0] != inode:
            return ""
        try:
            where = os.readlink(f"/proc/self/fd/{held[1]}")
        except OSError:
            return ""
        return where.rpartition("/")[2].removesuffix(_DELETED)

    def _is_full(self, folder: str) -> bool:
        share, least = KEEP_FREE
        try:
            disk = os.statvfs(self._host.at(folder))
        except OSError:
            return False
        return disk.f_bavail * disk.f_frsize < min(share * disk.f_blocks * disk.f_frsize, least)
