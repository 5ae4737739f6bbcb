"""What a figure usually is at this time of the day: bounded, robust, on disk.

For each hour of the day (UTC) the newest values, one every 20 minutes and three weeks of them; what is usual now is
taken from this hour and the two beside it. Median and median absolute deviation: up to half of the values may be wild
without moving either by much. Values are kept to four digits, and all of one figure take some 20 kB.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from dio_daemon.detect.median import median

HOURS = 24
PER_HOUR = 3
DAYS = 21
LEAST_DAYS = 7
"""Different days that must have been seen around this hour before anything is called unusual."""

Value = tuple[int, float]
"""The day (counted from any), and the figure."""


@dataclass(frozen=True)
class Usual:
    """What is usual around an hour."""

    median: float
    deviation: float
    """Scaled so that it is the standard deviation of a normal distribution."""
    highest: float
    days: int


class History:
    """One figure's values by hour of the day."""

    def __init__(self, hours: Sequence[Sequence[Value]] = ()) -> None:
        self._hours: list[list[Value]] = [list(values) for values in hours] or [[] for _ in range(HOURS)]

    def add(self, day: int, hour: int, value: float) -> None:
        """One more value; the oldest makes room."""
        values = self._hours[hour]
        values.append((day, float(f"{value:.4g}")))
        del values[: -PER_HOUR * DAYS]

    def usual(self, hour: int) -> Usual | None:
        """What is usual around an hour; None while that is being learned."""
        around = [value for near in (hour - 1, hour, hour + 1) for value in self._hours[near % HOURS]]
        days = len({day for day, _ in around})
        if days < LEAST_DAYS:
            return None
        figures = [figure for _, figure in around]
        middle = median(figures)
        deviation = 1.4826 * median(abs(figure - middle) for figure in figures)
        return Usual(middle, deviation, max(figures), days)

    def to_disk(self) -> list[list[Value]]:
        """All values, as JSON has them."""
        return self._hours


def from_disk(kept: Any) -> History:
    """A history as it was kept. Raises ValueError for what is none."""
    if not isinstance(kept, list) or len(kept) != HOURS:
        raise ValueError("not a history")
    hours = []
    for values in kept:
        if not isinstance(values, list):
            raise ValueError("not an hour")
        hours.append([_value(value) for value in values[-PER_HOUR * DAYS :]])
    return History(hours)


def _value(kept: Any) -> Value:
    if (
        not isinstance(kept, list)
        or len(kept) != 2
        or not all(isinstance(part, (int, float)) for part in kept)
    ):
        raise ValueError("not a value")
    return int(kept[0]), float(kept[1])
