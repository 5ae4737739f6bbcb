"""Connections to a database of PostgreSQL, and what its errors mean.

Who writes takes the center's lock (an advisory lock of this database) as the first act of a transaction: *alone*, so
that no other transaction of any nerve center runs beside it, as SQLite has it always, or *beside others*. Reports go
beside others: each then locks the row of its agent, and different agents are in nobody's way. Everything else is
alone. READ COMMITTED is meant: what is read after the lock is what the one before has committed.

A reader has one unchanging view (REPEATABLE READ, read-only).

No wait is for ever: bounds for connecting, for a lock and for a statement, for a transaction whose client fell silent
(its locks are in the way of others), and for a network that swallows packets.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import create_engine, event
from sqlalchemy.engine import URL, Connection, Engine
from sqlalchemy.pool import NullPool, QueuePool

from nerve_center.errors import DatabaseUnavailable, StartError
from nerve_center.store import waiting
from nerve_center.store.servers import Servers

try:
    import psycopg2
except ImportError:  # only who uses PostgreSQL needs it
    psycopg2 = None

_CONNECT_S = 5
_LOCK = 0x44494F
_LOCK_MS = 3000
"""Who waits for the center's lock keeps its place among those who want it; past this it begins anew, as the last."""
_STATEMENT_MS = 30_000
_IDLE_MS = {"reading": 120_000, "writing": 5_000}
_READERS, _MORE_READERS, _READER_WAITS_S = 3, 5, 5.0
_NETWORK = {
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 15_000,
}
_ALONE = f"SELECT pg_advisory_xact_lock({_LOCK})"
_BESIDE_OTHERS = f"SELECT pg_advisory_xact_lock_shared({_LOCK})"

_AWAY = ("away", "the database cannot be reached")
# https://www.postgresql.org/docs/15/errcodes-appendix.html; the first that fits, so a code goes before its class.
_KINDS = (
    ("55P03", ("locked", "database is locked")),
    ("57014", ("locked", "the database took too long")),
    ("57P", ("away", "the database is starting up or shutting down")),
    ("25P03", _AWAY),
    ("25006", ("read_only", "the database is read-only")),
    ("40", ("locked", "the database was changed at the same moment")),
    ("08", _AWAY),
    ("53100", ("full", "the database's disk is full")),
    ("53", ("busy", "the database is at its limits")),
    ("58", ("io", "the database: input/output error")),
    ("28", ("refused", "the database refuses the nerve center")),
    ("3D", ("refused", "the database is not there")),
    ("42501", ("refused", "the database refuses the nerve center")),
    ("XX", ("corrupt", "the database is damaged")),
)
_CONFLICTS = ("40001", "40P01", "23505", "23503")


def driver() -> Any:
    """The driver. Raises StartError, one sentence for a person, where it is not installed."""
    if psycopg2 is None:
        raise StartError(
            "database.url needs the driver for PostgreSQL; install it: apt install python3-psycopg2"
        )
    waiting.cooperate(psycopg2)
    return psycopg2


def reading_engine(url: URL) -> Engine:
    """For reads: a small pool of connections whose transactions cannot write. Raises StartError."""
    engine = create_engine(
        url,
        module=driver(),
        future=True,
        isolation_level="REPEATABLE READ",
        execution_options={"postgresql_readonly": True},
        poolclass=QueuePool,
        pool_size=_READERS,
        max_overflow=_MORE_READERS,
        pool_timeout=_READER_WAITS_S,
        pool_pre_ping=True,
        connect_args=_arguments(url),
    )
    _prepare(engine, "reading")
    return engine


def writing_engine(url: URL) -> Engine:
    """For writing: each connection is opened and closed for real; begin with `begin`. Raises StartError."""
    engine = create_engine(
        url,
        module=driver(),
        future=True,
        isolation_level="READ COMMITTED",
        poolclass=NullPool,
        connect_args=_arguments(url),
    )
    _prepare(engine, "writing")
    return engine


def begin(connection: Connection, alone: bool) -> None:
    """Begin a transaction that has the center's lock. Raises the driver's error; then nothing was begun."""
    transaction = connection.begin()
    try:
        connection.exec_driver_sql(_ALONE if alone else _BESIDE_OTHERS)
    except BaseException:
        transaction.rollback()
        raise


def insert_values(connection: Connection, statement: str, rows: Sequence[tuple[Any, ...]]) -> int:
    """Insert rows by one statement with `VALUES %s`; how many there are now that were not."""
    from psycopg2.extras import execute_values

    cursor = connection.connection.cursor()
    execute_values(cursor, statement, rows, page_size=len(rows))
    return int(cursor.rowcount)


def is_own(error: BaseException | None) -> bool:
    """Whether an error is this driver's."""
    return psycopg2 is not None and isinstance(error, psycopg2.Error)


def unavailable(error: Any) -> DatabaseUnavailable | None:
    """What an error of the driver means for whoever asked; None when it is not the database's fault."""
    code = error.pgcode
    # What libpq itself says names hosts and users: for the log, not for whoever asks.
    detail = " ".join(str(error).split())[:300]
    if code is None:
        lost = isinstance(error, psycopg2.OperationalError | psycopg2.InterfaceError)
        return DatabaseUnavailable(*_AWAY, detail=detail) if lost else None
    for prefix, found in _KINDS:
        if code.startswith(prefix):
            return DatabaseUnavailable(*found, detail=detail)
    return None


def is_conflict(error: Any) -> bool:
    """Whether two transactions were in each other's way, and the same work may succeed alone."""
    return error.pgcode in _CONFLICTS


def _arguments(url: URL) -> dict[str, Any]:
    """What the driver is told beyond the URL, which wins."""
    found: dict[str, Any] = {
        "connect_timeout": _CONNECT_S,
        "application_name": "dio-nerve-center",
        # Of several hosts the one that takes writes; the others may be its copies.
        "target_session_attrs": "read-write",
        **_NETWORK,
    }
    return {name: value for name, value in found.items() if name not in url.query}


def _prepare(engine: Engine, purpose: str) -> None:
    def connected(connection: Any, _record: Any) -> None:
        with connection.cursor() as cursor:
            cursor.execute(
                f"SET statement_timeout = {_STATEMENT_MS}; SET lock_timeout = {_LOCK_MS};"
                f" SET idle_in_transaction_session_timeout = {_IDLE_MS[purpose]};"
                " SET TIME ZONE 'UTC'; SET synchronous_commit = on"
            )
        connection.commit()

    event.listen(engine, "connect", connected)
    Servers(psycopg2).attach(engine)
