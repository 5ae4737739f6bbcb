"""What happened to a host, in the order of time: its own events, threats, gaps, and changes of its state."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy.engine import Connection

from nerve_center.store import happenings, states

_MOST_LINES = 30
_MOST_MARKS = 200
_ALWAYS_US = 2**62
_AWAY = ("offline", "stopped", "maintenance")
TOLD = {
    "active": "the host reports",
    "warning": "the host is late",
    "offline": "nothing is heard of the host",
    "stopped": "the agent was stopped",
    "maintenance": "the host is silent, as was announced",
    "never_reported": "the host was enrolled",
}
"""What a change of the state means, in words."""


@dataclass(frozen=True)
class Line:
    """One thing that happened; `kind` is `event`, `threat`, `gap` or `state`, `tag` the word that colours it."""

    time_us: int
    kind: str
    tag: str
    text: str


def of_host(connection: Connection, agent_key: int) -> list[Line]:
    """The newest, newest first."""
    return between(connection, agent_key, None, None, _MOST_LINES)


def marks(connection: Connection, agent_key: int, since_us: int, until_us: int) -> list[dict[str, Any]]:
    """The same for a script, between two times."""
    return [
        {"t": line.time_us // 1000, "kind": line.kind, "tag": line.tag, "text": line.text}
        for line in between(connection, agent_key, since_us, until_us, _MOST_MARKS)
    ]


def between(
    connection: Connection,
    agent_key: int,
    since_us: int | None,
    until_us: int | None,
    limit: int,
) -> list[Line]:
    """Up to `limit` lines, the newest first."""
    found: list[Line] = []
    for item in happenings.told(connection, agent_key, since_us, until_us, limit):
        tag, text = told(item.kind, item.data)
        found.append(Line(item.time_us, "threat" if item.kind == "threat" else "event", tag, text))
    for gap in happenings.missing(connection, agent_key, since_us, until_us, limit):
        found.append(Line(gap.time_us, "gap", "gap", f"{gap.records} records are missing: {gap.reason}"))
    found += _states(connection, agent_key, since_us, until_us, limit)
    found.sort(key=lambda line: -line.time_us)
    return found[:limit]


def told(kind: str, data: dict[str, Any]) -> tuple[str, str]:
    """The tag and the text of an event."""
    if kind == "threat":
        state, severity = str(data.get("state", "")), str(data.get("severity", ""))
        title, summary = str(data.get("title") or data.get("type", "")), str(data.get("summary") or "")
        text = f"{title}: {summary}" if summary else title
        return (severity if state == "open" else state), text[:300]
    return str(data.get("type", kind))[:64], str(data.get("message") or "")[:300]


def _states(
    connection: Connection, agent_key: int, since_us: int | None, until_us: int | None, limit: int
) -> list[Line]:
    since = 0 if since_us is None else since_us
    rows = states.history(connection, agent_key, since, _ALWAYS_US if until_us is None else until_us, limit)
    return [
        Line(row.since_us, "state", row.state, TOLD.get(row.state, ""))
        for row in rows
        if row.since_us >= since
    ]


def away(connection: Connection, agent_key: int, since_us: int, until_us: int) -> list[list[int]]:
    """The spans in which nothing was to be heard, in milliseconds; one that lasts ends with the span asked for."""
    return [
        [max(row.since_us, since_us) // 1000, min(row.until_us or until_us, until_us) // 1000]
        for row in states.history(connection, agent_key, since_us, until_us, _MOST_MARKS)
        if row.state in _AWAY
    ]
