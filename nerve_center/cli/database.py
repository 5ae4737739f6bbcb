"""nervectl database: bring up to date, check, back up, restore, copy into one of PostgreSQL."""

from __future__ import annotations

import os
import shutil
import sqlite3
import sys
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path

import click
from sqlalchemy.engine import URL, make_url

from nerve_center import admin, config, healthcheck
from nerve_center.cli import postgresql
from nerve_center.cli.base import Failed, admin_call, become_user
from nerve_center.clock import SystemClock
from nerve_center.config import Config
from nerve_center.errors import StartError
from nerve_center.store import copies, migrate
from nerve_center.store.place import shown


@click.group("database")
def database() -> None:
    """The nerve center's database: bring it up to date, check it, back it up, restore it."""


@database.command("migrate")
@click.pass_obj
def database_migrate(settings: Config) -> None:
    """Bring the database to this version's tables, as the nerve center does when it starts."""
    place = settings.database.place
    become_user(settings)
    try:
        migrate.prepare(place, SystemClock())
    except StartError as exc:
        raise Failed(str(exc)) from exc
    click.echo(f"{shown(place)} has the tables of this version ({migrate.HEAD})")


@database.command("check")
@click.option("--quick", is_flag=True, help="Leave out whether each index agrees with its table.")
@click.pass_obj
def database_check(settings: Config, quick: bool) -> None:
    """Look through the whole database for damage; it may be in use. Exit code 1 when there is any."""
    place = settings.database.place
    if not isinstance(place, Path):
        become_user(settings)
        postgresql.check(place)
        return
    path = _own(settings)
    found = _checked(path, not quick)
    for fault in found.faults:
        click.echo(fault)
    if found.faults:
        raise Failed(
            f"{path} is damaged", "restore a backup: nervectl database restore FILE; agents deliver anew"
        )
    if not found.current:
        raise Failed(
            f"{path} is sound, but not of this version (tables {found.revision}, wanted {migrate.HEAD})",
            "bring it up to date: nervectl database migrate",
        )
    click.echo(
        f"{path} is sound: tables {found.revision}, {_size(found.bytes_used)}, "
        f"{_size(found.bytes_free)} of it free"
    )


@database.command("backup")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.pass_obj
def database_backup(settings: Config, file: Path) -> None:
    """Write a copy of one moment of the database to FILE, which must not be there yet.

    The nerve center may go on meanwhile. The copy is checked before FILE appears.
    """
    path, file = settings.database.path, file.absolute()
    if file.exists():
        raise Failed(f"{file} is there already", "name a file that is not, or remove that one")
    partial = file.with_name(f".{file.name}.partial")
    try:
        partial.unlink(missing_ok=True)
        handle = os.open(partial, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except OSError as exc:
        raise Failed(f"cannot write {file}: {exc.strerror}", "name a file in a folder that is there") from exc
    try:
        with os.fdopen(handle, "w+b") as target:
            _as_owner(path, lambda: _copy_out(settings, target.fileno()))
        partial.rename(file)
    except OSError as exc:
        raise Failed(
            f"cannot write {file}: {exc.strerror}", "make room there, or name another place"
        ) from exc
    finally:
        partial.unlink(missing_ok=True)
    checked = ", checked" if isinstance(settings.database.place, Path) else ""
    click.echo(f"{file}: {_size(file.stat().st_size)}{checked}")


@database.command("restore")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False, exists=True, readable=True))
@click.pass_obj
def database_restore(settings: Config, file: Path) -> None:
    """Put the backup FILE in the place of the database, which is kept beside it.

    The nerve center must be stopped. Afterwards the agents fill up what they still have. A database of PostgreSQL has
    to be empty.
    """
    path, place = settings.database.path, settings.database.place
    _check_stopped(settings)
    if not isinstance(place, Path):
        with file.open("rb") as dump:
            become_user(settings)
            postgresql.restore(place, dump.fileno())
        return
    with file.open("rb") as source:
        admin_call(admin.become_owner, path)
        try:
            with tempfile.TemporaryDirectory(prefix=".restore-", dir=path.parent) as folder:
                copy = Path(folder) / "nerve-center.db"
                with copy.open("wb") as target:
                    shutil.copyfileobj(source, target, 1024 * 1024)
                    target.flush()
                    os.fsync(target.fileno())
                copy.chmod(0o600)
                found = _checked(copy, thorough=True, shown=file)
                if found.faults or found.revision is None:
                    why = found.faults[0] if found.faults else "it has no tables of a nerve center"
                    raise Failed(f"{file} is no sound backup: {why}", "nothing was changed; use another one")
                if found.revision > migrate.HEAD:
                    raise Failed(
                        f"{file} is of a newer version (tables {found.revision}, this one has {migrate.HEAD})",
                        "nothing was changed; install that version first",
                    )
                aside = copies.put_in_place(copy, path)
        except OSError as exc:
            raise Failed(
                f"cannot restore to {path}: {exc.strerror}", "look at the disk; the database is as it was"
            ) from exc
    if aside is not None:
        click.echo(f"what was there is kept as {aside}")
    click.echo(f"restored {path}; start the nerve center: systemctl start dio-nerve-center")


@database.command("copy")
@click.argument("to", metavar="TO_URL")
@click.pass_obj
def database_copy(settings: Config, to: str) -> None:
    """Copy everything from SQLite into an empty database of PostgreSQL.

    TO_URL is its URL or, where that has a password, a file that only its owner can read and that holds nothing else.
    The nerve center must be stopped. All is copied and counted, or nothing; the old database stays as it is. Then name
    the new one in [database] url or url_file, and start the nerve center: the agents go on where they were.
    """
    source = settings.database.place
    if not isinstance(source, Path):
        raise Failed(f"{shown(source)} is of PostgreSQL already", "only SQLite's file can be copied from")
    url = _target(to)
    _check_stopped(settings)
    _own(settings)
    postgresql.copy(source, url)
    click.echo("name it in [database] url or url_file, then: systemctl start dio-nerve-center")


def _target(to: str) -> URL:
    """The URL that was given, or stands in the file that was named. Raises Failed."""
    hint = "give a URL such as postgresql://user@host/database, or a file that holds one"
    try:
        if "://" not in to:
            return make_url(config.read_url(Path(to)))
        url = make_url(config.check_url(to))
    except OSError as exc:
        raise Failed(f"{to}: {exc.strerror}", hint) from exc
    except ValueError as exc:
        raise Failed(f"the target {exc}", hint) from exc
    if url.password or "password" in url.query:
        raise Failed(
            "everybody on this host can read a password among the arguments",
            "write the URL into a file that only you can read, and name that file",
        )
    return url


def _check_stopped(settings: Config) -> None:
    if healthcheck.ask(settings.server.host, settings.server.port, 3.0).alive:
        raise Failed("the nerve center is running", "stop it first: systemctl stop dio-nerve-center")


def _own(settings: Config) -> Path:
    path = settings.database.path
    admin_call(admin.become_owner, path)
    admin_call(admin.check_database, path)
    return path


def _checked(path: Path, thorough: bool, shown: Path | None = None) -> copies.Checked:
    try:
        return copies.check(path, thorough)
    except sqlite3.Error as exc:
        hint = "try again in a moment" if "locked" in str(exc) else "restore a backup, or move the file away"
        raise Failed(f"{shown or path} cannot be checked: {exc}", hint) from exc


def _copy_out(settings: Config, target: int) -> None:
    """Copy beside the database, check, and write the bytes to the open file; PostgreSQL writes there by itself."""
    place = settings.database.place
    if not isinstance(place, Path):
        become_user(settings)
        postgresql.copy_out(place, target)
        return
    path = _own(settings)
    try:
        with tempfile.TemporaryDirectory(prefix=".backup-", dir=path.parent) as folder:
            if not copies.room_for(path.stat().st_size, path.parent):
                raise Failed(
                    f"no room in {path.parent} for a copy", f"free {_size(path.stat().st_size)} on that disk"
                )
            copy = Path(folder) / "copy.db"
            os.close(os.open(copy, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
            copies.make(path, copy, _progress)
            found = _checked(copy, thorough=False)
            if found.faults:
                raise Failed(f"the copy is damaged: {found.faults[0]}", "see: nervectl database check")
            with copy.open("rb") as source, os.fdopen(os.dup(target), "wb") as out:
                shutil.copyfileobj(source, out, 1024 * 1024)
                out.flush()
                os.fsync(out.fileno())
    except sqlite3.Error as exc:
        raise Failed(f"cannot copy {path}: {exc}", "see: nervectl database check") from exc


def _as_owner(path: Path, work: Callable[[], None]) -> None:
    """Do it as the owner of the database's folder, and come back as who this was."""
    if os.geteuid() != 0 or not path.parent.exists() or path.parent.stat().st_uid == 0:
        work()
        return
    child = os.fork()
    if child == 0:
        code = 1
        try:
            work()
            code = 0
        except Failed as exc:
            exc.show()
        except Exception:  # noqa: BLE001 this process has nobody else to tell
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    _, status = os.waitpid(child, 0)
    if os.waitstatus_to_exitcode(status) != 0:
        raise click.exceptions.Exit(1)


def _progress(left: int, total: int) -> None:
    """How far it is, for a person who watches."""
    if sys.stderr.isatty():
        done = 100 if total == 0 else round(100 * (total - left) / total)
        click.echo(f"\r{done:3d} %", nl=left == 0, err=True)


def _size(number: int) -> str:
    return f"{number / 1024**3:.1f} GiB" if number >= 1024**3 else f"{number / 1024**2:.1f} MiB"
