"""Log lines as journald wants them on standard error: a priority in front of every line, no time of its own.

Elsewhere (a terminal, a file) lines carry the time and the level as words.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Mapping
from typing import TextIO

_PRIORITIES = {logging.DEBUG: 7, logging.INFO: 6, logging.WARNING: 4, logging.ERROR: 3, logging.CRITICAL: 2}


class JournalFormatter(logging.Formatter):
    """`<6>message`, each line of a traceback with its own priority."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as one or more prefixed lines."""
        prefix = f"<{_PRIORITIES.get(record.levelno, 6)}>"
        return "\n".join(prefix + line for line in super().format(record).split("\n"))


def under_journal(environ: Mapping[str, str], stream: TextIO) -> bool:
    """Whether the stream leads to journald: JOURNAL_STREAM names its device and inode (systemd.exec(5))."""
    try:
        found = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return False
    return environ.get("JOURNAL_STREAM") == f"{found.st_dev}:{found.st_ino}"


def set_up_logging(level: str, environ: Mapping[str, str]) -> None:
    """Log to standard error in the form that suits whoever reads it."""
    handler = logging.StreamHandler(sys.stderr)
    if under_journal(environ, sys.stderr):
        handler.setFormatter(JournalFormatter("%(message)s"))
    else:
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)-7s %(message)s"))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    set_level(level)


def set_level(level: str) -> None:
    """What is logged from now on; libraries below warnings only when debugging."""
    root = logging.getLogger()
    root.setLevel(level.upper())
    logging.getLogger("urllib3").setLevel(logging.INFO if level == "debug" else logging.WARNING)
