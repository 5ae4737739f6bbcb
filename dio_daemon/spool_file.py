"""The spool's file as the system and SQLite see it: which one it is, and what their errors mean."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dio_daemon.errors import SpoolCorrupt, SpoolUnavailable
from dio_daemon.spool_store import NotASpool


def file_id(path: Path | str) -> tuple[int, int] | None:
    """Which file is there; None when there is none. Raises OSError where that cannot be known."""
    try:
        found = Path(path).stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return found.st_dev, found.st_ino


_DISK = {
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_NOMEM,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_INTERRUPT,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_PROTOCOL,
    sqlite3.SQLITE_NOLFS,
    sqlite3.SQLITE_AUTH,
}
"""SQLite's errors that say that the file cannot be used now; all others say that it is not what was written."""


@contextmanager
def translated(path: Path | str) -> Iterator[None]:
    """SQLite's errors as ours, here and nowhere else."""
    try:
        yield
    except sqlite3.Error as error:
        if getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT) & 0xFF in _DISK:
            raise SpoolUnavailable(f"The spool {path} cannot be used: {error}") from error
        raise SpoolCorrupt(f"The spool {path} is damaged: {error}") from error
    except (NotASpool, OverflowError) as error:
        raise SpoolCorrupt(f"The spool {path} is damaged: {error}") from error
    except OSError as error:
        raise SpoolUnavailable(f"The spool {path} cannot be used: {error.strerror}") from error
