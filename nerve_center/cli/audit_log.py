"""nervectl audit: who changed what."""

from __future__ import annotations

import json

import click

from nerve_center.cli.base import aligned, read
from nerve_center.clock import format_time
from nerve_center.config import Config
from nerve_center.store import audit
from nerve_center.text import one_line


@click.command("audit")
@click.option("--limit", type=click.IntRange(1, 100_000), default=50, show_default=True, help="How many.")
@click.option("--json", "as_json", is_flag=True, help="For programs: one JSON document.")
@click.pass_obj
def audit_log(settings: Config, limit: int, as_json: bool) -> None:
    """List who changed what, the newest last.

    An actor is user:NAME (on the page), token:NAME (a program), local:NAME (who ran nervectl) or center.
    """
    entries = read(settings, lambda connection: audit.page(connection, None, limit))[::-1]
    if as_json:
        listed = [
            {
                "id": item.key,
                "time": format_time(item.time_us),
                "actor": item.actor,
                "action": item.action,
                "target": item.target,
                "detail": item.detail,
            }
            for item in entries
        ]
        click.echo(json.dumps({"audit": listed}, indent=2))
    elif entries:
        table: list[tuple[str, ...]] = [("TIME", "ACTOR", "ACTION", "TARGET", "DETAIL")]
        for item in entries:
            known = ((key, value) for key, value in item.detail.items() if value is not None)
            detail = " ".join(f"{key}={value}" for key, value in known)
            cells = (format_time(item.time_us)[:19] + "Z", item.actor, item.action, item.target, detail)
            table.append(tuple(map(one_line, cells)))
        click.echo(aligned(table))
    else:
        click.echo("Nothing was changed yet.")
