"""nervectl enrollment: tokens that vouch for new agents, beside the one in its file."""

from __future__ import annotations

import json
import secrets

import click
from sqlalchemy.engine import Connection

from nerve_center.auth import hash_of
from nerve_center.cli.base import Failed, Until, actor, aligned, check_name, read, shown_end, write
from nerve_center.clock import SystemClock, format_time
from nerve_center.config import Config
from nerve_center.store import audit
from nerve_center.store import enrollment as store

_MOST_USES = 1_000_000


@click.group()
def enrollment() -> None:
    """Enrollment tokens with a name, beside the one in its file: with an end, a number of uses, labels to give."""


@enrollment.command("add")
@click.argument("name")
@click.option(
    "--expires", type=Until(), metavar="END", help="RFC 3339, or how long: 30m, 12h, 7d. Default: never."
)
@click.option(
    "--uses", type=click.IntRange(1, _MOST_USES), help="How many agents it takes in. Default: any number."
)
@click.option(
    "--label", "labels", multiple=True, metavar="NAME=TEXT", help="A label for its agents; repeatable."
)
@click.pass_obj
def add(settings: Config, name: str, expires: int | None, uses: int | None, labels: tuple[str, ...]) -> None:
    """Make an enrollment token called NAME and print it, this once.

    `dioctl enroll` takes it as it takes the one that `nervectl token show` prints.
    """
    check_name(name)
    given, made, who = _labels(labels), secrets.token_urlsafe(32), actor()

    def work(connection: Connection) -> bool:
        now_us = SystemClock().now_us()
        added = store.add(connection, name, hash_of(made), now_us, who, expires, uses, given)
        if added:
            detail = {"expires_at": None if expires is None else format_time(expires), "uses": uses}
            audit.note(connection, now_us, who, "enrollment.add", name, {**detail, "labels": given})
        return added

    if not write(settings, work):
        raise Failed(
            f"there is an enrollment token {name} already",
            f"remove it first: nervectl enrollment remove {name}",
        )
    click.echo(made)


@enrollment.command("list")
@click.option("--json", "as_json", is_flag=True, help="For programs: one JSON document.")
@click.pass_obj
def list_tokens(settings: Config, as_json: bool) -> None:
    """List the enrollment tokens that have names."""
    rows = read(settings, store.everyone)
    if as_json:
        listed = [
            {
                "name": row.name,
                "created_at": format_time(row.created_us),
                "created_by": row.created_by,
                "expires_at": None if row.expires_us is None else format_time(row.expires_us),
                "uses_left": row.uses_left,
                "used": row.used,
                "labels": json.loads(row.labels),
            }
            for row in rows
        ]
        click.echo(json.dumps({"enrollment_tokens": listed}, indent=2))
    elif rows:
        table = [("NAME", "BY", "USED", "LEFT", "END", "LABELS")]
        for row in rows:
            left = "any" if row.uses_left is None else str(row.uses_left)
            labels = " ".join(f"{key}={text}" for key, text in json.loads(row.labels).items())
            table.append((row.name, row.created_by, str(row.used), left, shown_end(row.expires_us), labels))
        click.echo(aligned(table))
    else:
        click.echo("There is none but the token in its file. Make one with: nervectl enrollment add NAME")


@enrollment.command("remove")
@click.argument("name")
@click.pass_obj
def remove(settings: Config, name: str) -> None:
    """Remove the enrollment token called NAME; agents that enrolled with it stay enrolled."""
    who = actor()

    def work(connection: Connection) -> bool:
        return store.withdraw(connection, who, name, SystemClock().now_us())

    if not write(settings, work):
        raise Failed(f"there is no enrollment token {name}", "see: nervectl enrollment list")
    click.echo(f"enrollment token {name} removed")


def _labels(given: tuple[str, ...]) -> dict[str, str]:
    found: dict[str, str] = {}
    for item in given:
        name, equals, text = item.partition("=")
        if (
            not (equals and 0 < len(name) <= 64 and len(text) <= 256 and item.isprintable())
            or len(found) >= 64
        ):
            raise Failed(f"{item[:80]!r} is no label", "write NAME=TEXT, at most 64 of them")
        found[name] = text
    return found
