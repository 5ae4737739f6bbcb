"""The newest figures of an agent and the course of its last hour, kept where a report is stored.

A page about the fleet must not unpack a sample of every host. So each report that carries samples writes one narrow
row: figures of the newest of them, and `course`, a text of one point a minute, oldest first, of four hex digits each:
cpu and memory in percent, two digits each. `ff` stands for a figure that was not to be had, and the point `----` for
one or more minutes without samples. A report that is older than the row changes nothing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import bindparam, insert, text
from sqlalchemy.engine import Connection

from nerve_center.store.prepared import Prepared, Values
from nerve_center.store.records import Record
from nerve_center.store.tables import latest

POINTS = 60
WIDTH = 4
GAP = "----"
_MINUTE_US = 60_000_000
_MOST = 1e12

# A course may grow to twice its length before it is cut: most reports then change one end of it only.
_UPDATE = Prepared(
    text(
        "UPDATE latest SET time_us = :time_us, cpu_percent = :cpu, memory_percent = :memory, disk_percent = :disk,"
        " disk_mount = :mount, load_1m = :load, course = CASE"
        " WHEN time_us IS NULL THEN :points"
        " WHEN time_us / 60000000 >= :minute THEN course || :later"
        " ELSE substr(course, CASE WHEN length(course) > 480 THEN length(course) - 239 ELSE 1 END)"
        " || CASE WHEN time_us / 60000000 = :minute - 1 THEN '' ELSE '----' END || :points END"
        " WHERE agent_key = :of_agent AND (time_us IS NULL OR time_us <= :time_us)"
    )
)


def add(connection: Connection, agent_key: int) -> None:
    """The row of an agent that has just been added."""
    connection.execute(
        insert(latest).values(agent_key=bindparam("of_agent"), course=""), {"of_agent": agent_key}
    )


def noted(agent_key: int, records: Sequence[Record]) -> list[tuple[Prepared, Values]]:
    """What to write to take the samples of a report into account."""
    newest: dict[int, Record] = {}
    for record in records:
        if record.kind == "sample":
            minute = record.time_us // _MINUTE_US
            if minute not in newest or newest[minute].time_us <= record.time_us:
                newest[minute] = record
    if not newest:
        return []
    minutes = sorted(newest)[-POINTS:]
    points: list[str] = []
    for index, minute in enumerate(minutes):
        if index and minute != minutes[index - 1] + 1:
            points.append(GAP)
        points.append(_point(newest[minute].value))
    last = newest[minutes[-1]]
    values = {
        "of_agent": agent_key,
        "time_us": last.time_us,
        "minute": minutes[0],
        "points": "".join(points),
        "later": "".join(points[1:]),
        **figures(last.value),
    }
    return [(_UPDATE, values)]


def figures(sample: Mapping[str, Any]) -> dict[str, Any]:
    """What the row shows of a sample; None for what is not to be had."""
    disk, mount = _fullest(sample.get("disks"))
    return {
        "cpu": _number(sample.get("cpu"), "percent"),
        "memory": _number(sample.get("memory"), "percent"),
        "disk": disk,
        "mount": mount,
        "load": _number(sample.get("load"), "load_1m"),
    }


def course(points: str) -> list[tuple[int | None, int | None] | None]:
    """The points of a `course`: cpu and memory in percent, None for a gap."""
    found: list[tuple[int | None, int | None] | None] = []
    for start in range(max(0, len(points) - POINTS * WIDTH), len(points) - WIDTH + 1, WIDTH):
        point = points[start : start + WIDTH]
        found.append(None if point == GAP else (_percent(point[:2]), _percent(point[2:])))
    return found


def _fullest(disks: Any) -> tuple[float | None, str | None]:
    found: tuple[float | None, str | None] = None, None
    for disk in disks if isinstance(disks, list) else ():
        percent = _number(disk, "percent")
        if percent is not None and (found[0] is None or percent > found[0]):
            found = percent, str(disk.get("mount", ""))[:255]
    return found


def _number(group: Any, name: str) -> float | None:
    value = group.get(name) if isinstance(group, dict) else None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        return None
    return round(min(max(float(value), 0.0), _MOST), 2)


def _point(sample: Mapping[str, Any]) -> str:
    found = ""
    for group in ("cpu", "memory"):
        value = _number(sample.get(group), "percent")
        found += "ff" if value is None else f"{min(round(value), 100):02x}"
    return found


def _percent(digits: str) -> int | None:
    value = int(digits, 16)
    return None if value > 100 else value
