"""nervectl tolerance: findings that are normal, on a host, on a label, on the fleet."""

from __future__ import annotations

import json
from collections.abc import Callable

import click
from sqlalchemy.engine import Connection

from nerve_center.cli.base import Failed, Until, actor, aligned, label_of, read, shown_end, write
from nerve_center.clock import SystemClock
from nerve_center.config import Config
from nerve_center.errors import Refused
from nerve_center.policy import tolerance_as_json
from nerve_center.store import agents
from nerve_center.store import tolerances as store
from nerve_center.store.tolerances import Scope, Tolerance
from nerve_center.text import one_line

_MOST_TEXT = 1024


@click.group()
def tolerance() -> None:
    """Findings that are normal: agents open no threat for them, and clear those that are open."""


@tolerance.command("add")
@click.argument("type_", metavar="[TYPE", required=False)
@click.argument("subject", metavar="SUBJECT]", required=False)
@click.option(
    "--threat", type=click.IntRange(1, 999_999_999), metavar="ID", help="What this threat is about."
)
@click.option("--host", metavar="AGENT", help="Only on this agent. Default with --threat: its own host.")
@click.option("--label", metavar="NAME=TEXT", help="On every host with this label.")
@click.option("--fleet", is_flag=True, help="On every host.")
@click.option("--reason", default="", metavar="TEXT", help="Why it is normal, for whoever looks later.")
@click.option(
    "--until", type=Until(), metavar="END", help="RFC 3339, or how long: 12h, 30d. Default: for good."
)
@click.pass_obj
def add(
    settings: Config,
    type_: str | None,
    subject: str | None,
    threat: int | None,
    host: str | None,
    label: str | None,
    fleet: bool,
    reason: str,
    until: int | None,
) -> None:
    """Mark a finding as normal: what a threat is about, or a type and a subject.

    The agents concerned hear of it with their next report.
    """
    if (threat is None) == (type_ is None) or (type_ is None) != (subject is None):
        raise click.UsageError("name TYPE and SUBJECT, or --threat ID")
    named = (host is not None) + (label is not None) + fleet
    if named > 1 or (named == 0 and threat is None):
        raise click.UsageError("say where: one of --host AGENT, --label NAME=TEXT, --fleet")
    if max(len(reason), len(subject or "")) > _MOST_TEXT or len(type_ or "") > 64:
        raise Failed("that is too long", f"a type has 64 characters at most, the others {_MOST_TEXT}")
    where = None if label is None else label_of(label)
    who, now_us = actor(), SystemClock().now_us()

    def work(connection: Connection) -> Tolerance:
        key = None if host is None else agents.agent_key(connection, host)
        if host is not None and key is None:
            raise Failed(f"there is no agent {host}", "see: nervectl agents")
        if threat is not None:
            if named == 0:
                return store.add_for_threat(connection, threat, "host", None, reason, until, who, now_us)
            what, _ = store.of_threat(connection, threat)
            return store.add(connection, what, Scope(key, where), reason, until, who, now_us, threat)
        what = store.finding(type_ or "", subject or "")
        return store.add(connection, what, Scope(key, where), reason, until, who, now_us)

    made = _done(settings, work)
    click.echo(f"{made.key}: {made.type} of {made.subject} is normal on {store.scope_text(made)}")


@tolerance.command("list")
@click.option("--json", "as_json", is_flag=True, help="For programs: one JSON document.")
@click.pass_obj
def list_tolerances(settings: Config, as_json: bool) -> None:
    """List what is marked as normal now."""
    now_us = SystemClock().now_us()
    found = read(settings, lambda connection: store.in_force(connection, now_us))
    if as_json:
        click.echo(json.dumps({"tolerances": [tolerance_as_json(each) for each in found]}, indent=2))
    elif found:
        head = ("ID", "TYPE", "SUBJECT", "WHERE", "END", "BY", "REASON")
        click.echo(aligned([head, *(_line(each) for each in found)]))
    else:
        click.echo("Nothing is marked as normal.")


@tolerance.command("remove")
@click.argument("key", metavar="ID", type=click.IntRange(1, 999_999_999))
@click.pass_obj
def remove(settings: Config, key: int) -> None:
    """It is no longer normal: agents open a threat again where it is still the case."""
    who, now_us = actor(), SystemClock().now_us()
    ended = _done(settings, lambda connection: store.end(connection, key, who, now_us))
    click.echo(f"{ended.type} of {ended.subject} is no longer normal on {store.scope_text(ended)}")


def _done(settings: Config, work: Callable[[Connection], Tolerance]) -> Tolerance:
    try:
        return write(settings, work)
    except Refused as exc:
        raise Failed(exc.title.rstrip("."), exc.detail or "see: nervectl tolerance list") from exc


def _line(item: Tolerance) -> tuple[str, ...]:
    texts = (item.type, item.subject[:80], store.scope_text(item), shown_end(item.until_us), item.created_by)
    return (str(item.key), *map(one_line, texts), one_line(item.reason[:80]))
