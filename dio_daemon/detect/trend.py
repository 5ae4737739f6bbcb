"""When a filesystem will be full at its pace of the last hours.

One point every 5 minutes, 36 before the first forecast. The pace is the median of the slopes between all pairs (Theil
and Sen), so a file that comes and goes does not move it. There is a forecast only with 3 h of history, on a filesystem
that is really filling (`FULL_PERCENT`), while the last hour goes the same way, and where the fullest moments become
fuller: what is filled and emptied every hour does not count. With another history, these times keep their proportions.

The points outlive a restart, with their times on the wall clock: what is told of a filesystem stays told. Where that
clock was stepped meanwhile, the worst is a pace that is off for the hours that the wrong points are looked at.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dio_daemon.clock import Clock
from dio_daemon.detect.median import median
from dio_daemon.files import replace_file
from dio_daemon.wire import to_json

log = logging.getLogger(__name__)

HISTORY_S = 3 * 3600.0
"""Before the first forecast, unless it is told otherwise."""
POINTS = 36
"""As many are taken in that time."""
FULL_PERCENT = 70.0
FARTHEST_H = 24.0 * 30
"""Stands for any longer time, and for a filesystem that does not fill up: that is known, and ends an alarm."""
MOST_MOUNTS = 64
SAVE_EVERY_S = 3600.0
MOST_FILE_BYTES = 1 << 20

Point = tuple[float, float]
"""Seconds and free bytes."""


@dataclass
class _Mount:
    """How full a filesystem was, and when it will be full."""

    points: list[Point] = field(default_factory=list)
    hours: float | None = None


class DiskTrend:
    """Adds `hours_to_full` to each filesystem of a sample, `FARTHEST_H` at most; None where too little is known.

    Args:
        path: `disks.json` in the state folder; None keeps nothing over a restart.
        clock: for the times in that file.
        history_s: seconds of history that a forecast needs; the pace is taken over twice as much at most.
    """

    def __init__(
        self, path: Path | None = None, clock: Clock | None = None, history_s: float = HISTORY_S
    ) -> None:
        self._history_s = history_s
        self._path = path
        self._clock = clock
        self._mounts: dict[str, _Mount] = {}
        if path is not None and clock is not None:
            self._saved = clock.monotonic()
            self._mounts = _load(path, clock, 2 * history_s)

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
        if self._clock is not None and self._clock.monotonic() - self._saved >= SAVE_EVERY_S:
            self.close()
        return {**sample, "disks": filled}

    def close(self) -> None:
        """Write down what is known."""
        if self._path is None or self._clock is None:
            return
        self._saved = self._clock.monotonic()
        ahead = _wall_ahead(self._clock)
        kept = {
            path: [[round(time + ahead), free] for time, free in mount.points]
            for path, mount in self._mounts.items()
        }
        try:
            replace_file(self._path, to_json({"free_bytes": kept}), 0o600)
        except OSError as error:
            log.info("Cannot write %s: %s; tried again in an hour", self._path, error.strerror)

    def _look(self, disk: Mapping[str, Any], now: float) -> float | None:
        free, full = disk.get("free_bytes"), disk.get("percent")
        mount = self._mounts.setdefault(disk["mount"], _Mount())
        if free is None or full is None:
            return mount.hours
        if not mount.points or now - mount.points[-1][0] >= self._history_s / POINTS:
            mount.points.append((now, float(free)))
            mount.points = [point for point in mount.points if now - point[0] <= 2 * self._history_s]
        elif mount.hours is not None:
            return mount.hours
        mount.hours = _hours(mount.points, now, self._history_s) if full >= FULL_PERCENT else FARTHEST_H
        return mount.hours


def _load(path: Path, clock: Clock, span_s: float) -> dict[str, _Mount]:
    try:
        if path.stat().st_size > MOST_FILE_BYTES:
            raise ValueError("it is too large")
        kept = json.loads(path.read_bytes())["free_bytes"]
        ahead, now = _wall_ahead(clock), clock.monotonic()
        found = {}
        for mount, points in list(kept.items())[:MOST_MOUNTS]:
            times = [(float(time) - ahead, float(free)) for time, free in points]
            found[mount] = _Mount([point for point in times if 0 <= now - point[0] <= span_s])
        return found
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        log.warning("Cannot read %s (%s): when disks will be full is learned anew", path, error)
        return {}


def _wall_ahead(clock: Clock) -> float:
    """Seconds by which the wall clock is ahead of the steady one."""
    return clock.now().timestamp() - clock.monotonic()


def _hours(points: list[Point], now: float, history_s: float) -> float | None:
    if now - points[0][0] < history_s:
        return None
    pace = _pace(points)
    recent = _pace([point for point in points if now - point[0] <= history_s / 3])
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
