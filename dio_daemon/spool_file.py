"""The spool's file as the system and SQLite see it: which one it is, and what their errors mean."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dio_daemon.errors import SpoolCorrupt, SpoolUnavailable
from dio_daemon.spool_store import LOG_BYTES, NotASpool

RESERVED_BYTES = LOG_BYTES + LOG_BYTES // 20
"""What the log grows to before it is written over from its beginning: its bound, and what one commit exceeds it by."""


def file_id(path: Path | str) -> tuple[int, int] | None:
    """Which file is there; None when there is none. Raises OSError where that cannot be known."""
    try:
        found = Path(path).stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return found.st_dev, found.st_ino


def reserve_log(path: Path | str) -> None:
    """Give the write-ahead log its whole length at once: a commit that makes it longer waits for the disk twice, for
    what it wrote and for the new length. SQLite takes zeros behind the last commit for the log's end.

    They are written: place that is only set aside (fallocate) makes each commit note as well that it is in use now.
    """
    try:
        log = os.open(f"{path}-wal", os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:  # in memory, or a disk that will say so itself
        return
    try:
        length = os.fstat(log).st_size
        missing = RESERVED_BYTES - length
        if missing <= 0:
            return
        try:
            written = os.pwrite(log, bytes(missing), length)
        except OSError:
            written = 0
        if written < missing:  # a full disk keeps its last blocks for records
            os.ftruncate(log, length)
    except OSError:
        return
    finally:
        os.close(log)


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
