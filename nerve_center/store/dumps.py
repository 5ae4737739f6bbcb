"""Copies of a database of PostgreSQL, made and put back by PostgreSQL's own programs, and what a look through it finds.

`pg_dump` copies one moment of the database, however much is committed meanwhile. A password goes to these programs in a
file that only this user can read, never among their arguments.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import func, select, text
from sqlalchemy.engine import URL, Connection

from nerve_center.errors import CenterError
from nerve_center.store import postgresql
from nerve_center.store.tables import metadata


class DumpFailed(CenterError):
    """A program could not do it; the text is what it said, `missing` whether it is not installed."""

    def __init__(self, message: str, missing: bool = False) -> None:
        super().__init__(message)
        self.missing = missing


def make(url: URL, target: int) -> None:
    """Write a copy to the open file `target`. Raises DumpFailed."""
    _run(["pg_dump", "--format=custom", "--no-owner", "--no-privileges"], url, "--dbname", target)


def restore(url: URL, file: int) -> None:
    """Put the copy in the open file back, into an empty database: all of it, or nothing. Raises DumpFailed."""
    arguments = ["pg_restore", "--no-owner", "--no-privileges", "--single-transaction", "--exit-on-error"]
    _run(arguments, url, "--dbname", subprocess.DEVNULL, file)


def revision(connection: Connection) -> str | None:
    """The version of the tables; None where there are none of a nerve center."""
    if connection.execute(text("SELECT to_regclass('alembic_version')")).scalar() is None:
        return None
    found = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    return None if found is None else str(found)


def is_empty(connection: Connection) -> bool:
    """Whether there is no table at all."""
    query = "SELECT count(*) FROM pg_tables WHERE schemaname NOT IN ('pg_catalog', 'information_schema')"
    return connection.execute(text(query)).scalar() == 0


def rows(connection: Connection) -> Iterator[tuple[str, int]]:
    """Read every table through; its name and how many rows it has. A page that cannot be read is an error."""
    for table in metadata.sorted_tables:
        yield table.name, int(connection.execute(select(func.count()).select_from(table)).scalar_one())


def broken_indexes(connection: Connection) -> list[str]:
    """Indexes that PostgreSQL itself does not use, because building them failed."""
    query = "SELECT CAST(indexrelid AS regclass) FROM pg_index WHERE NOT indisvalid"
    return [str(name) for name in connection.execute(text(query)).scalars()]


def _run(arguments: list[str], url: URL, option: str, output: int, source: int = subprocess.DEVNULL) -> None:
    _, parts = url.get_dialect()().create_connect_args(url)
    secret = parts.pop("password", None)
    with _password(secret) as variables:
        try:
            done = subprocess.run(
                [*arguments, option, postgresql.driver().extensions.make_dsn(**parts)],
                stdin=source,
                stdout=output,
                stderr=subprocess.PIPE,
                env={**os.environ, **variables},
                check=False,
            )
        except FileNotFoundError:
            raise DumpFailed(f"{arguments[0]} is not installed", missing=True) from None
    if done.returncode:
        said = done.stderr.decode("utf-8", "replace").strip().splitlines()
        raise DumpFailed(said[0][:500] if said else f"{arguments[0]} ended with {done.returncode}")


@contextmanager
def _password(secret: str | None) -> Iterator[dict[str, str]]:
    if secret is None:
        yield {}
        return
    with tempfile.TemporaryDirectory(prefix="dio-") as folder:
        file = Path(folder) / "pgpass"
        file.touch(0o600)
        escaped = secret.replace("\\", "\\\\").replace(":", "\\:")
        file.write_text(f"*:*:*:*:{escaped}\n", encoding="utf-8")
        yield {"PGPASSFILE": str(file)}
