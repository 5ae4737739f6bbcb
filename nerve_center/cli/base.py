"""What all commands of nervectl stand on: how they fail, the database as the right user, tables for people."""

from __future__ import annotations

import os
import pwd
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click
from sqlalchemy.engine import Connection

from nerve_center import admin
from nerve_center.clock import SystemClock, format_time, parse_time
from nerve_center.config import Config
from nerve_center.errors import DatabaseUnavailable, StartError
from nerve_center.store import migrate
from nerve_center.store.engine import reading, reading_engine
from nerve_center.store.place import Place, shown
from nerve_center.store.steady import offset_us
from nerve_center.store.writer import Writer

T = TypeVar("T")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_DURATION = re.compile(r"([0-9]{1,6})([mhd])")


class Until(click.ParamType):
    """An end: RFC 3339, or how long from now, such as 30m, 12h, 90d. Becomes microseconds since 1970."""

    name = "end"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        now_us = SystemClock().now_us()
        try:
            if found := _DURATION.fullmatch(str(value)):
                until_us = now_us + int(found[1]) * {"m": 60, "h": 3600, "d": 86400}[found[2]] * 1_000_000
                format_time(until_us)
            else:
                until_us = parse_time(str(value))
        except (ValueError, OverflowError):
            self.fail(f"{value!r} is no time such as 2026-01-01T00:00:00Z, nor 30m, 12h or 90d", param, ctx)
        if until_us <= now_us:
            self.fail(f"{value!r} is over already", param, ctx)
        return until_us


def check_name(name: str) -> None:
    """Raise Failed where this is no name for a token."""
    if not NAME.fullmatch(name):
        raise Failed(
            f"{name[:80]!r} is no name for a token",
            "use up to 64 letters, digits, dots, dashes and underscores, a letter or digit first",
        )


def label_of(text: str) -> tuple[str, str]:
    """Name and value of a label. Raises Failed."""
    name, equals, value = text.partition("=")
    if not (equals and 0 < len(name) <= 256 and len(value) <= 256 and text.isprintable()):
        raise Failed(f"{text[:80]!r} is no label", "write NAME=TEXT")
    return name, value


def shown_end(expires_us: int | None) -> str:
    """When something ends, for people."""
    if expires_us is None:
        return "-"
    over = " (over)" if expires_us <= SystemClock().now_us() else ""
    return format_time(expires_us)[:19] + "Z" + over


class Failed(click.ClickException):
    """What cannot be done, in two lines: what and why, then what to do."""

    def __init__(self, message: str, hint: str = "", code: int = 1) -> None:
        super().__init__(message)
        self.exit_code = code
        self._hint = hint

    def show(self, file: Any = None) -> None:
        click.echo(f"nervectl: {self.message}", err=True)
        if self._hint:
            click.echo(f"  {self._hint}", err=True)


def admin_call(action: Callable[[Path], T], path: Path) -> T:
    """Do something to a file. Raises Failed."""
    try:
        return action(path)
    except admin.AdminError as exc:
        raise Failed(str(exc), exc.hint) from exc


def open_database(settings: Config) -> Place:
    """Where the database is, once this process is the right user for it."""
    place = settings.database.place
    become_user(settings)
    if isinstance(place, Path):
        admin_call(admin.check_database, place)
    try:
        migrate.check(place)
    except DatabaseUnavailable as exc:
        raise Failed(f"{shown(place)}: {exc.full}", "try again in a moment") from exc
    except StartError as exc:
        raise Failed(
            str(exc), "start the nerve center, which brings it up to date: systemctl start dio-nerve-center"
        ) from exc
    return place


def become_user(settings: Config) -> None:
    """As root: become the user that the nerve center runs as. Raises Failed."""
    path = settings.database.path
    if settings.database.url and not path.parent.exists():
        return  # a machine without a nerve center, which only asks its database
    admin_call(admin.become_owner, path)


def read(settings: Config, work: Callable[[Connection], T]) -> T:
    """What `work` reads. Raises Failed."""
    engine = reading_engine(open_database(settings))
    try:
        with reading(engine) as connection:
            return work(connection)
    except DatabaseUnavailable as exc:
        raise Failed(exc.full, "try again in a moment") from exc
    finally:
        engine.dispose()


def write(settings: Config, work: Callable[[Connection], T]) -> T:
    """What `work` comes to, once it is committed. Raises Failed."""
    writer = Writer(open_database(settings), SystemClock())
    writer.start()
    try:
        return writer.submit(work)
    except DatabaseUnavailable as exc:
        raise Failed(exc.full, "try again in a moment") from exc
    finally:
        writer.stop()


def steady_us(connection: Connection) -> int:
    """Steady time now, in microseconds."""
    clock = SystemClock()
    return clock.boottime_us() + offset_us(connection, clock)


def aligned(table: Sequence[tuple[str, ...]]) -> str:
    """Rows as columns of text."""
    widths = [max(len(row[column]) for row in table) for column in range(len(table[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in table
    )


def actor() -> str:
    """Who runs this command, for the audit log: the one who called sudo, where there is one."""
    name = os.environ.get("SUDO_USER", "")
    if not name or os.getuid() != 0:
        try:
            name = pwd.getpwuid(os.getuid()).pw_name
        except KeyError:
            name = str(os.getuid())
    return f"local:{name}"
