"""How log lines look.

Where standard error leads to journald, every line begins with its syslog priority, `<4>` for a warning, so that
`journalctl -p warning` works; each line of a longer message carries it. Elsewhere a line begins with the time.
Control characters that came from outside are escaped, so that nobody forges a line.
"""

from __future__ import annotations

import atexit
import logging
import os
import sys
import time
from collections.abc import Mapping

_PRIORITY = (
    (logging.CRITICAL, 2),
    (logging.ERROR, 3),
    (logging.WARNING, 4),
    (logging.INFO, 6),
)


class LineFormatter(logging.Formatter):
    """One or more lines for each record, each with priority or time in front."""

    def __init__(self, priorities: bool) -> None:
        super().__init__("%(message)s" if priorities else "%(asctime)s %(levelname)-7s %(message)s")
        self.converter = time.gmtime
        self.default_time_format = "%Y-%m-%dT%H:%M:%S"
        self.default_msec_format = "%s.%03dZ"
        self._priorities = priorities

    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        if not self._priorities:
            return text
        level = next((number for bound, number in _PRIORITY if record.levelno >= bound), 7)
        return "\n".join(f"<{level}>{line}" for line in text.splitlines() or [""])


def formatter(environ: Mapping[str, str] = os.environ) -> LineFormatter:
    """The formatter that suits where standard error goes."""
    return LineFormatter(priorities=under_journal(environ))


def under_journal(environ: Mapping[str, str]) -> bool:
    """Whether standard error leads to journald: JOURNAL_STREAM names its device and inode (systemd.exec(5))."""
    try:
        found = os.fstat(sys.stderr.fileno())
    except (OSError, ValueError):
        return False
    return environ.get("JOURNAL_STREAM") == f"{found.st_dev}:{found.st_ino}"


def set_up(level: str) -> None:
    """Send this process's own log to standard error, from `level` upwards."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("nerve_center").setLevel(level.upper())


def end_quietly() -> None:
    """Keep logging out of the end of a process that gevent has patched.

    When the interpreter ends, each handler that dies takes a lock, which gevent's can no longer be, and every
    stop would leave a traceback. So the list that makes them do so is emptied just before; nothing is buffered.
    """
    atexit.register(vars(logging)["_handlerList"].clear)


def printable(text: str, most: int = 80) -> str:
    """Text from outside, fit for one log line: control characters escaped, cut at `most` characters."""
    clean = "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text[: most + 1])
    return clean if len(clean) <= most else clean[:most] + "..."
