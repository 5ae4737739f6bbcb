"""Bring the database to this version's tables, at the start and by itself.

The whole step is one transaction beside which nobody writes, so that two processes that start at once take turns and a
crash leaves the old state. Where nothing is to be done Alembic is not even loaded.

Nerve centers of two versions may share a database while one after the other is upgraded. The tables name the oldest
version that can work with them (`OLDEST`): that one is served until its turn comes, and may be started again. What is
older is refused: going back would lose what the tables hold.
"""

from __future__ import annotations

import secrets
import threading
from pathlib import Path

from sqlalchemy import insert, inspect, select, text
from sqlalchemy.engine import Connection, Engine

from nerve_center.clock import Clock
from nerve_center.errors import DatabaseUnavailable, StartError
from nerve_center.store import engine as engines
from nerve_center.store import settings, sqlite, steady
from nerve_center.store.place import Place, shown
from nerve_center.store.tables import meta

_SCRIPTS = Path(__file__).parent / "migrations"
HEAD = max(script.name for script in (_SCRIPTS / "versions").glob("[0-9]*.py"))[:4]
"""The newest script's number: each is named by its own."""
OLDEST = "0009"
"""The newest script of the oldest version that may work with a database beside this one. Scripts after it only add,
and what its version could not read is not written where it may be; a later version, that no longer runs beside it,
raises this."""
_PATIENCE_S = 20.0
_PAUSE_S = 0.1


def prepare(place: Place, clock: Clock) -> None:
    """Make the tables if there are none, bring them up to date, and prove that they can be written.

    Waits up to 20 s for another process's lock, but only where there is something to migrate, and for a database
    that cannot be reached. Raises StartError, one sentence for a person.
    """
    if isinstance(place, Path):
        _open(place)
    engine = engines.writing_engine(place)
    try:
        _until_unlocked(engine, place, clock)
    except DatabaseUnavailable as exc:
        raise StartError(_sentence(place, exc)) from exc
    finally:
        engine.dispose()


def _open(path: Path) -> None:
    try:
        sqlite.make_file(path)
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


def _until_unlocked(engine: Engine, place: Place, clock: Clock) -> None:
    until = clock.monotonic() + _PATIENCE_S
    never = threading.Event()
    while True:
        try:
            with engines.translated():
                _bring_up(engine, place, clock)
        except DatabaseUnavailable as exc:
            if exc.kind not in ("locked", "away"):
                raise
            if exc.kind == "locked" and is_current(place):
                return
            if clock.monotonic() >= until:
                raise
            clock.wait(never, _PAUSE_S)
        else:
            return


def is_current(place: Place) -> bool:
    """Whether a database has this version's tables; also where another process has locked it for writing.

    False where it does not answer or is not there.
    """
    if isinstance(place, Path) and not place.exists():
        return False
    try:
        check(place)
    except (DatabaseUnavailable, StartError):
        return False
    return True


def check(place: Place) -> None:
    """Raise StartError where a database has not this version's tables, DatabaseUnavailable where it does not answer."""
    engine = engines.reading_engine(place)
    try:
        with engines.reading(engine) as connection:
            if not _fits(connection, _revision(connection)):
                raise StartError(f"{shown(place)} is not a database of this version")
    finally:
        engine.dispose()


def _bring_up(engine: Engine, place: Place, clock: Clock) -> None:
    if isinstance(place, Path):
        sqlite.settings_of_a_new_file(place, engine)
    with engine.connect() as connection:
        engines.begin_writing(connection)
        revision = _revision(connection)
        if not _fits(connection, revision):
            _migrate(connection, revision, place)
        if revision is None:  # nobody older has worked with it
            settings.put(connection, settings.OLDEST, HEAD)
        elif revision <= HEAD and (settings.get(connection, settings.OLDEST) or "") < OLDEST:
            settings.put(connection, settings.OLDEST, OLDEST)
        _first_rows(connection)
        steady.settle(connection, clock)
        connection.commit()


def _revision(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    found = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    return str(found) if found is not None else None


def _fits(connection: Connection, revision: str | None) -> bool:
    """Whether the tables are this version's, or those of a newer one that this version can work with."""
    if revision is None or not revision.isdigit() or revision <= HEAD:
        return revision == HEAD
    oldest = settings.get(connection, settings.OLDEST) if inspect(connection).has_table(meta.name) else None
    return oldest is not None and oldest <= HEAD


def _migrate(connection: Connection, revision: str | None, place: Place) -> None:
    from alembic import command
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    scripts = Config()
    scripts.set_main_option("script_location", str(_SCRIPTS).replace("%", "%%"))
    scripts.attributes["connection"] = connection
    known = {script.revision for script in ScriptDirectory.from_config(scripts).walk_revisions()}
    if revision is not None and revision not in known:
        raise StartError(
            f"the database {shown(place)} was made by a newer version (its tables are at {revision}, "
            f"this version knows up to {HEAD}); install that version again or restore an older copy"
        )
    if revision is None and inspect(connection).get_table_names():
        another = "path to another file" if isinstance(place, Path) else "url to another database"
        raise StartError(f"{shown(place)} is a database of something else; set [database] {another}")
    command.upgrade(scripts, "head")


def _first_rows(connection: Connection) -> None:
    """The center's own id; writing it, or the probe's row, also proves that the database takes writes."""
    if connection.execute(select(meta.c.value).where(meta.c.name == "center_id")).first() is None:
        connection.execute(insert(meta).values(name="center_id", value=secrets.token_hex(16)))
    settings.put(connection, "probe", "start")


def _sentence(place: Place, problem: DatabaseUnavailable) -> str:
    file = isinstance(place, Path)
    remedy = {
        "locked": "another program holds it; end that program",
        "read_only": "make the file, its folder and its filesystem writable for the nerve center's user"
        if file
        else "this server is a copy that follows another; name the one that takes writes in [database] url",
        "full": "free some space on that disk",
        "corrupt": "move the file away and start again (agents deliver anew what they still have), "
        "or restore a copy"
        if file
        else "restore a copy",
        "away": "is PostgreSQL running, and do host, user, password and database in [database] url fit?",
        "refused": "check user, password and database in [database] url, and the user's rights",
    }.get(problem.kind, "check the disk and the kernel's log")
    return f"cannot use the database {shown(place)}: {problem.full}; {remedy}"
