"""What the charts of a host draw: groups of lines over a span of time, ready for the script.

Answers are columns: `t` in milliseconds since 1970, and for each line as many values; null where a figure was not to
be had, and a row of nulls where nothing was sampled, so that a gap is drawn as a gap. No more than `POINTS` rows are
sent: where there are more, each is the mean of its step.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from sqlalchemy.engine import Connection, Row

from nerve_center.figures import LATE, OUTAGE_S
from nerve_center.store import happenings, records
from nerve_center.store import series as store
from nerve_center.turns import breathe

POINTS = 480
_MOST_LINES = 8
_MOST_RAW = 4400
_SAMPLES_A_BREATH = 32
_MOST_LATE = 50_000
_LONGEST_RAW_US = 2 * 3600 * 1_000_000


@dataclass(frozen=True)
class Group:
    """A chart: the group of a sample's figures that it shows, by line."""

    id: str
    title: str
    unit: str
    """`percent`, `bytes`, `rate` (bytes a second) or `number`."""
    lines: tuple[tuple[str, str], ...] = ()
    """Name and key; empty where the lines are the items of a list."""
    stacked: bool = False


GROUPS = (
    Group(
        "cpu",
        "CPU",
        "percent",
        (
            ("user", "user_percent"),
            ("system", "system_percent"),
            ("waiting for disks", "iowait_percent"),
            ("stolen", "steal_percent"),
        ),
        stacked=True,
    ),
    Group(
        "memory",
        "Memory",
        "bytes",
        (("used", "used_bytes"), ("cached", "cached_bytes"), ("total", "total_bytes")),
    ),
    Group("swap", "Swap", "bytes", (("used", "used_bytes"), ("total", "total_bytes"))),
    Group(
        "load",
        "Load",
        "number",
        (("1 minute", "load_1m"), ("5 minutes", "load_5m"), ("15 minutes", "load_15m")),
    ),
    Group(
        "pressure",
        "Pressure",
        "percent",
        (
            ("cpu some", "cpu_some_percent"),
            ("memory some", "memory_some_percent"),
            ("memory all", "memory_full_percent"),
            ("I/O some", "io_some_percent"),
            ("I/O all", "io_full_percent"),
        ),
    ),
    Group("disks", "Disk space", "percent"),
    Group("disk_io", "Disk I/O", "rate"),
    Group("network", "Network", "rate", (("received", "rx_bytes_per_s"), ("sent", "tx_bytes_per_s"))),
    Group(
        "processes",
        "Processes",
        "number",
        (("all", "count"), ("running", "running"), ("zombies", "zombies")),
    ),
)


@dataclass(frozen=True)
class Point:
    """One sample, or the mean of several: figures by line, a line being a group's id and a name."""

    time_us: int
    figures: Mapping[tuple[str, str], float]


@dataclass(frozen=True)
class Course:
    """Points with the step between them, and the spans, in milliseconds, whose samples came after an outage."""

    points: list[Point]
    step_us: int
    late: list[list[int]]


@dataclass
class _Bucket:
    times: list[int] = field(default_factory=list)
    sums: dict[tuple[str, str], float] = field(default_factory=dict)
    counts: dict[tuple[str, str], int] = field(default_factory=dict)


def figures(sample: Mapping[str, Any]) -> dict[tuple[str, str], float]:
    """Everything of a sample that a chart shows."""
    found: dict[tuple[str, str], float] = {}
    for group in GROUPS:
        values = sample.get(group.id)
        for name, key in group.lines:
            _put(found, group.id, name, values, key)
    for disk in _items(sample.get("disks")):
        _put(found, "disks", str(disk.get("mount", ""))[:200], disk, "percent")
    for device in _items(sample.get("disk_io")):
        name = str(device.get("device", ""))[:200]
        _put(found, "disk_io", f"{name} read", device, "read_bytes_per_s")
        _put(found, "disk_io", f"{name} written", device, "write_bytes_per_s")
    return found


def _items(values: Any) -> Iterator[Mapping[str, Any]]:
    if isinstance(values, list):
        yield from (item for item in values if isinstance(item, dict))


def _put(found: dict[tuple[str, str], float], group: str, name: str, values: Any, key: str) -> None:
    value: Any = values.get(key) if isinstance(values, dict) else None
    if type(value) in (int, float) and math.isfinite(value):
        found[group, name] = value


def thinned(points: Iterable[Point], since_us: int, until_us: int) -> list[Point]:
    """At most about `POINTS` points, each the mean of a step; in the order of time."""
    step_us = max(1_000_000, -(-(until_us - since_us) // POINTS))
    buckets: dict[int, _Bucket] = {}
    for point in points:
        bucket = buckets.setdefault((point.time_us - since_us) // step_us, _Bucket())
        bucket.times.append(point.time_us)
        for line, value in point.figures.items():
            bucket.sums[line] = bucket.sums.get(line, 0.0) + value
            bucket.counts[line] = bucket.counts.get(line, 0) + 1
    return [
        Point(
            bucket.times[0] if len(bucket.times) == 1 else sum(bucket.times) // len(bucket.times),
            {line: total / bucket.counts[line] for line, total in bucket.sums.items()},
        )
        for _, bucket in sorted(buckets.items())
    ]


def document(points: list[Point], step_us: int, since_us: int, until_us: int) -> dict[str, Any]:
    """What the script gets; see the module."""
    rows: list[Point | int] = []
    for index, point in enumerate(points):
        if index and point.time_us - points[index - 1].time_us > 2.5 * step_us:
            rows.append(points[index - 1].time_us + step_us)
        rows.append(point)
    return {
        "since": since_us // 1000,
        "until": until_us // 1000,
        "t": [(row if isinstance(row, int) else row.time_us) // 1000 for row in rows],
        "groups": {group.id: _lines(group, rows) for group in GROUPS},
    }


def _lines(group: Group, rows: list[Point | int]) -> list[dict[str, Any]]:
    breathe()
    if group.lines:
        names = [name for name, _ in group.lines]
    else:
        most: dict[str, float] = {}
        for row in rows:
            if isinstance(row, Point):
                for (of, name), value in row.figures.items():
                    if of == group.id:
                        most[name] = max(most.get(name, 0.0), value)
        names = sorted(sorted(most, key=lambda name: -most[name])[:_MOST_LINES])
    found = []
    for name in names:
        values = [None if isinstance(row, int) else _short(row.figures.get((group.id, name))) for row in rows]
        if any(value is not None for value in values):
            found.append({"name": name, "values": values})
    return found


def _short(value: float | None) -> float | None:
    if value is None:
        return None
    return round(value) if abs(value) >= 10_000 else round(value, 2)


def _late(
    connection: Connection, agent: Row[Any], since_us: int, until_us: int, step_us: int
) -> list[list[int]]:
    """The spans whose samples came after an outage, in milliseconds."""
    own_us = round(agent.interval_s * 1e6)
    clock = store.clock_of(agent)
    least_us = round((OUTAGE_S + clock.interval_s - clock.skew_s) * 1e6)
    times = happenings.late(connection, agent.key, since_us, until_us, least_us, _MOST_LATE)
    return _joined(times, max(step_us, own_us))


def _joined(times: Iterable[int], step_us: int) -> list[list[int]]:
    """Moments that follow each other closely as spans, in milliseconds."""
    spans: list[list[int]] = []
    for time_us in times:
        at = time_us // 1000
        if spans and at - spans[-1][1] <= 2.5 * step_us / 1000:
            spans[-1][1] = at
        else:
            spans.append([at, at])
    return spans


def dumped(found: Mapping[str, Any]) -> str:
    return json.dumps(found, separators=(",", ":"))


def between(
    connection: Connection, agent: Row[Any], since_us: int, until_us: int, now_us: int, keeping: store.Kept
) -> Course:
    """The points of a host (a row of `agents`) between two times.

    A short span that is not over for long is read sample by sample, at most `_MOST_RAW` of them; else from rollups.
    """
    if until_us - since_us > _LONGEST_RAW_US or now_us - since_us > keeping.raw_s * 1_000_000:
        return _rolled(connection, agent, since_us, until_us, now_us, keeping)
    found, _ = records.sample_page(
        connection, agent.key, _MOST_RAW, since_us=since_us, until_us=until_us, newest=True
    )
    points = (_point(number, item) for number, item in enumerate(found))
    step_us = max(round(agent.interval_s * 1e6), -(-(until_us - since_us) // POINTS))
    late = _late(connection, agent, since_us, until_us, step_us)
    return Course(thinned(points, since_us, until_us), step_us, late)


def _point(number: int, item: records.Sample) -> Point:
    if not number % _SAMPLES_A_BREATH:
        breathe()
    return Point(item.time_us, figures(json.loads(item.json)))


def _rolled(
    connection: Connection, agent: Row[Any], since_us: int, until_us: int, now_us: int, keeping: store.Kept
) -> Course:
    grid = store.means(
        connection,
        agent,
        since_us // 1_000_000,
        -(-until_us // 1_000_000),
        POINTS,
        now_us // 1_000_000,
        keeping,
        lambda name: name == LATE or _line_of(name) is not None,
    )
    figures_at: list[dict[tuple[str, str], float]] = [{} for _ in range(grid.length)]
    rows = grid.rows()
    for name, row in rows.items():
        line = _line_of(name)
        if line is not None:
            for found, mean in zip(figures_at, row, strict=True):
                if mean is not None:
                    found[line] = mean
    step_us = grid.size_s * 1_000_000
    start_us = grid.start_s * 1_000_000 + step_us // 2
    points = [Point(start_us + index * step_us, found) for index, found in enumerate(figures_at) if found]
    late: list[list[int]] = []
    for index, mean in enumerate(rows.get(LATE, ())):
        if mean is not None:
            begin = (grid.start_s + index * grid.size_s) * 1000
            if late and late[-1][1] == begin:
                late[-1][1] += step_us // 1000
            else:
                late.append([begin, begin + step_us // 1000])
    return Course(points, step_us, late)


@lru_cache(4096)
def _line_of(name: str) -> tuple[str, str] | None:
    """Which line of which chart shows a figure of the rollups."""
    if name in _LINES:
        return _LINES[name]
    figure, colon, item = name.partition(":")
    if not colon or figure not in _LISTS:
        return None
    group, suffix = _LISTS[figure]
    return group, item + suffix


_LINES = {f"{group.id}.{key}": (group.id, line) for group in GROUPS for line, key in group.lines}
_LISTS = {
    "disks.percent": ("disks", ""),
    "disk_io.read_bytes_per_s": ("disk_io", " read"),
    "disk_io.write_bytes_per_s": ("disk_io", " written"),
}
