"""nervectl user: people who may log in to the pages."""

from __future__ import annotations

import json
import secrets
import sys
from pathlib import Path

import click
from sqlalchemy.engine import Connection

from nerve_center import passwords
from nerve_center.auth import hash_of
from nerve_center.cli.base import Failed, actor, aligned, read, steady_us, write
from nerve_center.clock import SystemClock, format_time
from nerve_center.config import Config
from nerve_center.people import LINK_S, NAME, ROLES
from nerve_center.store import audit, users

_ROLE = click.Choice(ROLES)
_FILE = click.Option(
    ["--password-file"],
    type=click.Path(path_type=Path, dir_okay=False, allow_dash=True),
    help="A file that holds the password; - for standard input. Without it, it is asked for.",
)


@click.group()
def user() -> None:
    """People who may log in to the nerve center's pages."""


@user.command("add")
@click.argument("name")
@click.option("--role", type=_ROLE, default="viewer", show_default=True, help="What this person may do.")
@click.pass_obj
def add(settings: Config, name: str, role: str, password_file: Path | None) -> None:
    """Let NAME log in.

    A viewer sees everything, an operator also deals with threats and enrolls hosts, an admin also manages people.
    """
    if not NAME.fullmatch(name):
        raise Failed(
            f"{name[:80]!r} is no name for a person",
            "use up to 64 letters, digits, dots, dashes, underscores and @, a letter or digit first",
        )
    who, made = actor(), _hash(_password(password_file, name))

    def work(connection: Connection) -> bool:
        if users.find(connection, name) is not None:
            return False
        now_us = SystemClock().now_us()
        users.add(connection, name, made, role, now_us)
        audit.note(connection, now_us, who, "user.add", name, {"role": role})
        return True

    if not write(settings, work):
        raise Failed(f"there is a user {name} already", f"see: nervectl user role {name} ROLE")
    click.echo(
        f"{name} can log in as {role} on the nerve center's page, at the address that agents report to."
    )


@user.command("first")
@click.pass_obj
def first(settings: Config) -> None:
    """Make the admin `admin` with a password that is printed, if nobody can log in yet; else print nothing."""
    password, who = secrets.token_urlsafe(15), actor()
    made = _hash(password)

    def work(connection: Connection) -> bool:
        if users.is_there_anyone(connection):
            return False
        now_us = SystemClock().now_us()
        users.add(connection, "admin", made, "admin", now_us)
        audit.note(connection, now_us, who, "user.add", "admin", {"role": "admin"})
        return True

    if write(settings, work):
        click.echo(f"admin {password}")


@user.command("list")
@click.option("--json", "as_json", is_flag=True, help="For programs: one JSON document.")
@click.pass_obj
def list_users(settings: Config, as_json: bool) -> None:
    """List who may log in."""
    rows = read(settings, users.everyone)
    if as_json:
        listed = [
            {
                "name": row.name,
                "role": row.role,
                "created_at": format_time(row.created_us),
                "disabled": row.disabled_us is not None,
            }
            for row in rows
        ]
        click.echo(json.dumps({"users": listed}, indent=2))
    elif rows:
        table = [("NAME", "ROLE", "CREATED", "")]
        for row in rows:
            created = format_time(row.created_us)[:19] + "Z"
            table.append((row.name, row.role, created, "" if row.disabled_us is None else "disabled"))
        click.echo(aligned(table))
    else:
        click.echo("Nobody can log in yet. Make somebody with: nervectl user add NAME --role admin")


@user.command("remove")
@click.argument("name")
@click.pass_obj
def remove(settings: Config, name: str) -> None:
    """Remove NAME; whoever is logged in as NAME is out at once."""
    who = actor()

    def work(connection: Connection) -> bool:
        gone = users.remove(connection, name)
        if gone:
            audit.note(connection, SystemClock().now_us(), who, "user.remove", name)
        return gone

    _known(write(settings, work), name)
    click.echo(f"{name} is removed")
    _last_admin(settings)


@user.command("password")
@click.argument("name")
@click.pass_obj
def password(settings: Config, name: str, password_file: Path | None) -> None:
    """Give NAME another password; whoever is logged in as NAME is out at once."""
    who, made = actor(), _hash(_password(password_file, name))

    def work(connection: Connection) -> bool:
        if not users.change(connection, name, password_hash=made):
            return False
        users.end_sessions(connection, name)
        audit.note(connection, SystemClock().now_us(), who, "user.password", name)
        return True

    _known(write(settings, work), name)
    click.echo(f"{name} has a new password")


@user.command("role")
@click.argument("name")
@click.argument("role", type=_ROLE)
@click.pass_obj
def role(settings: Config, name: str, role: str) -> None:
    """Give NAME another role, from the next request on."""
    _change(settings, name, "user.role", {"role": role}, role=role)
    click.echo(f"{name} is {role} now")
    _last_admin(settings)


@user.command("disable")
@click.argument("name")
@click.pass_obj
def disable(settings: Config, name: str) -> None:
    """Refuse NAME until `user enable`; whoever is logged in as NAME is out at once."""
    _change(settings, name, "user.disable", {}, disabled_us=SystemClock().now_us())
    click.echo(f"{name} cannot log in any more; undo it with: nervectl user enable {name}")
    _last_admin(settings)


@user.command("enable")
@click.argument("name")
@click.pass_obj
def enable(settings: Config, name: str) -> None:
    """Let NAME log in again."""
    _change(settings, name, "user.enable", {}, disabled_us=None)
    click.echo(f"{name} can log in again")


@user.command("logout")
@click.argument("name")
@click.pass_obj
def logout(settings: Config, name: str) -> None:
    """End every session of NAME."""
    who = actor()

    def work(connection: Connection) -> int | None:
        if users.find(connection, name) is None:
            return None
        ended = users.end_sessions(connection, name)
        audit.note(connection, SystemClock().now_us(), who, "session.end", name, {"sessions": ended})
        return ended

    ended = write(settings, work)
    _known(ended is not None, name)
    click.echo(f"{name}: sessions ended: {ended}")


@user.command("login-link")
@click.argument("name")
@click.pass_obj
def login_link(settings: Config, name: str) -> None:
    """Print the path of a link that logs NAME in once, within 5 minutes, without a password."""
    token, who = secrets.token_urlsafe(32), actor()

    def work(connection: Connection) -> bool:
        row = users.find(connection, name)
        if row is None or row.disabled_us is not None:
            return False
        expires_us = steady_us(connection) + LINK_S * 1_000_000
        users.add_link(connection, hash_of(token), name, expires_us)
        audit.note(connection, SystemClock().now_us(), who, "user.login-link", name)
        return True

    _known(write(settings, work), name)
    click.echo(f"/login/link/{token}")


for command in (add, password):
    command.params.append(_FILE)


def _change(settings: Config, name: str, action: str, detail: dict[str, str], **values: object) -> None:
    who = actor()

    def work(connection: Connection) -> bool:
        if not users.change(connection, name, **values):
            return False
        if "disabled_us" in values:
            users.end_sessions(connection, name)
        audit.note(connection, SystemClock().now_us(), who, action, name, detail)
        return True

    _known(write(settings, work), name)


def _known(found: bool, name: str) -> None:
    if not found:
        raise Failed(f"there is no user {name} who can log in", "see: nervectl user list")


def _last_admin(settings: Config) -> None:
    if not read(settings, lambda connection: users.other_admins(connection, "")):
        click.echo("No admin is left; make one with: nervectl user add NAME --role admin", err=True)


def _password(file: Path | None, name: str) -> str:
    """The password of a file, or one that is typed twice. Raises Failed."""
    try:
        if file is None:
            if not sys.stdin.isatty():
                raise Failed("nobody is there to type a password", "give it with --password-file FILE, or -")
            found = click.prompt(f"Password for {name}", hide_input=True, confirmation_prompt=True)
        elif str(file) == "-":
            found = sys.stdin.readline(passwords.MOST + 2)
        else:
            with file.open(encoding="utf-8") as opened:
                found = opened.readline(passwords.MOST + 2)
    except (OSError, UnicodeDecodeError) as exc:
        raise Failed(f"the password cannot be read: {exc}", "name a file of one line of UTF-8") from exc
    found = str(found).rstrip("\r\n")
    if (why := passwords.why_not(found, name)) is not None:
        raise Failed(f"the password {why}", "choose another one")
    return found


def _hash(password: str) -> str:
    return passwords.Passwords().make(password)
