"""Named enrollment tokens: each with an end, a number of uses and labels to give, as far as wanted.

Only hashes are kept. A use is counted in the transaction that enrolls the agent, so that a token for one host takes in
one host also where two come at once.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from sqlalchemy import delete, insert, or_, select, update
from sqlalchemy.engine import Connection, Row
from sqlalchemy.sql.elements import ColumnElement

from nerve_center.store import audit
from nerve_center.store.tables import enrollment_tokens as table


def add(
    connection: Connection,
    name: str,
    token_hash: bytes,
    now_us: int,
    actor: str,
    expires_us: int | None,
    uses: int | None,
    labels: Mapping[str, str],
) -> bool:
    """Add a token; False where the name is taken. Times are times of day, `uses` None means any number."""
    if connection.execute(select(table.c.name).where(table.c.name == name)).first() is not None:
        return False
    connection.execute(
        insert(table).values(
            name=name,
            token_hash=token_hash,
            created_us=now_us,
            created_by=actor[:96],
            expires_us=expires_us,
            uses_left=uses,
            used=0,
            labels=json.dumps(dict(labels), ensure_ascii=False),
        )
    )
    return True


def is_good(connection: Connection, token_hash: bytes, now_us: int) -> bool:
    """Whether an agent may enroll with it now."""
    return connection.execute(select(table.c.name).where(_good(token_hash, now_us))).first() is not None


def use(connection: Connection, token_hash: bytes, now_us: int) -> dict[str, str] | None:
    """Count one use; the labels to give, or None where the token is not good any more."""
    used = connection.execute(
        update(table)
        .where(_good(token_hash, now_us))
        .values(used=table.c.used + 1, uses_left=table.c.uses_left - 1)
    ).rowcount
    if used != 1:
        return None
    found = connection.execute(select(table.c.labels).where(table.c.token_hash == token_hash)).scalar_one()
    labels: dict[str, str] = json.loads(found)
    return labels


def everyone(connection: Connection) -> list[Row[Any]]:
    """All tokens, also those that are over, by name."""
    return list(connection.execute(select(table).order_by(table.c.name)))


def withdraw(connection: Connection, actor: str, name: str, now_us: int) -> bool:
    """Remove a token, and note who did; whether it was there."""
    if not connection.execute(delete(table).where(table.c.name == name)).rowcount:
        return False
    audit.note(connection, now_us, actor, "enrollment.remove", name)
    return True


def _good(token_hash: bytes, now_us: int) -> ColumnElement[bool]:
    return (
        (table.c.token_hash == token_hash)
        & or_(table.c.expires_us.is_(None), table.c.expires_us > now_us)
        & or_(table.c.uses_left.is_(None), table.c.uses_left > 0)
    )
