"""What is said about logins, as it is said: the journal through `journalctl --follow`, or a file where there is none.

Debian 12 without rsyslog has no auth.log, so the journal comes first. The child is one of ours, is read without
waiting, and is started again, later each time, when it ends.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass

from dio_daemon.clock import Clock
from dio_daemon.detect.integrity.host import Host

COMMAND = (
    "journalctl",
    "--follow",
    "--lines=0",
    "--output=json",
    "--output-fields=MESSAGE,SYSLOG_IDENTIFIER,_UID,_EXE",
    "SYSLOG_FACILITY=4",
    "SYSLOG_FACILITY=10",
)
"""The facilities auth and authpriv."""
TRUSTED = ("/usr/bin/sudo", "/usr/bin/su", "/usr/bin/login", "/usr/sbin/sshd", "/usr/lib/openssh/")
"""Programs that run as root for others; what else a user's process says of logins is not believed."""
AUTH_LOG = "/var/log/auth.log"
MOST_LINE = 16_384
STEP_READS = 32
READ_BYTES = 65536
FIRST_WAIT_S, MOST_WAIT_S = 5.0, 300.0


@dataclass(frozen=True)
class Line:
    """One line: who says it, and what."""

    by: str
    text: str


class Follower:
    """Follows what is said about logins. Belongs to one thread.

    Args:
        host: for auth.log.
        clock: for starting again.
        command: what follows the journal; it writes a JSON object a line. Empty: only auth.log is read.
    """

    def __init__(self, host: Host, clock: Clock, command: Sequence[str] = COMMAND) -> None:
        self._host = host
        self._clock = clock
        self._command = tuple(command)
        self._child: subprocess.Popen[bytes] | None = None
        self._start_at = float("-inf")
        self._wait_s = FIRST_WAIT_S
        self._rest = b""
        self._file: tuple[int, int] | None = None
        self.works = True
        """Whether the journal can be followed; where not, auth.log is."""

    def read(self) -> list[Line]:
        """What was said since the last call; never waits."""
        if not self._command:
            return self._read_file()
        if self._child is None and self._clock.monotonic() >= self._start_at:
            self._start()
        if self._child is None:
            return self._read_file()
        return self._read_child()

    @property
    def fd(self) -> int | None:
        """What has something to read when something was said; None where one has to look."""
        return None if self._child is None or self._child.stdout is None else self._child.stdout.fileno()

    def close(self) -> None:
        """End the child."""
        child, self._child = self._child, None
        if child is None:
            return
        child.kill()
        if child.stdout is not None:
            child.stdout.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(5)

    def _start(self) -> None:
        try:
            self._child = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env={"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", "SYSTEMD_PAGER": ""},
            )
        except OSError:
            self._failed()
            return
        if self._child.stdout is not None:
            os.set_blocking(self._child.stdout.fileno(), False)
        self._rest = b""

    def _failed(self) -> None:
        self.works = False
        self._start_at = self._clock.monotonic() + self._wait_s
        self._wait_s = min(2 * self._wait_s, MOST_WAIT_S)

    def _read_child(self) -> list[Line]:
        if self._child is None or self._child.stdout is None:
            return []
        fd = self._child.stdout.fileno()
        found: list[Line] = []
        for _ in range(STEP_READS):
            try:
                part = os.read(fd, READ_BYTES)
            except BlockingIOError:
                self.works = True
                break
            except OSError:
                part = b""
            if not part:
                self.close()
                self._failed()
                break
            *lines, self._rest = (self._rest + part).split(b"\n")
            self._rest = self._rest[-MOST_LINE:]
            self._wait_s = FIRST_WAIT_S
            found += [line for raw in lines if (line := parse(raw)) is not None]
        return found

    def _read_file(self) -> list[Line]:
        try:
            fd = os.open(self._host.at(AUTH_LOG), os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW)
        except OSError:
            self._file = None
            return []
        try:
            seen = os.fstat(fd)
            if self._file is None:  # what was said before the start is old
                self._file = (seen.st_ino, seen.st_size)
            inode, at = self._file
            if seen.st_ino != inode or seen.st_size < at:
                at = 0
            data = os.pread(fd, STEP_READS * READ_BYTES, at)
        except OSError:
            return []
        finally:
            os.close(fd)
        end = data.rfind(b"\n") + 1
        self._file = (seen.st_ino, at + end)
        return [line for raw in data[:end].split(b"\n") if (line := parse_syslog(raw)) is not None]


def parse(raw: bytes) -> Line | None:
    """A line of `journalctl --output=json`; None for what is not believed or is none."""
    if not raw or len(raw) > MOST_LINE:
        return None
    try:
        entry = json.loads(raw)
    except (ValueError, RecursionError):
        return None
    if not isinstance(entry, dict):
        return None
    message, by, exe = entry.get("MESSAGE"), entry.get("SYSLOG_IDENTIFIER"), entry.get("_EXE")
    if not isinstance(message, str) or not isinstance(by, str):
        return None
    if entry.get("_UID") != "0" and not (isinstance(exe, str) and exe.startswith(TRUSTED)):
        return None
    return Line(by, message)


def parse_syslog(raw: bytes) -> Line | None:
    """A line of auth.log, with either form of its time; None for what is none."""
    text = raw[:MOST_LINE].decode("utf-8", "replace")
    words = text.split(" ", 3) if text[:4].isdigit() else text.split(None, 5)
    if len(words) < 4:
        return None
    rest = text.split(" ", 2)[2] if text[:4].isdigit() else " ".join(words[4:])
    by, colon, message = rest.partition(": ")
    return Line(by.partition("[")[0], message) if colon else None
