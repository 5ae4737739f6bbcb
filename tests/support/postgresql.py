"""A PostgreSQL of the tests' own: a cluster in a temporary folder, reached by a socket there, without a port.

One cluster a test process, made when the first test asks for a database and gone with the process. It syncs nothing to
disk, so it is quick and is worth nothing after a crash. Each test gets a database of its own, copied from a template.
PostgreSQL refuses to run as root; then it runs as the user of Debian's package.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import fcntl
import itertools
import os
import pwd
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import psycopg2

_PR_SET_PDEATHSIG = 1
_START_S = 90.0
_PREFIX, _CLAIM = "dio-pg-", "claim"
_PARTS = Path("/usr/lib/postgresql")
_SETTINGS = {
    "listen_addresses": "",
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "shared_buffers": "32MB",
    "max_connections": "150",
    "autovacuum": "off",
    "dynamic_shared_memory_type": "mmap",
    "log_min_messages": "warning",
}


class Cluster:
    """A running server; `stop` ends it and removes what it kept."""

    def __init__(self, **settings: str) -> None:
        self.programs = _programs()
        self._user = _user()
        self.folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
        aside = self.folder / "aside"
        self._claim = aside.open("w")
        fcntl.flock(self._claim, fcntl.LOCK_EX)
        aside.rename(self.folder / _CLAIM)
        self.folder.chmod(0o755)
        self._data = self.folder / "data"
        self._number = itertools.count(1)
        self._settings = {**_SETTINGS, **settings, "unix_socket_directories": str(self.folder)}
        if self._user:
            shutil.chown(self.folder, self._user)
        self._run(
            "initdb", "-D", str(self._data), "-U", "dio", "-A", "trust", "-N", "-E", "UTF8", "--no-locale"
        )
        self._server: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        """Start the server and wait until it takes connections."""
        options = [part for name, value in self._settings.items() for part in ("-c", f"{name}={value}")]
        with (self.folder / "log").open("ab") as log:
            self._server = subprocess.Popen(
                [self.programs / "postgres", "-D", str(self._data), *options],
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                user=self._user,
                group=None if self._user is None else pwd.getpwnam(self._user).pw_gid,
                extra_groups=None if self._user is None else [],
                start_new_session=True,
                preexec_fn=_end_with_us,  # noqa: PLW1509 nothing but one system call
            )
        until = time.monotonic() + _START_S
        while True:
            try:
                psycopg2.connect(self.dsn("postgres")).close()
            except psycopg2.OperationalError as exc:
                if self._server.poll() is not None or time.monotonic() > until:
                    raise RuntimeError((self.folder / "log").read_text()) from exc
                time.sleep(0.05)
            else:
                return

    def end(self, number: int = signal.SIGQUIT) -> None:
        """End the server at once, as a crash would; what it keeps stays."""
        if self._server is not None:
            self._server.send_signal(number)
            self._server.wait(60)
            self._server = None

    def stop(self) -> None:
        self.end()
        shutil.rmtree(self.folder, ignore_errors=True)
        self._claim.close()

    def dsn(self, database: str) -> str:
        return f"host={self.folder} user=dio dbname={database}"

    def url(self, database: str) -> str:
        return f"postgresql://dio@/{database}?host={self.folder}"

    def create(self, template: str = "template0", name: str | None = None) -> str:
        """A new database; its name."""
        name = name or f"d{next(self._number)}_{secrets.token_hex(4)}"
        self.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        return name

    def drop(self, name: str) -> None:
        self.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")

    def execute(self, statement: str, database: str = "postgres") -> list[Any]:
        """Run one statement outside a transaction; the rows that it gives."""
        connection = psycopg2.connect(self.dsn(database))
        try:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(statement)
                return cursor.fetchall() if cursor.description else []
        finally:
            connection.close()

    def _run(self, program: str, *arguments: str) -> None:
        done = subprocess.run(
            [self.programs / program, *arguments],
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=_START_S,
            user=self._user,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"{program}: {done.stdout}{done.stderr}")


@cache
def cluster() -> Cluster:
    """The one of this process."""
    _remove_what_others_left()
    made = Cluster()
    atexit.register(made.stop)
    return made


@cache
def template(prepare: Callable[[str], None]) -> str:
    """A database that `prepare(url)` has filled, to copy others from."""
    name = cluster().create()
    prepare(cluster().url(name))
    return name


def _remove_what_others_left() -> None:
    """A test process that was killed could not remove its cluster; the claim on it went with the process."""
    for claim in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*/{_CLAIM}"):
        with contextlib.suppress(OSError), claim.open("r+") as held:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(claim.parent, ignore_errors=True)


def _programs() -> Path:
    found = sorted(_PARTS.glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    if not found:
        raise RuntimeError(f"PostgreSQL is not in {_PARTS}; install it: scripts/test-tools")
    return found[-1].parent


def _user() -> str | None:
    return "postgres" if os.geteuid() == 0 else None


def _end_with_us() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGQUIT)
