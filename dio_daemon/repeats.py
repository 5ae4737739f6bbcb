"""Repeats of one kind of log line are counted instead of written, and what was left out is said.

Of each kind, information and warnings alike, a burst goes through. What follows without a pause is counted, and
summed up in one line in five minutes that has the newest text. A kind that was silent for that long begins
anew. Where a line is about an error, another kind of error or another HTTP status is another kind of line: it is
news. Errors are never left out: an agent has few of them, and each may be the last line of a process.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass

from dio_daemon.clock import Clock
from dio_daemon.messages import Kind, about, fields_of, kind_of
from dio_daemon.text import counted

BURST = 30
"""Lines of one kind that go through: six outages, one after the other, have as many failed reports."""
QUIET_S = 300.0
"""Seconds between two summaries, and of silence after which a kind begins anew."""


_About = tuple[Kind, str, int]
"""What makes two lines alike: the kind of event, and of the error that it tells, and its HTTP status."""


@dataclass
class _Row:
    """Lines of one kind, none of them `QUIET_S` or more after the one before."""

    last_s: float
    count: int = 0
    left_out: int = 0
    newest: logging.LogRecord | None = None
    told_s: float = 0.0


class Repeats(logging.Filter):
    """Decides which records a handler writes.

    Args:
        write: takes the summaries; the handler's own `handle`.
        clock: for the pauses.
    """

    def __init__(self, write: Callable[[logging.LogRecord], object], clock: Clock) -> None:
        super().__init__()
        self._write = write
        self._clock = clock
        self._lock = threading.Lock()
        self._rows: dict[_About, _Row] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether this record is written; summaries that are due are written first."""
        kind = kind_of(record)
        if kind is Kind.LEFT_OUT:
            return True
        with self._lock:
            now = self._clock.monotonic()
            summaries = self._due(now, everything=kind is Kind.STOPPED)
            counted = kind is not None and logging.DEBUG < record.levelno < logging.ERROR
            written = self._count(kind, record, now) if counted and kind is not None else True
        for summary in summaries:
            self._write(summary)
        return written

    def sum_up(self) -> None:
        """Write the summaries that are due, also where nothing else is logged."""
        with self._lock:
            summaries = self._due(self._clock.monotonic(), everything=False)
        for summary in summaries:
            self._write(summary)

    def _due(self, now: float, everything: bool) -> list[logging.LogRecord]:
        summaries = []
        for alike, row in list(self._rows.items()):
            if row.newest is not None and (everything or now - row.told_s >= QUIET_S):
                summaries.append(_summary(row.newest, row.left_out, now - row.told_s))
                row.left_out, row.newest, row.told_s = 0, None, now
            if now - row.last_s >= QUIET_S:
                del self._rows[alike]
        return summaries

    def _count(self, kind: Kind, record: logging.LogRecord, now: float) -> bool:
        fields = fields_of(record)
        alike = (kind, fields.get("error_kind", ""), fields.get("http_status") or 0)
        row = self._rows.setdefault(alike, _Row(now))
        row.last_s = now
        row.count += 1
        if row.count <= BURST:
            row.told_s = now
            return True
        row.left_out += 1
        row.newest = record
        return False


def _summary(newest: logging.LogRecord, left_out: int, within_s: float) -> logging.LogRecord:
    return logging.getLogger(newest.name).makeRecord(
        newest.name,
        newest.levelno,
        newest.pathname,
        newest.lineno,
        "%s left out in %.0f min: %s",
        (
            counted(left_out, "more line like this one was", "more lines like this one were"),
            max(1.0, within_s / 60),
            newest.getMessage(),
        ),
        None,
        newest.funcName,
        {**about(Kind.LEFT_OUT, left_out=left_out, duration_s=within_s)},
    )
