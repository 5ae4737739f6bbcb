"""Silences: threats that go on being shown, and about which nobody is told for a while.

    host     one fingerprint on one host, or all there is about it
    label    a type on every host with a label, or all there is about them
    fleet    a type everywhere, or all there is

A silence ends at its time, when somebody ends it, or (host only) when its threat clears.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, insert, or_, select, update
from sqlalchemy.engine import Connection, Row

from nerve_center.errors import Refused
from nerve_center.store.tables import agents, silences

EVERY_TYPE = "*"
"""In place of a type: whatever is wrong. No type is called so (the contract's pattern)."""
SPANS = (
    ("1 hour", 3600),
    ("8 hours", 8 * 3600),
    ("1 day", 86400),
    ("1 week", 7 * 86400),
    ("30 days", 30 * 86400),
)
"""What pages offer: a name and seconds."""
MOST = 1000
"""Silences that may be in force at once: all of them are looked at for each threat that is shown."""


@dataclass(frozen=True)
class Silence:
    """One silence. `until_us` None: without an end of its own. `ended_us` is set when it was over early."""

    key: int
    agent_key: int | None
    agent_id: str | None
    hostname: str | None
    fingerprint: str | None
    type: str
    label_name: str | None
    label_value: str | None
    reason: str
    created_us: int
    created_by: str
    until_us: int | None
    until_cleared: bool
    ended_us: int | None

    @property
    def scope(self) -> str:
        if self.agent_key is not None or self.fingerprint is not None:
            return "host"
        return "fleet" if self.label_name is None else "label"

    def covers(self, agent_key: int | None, fingerprint: str, type_: str, labels: Mapping[str, str]) -> bool:
        """Whether it is about such a threat; whether it is in force is another question."""
        if self.scope == "host":
            whole = self.fingerprint is None and self.type == EVERY_TYPE
            return self.agent_key == agent_key and (whole or self.fingerprint == fingerprint)
        if self.type not in (type_, EVERY_TYPE):
            return False
        return self.label_name is None or labels.get(self.label_name) == self.label_value


_SILENCE = select(silences, agents.c.id, agents.c.hostname).select_from(
    silences.outerjoin(agents, agents.c.key == silences.c.agent_key)
)


def _silence(row: Row[Any]) -> Silence:
    return Silence(
        key=row.key,
        agent_key=row.agent_key,
        agent_id=row.id,
        hostname=row.hostname,
        fingerprint=row.fingerprint,
        type=row.type,
        label_name=row.label_name,
        label_value=row.label_value,
        reason=row.reason,
        created_us=row.created_us,
        created_by=row.created_by,
        until_us=row.until_us,
        until_cleared=bool(row.until_cleared),
        ended_us=row.ended_us,
    )


def in_force(
    connection: Connection, now_us: int, limit: int = MOST, before: int | None = None
) -> list[Silence]:
    """Those that hold now, the newest first; `before` is the key of the last one of the page before."""
    wanted = _SILENCE.where(
        silences.c.ended_us.is_(None), or_(silences.c.until_us.is_(None), silences.c.until_us > now_us)
    )
    if before is not None:
        wanted = wanted.where(silences.c.key < before)
    return [_silence(row) for row in connection.execute(wanted.order_by(silences.c.key.desc()).limit(limit))]


def covering(
    among: Sequence[Silence],
    agent_key: int | None,
    fingerprint: str,
    type_: str,
    labels: Mapping[str, str],
) -> list[Silence]:
    """Those of `among` that are about such a threat."""
    return [silence for silence in among if silence.covers(agent_key, fingerprint, type_, labels)]


def of_whole_host(among: Sequence[Silence], agent_key: int, labels: Mapping[str, str]) -> list[Silence]:
    """Those of `among` that are about all there is about a host."""
    return [
        silence
        for silence in among
        if silence.type == EVERY_TYPE and silence.covers(agent_key, "", EVERY_TYPE, labels)
    ]


def count_in_force(connection: Connection, now_us: int) -> int:
    found = connection.execute(
        select(func.count())
        .select_from(silences)
        .where(
            silences.c.ended_us.is_(None), or_(silences.c.until_us.is_(None), silences.c.until_us > now_us)
        )
    ).scalar()
    return int(found or 0)


def get(connection: Connection, key: int) -> Silence | None:
    row = connection.execute(_SILENCE.where(silences.c.key == key)).first()
    return None if row is None else _silence(row)


def add(connection: Connection, now_us: int, values: Mapping[str, Any]) -> Silence:
    """Put a silence in force. Raises Refused (409 `too-many-silences`)."""
    if count_in_force(connection, now_us) >= MOST:
        raise Refused(
            409,
            "too-many-silences",
            "Too many silences are in force.",
            f"At most {MOST} can be; end some of them first.",
        )
    result = connection.execute(insert(silences).values(created_us=now_us, ended_us=None, **values))
    made = get(connection, int(result.inserted_primary_key[0]))
    assert made is not None  # noqa: S101 it was made a moment ago, in this transaction
    return made


def end(connection: Connection, key: int, now_us: int) -> None:
    connection.execute(
        update(silences).where(silences.c.key == key, silences.c.ended_us.is_(None)).values(ended_us=now_us)
    )


def threat_cleared(connection: Connection, agent_key: int | None, fingerprint: str, now_us: int) -> None:
    """End what was to hold until this threat clears."""
    same_agent = silences.c.agent_key.is_(None) if agent_key is None else silences.c.agent_key == agent_key
    connection.execute(
        update(silences)
        .where(
            same_agent,
            silences.c.fingerprint == fingerprint,
            silences.c.until_cleared == 1,
            silences.c.ended_us.is_(None),
        )
        .values(ended_us=now_us)
    )
