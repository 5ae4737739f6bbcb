"""nervectl silence: hosts that somebody works on, about which nobody is notified meanwhile."""

from __future__ import annotations

import json
from collections.abc import Callable

import click
from sqlalchemy.engine import Connection

from nerve_center.cli.base import Failed, Until, actor, aligned, label_of, read, shown_end, write
from nerve_center.clock import SystemClock
from nerve_center.config import Config
from nerve_center.errors import Refused
from nerve_center.silencing import about, as_json
from nerve_center.store import silences as store
from nerve_center.store import triage
from nerve_center.store.silences import Silence
from nerve_center.text import one_line

_MOST_TEXT = 1024


@click.group()
def silence() -> None:
    """Silences: what they are about is shown and counted, and nobody is notified of it."""


@silence.command("add")
@click.option("--host", metavar="AGENT", help="All there is about this agent's host.")
@click.option("--label", metavar="NAME=TEXT", help="All there is about hosts with this label.")
@click.option("--fleet", is_flag=True, help="All there is about any host.")
@click.option(
    "--until", type=Until(), metavar="END", required=True, help="RFC 3339, or how long: 30m, 2h, 1d."
)
@click.option("--reason", default="", metavar="TEXT", help="What is being done, for whoever looks.")
@click.pass_obj
def add(settings: Config, host: str | None, label: str | None, fleet: bool, until: int, reason: str) -> None:
    """Notify nobody of anything about a host, hosts with a label, or any, until END."""
    if (host is not None) + (label is not None) + fleet != 1:
        raise click.UsageError("say where: one of --host AGENT, --label NAME=TEXT, --fleet")
    if len(reason) > _MOST_TEXT:
        raise Failed("that reason is too long", f"it may have {_MOST_TEXT} characters")
    quiet = triage.Quiet(
        scope="host" if host is not None else "label" if label is not None else "fleet",
        until_us=until,
        label=None if label is None else label_of(label),
        reason=reason,
    )
    made = _done(
        settings, lambda connection, who, now_us: triage.silence_all(connection, host, who, now_us, quiet)
    )
    click.echo(f"{made.key}: {about(made)} is silenced until {shown_end(made.until_us)}")


@silence.command("list")
@click.option("--json", "as_document", is_flag=True, help="For programs: one JSON document.")
@click.pass_obj
def list_silences(settings: Config, as_document: bool) -> None:
    """List the silences in force, those of single threats as well."""
    now_us = SystemClock().now_us()
    found = read(settings, lambda connection: store.in_force(connection, now_us))
    if as_document:
        click.echo(json.dumps({"silences": [as_json(each) for each in found]}, indent=2))
    elif found:
        click.echo(aligned([("ID", "ABOUT", "END", "BY", "REASON"), *(_line(each) for each in found)]))
    else:
        click.echo("Nothing is silenced.")


@silence.command("remove")
@click.argument("key", metavar="ID", type=click.IntRange(1, 999_999_999))
@click.pass_obj
def remove(settings: Config, key: int) -> None:
    """End a silence now: what is still wrong is notified."""
    ended = _done(settings, lambda connection, who, now_us: triage.end_silence(connection, key, who, now_us))
    click.echo(f"{about(ended)} is no longer silenced")


def _done(settings: Config, work: Callable[[Connection, triage.Actor, int], Silence]) -> Silence:
    kind, _, name = actor().partition(":")
    who, now_us = triage.Actor(kind, name), SystemClock().now_us()
    try:
        return write(settings, lambda connection: work(connection, who, now_us))
    except Refused as exc:
        hint = "see: nervectl agents" if exc.code == "agent-unknown" else "see: nervectl silence list"
        raise Failed(exc.title.rstrip("."), exc.detail or hint) from exc


def _line(item: Silence) -> tuple[str, ...]:
    end = "when it clears" if item.until_cleared else shown_end(item.until_us)
    return (str(item.key), one_line(about(item)), end, one_line(item.created_by), one_line(item.reason[:80]))
