"""When dpkg and apt were at work: what they change is theirs.

While they work one of their locks is held. For changes that were made before this agent looked (or in the second
between two looks) there are `dpkg.log` and apt's `history.log`, which name the moments in local time.
"""

from __future__ import annotations

import fcntl
import os
import re
import struct
from collections import deque
from datetime import datetime

from dio_daemon.detect.integrity.host import Host

LOCKS = ("/var/lib/dpkg/lock", "/var/lib/dpkg/lock-frontend")
LOGS = ("/var/log/dpkg.log.1", "/var/log/dpkg.log")
HISTORIES = ("/var/log/apt/history.log",)
TAIL_BYTES = 512 * 1024
APART_S = 3600
"""Two lines of dpkg.log further apart than this are of two runs, even where no start is logged between."""
SLACK_S = 3.0
"""What a run is longer at each end than its log says."""
MOST_RUNS = 500

_FLOCK = struct.Struct("@hhqqi0q")  # struct flock: type, whence, start, length (0: to the end), pid
_LINE = re.compile(rb"^(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d) (\w+)", re.MULTILINE)
_HISTORY = re.compile(rb"^(Start|End)-Date: (\d{4}-\d\d-\d\d)  (\d\d:\d\d:\d\d)", re.MULTILINE)


class Runs:
    """The runs of a host's package manager."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._seen: deque[tuple[float, float]] = deque(maxlen=MOST_RUNS)
        self._since: float | None = None
        self._logged: list[tuple[float, float]] = []
        self._version: object = None

    def busy(self, now: float) -> bool:
        """Whether one is at work. `now` is the wall clock, in seconds."""
        held = self._held()
        if held and self._since is None:
            self._since = now - SLACK_S
        if self._since is not None and not held:
            self._seen.append((self._since, now + SLACK_S))
            self._since = None
        return held

    def during(self, moment: float) -> bool:
        """Whether one was at work at a moment of the wall clock."""
        if self._since is not None and moment >= self._since:
            return True
        return any(start <= moment <= end for start, end in [*self._seen, *self._from_logs()])

    def since(self, moment: float) -> bool:
        """Whether one was at work at a moment of the wall clock or after it."""
        return self._since is not None or self.between(moment, float("inf"))

    def between(self, start: float, end: float) -> bool:
        """Whether one was at work at any moment of a span of the wall clock."""
        return any(begun <= end and start <= over for begun, over in [*self._seen, *self._from_logs()])

    def _held(self) -> bool:
        return any(is_locked(self._host.at(lock)) for lock in LOCKS)

    def _from_logs(self) -> list[tuple[float, float]]:
        version = []
        for path in (*LOGS, *HISTORIES):
            try:
                seen = os.stat(self._host.at(path))
                version.append((seen.st_ino, seen.st_size))
            except OSError:
                version.append((0, 0))
        if version != self._version:
            self._version = version
            self._logged = runs_of_log(b"".join(self._tail(path) for path in LOGS))
            self._logged += runs_of_history(b"".join(self._tail(path) for path in HISTORIES))
        return self._logged

    def _tail(self, path: str) -> bytes:
        try:
            fd = os.open(self._host.at(path), os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError:
            return b""
        try:
            size = os.fstat(fd).st_size
            return os.pread(fd, TAIL_BYTES, max(0, size - TAIL_BYTES))
        except OSError:
            return b""
        finally:
            os.close(fd)


def is_locked(path: str) -> bool:
    """Whether a process holds a lock on a file, as fcntl(2) tells; not where it cannot be opened.

    /proc/locks says it as well, but each read of that makes the kernel wait for all of its processors.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        answer = fcntl.fcntl(fd, fcntl.F_OFD_GETLK, _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0))
        return bool(_FLOCK.unpack(answer)[0] != fcntl.F_UNLCK)
    except OSError:
        return False
    finally:
        os.close(fd)


def runs_of_log(text: bytes) -> list[tuple[float, float]]:
    """Begin and end of each run in a dpkg.log."""
    found: list[list[float]] = []
    last = b""
    for match in _LINE.finditer(text):
        if match[1] == last and match[2] != b"startup":
            continue
        last = match[1]
        moment = _seconds(match[1].decode("ascii"))
        if moment is None:
            continue
        if not found or match[2] == b"startup" or not 0 <= moment - found[-1][1] <= APART_S:
            found.append([moment, moment])
        found[-1][1] = max(moment, found[-1][1])
    return [(start - SLACK_S, end + SLACK_S) for start, end in found[-MOST_RUNS:]]


def runs_of_history(text: bytes) -> list[tuple[float, float]]:
    """Begin and end of each run in an apt history.log."""
    found: list[tuple[float, float]] = []
    start: float | None = None
    for word, day, hour in _HISTORY.findall(text):
        moment = _seconds(f"{day.decode('ascii')} {hour.decode('ascii')}")
        if word == b"Start":
            start = moment
        elif start is not None and moment is not None:
            found.append((start - SLACK_S, moment + SLACK_S))
            start = None
    return found[-MOST_RUNS:]


def _seconds(text: str) -> float | None:
    try:
        return datetime.fromisoformat(
            text
        ).timestamp()  # strptime would stay in memory with all that it imports
    except (ValueError, OverflowError):
        return None
