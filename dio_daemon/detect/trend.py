"""When a filesystem will be full at its pace of the last hours.

One point every 5 minutes. The pace is the median of the slopes between all pairs (Theil and Sen), so a file that comes
and goes does not move it. There is a forecast only with `HISTORY_S` of history, on a filesystem that is really filling
(`FULL_PERCENT`), while the last hour goes the same way, and where the fullest moments become fuller: what is filled
and emptied every hour does not count.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from dio_daemon.detect.median import median

EVERY_S = 300.0
HISTORY_S = 3 * 3600.0
SPAN_S = 6 * 3600.0
"""The pace is taken over so much history at most."""
RECENT_S = 3600.0
FULL_PERCENT = 70.0
FARTHEST_H = 24.0 * 30
"""Stands for any longer time, and for a filesystem that does not fill up: that is known, and ends an alarm."""
MOST_MOUNTS = 64

Point = tuple[float, float]
"""Seconds and free bytes."""


@dataclass
class _Mount:
    points: list[Point] = field(default_factory=list)
    hours: float | None = None


class DiskTrend:
    """Adds `hours_to_full` to each filesystem of a sample, `FARTHEST_H` at most; None where too little is known."""

    def __init__(self) -> None:
        self._mounts: dict[str, _Mount] = {}

    def fill_in(self, sample: Mapping[str, Any], now: float) -> dict[str, Any]:
        """A copy of the sample with forecasts."""
        disks = sample.get("disks")
        if not isinstance(disks, list):
            return dict(sample)
        known = [disk for disk in disks[:MOST_MOUNTS] if isinstance(disk, Mapping) and disk.get("mount")]
        filled = [{**disk, "hours_to_full": self._look(disk, now)} for disk in known]
        if len(self._mounts) > len(filled):
            mounted = {disk["mount"] for disk in filled}
            self._mounts = {path: mount for path, mount in self._mounts.items() if path in mounted}
        return {**sample, "disks": filled}

    def _look(self, disk: Mapping[str, Any], now: float) -> float | None:
        free, full = disk.get("free_bytes"), disk.get("percent")
        mount = self._mounts.setdefault(disk["mount"], _Mount())
        if free is None or full is None:
            return mount.hours
        if not mount.points or now - mount.points[-1][0] >= EVERY_S:
            mount.points.append((now, float(free)))
            mount.points = [point for point in mount.points if now - point[0] <= SPAN_S]
            mount.hours = _hours(mount.points, now) if full >= FULL_PERCENT else FARTHEST_H
        return mount.hours


def _hours(points: list[Point], now: float) -> float | None:
    if now - points[0][0] < HISTORY_S:
        return None
    pace = _pace(points)
    recent = _pace([point for point in points if now - point[0] <= RECENT_S])
    if pace <= 0 or recent < pace / 2 or _peaks(points) < pace / 2:
        return FARTHEST_H
    return min(round(points[-1][1] / pace / 3600, 2), FARTHEST_H)


def _pace(points: list[Point]) -> float:
    """Bytes a second that are used up; negative where room is made."""
    slopes = [
        (before[1] - after[1]) / (after[0] - before[0])
        for number, before in enumerate(points)
        for after in points[number + 1 :]
    ]
    return median(slopes) if slopes else 0.0


def _peaks(points: list[Point]) -> float:
    """The pace from the fullest moment of the first half to that of the second."""
    middle = len(points) // 2
    before = min(free for _, free in points[:middle])
    after = min(free for _, free in points[middle:])
    return (before - after) / ((points[-1][0] - points[0][0]) / 2)
