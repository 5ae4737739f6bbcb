"""Connections to the SQLite database, and what its errors mean.

Two engines a process, made after the fork: one for reading (a small pool, `query_only`) and one for the single
writer, whose transactions begin with BEGIN IMMEDIATE so that they never fail half-way for want of the lock.
The driver's own transaction handling is off: BEGIN is said here.

SQLite waits for a lock inside the call, and under gevent the whole worker waits with it. So its own patience
is short, and whoever wants to wait longer tries again with a pause between, in which others run.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import create_engine, event
from sqlalchemy.engine import URL, Connection, Engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool, QueuePool

from nerve_center.errors import DatabaseUnavailable

_READ_PATIENCE_S = 0.05
_WRITE_PATIENCE_S = 0.01
_WAL_LIMIT_BYTES = 64 * 1024 * 1024

# https://www.sqlite.org/rescode.html, primary codes
_KINDS = {
    5: ("locked", "database is locked"),
    6: ("locked", "database is locked"),
    8: ("read_only", "database is read-only"),
    10: ("io", "database: input/output error"),
    11: ("corrupt", "database is damaged"),
    13: ("full", "disk is full"),
    14: ("io", "database file cannot be opened"),
    26: ("corrupt", "database file is not a database"),
}


def reading_engine(path: Path) -> Engine:
    """For reads: a small pool of connections that cannot write."""
    engine = create_engine(
        _url(path),
        future=True,
        poolclass=QueuePool,
        pool_size=4,
        max_overflow=60,
        connect_args={"check_same_thread": False, "timeout": _READ_PATIENCE_S},
    )
    _prepare(engine, query_only=True)

    def begun(connection: Connection) -> None:
        connection.connection.cursor().execute("BEGIN")

    event.listen(engine, "begin", begun)
    return engine


def writing_engine(path: Path) -> Engine:
    """For writing: each connection is opened and closed for real; begin with `begin_immediate`."""
    engine = create_engine(
        _url(path),
        future=True,
        poolclass=NullPool,
        connect_args={"check_same_thread": False, "timeout": _WRITE_PATIENCE_S},
    )
    _prepare(engine, query_only=False)
    return engine


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """A connection with one unchanging view of the database.

    Raises DatabaseUnavailable where the database does not answer.
    """
    with translated(), engine.connect() as connection:
        yield connection


def begin_immediate(connection: Connection) -> None:
    """Begin a transaction that holds the write lock from its first moment.

    Raises the driver's error where the lock is not to be had; the connection is as it was then. (SQLAlchemy's
    `begin` event is no place for it: version 1.4 does not get over an error there.)
    """
    connection.connection.cursor().execute("BEGIN IMMEDIATE")
    connection.begin()


@contextmanager
def translated() -> Iterator[None]:
    """Turn the database's own errors into DatabaseUnavailable; what is a bug of ours stays what it is."""
    try:
        yield
    except (DBAPIError, sqlite3.Error) as exc:
        problem = unavailable(exc)
        if problem is None:
            raise
        raise problem from exc


def unavailable(exc: BaseException) -> DatabaseUnavailable | None:
    """What a database error means for whoever asked; None when it is not the database's fault."""
    origin = exc.orig if isinstance(exc, DBAPIError) else exc
    if not isinstance(origin, sqlite3.Error):
        return None
    code = getattr(origin, "sqlite_errorcode", None)
    if code is None:
        return None
    found = _KINDS.get(code & 0xFF)
    return DatabaseUnavailable(*found) if found else None


def checkpoint(path: Path) -> None:
    """Move what the write-ahead log of an SQLite database holds into it and cut the log, if nobody is in the way."""
    engine = writing_engine(path)
    try:
        with engine.connect() as connection:
            connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    finally:
        engine.dispose()


def make_file(path: Path) -> None:
    """Create the database file, if it is not there, so that only its owner can read it. Raises OSError."""
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))


def _url(path: Path) -> URL:
    return URL.create("sqlite", database=str(path))


def _prepare(engine: Engine, query_only: bool) -> None:
    def connected(connection: Any, _record: Any) -> None:
        connection.isolation_level = None
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute(f"PRAGMA journal_size_limit = {_WAL_LIMIT_BYTES}")
        if query_only:
            connection.execute("PRAGMA query_only = ON")

    event.listen(engine, "connect", connected)
