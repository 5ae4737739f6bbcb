"""nervectl database, where that is one of PostgreSQL: check, back up, restore, and copy everything into one."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import click
from sqlalchemy.engine import URL, Connection, Engine
from sqlalchemy.exc import DBAPIError

from nerve_center.cli.base import Failed
from nerve_center.clock import SystemClock
from nerve_center.errors import DatabaseUnavailable, StartError
from nerve_center.store import dumps, migrate, place, transfer
from nerve_center.store.engine import begin_writing, reading, reading_engine, translated, writing_engine
from nerve_center.store.place import Place, shown

_LONG = "SET statement_timeout = 0"


def check(url: URL) -> None:
    """Read everything through, and say what was found. Raises Failed."""
    with _read(url) as connection:
        connection.exec_driver_sql(_LONG)
        revision = dumps.revision(connection)
        if revision != migrate.HEAD:
            raise Failed(
                f"{shown(url)} is not of this version (tables {revision}, wanted {migrate.HEAD})",
                "bring it up to date: nervectl database migrate",
            )
        total = sum(number for _, number in dumps.rows(connection))
        broken = dumps.broken_indexes(connection)
        size = place.size(connection, url) or 0
    for name in broken:
        click.echo(f"the index {name} is not valid")
    if broken:
        raise Failed(f"{shown(url)} has indexes that are not used", "build them anew: REINDEX INDEX NAME")
    click.echo(
        f"{shown(url)} can be read: tables {revision}, {total} rows, {size / 1024**2:.1f} MiB; "
        "pg_amcheck looks deeper"
    )


def copy_out(url: URL, target: int) -> None:
    """Write a copy of one moment to an open file. Raises Failed."""
    try:
        dumps.make(url, target)
        os.fsync(target)
    except dumps.DumpFailed as exc:
        raise _failed(f"cannot copy {shown(url)}", exc) from exc


def restore(url: URL, source: int) -> None:
    """Put the copy in an open file back into an empty database. Raises Failed."""
    with _read(url) as connection:
        if not dumps.is_empty(connection):
            raise Failed(
                f"{shown(url)} is not empty",
                "nothing was changed; make an empty database (createdb), name it in [database] url, and try again",
            )
    try:
        dumps.restore(url, source)
    except dumps.DumpFailed as exc:
        raise _failed(f"cannot restore to {shown(url)}", exc) from exc
    click.echo(f"restored {shown(url)}; start the nerve center: systemctl start dio-nerve-center")


def copy(source: Place, url: URL) -> None:
    """Copy everything into a database that holds nothing yet: all of it, or nothing. Raises Failed."""
    _begin_target(url)
    try:
        with _written(source) as old, _written(url) as new:
            new.exec_driver_sql(_LONG)
            full = transfer.filled(new)
            if full:
                raise Failed(f"{shown(url)} is not empty: it has {', '.join(full)}", "name an empty database")
            total = transfer.copy(old, new, _progress)
            new.commit()
    except transfer.TransferFailed as exc:
        raise Failed(f"the copy failed: {exc}", "nothing of it stays; the old database is as it was") from exc
    except (DatabaseUnavailable, DBAPIError) as exc:
        why = exc.full if isinstance(exc, DatabaseUnavailable) else " ".join(str(exc.orig).split())[:300]
        raise Failed(f"the copy failed: {why}", "nothing of it stays; the old database is as it was") from exc
    click.echo(f"copied {total} rows to {shown(url)}; counted and compared")


def _begin_target(url: URL) -> None:
    """Make the tables, if there are none; a database of something else is refused."""
    try:
        migrate.prepare(url, SystemClock())
    except StartError as exc:
        raise Failed(str(exc), "name an empty database of PostgreSQL that its user owns") from exc


@contextmanager
def _read(url: URL) -> Iterator[Connection]:
    engine = _made(url)
    try:
        with reading(engine) as connection:
            yield connection
    except DatabaseUnavailable as exc:
        raise Failed(f"{shown(url)}: {exc.full}", "try again in a moment") from exc
    finally:
        engine.dispose()


def _made(url: URL) -> Engine:
    try:
        return reading_engine(url)
    except StartError as exc:
        raise Failed(str(exc)) from exc


@contextmanager
def _written(where: Place) -> Iterator[Connection]:
    """A connection inside a transaction that is alone; what is not committed at the end never was."""
    engine = writing_engine(where)
    try:
        with translated(), engine.connect() as connection:
            begin_writing(connection)
            yield connection
    finally:
        engine.dispose()


def _failed(what: str, exc: dumps.DumpFailed) -> Failed:
    hint = "install it: apt install postgresql-client" if exc.missing else "nothing was changed"
    return Failed(f"{what}: {exc}", hint)


def _progress(table: str, done: int, wanted: int) -> None:
    """How far it is, for a person who watches."""
    if sys.stderr.isatty() and wanted:
        click.echo(f"\r{table}: {done} of {wanted}", nl=done >= wanted, err=True)
