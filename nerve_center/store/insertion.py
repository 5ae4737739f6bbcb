"""Inserting rows of which some may be there already: the busiest statement, and one that differs by database.

SQLAlchemy's `on_conflict_do_nothing` would be compiled each time, and of several statements only the last one's count
of rows is known. Rows are given to the driver as they are (`prepared`).
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Table, insert
from sqlalchemy.engine import Connection

from nerve_center.store import postgresql
from nerve_center.store.engine import is_postgresql
from nerve_center.store.prepared import Prepared


def insert_new(connection: Connection, table: Table, rows: Sequence[dict[str, Any]]) -> int:
    """Insert rows, each with a value for every column, and leave out those whose key is there; how many were new."""
    if not rows:
        return 0
    if is_postgresql(connection):
        names = table.columns.keys()
        values = [tuple(row[name] for name in names) for row in rows]
        return postgresql.insert_values(connection, _statement(table.name, tuple(names)), values)
    cursor = connection.connection.cursor()
    count: int = cursor.executemany(_or_ignore(table), rows).rowcount
    return count


@functools.cache
def _or_ignore(table: Table) -> str:
    return Prepared(insert(table).prefix_with("OR IGNORE")).sql(on_postgresql=False)


@functools.cache
def _statement(table: str, names: tuple[str, ...]) -> str:
    quoted = ", ".join(f'"{name}"' for name in names)
    return f"INSERT INTO {table} ({quoted}) VALUES %s ON CONFLICT DO NOTHING"  # noqa: S608 names of our own
