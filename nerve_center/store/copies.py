"""Copies of an SQLite database: made while it is in use, checked, and put in its place.

A copy is made by SQLite's own backup, of one moment of the database, however much is committed meanwhile. Pages are
copied in steps with pauses, so nobody waits; the write-ahead log grows until the copy is done.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from nerve_center.store.migrate import HEAD

_STEP_PAGES = 2000
_PAUSE_S = 0.005
_MOST_FAULTS = 20


@dataclass(frozen=True)
class Checked:
    """What a check found. `revision` is the version of the tables, None where these are not a nerve center's."""

    faults: tuple[str, ...]
    revision: str | None
    bytes_used: int
    bytes_free: int

    @property
    def current(self) -> bool:
        return self.revision == HEAD


def make(source: Path, target: Path, progress: Callable[[int, int], None]) -> None:
    """Copy a database into the file `target`, which is there and empty. Raises sqlite3.Error.

    `progress` gets how many pages are left, and how many there are.
    """
    with _opened(source) as reader, _opened(target) as writer:
        # One view of it from the first page to the last: otherwise SQLite begins again at every commit of others.
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM sqlite_master").fetchone()
        writer.execute("PRAGMA journal_mode = OFF")
        writer.execute("PRAGMA synchronous = OFF")
        reader.backup(
            writer, pages=_STEP_PAGES, sleep=_PAUSE_S, progress=lambda _, left, total: progress(left, total)
        )
    handle = os.open(target, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def check(path: Path, thorough: bool = True) -> Checked:
    """Look through a database for damage. Raises sqlite3.Error where it is none at all, or is locked."""
    with _opened(path) as raw:
        what = "integrity_check" if thorough else "quick_check"
        faults = [str(row[0]) for row in raw.execute(f"PRAGMA {what}({_MOST_FAULTS})")]
        if faults == ["ok"]:
            faults = [
                f"a row of {row[0]} refers to a row of {row[2]} that is not there"
                for _, row in zip(range(_MOST_FAULTS), raw.execute("PRAGMA foreign_key_check"), strict=False)
            ]
        size = int(raw.execute("PRAGMA page_size").fetchone()[0])
        pages = int(raw.execute("PRAGMA page_count").fetchone()[0])
        free = int(raw.execute("PRAGMA freelist_count").fetchone()[0])
        return Checked(tuple(faults), _revision(raw), pages * size, free * size)


def put_in_place(copy: Path, database: Path) -> Path | None:
    """Make a checked copy the database; where what was there lies now, None where nothing was. Raises OSError."""
    aside = None
    if database.exists():
        aside = _free_name(database)
        # The log first: a database without its log is one of a moment ago, a log without its database is nothing.
        for suffix in ("-wal", "-shm"):
            part = database.with_name(database.name + suffix)
            if part.exists():
                part.rename(aside.with_name(aside.name + suffix))
        database.rename(aside)
    copy.rename(database)
    handle = os.open(database.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
    return aside


def room_for(size: int, folder: Path) -> bool:
    """Whether a file of so many bytes fits into a folder."""
    return shutil.disk_usage(folder).free > size + 16 * 1024 * 1024


def _free_name(database: Path) -> Path:
    number = 1
    while (found := database.with_name(f"{database.name}.before-restore.{number}")).exists():
        number += 1
    return found


def _revision(raw: sqlite3.Connection) -> str | None:
    try:
        row = raw.execute("SELECT version_num FROM alembic_version").fetchone()
    except sqlite3.OperationalError:
        return None
    return None if row is None else str(row[0])


class _opened:  # noqa: N801 used as a function
    """A connection that is closed at the end; sqlite3's own `with` only commits."""

    def __init__(self, path: Path) -> None:
        self._raw = sqlite3.connect(path, timeout=10.0, isolation_level=None)

    def __enter__(self) -> sqlite3.Connection:
        return self._raw

    def __exit__(self, *_: object) -> None:
        self._raw.close()
