"""Inserting rows of which some may be there already: the busiest statement, and one that differs by database.

SQLAlchemy's `on_conflict_do_nothing` would be compiled each time, and of several statements only the last one's count
of rows is known. Rows are given to the driver as they are (`prepared`).
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from operator import itemgetter
from typing import Any, NamedTuple

from sqlalchemy import Table
from sqlalchemy.engine import Connection

from nerve_center.store import postgresql
from nerve_center.store.engine import is_postgresql


def insert_new(connection: Connection, table: Table, rows: Sequence[dict[str, Any]]) -> int:
    """Insert rows, each with a value for every column, and leave out those whose key is there; how many were new."""
    if not rows:
        return 0
    statement = _statements(table)
    values = list(map(itemgetter(*statement.names), rows))
    if is_postgresql(connection):
        return postgresql.insert_values(connection, statement.postgresql, values)
    # By position: for a name in its place the driver asks once a row and column.
    count: int = connection.connection.cursor().executemany(statement.sqlite, values).rowcount
    return count


class _Statements(NamedTuple):
    names: list[str]
    sqlite: str
    postgresql: str


@functools.cache
def _statements(table: Table) -> _Statements:
    names = [column.name for column in table.columns]
    quoted = ", ".join(f'"{name}"' for name in names)
    marks = ", ".join("?" * len(table.columns))
    return _Statements(
        names,
        f"INSERT OR IGNORE INTO {table.name} ({quoted}) VALUES ({marks})",  # noqa: S608 names of our own
        f"INSERT INTO {table.name} ({quoted}) VALUES %s ON CONFLICT DO NOTHING",  # noqa: S608 as above
    )
