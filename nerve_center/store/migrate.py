"""Bring the database to this version's tables, at the start and by itself.

The whole step is one BEGIN IMMEDIATE transaction, so that two processes that start at once take turns and a
crash leaves the old state. Where nothing is to be done Alembic is not even loaded. A database that a newer
version has changed is refused: going back would lose what it holds.
"""

from __future__ import annotations

import secrets
import sqlite3
import threading
from pathlib import Path

from sqlalchemy import insert, inspect, select, text
from sqlalchemy.engine import Connection, Engine

from nerve_center.clock import Clock
from nerve_center.errors import DatabaseUnavailable, StartError
from nerve_center.store import engine as engines
from nerve_center.store import steady
from nerve_center.store.tables import meta

_SCRIPTS = Path(__file__).parent / "migrations"
HEAD = max(script.name for script in (_SCRIPTS / "versions").glob("[0-9]*.py"))[:4]
"""The newest script's number: each is named by its own."""
_PATIENCE_S = 20.0
_PAUSE_S = 0.1


def prepare(path: Path, clock: Clock) -> None:
    """Make the database if it is not there, bring it up to date, and prove that it can be written.

    Waits up to 20 s for another process's lock, but only where there is something to migrate. Raises
    StartError, one sentence for a person.
    """
    _open(path)
    engine = engines.writing_engine(path)
    try:
        _until_unlocked(engine, path, clock)
    except DatabaseUnavailable as exc:
        raise StartError(_sentence(path, exc)) from exc
    finally:
        engine.dispose()


def _open(path: Path) -> None:
    try:
        engines.make_file(path)
    except FileNotFoundError as exc:
        raise StartError(
            f"cannot open the database {path}: there is no folder {path.parent}; "
            "create it or set [database] path"
        ) from exc
    except PermissionError as exc:
        raise StartError(
            f"cannot open the database {path}: permission denied; "
            "it and its folder must belong to the user that the nerve center runs as"
        ) from exc
    except OSError as exc:
        raise StartError(
            f"cannot open the database {path}: {exc.strerror}; check the disk or set [database] path"
        ) from exc


def _until_unlocked(engine: Engine, path: Path, clock: Clock) -> None:
    until = clock.monotonic() + _PATIENCE_S
    never = threading.Event()
    while True:
        try:
            with engines.translated():
                _bring_up(engine, path, clock)
        except DatabaseUnavailable as exc:
            if exc.kind != "locked":
                raise
            if is_current(path):
                return
            if clock.monotonic() >= until:
                raise
            clock.wait(never, _PAUSE_S)
        else:
            return


def is_current(path: Path) -> bool:
    """Whether a database has this version's tables; also where another process has locked it for writing."""
    try:
        raw = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
        try:
            row = raw.execute("SELECT version_num FROM alembic_version").fetchone()
        finally:
            raw.close()
    except sqlite3.Error:
        return False
    return row is not None and row[0] == HEAD


def _bring_up(engine: Engine, path: Path, clock: Clock) -> None:
    if _is_new(engine):
        _settings_of_a_new_file(engine)
    with engine.connect() as connection:
        engines.begin_immediate(connection)
        revision = _revision(connection)
        if revision != HEAD:
            _migrate(connection, revision, path)
        _first_rows(connection)
        steady.settle(connection, clock)
        connection.commit()


def _is_new(engine: Engine) -> bool:
    return Path(str(engine.url.database)).stat().st_size == 0


def _settings_of_a_new_file(engine: Engine) -> None:
    """What SQLite settles for good before the first table, and outside a transaction."""
    connection = engine.raw_connection()
    try:
        cursor = connection.cursor()
        cursor.execute("PRAGMA auto_vacuum = INCREMENTAL")
        cursor.execute("PRAGMA journal_mode = WAL")
    finally:
        connection.close()


def _revision(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    found = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    return str(found) if found is not None else None


def _migrate(connection: Connection, revision: str | None, path: Path) -> None:
    from alembic import command
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    settings = Config()
    settings.set_main_option("script_location", str(_SCRIPTS).replace("%", "%%"))
    settings.attributes["connection"] = connection
    known = {script.revision for script in ScriptDirectory.from_config(settings).walk_revisions()}
    if revision is not None and revision not in known:
        raise StartError(
            f"the database {path} was made by a newer version (its tables are at {revision}, "
            f"this version knows up to {HEAD}); install that version again or restore an older copy"
        )
    if revision is None and inspect(connection).get_table_names():
        raise StartError(f"{path} is a database of something else; set [database] path to another file")
    command.upgrade(settings, "head")


def _first_rows(connection: Connection) -> None:
    """The center's own id; writing it, or the probe's row, also proves that the database takes writes."""
    if connection.execute(select(meta.c.value).where(meta.c.name == "center_id")).first() is None:
        connection.execute(insert(meta).values(name="center_id", value=secrets.token_hex(16)))
    connection.execute(text("INSERT OR REPLACE INTO meta (name, value) VALUES ('probe', 'start')"))


def _sentence(path: Path, problem: DatabaseUnavailable) -> str:
    remedy = {
        "locked": "another program holds it; end that program",
        "read_only": "make the file, its folder and its filesystem writable for the nerve center's user",
        "full": "free some space on that disk",
        "corrupt": "move the file away and start again (agents deliver anew what they still have), "
        "or restore a copy",
    }.get(problem.kind, "check the disk and the kernel's log")
    return f"cannot use the database {path}: {problem.reason}; {remedy}"
