"""Connections to the database, of either kind, and what its errors mean.

Two engines a process, made after the fork: one for reading (a small pool that cannot write) and one for the single
writer, whose transactions begin with `begin_writing`. What differs between the two kinds of database stands in
`sqlite` and `postgresql`.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import event
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as NoneFree

from nerve_center.errors import DatabaseUnavailable
from nerve_center.store import postgresql, sqlite
from nerve_center.store.place import Place
from nerve_center.turns import breathe


def reading_engine(place: Place) -> Engine:
    """For reads: a small pool of connections that cannot write. Raises StartError where a driver is missing."""
    engine = sqlite.reading_engine(place) if isinstance(place, Path) else postgresql.reading_engine(place)
    event.listen(engine, "after_cursor_execute", _breathe)
    return engine


def writing_engine(place: Place) -> Engine:
    """For writing: each connection is opened and closed for real; begin with `begin_writing`. Raises StartError."""
    return sqlite.writing_engine(place) if isinstance(place, Path) else postgresql.writing_engine(place)


def _breathe(*_: object) -> None:
    """A query of a reader is done."""
    breathe()


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """A connection with one unchanging view of the database.

    Raises DatabaseUnavailable where the database does not answer.
    """
    with translated(), engine.connect() as connection:
        yield connection


def begin_writing(connection: Connection, alone: bool = True) -> None:
    """Begin a transaction beside which no other one writes, or (not `alone`) none that wants to be alone.

    On SQLite every transaction is alone. Raises the driver's error where the lock is not to be had; the connection is
    as it was then.
    """
    if is_postgresql(connection):
        postgresql.begin(connection, alone)
    else:
        sqlite.begin(connection)


def is_postgresql(connection: Connection) -> bool:
    """Which of the two kinds this is, for the few statements that differ."""
    return bool(connection.dialect.name == "postgresql")


@contextmanager
def translated() -> Iterator[None]:
    """Turn the database's own errors into DatabaseUnavailable; what is a bug of ours stays what it is."""
    try:
        yield
    except Exception as exc:
        problem = unavailable(exc)
        if problem is None:
            raise
        raise problem from exc


def unavailable(exc: BaseException) -> DatabaseUnavailable | None:
    """What an error means for whoever asked; None when it is not the database's fault."""
    origin = exc.orig if isinstance(exc, DBAPIError) else exc
    if isinstance(origin, sqlite3.Error):
        return sqlite.unavailable(origin)
    if postgresql.is_own(origin):
        return postgresql.unavailable(origin)
    if isinstance(exc, NoneFree):
        return DatabaseUnavailable("busy", "too many requests are reading from the database")
    return None


def is_conflict(exc: BaseException) -> bool:
    """Whether work failed only because other work ran beside it."""
    origin = exc.orig if isinstance(exc, DBAPIError) else exc
    return postgresql.is_own(origin) and postgresql.is_conflict(origin)
