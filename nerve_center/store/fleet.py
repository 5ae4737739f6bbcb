"""The fleet as a page shows it: counts by state, one page of hosts, what needs attention.

Each is one query, whatever the number of hosts. The state is computed where it is asked for, by the rules of
`presence`, in SQL.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import and_, case, func, literal, or_, select
from sqlalchemy.engine import Connection, Row
from sqlalchemy.sql.elements import ColumnElement

from nerve_center import presence
from nerve_center.store.tables import agents, labels, latest

STATES = ("offline", "warning", "maintenance", "stopped", "never_reported", "active")
"""The worst first."""


@dataclass(frozen=True)
class Wanted:
    """Which hosts, in which order. `label` is a name and a value (None: any value)."""

    state: str | None = None
    label: tuple[str, str | None] | None = None
    text: str | None = None
    sort: str = "hostname"
    descending: bool = False


def state_of(now_us: int) -> ColumnElement[str]:
    """The state of an agent as an expression; `now_us` is steady time."""
    return case(
        (agents.c.goodbye_us.is_not(None), "stopped"),
        (agents.c.heard_us.is_(None), "never_reported"),
        (~_silent(now_us, presence.WARNING_INTERVALS), "active"),
        (agents.c.maintenance_until_us > now_us, "maintenance"),
        (~_silent(now_us, presence.OFFLINE_INTERVALS), "warning"),
        else_="offline",
    )


def _silent(now_us: int, intervals: int) -> ColumnElement[bool]:
    patience_us = (intervals * agents.c.interval_s + presence.GRACE_S) * 1_000_000
    found: ColumnElement[bool] = literal(now_us) - agents.c.heard_us > patience_us
    return found


def counts(connection: Connection, now_us: int) -> dict[str, int]:
    """How many agents are in each state."""
    state = state_of(now_us)
    rows = connection.execute(select(state.label("state"), func.count().label("count")).group_by("state"))
    found = {row.state: int(row._mapping["count"]) for row in rows}
    return {name: found.get(name, 0) for name in STATES}


_SORTS: dict[str, ColumnElement[Any]] = {
    "hostname": agents.c.hostname,
    "cpu": latest.c.cpu_percent,
    "memory": latest.c.memory_percent,
    "disk": latest.c.disk_percent,
    "seen": agents.c.last_report_us,
}
SORTS = (*_SORTS, "state")


def page(connection: Connection, wanted: Wanted, offset: int, limit: int, now_us: int) -> list[Row[Any]]:
    """Up to `limit` hosts from `offset` on: the columns of agents and latest, and `state`."""
    state = state_of(now_us)
    query = _filtered(
        select(agents, latest, state.label("state")).join(latest, latest.c.agent_key == agents.c.key),
        wanted,
        state,
    )
    if wanted.sort == "state":
        key: ColumnElement[Any] = case(*((state == name, rank) for rank, name in enumerate(STATES)), else_=9)
    else:
        key = _SORTS[wanted.sort]
    order = key.desc().nulls_last() if wanted.descending else key.asc().nulls_first()
    second = agents.c.id.desc() if wanted.descending and wanted.sort == "hostname" else agents.c.id.asc()
    return list(connection.execute(query.order_by(order, second).offset(offset).limit(limit)))


def count(connection: Connection, wanted: Wanted, now_us: int) -> int:
    """How many hosts there are of those wanted."""
    query = _filtered(select(func.count()).select_from(agents), wanted, state_of(now_us))
    return int(connection.execute(query).scalar() or 0)


def _filtered(query: Any, wanted: Wanted, state: ColumnElement[str]) -> Any:
    if wanted.state is not None:
        query = query.where(state == wanted.state)
    if wanted.label is not None:
        name, value = wanted.label
        of_label = select(labels.c.agent_key).where(labels.c.name == name)
        if value is not None:
            of_label = of_label.where(labels.c.value == value)
        query = query.where(agents.c.key.in_(of_label))
    if wanted.text:
        pattern = "%" + _escaped(wanted.text.lower()) + "%"
        of_text = select(labels.c.agent_key).where(func.lower(labels.c.value).like(pattern, escape="\\"))
        query = query.where(
            or_(
                func.lower(agents.c.hostname).like(pattern, escape="\\"),
                agents.c.id.like(pattern, escape="\\"),
                agents.c.key.in_(of_text),
            )
        )
    return query


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")


def silent(connection: Connection, now_us: int, limit: int) -> list[Row[Any]]:
    """Up to `limit` hosts that are offline or late, those first that fell silent last."""
    state = state_of(now_us)
    least_us = round((presence.WARNING_INTERVALS + presence.GRACE_S) * 1_000_000)
    query = select(
        agents.c.id, agents.c.hostname, agents.c.last_report_us, agents.c.key, state.label("state")
    ).where(
        and_(
            agents.c.goodbye_us.is_(None),
            agents.c.heard_us < now_us - least_us,
            state.in_(("offline", "warning")),
        )
    )
    return list(connection.execute(query.order_by(agents.c.last_report_us.desc()).limit(limit)))


def offline(connection: Connection, now_us: int, then_us: int) -> list[Row[Any]]:
    """Every host (key, id, hostname) that is offline, and was so at `then_us` already (both steady time)."""
    query = select(agents.c.key, agents.c.id, agents.c.hostname).where(
        state_of(now_us) == "offline", state_of(then_us) == "offline"
    )
    return list(connection.execute(query.order_by(agents.c.hostname, agents.c.id)))
