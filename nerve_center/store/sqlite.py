"""Connections to an SQLite database, and what its errors mean.

SQLite waits for a lock inside the call, and under gevent the whole worker waits with it. So its own patience
is short, and whoever wants to wait longer tries again with a pause between, in which others run. The driver's own
transaction handling is off: BEGIN is said here.
"""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from typing import Any

from sqlalchemy import create_engine, event
from sqlalchemy.engine import URL, Connection, Engine
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
    """For writing: each connection is opened and closed for real; begin with `begin`."""
    engine = create_engine(
        _url(path),
        future=True,
        poolclass=NullPool,
        connect_args={"check_same_thread": False, "timeout": _WRITE_PATIENCE_S},
    )
    _prepare(engine, query_only=False)
    return engine


def begin(connection: Connection) -> None:
    """Begin a transaction that holds the write lock from its first moment.

    Raises the driver's error where the lock is not to be had; the connection is as it was then. (SQLAlchemy's
    `begin` event is no place for it: version 1.4 does not get over an error there.)
    """
    connection.connection.cursor().execute("BEGIN IMMEDIATE")
    connection.begin()


def unavailable(error: sqlite3.Error) -> DatabaseUnavailable | None:
    """What an error means for whoever asked; None when it is not the database's fault."""
    code = getattr(error, "sqlite_errorcode", None)
    if code is None:
        return None
    found = _KINDS.get(code & 0xFF)
    return DatabaseUnavailable(*found) if found else None


def checkpoint(path: Path) -> None:
    """Move what the write-ahead log holds into the database and cut the log, if nobody is in the way."""
    engine = writing_engine(path)
    try:
        with engine.connect() as connection:
            connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    finally:
        engine.dispose()


def make_file(path: Path) -> None:
    """Create the database file, if it is not there, so that only its owner can read it. Raises OSError."""
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))


def settings_of_a_new_file(path: Path, engine: Engine) -> None:
    """What SQLite settles for good before the first table, and outside a transaction; nothing where there are some."""
    if path.stat().st_size:
        return
    connection = engine.raw_connection()
    try:
        cursor = connection.cursor()
        cursor.execute("PRAGMA auto_vacuum = INCREMENTAL")
        cursor.execute("PRAGMA journal_mode = WAL")
    finally:
        connection.close()


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
