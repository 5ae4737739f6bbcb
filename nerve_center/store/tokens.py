"""API tokens: which programs may do what, and until when. Only hashes are kept.

read      everything that GET gives, but the audit log; `GET /metrics` too
threats   that, and what people do about threats
metrics   nothing but `GET /metrics`
admin     everything
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import delete, insert, select
from sqlalchemy.engine import Connection, Row

from nerve_center.clock import format_time
from nerve_center.store import audit
from nerve_center.store.tables import api_tokens

GRANTS = {
    "read": ("read", "metrics"),
    "threats": ("read", "metrics", "threats"),
    "metrics": ("metrics",),
    "admin": ("read", "metrics", "threats", "admin"),
}
"""What a token of each scope may be used for."""


def find(connection: Connection, token_hash: bytes) -> Row[Any] | None:
    row: Row[Any] | None = connection.execute(
        select(api_tokens).where(api_tokens.c.token_hash == token_hash)
    ).first()
    return row


def named(connection: Connection, name: str) -> Row[Any] | None:
    row: Row[Any] | None = connection.execute(select(api_tokens).where(api_tokens.c.name == name)).first()
    return row


def add(
    connection: Connection,
    name: str,
    token_hash: bytes,
    now_us: int,
    scope: str = "read",
    expires_us: int | None = None,
) -> None:
    """Add a token. `expires_us` is the time of day when it ends, or None."""
    connection.execute(
        insert(api_tokens).values(
            name=name, token_hash=token_hash, created_us=now_us, scope=scope, expires_us=expires_us
        )
    )


def issue(
    connection: Connection,
    actor: str,
    name: str,
    token_hash: bytes,
    now_us: int,
    scope: str,
    expires_us: int | None,
) -> bool:
    """Add a token, and note who did; False where the name is taken."""
    if named(connection, name) is not None:
        return False
    add(connection, name, token_hash, now_us, scope, expires_us)
    detail = {"scope": scope, "expires_at": None if expires_us is None else format_time(expires_us)}
    audit.note(connection, now_us, actor, "api-token.add", name, detail)
    return True


def withdraw(connection: Connection, actor: str, name: str, now_us: int) -> bool:
    """Remove a token, and note who did; whether it was there."""
    if not connection.execute(delete(api_tokens).where(api_tokens.c.name == name)).rowcount:
        return False
    audit.note(connection, now_us, actor, "api-token.remove", name)
    return True


def all_tokens(connection: Connection) -> list[Row[Any]]:
    return list(connection.execute(select(api_tokens).order_by(api_tokens.c.name)))
