"""Threats as people and programs read them: pages by filter, one with all of it, and how many there are."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import func, literal, or_, select, tuple_
from sqlalchemy.engine import Connection, Row
from sqlalchemy.sql import ColumnElement

from nerve_center.store.tables import agents, labels, threats
from nerve_center.store.threats import ACTIVE, unpack

_MOST_TEXT = 200


@dataclass(frozen=True)
class Threat:
    """A threat. `more` holds the record's fields that have no place of their own: why, next, technique, count, …

    All text comes from hosts and is to be trusted in nothing. Without an agent it is the center's own.
    """

    key: int
    agent_key: int | None
    agent_id: str | None
    hostname: str | None
    labels: Mapping[str, str]
    fingerprint: str
    type: str
    subject: str
    severity: str
    rank: int
    confidence: float | None
    state: str
    triage: str
    triaged_us: int | None
    triaged_by: str | None
    status: str
    title: str
    summary: str
    more: Mapping[str, Any]
    opened_us: int
    updated_us: int
    cleared_us: int | None
    times_opened: int
    evidence: Mapping[str, Any] = field(default_factory=dict)
    """Filled in by `get` alone."""


@dataclass(frozen=True)
class Filter:
    """Which threats; every part that is set must fit."""

    statuses: Sequence[str] = ()
    severities: Sequence[str] = ()
    type: str | None = None
    but: str | None = None
    """A type that is left out."""
    host: str | None = None
    """An agent's id, or a host name."""
    label: tuple[str, str] | None = None
    text: str | None = None
    """Somewhere in title, summary, type, fingerprint or host name; case does not matter."""


class Remembered:
    """Threats as they were read last, for who reads the same ones over and over: what is as it was is not made anew."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[tuple[Any, ...], Threat]] = {}

    def threats(self, rows: Iterable[Row[Any]]) -> list[Threat]:
        """The threats of all rows that were read; what is not among them is forgotten."""
        before, self._known = self._known, {}
        for row in rows:
            values = tuple(row)
            known = before.get(row.key)
            if known is None or known[0] != values:
                known = values, _threat(row)
            self._known[row.key] = known
        return [threat for _, threat in self._known.values()]


Cursor = tuple[int, int, int]
"""Rank, time of opening and key of the last threat of the page before."""

_PLAIN = [column for column in threats.c if column.name != "evidence"]
_JOINED = threats.outerjoin(agents, agents.c.key == threats.c.agent_key)
_OF_AGENT = (agents.c.id, agents.c.hostname, agents.c.labels)


def page(
    connection: Connection,
    wanted: Filter,
    limit: int,
    after: Cursor | None = None,
    worst_first: bool = False,
    remembered: Remembered | None = None,
) -> tuple[list[Threat], Cursor | None]:
    """Up to `limit` threats, those that opened last first, and the cursor of the next page.

    `worst_first` puts severity before time. `remembered` is for who asks for the same page again and again.
    """
    order = [threats.c.rank] * worst_first + [threats.c.opened_us, threats.c.key]
    query = select(*_PLAIN, *_OF_AGENT).select_from(_JOINED).where(*_conditions(wanted))
    if after is not None:
        values = [literal(value) for value in (after if worst_first else after[1:])]
        query = query.where(tuple_(*order) < tuple_(*values))
    query = query.order_by(*(column.desc() for column in order)).limit(limit + 1)
    rows = connection.execute(query)
    found = [_threat(row) for row in rows] if remembered is None else remembered.threats(rows)
    if len(found) <= limit:
        return found, None
    last = found[limit - 1]
    return found[:limit], (last.rank, last.opened_us, last.key)


def get(connection: Connection, key: int) -> Threat | None:
    """One threat with its evidence."""
    row = connection.execute(
        select(*_PLAIN, threats.c.evidence, *_OF_AGENT).select_from(_JOINED).where(threats.c.key == key)
    ).first()
    return None if row is None else _threat(row, unpack(row.evidence))


def of_keys(connection: Connection, keys: Sequence[int]) -> list[Threat]:
    """Those of these keys that are there."""
    found: list[Threat] = []
    for start in range(0, len(keys), 500):
        query = select(*_PLAIN, *_OF_AGENT).select_from(_JOINED)
        rows = connection.execute(query.where(threats.c.key.in_(keys[start : start + 500])))
        found += [_threat(row) for row in rows]
    return found


def open_of_type(connection: Connection, type_: str, fingerprint: str) -> list[Threat]:
    """Those of a type and fingerprint whose cause is there, whatever people say of them."""
    query = select(*_PLAIN, *_OF_AGENT).select_from(_JOINED)
    conditions = (threats.c.type == type_, threats.c.fingerprint == fingerprint, threats.c.state == "open")
    return [_threat(row) for row in connection.execute(query.where(*conditions))]


def hosts_of_open(connection: Connection, type_: str, fingerprint: str) -> dict[int, str]:
    """The agents that have one of a type and fingerprint whose cause is there, with their host names."""
    query = select(threats.c.agent_key, agents.c.hostname).join(agents, agents.c.key == threats.c.agent_key)
    conditions = (threats.c.type == type_, threats.c.fingerprint == fingerprint, threats.c.state == "open")
    return {row.agent_key: row.hostname for row in connection.execute(query.where(*conditions))}


def counts(connection: Connection) -> dict[tuple[str, str], int]:
    """How many there are by status and severity; those that there are none of are left out."""
    rows = connection.execute(
        select(threats.c.status, threats.c.severity, func.count()).group_by(
            threats.c.status, threats.c.severity
        )
    )
    return {(status, severity): int(number) for status, severity, number in rows}


def active_of_agents(connection: Connection, agent_keys: Sequence[int]) -> dict[int, tuple[int, int]]:
    """For agents that have any: how many threats are open or acknowledged, and the highest rank (1 to 4)."""
    rows = connection.execute(
        select(threats.c.agent_key, func.count(), func.max(threats.c.rank))
        .where(threats.c.agent_key.in_(agent_keys), threats.c.status.in_(ACTIVE))
        .group_by(threats.c.agent_key)
    )
    return {key: (int(number), int(rank)) for key, number, rank in rows}


def active_by_agent(connection: Connection) -> dict[int, int]:
    """For agents that have any: how many threats are open or acknowledged."""
    rows = connection.execute(
        select(threats.c.agent_key, func.count())
        .where(threats.c.agent_key.is_not(None), threats.c.status.in_(ACTIVE))
        .group_by(threats.c.agent_key)
    )
    return {key: int(number) for key, number in rows}


def types(connection: Connection) -> list[str]:
    """Every type that there is a threat of."""
    return list(connection.execute(select(threats.c.type).distinct().order_by(threats.c.type)).scalars())


def _conditions(wanted: Filter) -> list[ColumnElement[bool]]:
    found: list[ColumnElement[bool]] = []
    if wanted.statuses:
        found.append(threats.c.status.in_(wanted.statuses))
    if wanted.severities:
        found.append(threats.c.severity.in_(wanted.severities))
    if wanted.type is not None:
        found.append(threats.c.type == wanted.type)
    if wanted.but is not None:
        found.append(threats.c.type != wanted.but)
    if wanted.host is not None:
        found.append(or_(agents.c.id == wanted.host, agents.c.hostname == wanted.host))
    if wanted.label is not None:
        name, value = wanted.label
        of_label = select(labels.c.agent_key).where(labels.c.name == name, labels.c.value == value)
        found.append(threats.c.agent_key.in_(of_label))
    if wanted.text is not None:
        text = wanted.text[:_MOST_TEXT].lower()
        found.append(
            or_(
                *(
                    func.lower(column).contains(text, autoescape=True)
                    for column in (
                        threats.c.title,
                        threats.c.summary,
                        threats.c.type,
                        threats.c.fingerprint,
                        agents.c.hostname,
                    )
                )
            )
        )
    return found


def _threat(row: Row[Any], evidence: Mapping[str, Any] | None = None) -> Threat:
    return Threat(
        key=row.key,
        agent_key=row.agent_key,
        agent_id=row.id,
        hostname=row.hostname,
        labels=json.loads(row.labels) if row.labels is not None else {},
        fingerprint=row.fingerprint,
        type=row.type,
        subject=row.subject,
        severity=row.severity,
        rank=row.rank,
        confidence=row.confidence,
        state=row.state,
        triage=row.triage,
        triaged_us=row.triaged_us,
        triaged_by=row.triaged_by,
        status=row.status,
        title=row.title,
        summary=row.summary,
        more=unpack(row.more),
        opened_us=row.opened_us,
        updated_us=row.updated_us,
        cleared_us=row.cleared_us,
        times_opened=row.times_opened,
        evidence=evidence or {},
    )
