"""Time, as the rest of the agent is allowed to see it.

Durations and deadlines come from `monotonic`, never from the wall clock, which may step by hours. Waiting is
always waiting for an event, so that a stop, a new record or a changed file ends it at once.
"""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """What a part may ask of time."""

    def monotonic(self) -> float:
        """Seconds on a clock that never steps."""

    def boottime(self) -> float:
        """Seconds since boot, suspended time included."""

    def now(self) -> datetime:
        """The wall clock, in UTC; for records that people read, not for durations."""

    def wait(self, event: threading.Event, timeout_s: float) -> bool:
        """Wait until the event is set, `timeout_s` seconds at most; True when it is set."""


class SystemClock:
    """The real clock."""

    def monotonic(self) -> float:
        """Seconds on CLOCK_MONOTONIC."""
        return time.monotonic()

    def boottime(self) -> float:
        """Seconds on CLOCK_BOOTTIME."""
        return time.clock_gettime(time.CLOCK_BOOTTIME)

    def now(self) -> datetime:
        """The wall clock, in UTC."""
        return datetime.now(UTC)

    def wait(self, event: threading.Event, timeout_s: float) -> bool:
        """Wait for the event; a timeout of 0 or less only looks."""
        return event.wait(max(0.0, timeout_s))


def rfc3339(moment: datetime) -> str:
    """A UTC moment as the wire wants it, in milliseconds: `2026-01-01T00:00:00.000Z`."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"
