"""The detector of changed files.

inotify says which folders changed; those are looked at once they have settled. A look at all of them is the backstop,
once in ten minutes where the kernel tells of them all, else once a minute, and what a full queue and other mounts fall
back on. The first look at a host is the baseline and silent. Whatever differs from the baseline after that is judged
(see `verdict`): known work moves the baseline and is recorded as an event, the rest is a finding until the file is as
it was.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from dio_daemon.clock import Clock
from dio_daemon.detect.finding import Finding
from dio_daemon.detect.integrity import inotify
from dio_daemon.detect.integrity.baseline import MOST_TEXT_BYTES, Baseline
from dio_daemon.detect.integrity.crowd import Crowd, by_turns
from dio_daemon.detect.integrity.folder_news import FolderNews
from dio_daemon.detect.integrity.group import Group
from dio_daemon.detect.integrity.host import Host
from dio_daemon.detect.integrity.inotify import Inotify
from dio_daemon.detect.integrity.listing import look_into
from dio_daemon.detect.integrity.places import MOST_ENTRIES, Places
from dio_daemon.detect.integrity.runs import Runs
from dio_daemon.detect.integrity.state import GONE, FileState, examine, text_of
from dio_daemon.detect.integrity.verdict import UNSUSPICIOUS, Change, Verdict, known_work

SETTLE_S = 0.7
BUSY_SETTLE_S = 5.0
"""While dpkg works, folders change again and again."""
RESCAN_S = 60.0
TOLD_S = 600.0
"""The same where the kernel tells of all of them: for what is written by way of memory, or in homes and kept open."""
EXPAND_S = 300.0
MOST_BUSY_S = 3600.0
"""Longer than this, changes do not wait for a run of dpkg to end."""
STEP_FILES = 400
SETTLED_COST = 8
"""So many files that are as they were cost no more than one that is examined."""
STEP_BYTES = 2 << 20
STEP_READS = 16
MOST_SEEN = 60_000
"""A host has some thousands of watched files; somebody who makes ever more of them makes nothing else unseen."""
STEP_JUDGED = 50
STEP_JUDGED_S = 0.5  # and no longer: whoever stops the agent waits for the step in hand
MOST_SUSPECTS = 100_000  # more than all files that are looked at
JUDGED_AT = "judged_at"
"""Where the baseline remembers when the last look at everything began of which all was judged, in seconds of the wall
clock: what is found gone after a restart went since then."""

Record = Callable[[str, str, dict[str, Any]], None]
"""Records an event: type, message, data."""


class FileWatch:
    """Watches files. Belongs to one thread.

    Args:
        host: whose files.
        groups: which files.
        baseline: how they are when all is well.
        verdict, runs: whose work a change is.
        notify: the kernel's news; None to go without.
        clock: for what is due, and for when something was noticed.
        record: where known work is recorded.
    """

    def __init__(
        self,
        host: Host,
        groups: Sequence[Group],
        baseline: Baseline,
        verdict: Verdict,
        runs: Runs,
        notify: Inotify | None,
        clock: Clock,
        record: Record,
    ) -> None:
        self._host = host
        self._baseline = baseline
        self._verdict = verdict
        self._runs = runs
        self.news = FolderNews(host, notify)
        self._clock = clock
        self._record = record
        self._places = Places(host, groups)
        self._learning = self._new_groups(groups)
        self._current: dict[str, FileState] = {}
        self._paths: dict[str, tuple[str, ...]] = {}
        """By folder: the files that were there at the last look. Texts that other tables have as well: there are
        thousands."""
        self._dirty: dict[str, float] = {}
        # By folder: what the kernel told of it happened after this moment of the wall clock.
        self._since: dict[str, float] = {}
        self._drained = clock.now().timestamp()
        self._queue: deque[str] = deque()
        self._queued: set[str] = set()
        self._suspects: dict[str, tuple[Group, float, float]] = {}
        self._findings = Crowd()
        self._groups_of: dict[str, Group] = {}
        self._expand_at = self._rescan_at = self._backstop_at = float("-inf")
        self._mounts = host.mounts
        self._first = True
        self._pending = True
        """Whether something was to be judged since the baseline was told that all is."""
        self._rescanned = clock.now().timestamp()
        self._judged_by: object = None
        self._busy_since: float | None = None
        there: dict[str, list[str]] = {}
        for path in baseline.files:
            there.setdefault(path.rpartition("/")[0], []).append(path)
        self._paths = {folder: tuple(paths) for folder, paths in there.items()}

    def step(self) -> list[Finding]:
        """Do a slice of the work; all findings that are the case."""
        now = self._clock.monotonic()
        busy = self._busy(now)
        if now >= self._expand_at:
            self._expand(now)
        if now >= self._rescan_at:
            self._rescan_at = now + RESCAN_S
            self._look_at_everything(now)
        wall = self._clock.now().timestamp()
        self._drain(now)
        self._drained = wall
        settle = BUSY_SETTLE_S if busy else SETTLE_S
        for folder in [folder for folder, since in self._dirty.items() if now - since >= settle]:
            del self._dirty[folder]
            self._enqueue([folder], first=True)
        self._scan()
        if not busy:
            self._judge_anew()
            self._judge()
            self._note_judged()
        return self._findings.findings()

    @property
    def scanning(self) -> bool:
        """Whether more is to be looked at right away."""
        return bool(self._queue)

    @property
    def ready(self) -> bool:
        """Whether every watched file was looked at since this process began."""
        return not self._first

    def wait_s(self) -> float:
        """Seconds that may pass until the next step when nothing is told."""
        if self._queue:
            return 0.2
        return SETTLE_S if self._dirty or self._suspects else 5.0

    def is_told_of(self, folder: str) -> bool:
        """Whether the kernel tells of changes in a folder."""
        return self.news.of(folder)

    def folders(self) -> list[str]:
        """The folders that hold watched files."""
        return list(self._places.folders)

    def accept(self) -> int:
        """Take all that differs as well; how many files that were."""
        taken = self._findings.take()
        for path, state in taken:
            self._take(path, state)
        return len(taken)

    def _new_groups(self, groups: Sequence[Group]) -> set[str]:
        """Groups that this host was not watched for before: what they have now is taken as well."""
        digests = {group.name: group.digest() for group in groups}
        known = self._baseline.memory.get("groups")
        known = known if isinstance(known, dict) else {}
        self._baseline.memory["groups"] = digests
        return {name for name, digest in digests.items() if known.get(name) != digest}

    def _busy(self, now: float) -> bool:
        if not self._runs.busy(self._clock.now().timestamp()):
            self._busy_since = None
            return False
        self._busy_since = now if self._busy_since is None else self._busy_since
        return now - self._busy_since < MOST_BUSY_S

    def _expand(self, now: float) -> None:
        before = set(self._places.folders)
        self._expand_at = now + (EXPAND_S if self._places.expand() else RESCAN_S)
        folders = self._places.folders
        self._enqueue([folder for folder in folders if folder not in before])
        self._enqueue([folder for folder in before if folder not in folders])
        self.news.ask(folders)

    def _look_at_everything(self, now: float) -> None:
        """Unless the kernel tells of all of it: not of what is mounted over it, for which one has to look."""
        self._host.remount()
        if self._host.mounts != self._mounts:
            self._mounts, self._backstop_at = self._host.mounts, now
            self._expand(now)
        if now < self._backstop_at and self.news.of_all:
            return
        self._backstop_at = now + TOLD_S
        self._rescanned = self._clock.now().timestamp()
        self._enqueue([*self._places.folders, *(folder for folder in self._paths)])

    def _drain(self, now: float) -> None:
        for _ in range(STEP_READS):
            count = 0
            for folder, mask, name in self.news.read():
                count += 1
                self._take_event(folder, mask, name, now)
            if not count:
                return
        self._rescan_at = now + SETTLE_S  # a storm: one look at everything is cheaper than all of its news
        self._backstop_at = now

    def _take_event(self, folder: str | None, mask: int, name: str, now: float) -> None:
        if mask & inotify.OVERFLOW:
            self._rescan_at = self._backstop_at = now
            return
        at = None if folder is None else self._places.folders.get(folder)
        if folder is None or at is None:
            return
        if not name:
            if mask & (inotify.IGNORED | inotify.DELETE_SELF | inotify.MOVE_SELF):
                self._expand_at = min(self._expand_at, now + SETTLE_S)
                self._dirty.setdefault(folder, now)
                self._since.setdefault(folder, self._drained)
        elif mask & inotify.IS_DIR:
            if at.leads_on(name) and mask & ~inotify.ATTRIB & inotify.CHANGES:
                self._expand_at = min(self._expand_at, now + SETTLE_S)
        elif at.group(name) is not None:
            self._dirty.setdefault(folder, now)
            self._since.setdefault(folder, self._drained)

    def _enqueue(self, folders: Sequence[str], first: bool = False) -> None:
        for folder in folders:
            if folder not in self._queued:
                self._queued.add(folder)
                (self._queue.appendleft if first else self._queue.append)(folder)

    def _scan(self) -> None:
        files, read_bytes = 0, 0
        while self._queue and files < STEP_FILES and read_bytes < STEP_BYTES:
            folder = self._queue.popleft()
            self._queued.discard(folder)
            counted = self._scan_folder(folder)
            files, read_bytes = files + counted[0] + 1, read_bytes + counted[1]
        if self._first and not self._queue:
            self._first = False
            self._learning.clear()
            if not self._baseline.complete:
                self._baseline.complete = True
                count = len(self._baseline.files)
                self._record(
                    "integrity_baseline", f"{count} watched files were taken as well", {"files": count}
                )
            self._baseline.changed()

    def _scan_folder(self, folder: str) -> tuple[int, int]:
        at = self._places.folders.get(folder)
        paths = {path[len(folder) + 1 :]: path for path in self._paths.get(folder, ())}
        names: list[str] = []
        seen: set[str] = set()
        try:
            if at is not None:
                names, seen = look_into(self._host, folder, self._well(paths), MOST_ENTRIES)
        except OSError as error:
            if error.errno not in GONE:  # no descriptor, a disk that fails: nothing is known of it now
                return 0, 0
        files, read_bytes = len(seen) // SETTLED_COST, 0
        since = self._since.pop(folder, None)
        for name in names:
            group = at.group(name) if at is not None and name not in seen else None
            if group is None:
                continue
            path = paths.get(name) or f"{folder}/{name}"
            if any(pattern.fullmatch(path) for pattern in group.ignored):
                continue
            known = self._current.get(path) or self._baseline.files.get(path)
            if known is None and len(self._current) >= MOST_SEEN:
                continue
            keep = MOST_TEXT_BYTES if group.shows != "nothing" else 0
            try:
                look = examine(self._host, path, known, group.hashed, keep)
            except OSError:  # it is as it was, as far as can be told
                if known is not None:
                    seen.add(name)
                    paths[name] = path
                continue
            if look is None:
                continue
            seen.add(name)
            paths[name] = path
            files, read_bytes = files + 1, read_bytes + look.read_bytes
            self._see(path, group, look.state, look.content)
        for name, path in paths.items():
            if name in seen:
                continue
            self._current.pop(path, None)
            if path in self._baseline.files:
                group = self._groups_of.get(path) or (at.group(name) if at is not None else None)
                self._suspect(path, group or self._places.group_of(path), since)
            else:  # it came and is gone: nothing is to be judged
                self._findings.drop(path)
                self._suspects.pop(path, None)
                self._groups_of.pop(path, None)
        self._paths[folder] = tuple(paths[name] for name in seen)
        if not seen:
            del self._paths[folder]
        return files, read_bytes

    def _well(self, paths: Mapping[str, str]) -> dict[str, FileState]:
        """Those files, by their names, that were well at the last look and need no further one."""
        found = {}
        for name, path in paths.items():
            state, group = self._current.get(path), self._groups_of.get(path)
            if state is None or group is None or state is not self._baseline.files.get(path):
                continue
            doubtful = path in self._suspects or path in self._findings
            if not doubtful and not state.lacks_hash(group.hashed):
                found[name] = state
        return found

    def _see(self, path: str, group: Group, state: FileState, content: bytes | None) -> None:
        self._current[path] = state
        self._groups_of[path] = group
        known = self._baseline.files.get(path)
        if known is None and (not self._baseline.complete or group.name in self._learning):
            self._baseline.set(path, state, content)
        elif not state.same(known):
            if not self._findings.is_told(path, state):
                self._suspect(path, group)
        else:
            self._findings.drop(path)
            self._suspects.pop(path, None)
            if known is not None and known.stamp != state.stamp:
                self._baseline.files[path] = state
                self._baseline.changed()

    def _suspect(self, path: str, group: Group, since: float | None = None) -> None:
        self._pending = True
        if len(self._suspects) < MOST_SUSPECTS:
            now = self._clock.now().timestamp()
            self._suspects.setdefault(path, (group, now if since is None else since, now))

    def _note_judged(self) -> None:
        if self._suspects or self._queue or self._first:
            return
        # then nothing has happened up to the last news but what was judged
        told = self.news.of_all and not self._dirty
        self._baseline.memory[JUDGED_AT] = self._drained if told else self._rescanned
        if self._pending:  # or it would not be written before something changes
            self._pending = False
            self._baseline.changed()

    def _judge_anew(self) -> None:
        """After a run of dpkg what was told may be a package's now; and what was only counted may be told."""
        version = self._verdict.version()
        paths = list(self._findings) if version != self._judged_by else self._findings.has_room()
        self._judged_by = version
        for path in paths:
            self._suspect(path, self._groups_of.get(path) or self._places.group_of(path))

    def _judge(self) -> None:
        recorded: dict[str, list[str]] = {}
        until = self._clock.monotonic() + STEP_JUDGED_S
        paths = by_turns(self._suspects, STEP_JUDGED)
        self._verdict.expect(paths)
        for path in paths:
            if self._clock.monotonic() > until:
                break
            group, since, noticed_at = self._suspects.pop(path)
            before, after = self._baseline.files.get(path), self._current.get(path)
            if (before is None and after is None) or (after is not None and after.same(before)):
                self._findings.drop(path)
                if after is None:
                    self._groups_of.pop(path, None)
                continue
            change = Change(path, group, before, after, noticed_at, since)
            text_before = self._baseline.text(path)
            known = self._verdict.known(change, text_before)
            if known is None:
                self._findings.put(path, after, self._verdict.finding(change, text_before))
            else:
                self._findings.drop(path)
                self._take(path, after)
                if known != UNSUSPICIOUS:
                    recorded.setdefault(known, []).append(path)
        for known, changed in recorded.items():
            self._record("known_changes", *known_work(known, changed))

    def _take(self, path: str, state: FileState | None) -> None:
        content = None
        group = self._groups_of.get(path)
        if state is not None and group is not None and group.shows != "nothing":
            content = text_of(self._host, path, state, MOST_TEXT_BYTES)
        self._baseline.set(path, state, content)
