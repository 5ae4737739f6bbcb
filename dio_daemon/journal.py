"""Log entries as journald wants them, and log lines for everybody else.

Under systemd each record is one entry of journald's native protocol: a datagram with the text and fields beside it
(MESSAGE_ID, DIO_STATE, ... : docs/journal.md). Where that is not possible (no socket, journald does not read),
it is a line on standard error, which is journald's as well, with its priority in front. Neither is ever waited
for: what can't be written is counted, and the count is written as soon as something can be.

Elsewhere (a terminal, a file) lines carry the time and the level as words.

Texts come from the network and from process names, too: what is not printable is escaped, so no entry can forge
another one.
"""

from __future__ import annotations

import fcntl
import logging
import os
import socket
import sys
import termios
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TextIO

from dio_daemon.clock import Clock, SystemClock
from dio_daemon.lifecycle import Snapshot
from dio_daemon.messages import Kind, about, fields_of, kind_of
from dio_daemon.repeats import Repeats
from dio_daemon.text import safe

SOCKET = Path("/run/systemd/journal/socket")
IDENTIFIER = "dio-agent"
FACILITY = "3"
"""syslog(3)'s LOG_DAEMON: what journald gives to the standard error of a service, for whoever forwards to syslog."""
MAX_TEXT = 32768
"""Characters of one entry. With its fields that is less than the 208 KiB that a datagram may have by default."""
MAX_LINE = 4096
MAX_FIELD = 1024
DRAIN_S = 1.0
"""How long the end of the process waits for journald to read its last entries."""

_PRIORITIES = {logging.DEBUG: 7, logging.INFO: 6, logging.WARNING: 4, logging.ERROR: 3, logging.CRITICAL: 2}


class Text(logging.Formatter):
    """The record's text in one printable line, then its traceback, if any, line by line."""

    def format(self, record: logging.LogRecord) -> str:
        """The bounded text; only a traceback has line breaks."""
        text = safe(record.getMessage(), MAX_LINE)
        if record.exc_info:
            lines = [safe(line, MAX_LINE) for line in self.formatException(record.exc_info).splitlines()]
            traceback = "\n".join(lines)
            if len(traceback) > MAX_TEXT - MAX_LINE - 8:  # its end tells more than its beginning
                traceback = f"...\n{traceback[-(MAX_TEXT - MAX_LINE - 8) :]}"
            text = f"{text}\n{traceback}"
        return text


class WithPriority(Text):
    """`<6>text`, each line of a traceback with its own priority: sd-daemon(3)."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as one or more prefixed lines."""
        prefix = f"<{priority(record)}>"
        return "\n".join(prefix + line for line in super().format(record).split("\n"))


class WithTime(Text):
    """`2026-01-01 00:00:00,000 INFO    text`, for people."""

    def format(self, record: logging.LogRecord) -> str:
        """The record, its first line with time and level."""
        return f"{self.formatTime(record)} {record.levelname:<7} {super().format(record)}"


class JournalHandler(logging.Handler):
    """Writes to journald, by its native socket or else by standard error. Never blocks, never raises.

    Args:
        stderr: a descriptor of the stream that journald made for this service.
        clock: for the end of the process.
        path: journald's socket.
    """

    def __init__(self, stderr: int, clock: Clock, path: Path) -> None:
        super().__init__()
        self.snapshot: Callable[[], Snapshot] | None = None
        self._path = str(path)
        self._clock = clock
        self._text = Text()
        self._lines = WithPriority()
        self._native = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._native.setblocking(False)
        self._stderr = socket.socket(fileno=os.dup(stderr))
        self._broken_line = False
        self._lost = 0

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record."""
        try:
            if self._lost and self._write(_lines_lost(self._lost)):
                self._lost = 0
            if not self._write(record):
                self._lost += 1
        except Exception:  # noqa: BLE001 - a line that cannot be made must not end what it tells of
            self.handleError(record)

    def flush(self) -> None:
        """Wait, a moment at most, until journald has read everything.

        It looks up which unit an entry belongs to when it reads it; of a process that has ended it can't.
        """
        never = threading.Event()
        deadline = self._clock.monotonic() + DRAIN_S
        while self._unread() and self._clock.monotonic() < deadline:
            self._clock.wait(never, 0.005)

    def close(self) -> None:
        """Close both sockets."""
        super().close()
        self._native.close()
        self._stderr.close()

    def _write(self, record: logging.LogRecord) -> bool:
        try:
            self._native.sendto(self._entry(record), self._path)
        except OSError:
            return self._print(f"{self._lines.format(record)}\n".encode())
        return True

    def _print(self, lines: bytes) -> bool:
        """Write to standard error without waiting; whether all of it was written."""
        if self._broken_line:
            lines = b"\n" + lines
        try:
            written = self._stderr.send(lines, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
        except OSError:
            return False
        self._broken_line = written < len(lines)
        return not self._broken_line

    def _entry(self, record: logging.LogRecord) -> bytes:
        found = {
            "MESSAGE": self._text.format(record),
            "PRIORITY": str(priority(record)),
            "SYSLOG_FACILITY": FACILITY,
            "SYSLOG_IDENTIFIER": IDENTIFIER,
            "CODE_FILE": record.pathname,
            "CODE_LINE": str(record.lineno),
            "CODE_FUNC": record.funcName or "",
        }
        if self.snapshot is not None:
            now = self.snapshot()
            found |= {"DIO_AGENT_ID": now.agent_id, "DIO_STATE": now.state.value}
        kind = kind_of(record)
        if kind is not None:
            found |= {"MESSAGE_ID": kind.value, "DIO_EVENT": kind.name.lower()}
        for name, value in fields_of(record).items():
            if value is None:
                continue
            text = f"{value:.1f}" if isinstance(value, float) else str(value)
            found[f"DIO_{name.upper()}"] = safe(text, MAX_FIELD)
        return b"".join(_field(name, text) for name, text in found.items() if text)

    def _unread(self) -> bool:
        try:
            waiting = fcntl.ioctl(self._native.fileno(), termios.TIOCOUTQ, bytes(4))
        except (OSError, ValueError):
            return False
        return any(waiting)


def _lines_lost(count: int) -> logging.LogRecord:
    text = f"{count} lines before this one were lost: journald did not take them"
    record = logging.LogRecord(__name__, logging.WARNING, __file__, 0, text, None, None)
    record.__dict__.update(about(Kind.LEFT_OUT, left_out=count))
    return record


def _field(name: str, text: str) -> bytes:
    """One field: a line, or where the text has line breaks its length in front (systemd.io/JOURNAL_NATIVE_PROTOCOL)."""
    value = text.encode("utf-8", "backslashreplace")
    if b"\n" not in value:
        return b"%s=%s\n" % (name.encode(), value)
    return b"%s\n%s%s\n" % (name.encode(), len(value).to_bytes(8, "little"), value)


def priority(record: logging.LogRecord) -> int:
    """The record's level as syslog counts: 0 an emergency, 7 for debugging."""
    return _PRIORITIES.get(record.levelno, 6)


def under_journal(environ: Mapping[str, str], stream: TextIO) -> bool:
    """Whether the stream leads to journald: JOURNAL_STREAM names its device and inode (systemd.exec(5))."""
    try:
        found = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return False
    return environ.get("JOURNAL_STREAM") == f"{found.st_dev}:{found.st_ino}"


def set_up_logging(level: str, environ: Mapping[str, str], path: Path = SOCKET) -> None:
    """Log to standard error, or to the journal that it leads to, in the form that suits whoever reads it."""
    clock = SystemClock()
    handler: logging.Handler
    if under_journal(environ, sys.stderr):
        handler = JournalHandler(sys.stderr.fileno(), clock, path)
    else:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(WithTime())
    handler.addFilter(Repeats(handler.handle, clock))
    logging.getLogger().handlers[:] = [handler]
    set_level(level)


def describe(snapshot: Callable[[], Snapshot]) -> None:
    """From now on entries of the journal say whose they are and in which state the agent is."""
    for handler in logging.getLogger().handlers:
        if isinstance(handler, JournalHandler):
            handler.snapshot = snapshot


def sum_up() -> None:
    """Say what was left out of repeats, where that is due; to be called now and then."""
    for handler in logging.getLogger().handlers:
        for each in handler.filters:
            if isinstance(each, Repeats):
                each.sum_up()


def set_level(level: str) -> None:
    """What is logged from now on; libraries below warnings only when debugging."""
    root = logging.getLogger()
    root.setLevel(level.upper())
    logging.getLogger("urllib3").setLevel(logging.INFO if level == "debug" else logging.WARNING)
