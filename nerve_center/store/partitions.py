"""Samples by the day, on PostgreSQL: a partition for each day, made ahead, and taken away whole by `store.retiring`.

    samples_20260131    samples of that day (UTC)
    samples_rest        samples of days that have no partition: a clock that is wrong by weeks, a backlog of long ago

Every day whose samples are kept has a partition, and so has each of the next days: should no keeper work for some of
them, what is reported still goes where it belongs.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from sqlalchemy import text
from sqlalchemy.engine import Connection

DAY_US = 86400 * 1_000_000
AHEAD_DAYS = 7
REST = "samples_rest"
_NAME = re.compile(r"samples_([0-9]{8})")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_ALL = text(
    "SELECT child.relname FROM pg_inherits JOIN pg_class child ON child.oid = inhrelid"
    " WHERE inhparent = CAST('samples' AS regclass)"
)


def days(connection: Connection) -> list[int]:
    """The days (since 1970) that have a partition, the oldest first."""
    found = (_NAME.fullmatch(name) for name in connection.execute(_ALL).scalars())
    return sorted(_day(match[1]) for match in found if match)


def missing(connection: Connection, first: int, today: int) -> list[int]:
    """The days from the first one that is kept, and as far ahead as wanted, that have none yet."""
    there = set(days(connection))
    return [day for day in range(first, today + AHEAD_DAYS + 1) if day not in there]


def make(connection: Connection, day: int) -> None:
    """Make a day's partition; what the rest holds of that day moves into it. In a transaction that is alone."""
    be_brief(connection)
    name, start, end = table_of(day), day * DAY_US, (day + 1) * DAY_US
    for statement in (
        f"CREATE TABLE {name} (LIKE samples INCLUDING DEFAULTS INCLUDING CONSTRAINTS)",
        f"WITH moved AS (DELETE FROM {REST} WHERE time_us >= {start} AND time_us < {end} RETURNING *)"  # noqa: S608 ours
        f" INSERT INTO {name} SELECT * FROM moved",
        f"ALTER TABLE samples ATTACH PARTITION {name} FOR VALUES FROM ({start}) TO ({end})",
    ):
        connection.exec_driver_sql(statement)


def be_brief(connection: Connection) -> None:
    """Whoever waits to change a table has all who want to use it wait behind him: give up soon, and try again later."""
    connection.exec_driver_sql("SET LOCAL lock_timeout = 1000")


def table_of(day: int) -> str:
    """The name of a day's partition."""
    return f"samples_{_EPOCH + timedelta(days=day):%Y%m%d}"


def _day(digits: str) -> int:
    return (datetime.strptime(digits, "%Y%m%d").replace(tzinfo=UTC) - _EPOCH).days
