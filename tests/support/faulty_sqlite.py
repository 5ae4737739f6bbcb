"""SQLite connections whose disk can be made to refuse: at the opening, at a write, or after a commit that was made."""

import sqlite3
from collections.abc import Iterable
from typing import Any

ENOSPC = ("database or disk is full", sqlite3.SQLITE_FULL)
EROFS = ("attempt to write a readonly database", sqlite3.SQLITE_READONLY)
EMFILE = ("unable to open database file", sqlite3.SQLITE_CANTOPEN)
EIO = ("disk I/O error", sqlite3.SQLITE_IOERR)

_REAL_CONNECT = sqlite3.connect


class Disk:
    """The disk under all connections made by `connect`; those in memory have none."""

    def __init__(self) -> None:
        self.refuses_to_open = False
        self.error = ENOSPC
        self.writes_left: int | None = None
        """Writes until the disk refuses; None as long as it does not."""
        self.commit_unheard: int | None = None
        """After so many others a commit is made and reported as failed, and everything after it refused."""

    def heal(self) -> None:
        self.refuses_to_open, self.writes_left, self.commit_unheard = False, None, None

    def connect(self, path: str, **options: Any) -> sqlite3.Connection:
        if path == ":memory:":
            return _REAL_CONNECT(path, **options)
        if self.refuses_to_open:
            raise failure(*EMFILE)
        disk = self

        class Connection(sqlite3.Connection):
            def execute(self, sql: str, *parameters: Any) -> sqlite3.Cursor:
                if sql == "COMMIT" and disk.commit_unheard is not None:
                    disk.commit_unheard -= 1
                    if disk.commit_unheard < 0:
                        super().execute(sql)
                        disk.commit_unheard, disk.writes_left = None, 0
                        raise failure(*EIO)
                disk.check(sql)
                return super().execute(sql, *parameters)

            def executemany(self, sql: str, parameters: Iterable[Any]) -> sqlite3.Cursor:
                disk.check(sql)
                return super().executemany(sql, parameters)

        return _REAL_CONNECT(path, factory=Connection, **options)

    def check(self, sql: str) -> None:
        """Count a statement; raises when it writes and the disk refuses."""
        if self.writes_left is None or not sql.startswith(("INSERT", "DELETE", "COMMIT", "CREATE")):
            return
        if self.writes_left == 0:
            raise failure(*self.error)
        self.writes_left -= 1


def failure(sentence: str, code: int) -> sqlite3.OperationalError:
    """An error as SQLite makes it."""
    error = sqlite3.OperationalError(sentence)
    error.sqlite_errorcode = code
    return error
