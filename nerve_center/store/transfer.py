"""Everything of one database into another one, that is empty: all of it, or nothing.

Both stay locked for the whole time, so that nobody writes to either; the number of rows of each table is compared
before the one commit at the end. The source is only read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from sqlalchemy import Table, func, select, text
from sqlalchemy.engine import Connection

from nerve_center.errors import CenterError
from nerve_center.store import partitions
from nerve_center.store.engine import is_postgresql
from nerve_center.store.insertion import insert_new
from nerve_center.store.tables import agents, leases, meta, metadata

_BATCH = 2000
_MOST_DAYS = 400


class TransferFailed(CenterError):
    """The copy cannot be made; nothing of it stays. The text says why."""


def filled(connection: Connection) -> list[str]:
    """The tables of a database, which has this version's, that hold something of their own."""
    tables = [table for table in metadata.sorted_tables if table not in (meta, leases)]
    return [
        table.name for table in tables if connection.execute(select(1).select_from(table).limit(1)).first()
    ]


def copy(source: Connection, target: Connection, progress: Callable[[str, int, int], None]) -> int:
    """Copy all rows, in the caller's transactions; how many. Raises TransferFailed.

    `progress` gets a table's name, how many of its rows are there, and how many there are to be.
    """
    tables = [table for table in metadata.sorted_tables if table is not leases]
    target.execute(_wanted(meta.delete(), meta))
    if is_postgresql(target):
        _make_partitions(source, target)
    total = 0
    for table in tables:
        wanted = int(source.execute(_wanted(select(func.count()).select_from(table), table)).scalar_one())
        copied = 0
        progress(table.name, copied, wanted)
        for rows in _batches(source, table):
            insert_new(target, table, rows)
            copied += len(rows)
            progress(table.name, copied, wanted)
        found = int(target.execute(_wanted(select(func.count()).select_from(table), table)).scalar_one())
        if found != wanted:
            raise TransferFailed(f"{table.name}: {found} of {wanted} rows arrived")
        total += wanted
    if is_postgresql(target):
        _set_counters(target, tables)
    return total


def _wanted(query: Any, table: Table) -> Any:
    """Without what `meta` says of one database, or of one machine."""
    return query.where(~meta.c.name.like("steady%"), meta.c.name != "probe") if table is meta else query


def _batches(source: Connection, table: Table) -> Iterator[list[dict[str, Any]]]:
    query = _wanted(select(table), table)
    result = source.execution_options(stream_results=True).execute(query)
    while rows := result.fetchmany(_BATCH):
        yield [dict(row._mapping) for row in rows]


def _make_partitions(source: Connection, target: Connection) -> None:
    """One for each day of the samples that there are; what a wrong clock has dated far off has none."""
    newest = source.execute(select(func.max(agents.c.last_report_us))).scalar() or 0
    last = int(newest) // partitions.DAY_US + partitions.AHEAD_DAYS
    query = text(f"SELECT DISTINCT time_us / {partitions.DAY_US} FROM samples")  # noqa: S608 a number of ours
    found = {int(day) for day in source.execute(query).scalars()}
    for day in sorted(found.difference(partitions.days(target))):
        if last - _MOST_DAYS <= day <= last:
            partitions.make(target, day)


def _set_counters(target: Connection, tables: list[Table]) -> None:
    """Keys are given by counters, which know nothing of rows that came with theirs."""
    for table in tables:
        column = table.c.get("key")
        if column is None:
            continue
        target.execute(
            text(
                f"SELECT setval(pg_get_serial_sequence('{table.name}', 'key'),"  # noqa: S608 names of our own
                f' (SELECT coalesce(max("key"), 0) + 1 FROM {table.name}), false)'
            )
        )
