"""The audit log: who changed what, when. It is written in the transaction of the change itself.

actor    `user:NAME` (a person on the page), `token:NAME` (a program), `local:NAME` (nervectl, run by NAME), `center`
action   what was done, such as `user.add` or `agent.revoke`
target   to what, such as a name or an agent's id
detail   whatever else is worth knowing, as a JSON object; never a secret
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import delete, insert, select
from sqlalchemy.engine import Connection

from nerve_center.store.people_tables import audit


@dataclass(frozen=True)
class Entry:
    """One change. `time_us` is the time of day."""

    key: int
    time_us: int
    actor: str
    action: str
    target: str
    detail: dict[str, Any]


def note(
    connection: Connection,
    now_us: int,
    actor: str,
    action: str,
    target: str,
    detail: Mapping[str, Any] | None = None,
) -> None:
    """Note a change, inside the transaction that makes it. `now_us` is the time of day."""
    connection.execute(
        insert(audit).values(
            time_us=now_us,
            actor=actor[:96],
            action=action,
            target=target[:255],
            detail=json.dumps(dict(detail or {})),
        )
    )


def page(connection: Connection, before: int | None, limit: int) -> list[Entry]:
    """The newest entries first; `before` is the key of the last one of the page before."""
    wanted = select(audit).order_by(audit.c.key.desc()).limit(limit)
    if before is not None:
        wanted = wanted.where(audit.c.key < before)
    return [
        Entry(row.key, row.time_us, row.actor, row.action, row.target, json.loads(row.detail))
        for row in connection.execute(wanted)
    ]


def forget(connection: Connection, before_us: int, most: int) -> int:
    """Remove up to `most` entries from before a time of day; how many they were."""
    old = select(audit.c.key).where(audit.c.time_us < before_us).order_by(audit.c.time_us).limit(most)
    return int(connection.execute(delete(audit).where(audit.c.key.in_(old))).rowcount)
