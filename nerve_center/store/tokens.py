"""API tokens: who may read. Only hashes are kept."""

from __future__ import annotations

from typing import Any

from sqlalchemy import delete, insert, select
from sqlalchemy.engine import Connection, Row

from nerve_center.store.tables import api_tokens


def find(connection: Connection, token_hash: bytes) -> Row[Any] | None:
    row: Row[Any] | None = connection.execute(
        select(api_tokens).where(api_tokens.c.token_hash == token_hash)
    ).first()
    return row


def named(connection: Connection, name: str) -> Row[Any] | None:
    row: Row[Any] | None = connection.execute(select(api_tokens).where(api_tokens.c.name == name)).first()
    return row


def add(connection: Connection, name: str, token_hash: bytes, now_us: int) -> None:
    connection.execute(insert(api_tokens).values(name=name, token_hash=token_hash, created_us=now_us))


def remove(connection: Connection, name: str) -> bool:
    """Remove a token; whether it was there."""
    return bool(connection.execute(delete(api_tokens).where(api_tokens.c.name == name)).rowcount)


def all_tokens(connection: Connection) -> list[Row[Any]]:
    return list(connection.execute(select(api_tokens).order_by(api_tokens.c.name)))
