"""Maintenance windows that come again: on some days, from one time of day to another, in a named time zone.

A window belongs to the local day on which it begins, and may end on the next one. Its ends are turned into moments
one by one, so it is right across summer time: a window from 01:00 to 04:00 is an hour longer or shorter in those
nights, and a time of day that is skipped or comes twice is still one moment.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


@dataclass(frozen=True)
class Window:
    """One window. `labels` empty: for every host. `begin` equal to `end`: a whole day."""

    name: str
    days: frozenset[str]
    begin: time
    end: time
    zone: ZoneInfo
    labels: Mapping[str, str] = field(default_factory=dict)

    def covers(self, labels: Mapping[str, str], now_us: int) -> bool:
        """Whether a host with these labels is in it at a moment (wall clock, microseconds since 1970)."""
        if any(labels.get(name) != value for name, value in self.labels.items()):
            return False
        now = datetime.fromtimestamp(now_us / 1e6, UTC)
        today = now.astimezone(self.zone).date()
        for day in (today - timedelta(days=1), today):
            if DAYS[day.weekday()] not in self.days:
                continue
            last_day = day if self.end > self.begin else day + timedelta(days=1)
            begin = datetime.combine(day, self.begin, self.zone)
            end = datetime.combine(last_day, self.end, self.zone).replace(fold=1)
            if begin.astimezone(UTC) <= now < end.astimezone(UTC):
                return True
        return False
