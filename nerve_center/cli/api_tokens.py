"""nervectl api-token: tokens for programs that use the API."""

from __future__ import annotations

import json
import secrets

import click
from sqlalchemy.engine import Connection

from nerve_center.auth import hash_of
from nerve_center.cli.base import Failed, Until, actor, aligned, check_name, read, shown_end, write
from nerve_center.clock import SystemClock, format_time
from nerve_center.config import Config
from nerve_center.store import tokens


@click.group("api-token")
def api_token() -> None:
    """Tokens for programs that use the nerve center's API."""


@api_token.command("add")
@click.argument("name")
@click.option(
    "--scope",
    type=click.Choice(list(tokens.GRANTS)),
    default="read",
    show_default=True,
    help="What it is for.",
)
@click.option(
    "--expires", type=Until(), metavar="END", help="RFC 3339, or how long: 12h, 90d. Default: never."
)
@click.pass_obj
def add(settings: Config, name: str, scope: str, expires: int | None) -> None:
    """Make an API token called NAME and print it, this once.

    The scope read is for everything that can be read, threats also for what people do about threats, metrics for
    GET /metrics alone, admin for everything. Only a hash is kept. Send it as `Authorization: Bearer TOKEN`.
    """
    check_name(name)
    made, who = secrets.token_urlsafe(32), actor()

    def work(connection: Connection) -> bool:
        return tokens.issue(connection, who, name, hash_of(made), SystemClock().now_us(), scope, expires)

    if not write(settings, work):
        raise Failed(
            f"there is an API token {name} already", f"remove it first: nervectl api-token remove {name}"
        )
    click.echo(made)


@api_token.command("list")
@click.option("--json", "as_json", is_flag=True, help="For programs: one JSON document.")
@click.pass_obj
def list_tokens(settings: Config, as_json: bool) -> None:
    """List the API tokens by name, with their scope and end."""
    rows = read(settings, tokens.all_tokens)
    if as_json:
        listed = [
            {
                "name": row.name,
                "scope": row.scope,
                "created_at": format_time(row.created_us),
                "expires_at": None if row.expires_us is None else format_time(row.expires_us),
            }
            for row in rows
        ]
        click.echo(json.dumps({"api_tokens": listed}, indent=2))
    elif rows:
        table = [("NAME", "SCOPE", "CREATED", "END")]
        for row in rows:
            created = format_time(row.created_us)[:19] + "Z"
            table.append((row.name, row.scope, created, shown_end(row.expires_us)))
        click.echo(aligned(table))
    else:
        click.echo("There is no API token. Make one with: nervectl api-token add NAME")


@api_token.command("remove")
@click.argument("name")
@click.pass_obj
def remove(settings: Config, name: str) -> None:
    """Remove the API token called NAME; it stops working at once."""
    who = actor()

    def work(connection: Connection) -> bool:
        return tokens.withdraw(connection, who, name, SystemClock().now_us())

    if not write(settings, work):
        raise Failed(f"there is no API token {name}", "see: nervectl api-token list")
    click.echo(f"API token {name} removed")
