"""The fleet as a page shows it: counts by state, one page of hosts, groups by a label, what needs attention.

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
from nerve_center.store.tables import agents, labels, latest, threats
from nerve_center.store.threats import ACTIVE

STATES = ("offline", "warning", "maintenance", "stopped", "never_reported", "active")
"""The worst first."""


@dataclass(frozen=True)
class Wanted:
    """Which hosts, in which order.

    `label` is a name and a value (None: any value); `unlabelled` a name that hosts have no label of. The sort
    `state` puts first what needs attention: by state, then by the worst threat.
    """

    state: str | None = None
    label: tuple[str, str | None] | None = None
    unlabelled: str | None = None
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
    "seen": agents.c.heard_us,  # as the last report, but in an index
}
_FIGURES = ("cpu", "memory", "disk")
SORTS = (*_SORTS, "state")
_MOST_KEYS = 500


def page(connection: Connection, wanted: Wanted, offset: int, limit: int, now_us: int) -> list[Row[Any]]:
    """Up to `limit` hosts from `offset` on: the columns of agents and latest, and `state`."""
    state = state_of(now_us)
    # Keys are put in order first: rows are wide, and a large fleet has many.
    keys = _filtered(select(agents.c.key), wanted, state)
    if wanted.sort == "state":
        found = _by_attention(connection, keys, state, wanted.descending)[offset : offset + limit]
    else:
        if wanted.sort in _FIGURES:
            keys = keys.join(latest, latest.c.agent_key == agents.c.key)
        order = _ordered(_SORTS[wanted.sort], wanted.descending)
        by_key = wanted.sort == "seen"
        second = _ordered(
            agents.c.key if by_key else agents.c.id, wanted.descending and wanted.sort == "hostname"
        )
        found = list(connection.execute(keys.order_by(order, second).offset(offset).limit(limit)).scalars())
    query = select(agents, latest, state.label("state")).join(latest, latest.c.agent_key == agents.c.key)
    rows: dict[int, Row[Any]] = {}
    for start in range(0, len(found), _MOST_KEYS):
        some = connection.execute(query.where(agents.c.key.in_(found[start : start + _MOST_KEYS])))
        rows.update((row.key, row) for row in some)
    return [rows[key] for key in found]


def _ordered(key: ColumnElement[Any], descending: bool) -> ColumnElement[Any]:
    return key.desc().nulls_last() if descending else key.asc().nulls_first()


def _by_attention(
    connection: Connection, keys: Any, state: ColumnElement[str], descending: bool
) -> list[int]:
    """The keys by what is wrong with the host's presence, then by its worst threat, then by its name.

    Each of the three comes from an index of its own; no index has all of them.
    """
    silent = connection.execute(select(agents.c.key, state.label("state")).where(state != "active"))
    places = {row.key: STATES.index(row.state) for row in silent}
    worst = connection.execute(
        select(threats.c.agent_key, func.max(threats.c.rank).label("rank"))
        .where(threats.c.status.in_(ACTIVE), threats.c.agent_key.is_not(None))
        .group_by(threats.c.agent_key)
    )
    ranks: dict[int, int] = {row.agent_key: row.rank for row in worst}
    found = list(connection.execute(keys.order_by(agents.c.hostname, agents.c.id)).scalars())
    found.sort(key=lambda key: (places.get(key, len(STATES)), -ranks.get(key, 0)))
    return found[::-1] if descending else found


@dataclass(frozen=True)
class Group:
    """The hosts that share a label's value; None: those without the label. Figures are None where none is known."""

    value: str | None
    hosts: int
    states: dict[str, int]
    cpu_percent: float | None
    memory_percent: float | None
    disk_percent: float | None
    """Of the fullest disk; the other two are means over hosts that report."""
    threats: int
    rank: int
    """Of the worst active threat, 1 to 4; 0 without one."""

    @property
    def urgency(self) -> int:
        """The higher, the sooner it needs attention."""
        if self.states["offline"]:
            return 10 + self.rank
        return 5 + self.rank if self.rank >= 3 else 1 if self.states["warning"] or self.rank else 0


def groups(connection: Connection, wanted: Wanted, name: str, now_us: int) -> list[Group]:
    """The hosts wanted, by what they have as label `name`; those that need attention first, then by value."""
    state = state_of(now_us)
    named = and_(labels.c.agent_key == agents.c.key, labels.c.name == name)
    live = state.in_(("active", "warning"))
    query = (
        select(
            labels.c.value,
            func.count().label("hosts"),
            *(func.sum(case((state == item, 1), else_=0)).label(item) for item in STATES),
            func.avg(case((live, latest.c.cpu_percent))).label("cpu"),
            func.avg(case((live, latest.c.memory_percent))).label("memory"),
            func.max(case((live, latest.c.disk_percent))).label("disk"),
        )
        .select_from(agents.join(latest, latest.c.agent_key == agents.c.key).outerjoin(labels, named))
        .group_by(labels.c.value)
    )
    troubled = (
        select(labels.c.value, func.count().label("threats"), func.max(threats.c.rank).label("rank"))
        .select_from(threats.join(agents, agents.c.key == threats.c.agent_key).outerjoin(labels, named))
        .where(threats.c.status.in_(ACTIVE))
        .group_by(labels.c.value)
    )
    rows = connection.execute(_filtered(troubled, wanted, state))
    worst = {row.value: (int(row.threats), int(row.rank)) for row in rows}
    found = [
        Group(
            row.value,
            int(row.hosts),
            {item: int(row._mapping[item]) for item in STATES},
            row.cpu,
            row.memory,
            row.disk,
            *worst.get(row.value, (0, 0)),
        )
        for row in connection.execute(_filtered(query, wanted, state))
    ]
    return sorted(found, key=lambda group: (-group.urgency, group.value is None, group.value or ""))


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
    if wanted.unlabelled is not None:
        having = select(labels.c.agent_key).where(labels.c.name == wanted.unlabelled)
        query = query.where(agents.c.key.not_in(having))
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
    """Every host that is offline (key, id, hostname), and whether it was so `before`: at `then_us` (steady time)."""
    least_us = round((presence.OFFLINE_INTERVALS + presence.GRACE_S) * 1_000_000)
    query = select(
        agents.c.key, agents.c.id, agents.c.hostname, (state_of(then_us) == "offline").label("before")
    ).where(
        agents.c.goodbye_us.is_(None), agents.c.heard_us < now_us - least_us, state_of(now_us) == "offline"
    )
    return list(connection.execute(query.order_by(agents.c.hostname, agents.c.id)))
