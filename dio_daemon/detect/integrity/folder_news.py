"""What the kernel tells of the folders that hold watched files: which are watched, and whether those are all.

A writer that keeps its file open is told of in folders of the system, by each write. In homes programs write all day
long, so there a file is told of when it is closed.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator

from dio_daemon.detect.integrity import inotify
from dio_daemon.detect.integrity.host import Host
from dio_daemon.detect.integrity.inotify import Inotify

QUIET = ("/etc/", "/usr/", "/boot/", "/var/spool/", "/var/lib/dpkg/")
"""Below these files are written to be kept, and seldom."""


class FolderNews:
    """The watches on folders. Belongs to one thread.

    Args:
        host: whose folders.
        notify: the kernel's news; None to go without.
    """

    def __init__(self, host: Host, notify: Inotify | None) -> None:
        self._host = host
        self._notify = notify
        self._folders: dict[int, str] = {}
        self._watches: dict[str, int] = {}
        self._unwatched = 0
        self._changes = 0

    @property
    def rights(self) -> int | None:
        """Another number whenever a folder, or who may do what in one, may be another than before; None where the
        kernel does not tell of all."""
        return self._changes if self.of_all else None

    @property
    def of_all(self) -> bool:
        """Whether the kernel tells of all folders that it was asked to tell of."""
        return self._notify is not None and bool(self._watches) and not self._unwatched

    def of(self, folder: str) -> bool:
        """Whether the kernel tells of changes in a folder."""
        return folder in self._watches

    def ask(self, folders: Collection[str]) -> None:
        """Have it tell of these folders and of no others, as they are now."""
        if self._notify is None:
            return
        for folder in [folder for folder in self._watches if folder not in folders]:
            watch = self._watches.pop(folder)
            self._folders.pop(watch, None)
            self._notify.remove(watch)
        self._unwatched = 0
        for folder in folders:
            mask = inotify.CHANGES | (inotify.MODIFIED if f"{folder}/".startswith(QUIET) else 0)
            try:
                watch = self._notify.add(self._host.at(folder or "/"), mask)
            except OSError:  # it is gone already, or there are no watches left
                self._unwatched += 1
                continue
            if self._watches.get(folder) != watch:
                self._changes += 1
            self._folders[watch] = folder
            self._watches[folder] = watch

    def read(self) -> Iterator[tuple[str | None, int, str]]:
        """What one read gives: folder (None for one that is watched no more), mask, name in it."""
        for watch, mask, raw in self._notify.events() if self._notify is not None else ():
            folder = self._folders.get(watch)
            if not raw:
                self._changes += 1
            if mask & inotify.IGNORED:
                self._folders.pop(watch, None)
                if folder is not None and self._watches.get(folder) == watch:
                    del self._watches[folder]
            yield folder, mask, os.fsdecode(raw)
