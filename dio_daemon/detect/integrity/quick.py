"""The folders in which a new privileged file matters at once: where commands are, and where everybody may write.

inotify tells of what changes in them, and of new folders below them, which are looked into and watched as well. All of
them are looked at anew every ten minutes, or once a minute where the kernel does not tell of them all.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import islice
from typing import NamedTuple

from dio_daemon.clock import Clock
from dio_daemon.detect.integrity import inotify
from dio_daemon.detect.integrity.host import Host
from dio_daemon.detect.integrity.inotify import Inotify

COMMANDS = (
    "/usr/bin",
    "/usr/sbin",
    "/usr/local/bin",
    "/usr/local/sbin",
    "/usr/libexec",
    "/usr/lib/openssh",
    "/root",
)
OPEN = ("/tmp", "/var/tmp", "/dev/shm")  # noqa: S108 - looked at, never written
LOCAL = ("/usr/local", "/opt", "/srv", "/var/www", "/usr/games", "/usr/lib/dbus-1.0")
"""Folders of programs that are no package's, mostly; looked into a few folders deep."""
SKIPPED = ("/proc", "/sys", "/dev", "/run", "/var/lib/dio-agent")
MASK = inotify.ATTRIB | inotify.MOVED_TO | inotify.CREATE
QUICK_S = 60.0
TOLD_S = 600.0
"""The same where the kernel tells of all of them."""
OVERFLOW_S = 5.0
DEPTH = 3
QUICK_ENTRIES = 4000
QUICK_ENTRIES_OF_ONE = 2500
NEW_ENTRIES = 200
"""Of a new folder; one that has more is looked at with all others."""
MOST_WATCHES = 2000
"""A kernel allows 8,192 at least; each keeps a KiB of its memory."""
MOST_NAMES = 256
MOST_FOLDER_QUEUE = 100_000
PIECE = 1000
"""Names of a folder that are looked at at once."""
READS = 4


class Entry(NamedTuple):
    """What stands in a folder. `mode` is that of a regular file, 0 for anything else."""

    path: str
    is_folder: bool
    mode: int


class QuickFolders:
    """Those folders. Belongs to one thread.

    Args:
        host: whose.
        notify: the kernel's news, of its own; None to go without.
        clock: for what is due.
        appeared: told of every new file in them, with the monotonic seconds.
    """

    def __init__(
        self,
        host: Host,
        notify: Inotify | None,
        clock: Clock,
        appeared: Callable[[str, float], None] = lambda path, now: None,
    ) -> None:
        self._host = host
        self._notify = notify
        self._clock = clock
        self._appeared = appeared
        self._at = float("-inf")
        self._tops_at = float("-inf")
        self._watched: dict[int, tuple[str, int]] = {}
        """The folder of each watch, and how many folders deep it is looked into."""
        self._told_of_all = False
        self._new: deque[tuple[str, int]] = deque(maxlen=MOST_NAMES)
        self._names: deque[str] = deque(maxlen=MOST_NAMES)

    def wait_s(self) -> float:
        """Seconds until they are looked at again, or looked for."""
        return max(0.0, min(self._at, self._tops_at) - self._clock.monotonic())

    def all_due(self) -> bool:
        """Whether all of them are to be looked at now; asked once, it is done."""
        now = self._clock.monotonic()
        if now < self._at:
            return False
        self._told_of_all = self._notify is not None
        self._watched = {}
        return True

    def everything(self) -> Iterator[Entry]:
        """What is in all of them."""
        count = 0
        for top in self._tops():
            depth = 1 if top in COMMANDS else DEPTH
            for found in self._inside(top, depth, min(QUICK_ENTRIES_OF_ONE, QUICK_ENTRIES - count)):
                count += 1
                yield found
        now = self._clock.monotonic()
        self._at, self._tops_at = now + (TOLD_S if self._told_of_all else QUICK_S), now + QUICK_S

    def told(self) -> tuple[list[str], list[Entry]]:
        """What the kernel told since the last call: files that changed, and what is in folders that are new."""
        self._drain()
        self._look_for_tops()
        names, entries = list(self._names), []
        self._names.clear()
        while self._new:
            folder, depth = self._new.popleft()
            inside = list(self._inside(folder, max(1, depth), NEW_ENTRIES))
            entries += inside
            if len(inside) == NEW_ENTRIES:
                self._soon()
        return names, entries

    def _inside(self, top: str, depth: int, most: int) -> Iterator[Entry]:
        """What is in a folder and in those below it, each of which is watched before it is looked into."""
        self._watch(top, depth)
        level = top.count("/")
        for entry, _ in zip(entries_of(self._host, top, depth), range(most), strict=False):
            if entry.is_folder:
                self._watch(entry.path, depth - (entry.path.count("/") - level))
            yield entry

    def _watch(self, folder: str, depth: int) -> None:
        if self._notify is None:
            return
        try:
            if len(self._watched) >= MOST_WATCHES:
                raise OSError
            self._watched[self._notify.add(self._host.at(folder), MASK)] = (folder, depth)
        except FileNotFoundError:  # it is gone, or is not there yet: it is looked for
            return
        except OSError:  # there are no watches left: the looks remain
            self._told_of_all = False

    def _tops(self) -> tuple[str, ...]:
        return (*COMMANDS, *OPEN, *self._host.homes(100), *LOCAL)

    def _look_for_tops(self) -> None:
        """Those that were not there before, such as a new home: nobody tells of them."""
        now = self._clock.monotonic()
        if now < self._tops_at or not self._told_of_all:
            return
        self._tops_at = now + QUICK_S
        watched = {folder for folder, _ in self._watched.values()}
        for top in self._tops():
            if top not in watched and os.path.isdir(self._host.at(top)):
                self._new.append((top, 1 if top in COMMANDS else DEPTH))

    def _soon(self) -> None:
        self._at = min(self._at, self._clock.monotonic() + OVERFLOW_S)

    def _drain(self) -> None:
        if self._notify is None:
            return
        for _ in range(READS):
            count = 0
            for watch, mask, raw in self._notify.events():
                count += 1
                if mask & inotify.OVERFLOW:
                    self._soon()
                if mask & inotify.IGNORED:
                    self._watched.pop(watch, None)
                folder, depth = self._watched.get(watch, ("", 0))
                if not folder or not raw:
                    continue
                path = f"{folder}/{os.fsdecode(raw)}"
                if not mask & inotify.IS_DIR:
                    if mask & (inotify.CREATE | inotify.MOVED_TO):
                        self._appeared(path, self._clock.monotonic())
                    if len(self._names) < MOST_NAMES and path not in self._names:
                        self._names.append(path)
                elif mask & (inotify.CREATE | inotify.MOVED_TO) and depth > 0:
                    if len(self._new) == MOST_NAMES:
                        self._soon()
                    self._new.append((path, depth - 1))
            if not count:
                return


def entries_of(host: Host, top: str, depth: int, deep_first: bool = False) -> Iterator[Entry]:
    """What is in a folder and so many folders deep below it, without what is another system's.

    Breadth first, so that whoever takes a few only takes the nearest; or depth first, which keeps far fewer folders in
    mind meanwhile: of a whole disk some hundreds in place of tens of thousands.
    """
    queue: deque[tuple[str, int]] = deque([("" if top == "/" else top, depth)])
    while queue:
        folder, left = queue.pop() if deep_first else queue.popleft()
        if host.off_limits(folder or "/") or host.foreign(folder) or folder in SKIPPED:
            continue
        try:
            for entry in _inside(host, folder):
                yield entry
                if left > 1 and len(queue) < MOST_FOLDER_QUEUE and entry.is_folder:
                    queue.append((entry.path, left - 1))
        except OSError:
            continue


def _inside(host: Host, folder: str) -> Iterator[Entry]:
    """What is in one folder; it is open only as long as that takes, for nobody can unmount what is open, except one
    that is larger than a piece. Raises OSError.

    Names are asked for from the folder: from process 1's root on, each would take twice as long.
    """
    fd = os.open(host.at(folder or "/"), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    with ExitStack() as open_ones:
        open_ones.callback(os.close, fd)
        found = open_ones.enter_context(os.scandir(fd))
        while piece := [_entry(f"{folder}/{each.name}", each) for each in islice(found, PIECE)]:
            if len(piece) < PIECE:
                open_ones.close()
            yield from piece
            if len(piece) < PIECE:
                return


def _entry(path: str, found: os.DirEntry[str]) -> Entry:
    try:
        folder = found.is_dir(follow_symlinks=False)
        regular = not folder and found.is_file(follow_symlinks=False)
        return Entry(path, folder, found.stat(follow_symlinks=False).st_mode if regular else 0)
    except OSError:
        return Entry(path, False, 0)
