"""The database of a nerve center that runs as a process, and what a test does to it: hold its lock, lose it, go back.

A file of SQLite or, with DIO_TEST_DATABASE=postgresql, for all tests at once, a database on the tests' own PostgreSQL.
"""

from __future__ import annotations

import os
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import psycopg2
from sqlalchemy.engine import URL, make_url

from tests.support import disks, postgresql

ON_POSTGRESQL = os.environ.get("DIO_TEST_DATABASE", "sqlite") == "postgresql"
CANNOT_LOCK = (sqlite3.OperationalError, psycopg2.OperationalError)
_LOCK = "SELECT pg_advisory_lock(x'44494F'::int)"
"""The lock of whoever writes, as `nerve_center.store.postgresql` names it."""


class SqliteStore:
    """A file, which the center makes itself."""

    def __init__(self, path: Path) -> None:
        self.place: Path | URL = path
        self._path = path
        self.toml = f'[database]\npath = "{path}"\n'

    @contextmanager
    def locked(self, patience_s: float = 20) -> Iterator[None]:
        """Nobody else can write for as long as the block takes. Raises `CANNOT_LOCK`."""
        with closing(sqlite3.connect(self._path, timeout=patience_s, isolation_level=None)) as other:
            other.execute("BEGIN EXCLUSIVE")
            yield
            other.execute("ROLLBACK")

    def lose(self) -> None:
        """It is gone, and an empty one is in its place when the center starts. Nobody may use it meanwhile."""
        disks.damage(self._path, "delete")

    def copy(self, aside: Path) -> None:
        """Keep it as it is now, while it is used."""
        with closing(sqlite3.connect(self._path)) as source, closing(sqlite3.connect(aside)) as copy:
            source.backup(copy)

    def restore(self, aside: Path) -> None:
        """Make it what it was at the copy. Nobody may use it meanwhile."""
        self.lose()
        aside.rename(self._path)

    def end(self) -> None:
        """Nothing to do: it goes with its folder."""


class PostgresqlStore:
    """A database of its own, empty at first."""

    def __init__(self) -> None:
        self._cluster = postgresql.cluster()
        self._name = self._cluster.create()
        self.place: Path | URL = make_url(self._cluster.url(self._name))
        self.toml = f'[database]\nurl = "{self._cluster.url(self._name)}"\n'

    @contextmanager
    def locked(self, patience_s: float = 20) -> Iterator[None]:
        """Nobody else can write for as long as the block takes. Raises `CANNOT_LOCK`."""
        with closing(psycopg2.connect(self._cluster.dsn(self._name))) as other:
            other.autocommit = True
            other.cursor().execute(f"SET lock_timeout = {max(1, round(patience_s * 1000))}; {_LOCK}")
            yield

    def lose(self) -> None:
        """It is gone, and an empty one is in its place."""
        self._cluster.drop(self._name)
        self._cluster.create(name=self._name)

    def copy(self, aside: Path) -> None:
        """Keep it as it is now, while it is used."""
        self._run(
            "pg_dump", "--format=custom", f"--file={aside}", f"--dbname={self._cluster.dsn(self._name)}"
        )

    def restore(self, aside: Path) -> None:
        """Make it what it was at the copy. Nobody may use it meanwhile."""
        self.lose()
        self._run("pg_restore", f"--dbname={self._cluster.dsn(self._name)}", str(aside))

    def end(self) -> None:
        """Remove it; whoever still uses it is cut off."""
        self._cluster.drop(self._name)

    def _run(self, program: str, *arguments: str) -> None:
        subprocess.run([self._cluster.programs / program, *arguments], check=True, capture_output=True)


Store = SqliteStore | PostgresqlStore


def make(path: Path) -> Store:
    """The database of a center whose file of SQLite would be at `path`."""
    return PostgresqlStore() if ON_POSTGRESQL else SqliteStore(path)
