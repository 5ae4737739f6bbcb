"""Figures as Prometheus text (exposition format 0.0.4): of the center itself, and the newest of each host.

Written by hand, like the agent's: what is shown is read from the database when it is asked for, so a registry
that holds figures would hold nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy.engine import Row


class Figure(NamedTuple):
    """One figure; those of one name stand together."""

    name: str
    labels: Mapping[str, str]
    value: float
    about: str
    type: str = "gauge"


def text(figures: Iterator[Figure]) -> str:
    """The text of these figures."""
    lines: list[str] = []
    last = ""
    for figure in figures:
        if figure.name != last:
            lines += [f"# HELP {figure.name} {figure.about}", f"# TYPE {figure.name} {figure.type}"]
            last = figure.name
        labels = ",".join(f'{name}="{_escaped(value)}"' for name, value in figure.labels.items())
        lines.append(
            f"{figure.name}{{{labels}}} {figure.value!r}" if labels else f"{figure.name} {figure.value!r}"
        )
    return "\n".join(lines) + "\n"


def of_center(
    version: str,
    health: Mapping[str, Any],
    hosts: Mapping[str, int],
    threats: Mapping[tuple[str, str], int],
    records: Mapping[str, int],
    notifications: Mapping[str, int],
    database_bytes: int | None,
) -> Iterator[Figure]:
    """The center itself: `hosts` and `notifications` by state, `threats` by state and severity, `records` by kind."""
    yield Figure("dio_center_info", {"version": version}, 1, "This nerve center.")
    healthy = int(health["status"] == "healthy")
    yield Figure("dio_center_healthy", {}, healthy, "Whether the database accepts writes.")
    for state, number in hosts.items():
        yield Figure("dio_center_hosts", {"state": state}, number, "Hosts under watch.")
    for (state, severity), number in sorted(threats.items()):
        labels = {"state": state, "severity": severity}
        yield Figure("dio_center_threats", labels, number, "Threats that are stored.")
    for kind, number in records.items():
        about = "Records that were taken from agents."
        yield Figure("dio_center_records_total", {"kind": kind}, number, about, "counter")
    for state, number in notifications.items():
        about = "Messages to people of the last days."
        yield Figure("dio_center_notifications", {"state": state}, number, about)
    if database_bytes is not None:
        yield Figure("dio_center_database_bytes", {}, database_bytes, "Size of the database's file.")


_HOST = (
    ("dio_host_cpu_percent", "cpu_percent", "Processor time in use, all cores together."),
    ("dio_host_memory_percent", "memory_percent", "Memory in use."),
    ("dio_host_load_1m", "load_1m", "Processes that run or wait to, over a minute."),
)


def of_fleet(rows: Sequence[Row[Any]], active: Mapping[int, int], shown_us: int) -> Iterator[Figure]:
    """Each host: whether it is there, and its newest figures while it is.

    Args:
        rows: of `fleet.page`.
        active: open threats by the agent's key.
        shown_us: what is added to a stamp of steady time to get the time of day.
    """
    there = [row for row in rows if row.state in ("active", "warning")]
    for row in rows:
        up = int(row.state in ("active", "warning"))
        yield Figure("dio_host_up", _labels(row), up, "Whether the host reports.")
    for row in rows:
        if row.last_report_us is not None:
            at = (row.last_report_us + shown_us) / 1e6
            about = "When the host was heard last."
            yield Figure("dio_host_last_report_timestamp_seconds", _labels(row), at, about)
    for row in rows:
        number = active.get(row.key, 0)
        yield Figure("dio_host_threats_active", _labels(row), number, "Its threats that are open.")
    for name, column, about in _HOST:
        for row in there:
            value = getattr(row, column)
            if value is not None:
                yield Figure(name, _labels(row), float(value), about)
    for row in there:
        if row.disk_percent is not None:
            labels = {**_labels(row), "mount": row.disk_mount or ""}
            about = "Space in use on its fullest filesystem."
            yield Figure("dio_host_disk_percent", labels, float(row.disk_percent), about)


def _labels(row: Row[Any]) -> dict[str, str]:
    return {"agent_id": row.id, "hostname": row.hostname}


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
