"""Time, passed in.

Everything in the nerve center that reads a clock or waits gets a `Clock`; the tests give it one that they
turn by hand. Times are integers of microseconds since 1970 in UTC (`_us`), because that is what the database
keeps and compares; on the wire they are RFC 3339 in UTC.
"""

from __future__ import annotations

import re
import threading
import time
from datetime import UTC, datetime, timedelta
from typing import Protocol

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
# `fromisoformat` takes more than this, and is the quickest that there is.
_RFC3339 = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T(?!24)[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]+)?Z")
_SECOND = slice(17, 19)


class Clock(Protocol):
    """What the nerve center knows of time."""

    def now_us(self) -> int:
        """The time of day, in microseconds since 1970 (UTC). May step."""

    def monotonic(self) -> float:
        """Seconds on a clock that never steps."""

    def boottime_us(self) -> int:
        """Microseconds since the machine booted, suspended time included; never steps."""

    def wait(self, event: threading.Event, timeout_s: float | None) -> bool:
        """Wait until `event` is set or `timeout_s` seconds have passed; say whether it is set."""


class SystemClock:
    """The machine's own clocks."""

    def now_us(self) -> int:
        return time.time_ns() // 1000

    def monotonic(self) -> float:
        return time.monotonic()

    def boottime_us(self) -> int:
        return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1000

    def wait(self, event: threading.Event, timeout_s: float | None) -> bool:
        return event.wait(timeout_s)


def parse_time(text: str) -> int:
    """Microseconds since 1970 of an RFC 3339 time in UTC (`2026-01-01T00:00:00.5Z`).

    Digits beyond the microsecond are cut off and a leap second counts as the last microsecond before it.
    Raises ValueError where the text names no real time.
    """
    if _RFC3339.fullmatch(text) is None:
        raise ValueError(f"not an RFC 3339 time in UTC: {text[:40]!r}")
    if text[_SECOND] == "60":
        return parse_time(f"{text[:17]}59Z") + 999_999
    since = datetime.fromisoformat(text) - _EPOCH
    return (since.days * 86400 + since.seconds) * 1_000_000 + since.microseconds


def format_time(time_us: int) -> str:
    """RFC 3339 in UTC, with as many digits of a second (0, 3 or 6) as the time has."""
    moment = _EPOCH + time_us * _MICROSECOND
    if moment.microsecond == 0:
        digits = "seconds"
    elif moment.microsecond % 1000 == 0:
        digits = "milliseconds"
    else:
        digits = "microseconds"
    return moment.replace(tzinfo=None).isoformat(timespec=digits) + "Z"
