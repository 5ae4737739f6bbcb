"""`meta`: what is true of the database as a whole, by name."""

from __future__ import annotations

from sqlalchemy import select, text
from sqlalchemy.engine import Connection

from nerve_center.store.tables import meta

OLDEST = "oldest"
"""The name of what the oldest version is that can work with the tables and reads all in them: its newest script."""

_PUT = text(
    "INSERT INTO meta (name, value) VALUES (:name, :value)"
    " ON CONFLICT (name) DO UPDATE SET value = excluded.value"
)


def put(connection: Connection, name: str, value: str) -> None:
    """Write a value, in place of the one that may be there."""
    connection.execute(_PUT, {"name": name, "value": value})


def get(connection: Connection, name: str) -> str | None:
    value = connection.execute(select(meta.c.value).where(meta.c.name == name)).scalar()
    return None if value is None else str(value)
