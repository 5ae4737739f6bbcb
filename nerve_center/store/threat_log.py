"""What became of a threat, in the order in which the center learnt it: a line for each change and each act.

    opened, reopened, recurred, escalated, lowered, cleared       the agent's records changed it
    acknowledged, resolved, unresolved, commented, silenced, unsilenced, tolerated     a person did (`actor`)

`recurred` is a resolved one that was seen again while it had never cleared. Of one threat the newest `KEPT` lines stay.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import delete, insert, select
from sqlalchemy.engine import Connection

from nerve_center.store.tables import threat_log

KEPT = 500


@dataclass(frozen=True)
class Line:
    """One line; `time_us` is the host's time for a record, the center's for an act."""

    key: int
    threat_key: int
    time_us: int
    what: str
    severity: str
    actor: str | None
    text: str


def add(
    connection: Connection,
    threat_key: int,
    time_us: int,
    what: str,
    severity: str,
    text: str = "",
    actor: str | None = None,
) -> None:
    """Write a line, and drop the oldest where there are too many."""
    connection.execute(
        insert(threat_log).values(
            threat_key=threat_key,
            time_us=time_us,
            what=what,
            severity=severity,
            actor=actor,
            text=text,
        )
    )
    oldest = (
        select(threat_log.c.key)
        .where(threat_log.c.threat_key == threat_key)
        .order_by(threat_log.c.key.desc())
        .offset(KEPT)
        .limit(1)
    )
    last = connection.execute(oldest).scalar()
    if last is not None:
        connection.execute(
            delete(threat_log).where(threat_log.c.threat_key == threat_key, threat_log.c.key <= last)
        )


def of_threat(connection: Connection, threat_key: int, limit: int = KEPT) -> list[Line]:
    """The newest lines of a threat, oldest first."""
    rows = connection.execute(
        select(threat_log)
        .where(threat_log.c.threat_key == threat_key)
        .order_by(threat_log.c.key.desc())
        .limit(limit)
    )
    return [
        Line(row.key, row.threat_key, row.time_us, row.what, row.severity, row.actor, row.text)
        for row in rows
    ][::-1]
