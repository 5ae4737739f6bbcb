"""Samples by the day, on PostgreSQL: a partition for each day, made ahead, and dropped once it holds nothing.

    samples_20260131    samples of that day (UTC)
    samples_rest        samples of days that have no partition: a clock that is wrong by weeks, a backlog of long ago

Retention empties the partitions of days that are over; then a partition is dropped, and its space is back at once,
without any vacuum. A sample of such a day that comes still goes to the rest.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from sqlalchemy import text
from sqlalchemy.engine import Connection

DAY_US = 86400 * 1_000_000
AHEAD_DAYS = 3
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


def missing(connection: Connection, today: int) -> list[int]:
    """The days from today on, and as far ahead as wanted, that have none yet."""
    there = set(days(connection))
    return [day for day in range(today, today + AHEAD_DAYS + 1) if day not in there]


def make(connection: Connection, day: int) -> None:
    """Make a day's partition; what the rest holds of that day moves into it. In a transaction that is alone."""
    name, start, end = _name(day), day * DAY_US, (day + 1) * DAY_US
    for statement in (
        f"CREATE TABLE {name} (LIKE samples INCLUDING DEFAULTS INCLUDING CONSTRAINTS)",
        f"WITH moved AS (DELETE FROM {REST} WHERE time_us >= {start} AND time_us < {end} RETURNING *)"  # noqa: S608 ours
        f" INSERT INTO {name} SELECT * FROM moved",
        f"ALTER TABLE samples ATTACH PARTITION {name} FOR VALUES FROM ({start}) TO ({end})",
    ):
        connection.exec_driver_sql(statement)


def empty(connection: Connection, before: int) -> list[int]:
    """The days before a day whose partition holds nothing."""
    return [day for day in days(connection) if day < before and not _holds_any(connection, day)]


def drop(connection: Connection, day: int) -> bool:
    """Drop a day's partition if it holds nothing; whether it did. In a transaction that is alone."""
    if _holds_any(connection, day):
        return False
    connection.exec_driver_sql(f"DROP TABLE {_name(day)}")
    return True


def _holds_any(connection: Connection, day: int) -> bool:
    return connection.exec_driver_sql(f"SELECT 1 FROM {_name(day)} LIMIT 1").first() is not None  # noqa: S608 ours


def _name(day: int) -> str:
    return f"samples_{_EPOCH + timedelta(days=day):%Y%m%d}"


def _day(digits: str) -> int:
    return (datetime.strptime(digits, "%Y%m%d").replace(tzinfo=UTC) - _EPOCH).days
