"""nervectl threats: what is wrong, on the whole fleet; one of them with its evidence."""

from __future__ import annotations

import json
from typing import Any

import click

from nerve_center.cli.base import Failed, aligned, read
from nerve_center.clock import format_time
from nerve_center.config import Config
from nerve_center.store import threat_reading
from nerve_center.store.threat_reading import Filter, Threat
from nerve_center.store.threats import ACTIVE
from nerve_center.text import one_line

_FLEET = "the fleet"
"""The host of what the nerve center itself has found, such as an outbreak."""


@click.command("threats")
@click.argument("number", metavar="[ID]", type=click.IntRange(1, 2**62), required=False)
@click.option("--host", help="Only those of this host: its name, or its agent's id.")
@click.option("--all", "everything", is_flag=True, help="Those that are over or resolved as well.")
@click.option("--limit", type=click.IntRange(1, 1000), default=100, show_default=True, help="How many.")
@click.option("--json", "as_json", is_flag=True, help="For programs: one JSON document.")
@click.pass_obj
def threats(
    settings: Config, number: int | None, host: str | None, everything: bool, limit: int, as_json: bool
) -> None:
    """List what is wrong, the worst first; with an ID say all that is known of that one."""
    if number is not None:
        _show(settings, number, as_json)
        return
    wanted = Filter(statuses=() if everything else ACTIVE, host=host)
    found, more = read(
        settings, lambda connection: threat_reading.page(connection, wanted, limit, worst_first=True)
    )
    if as_json:
        click.echo(json.dumps({"threats": [_document(each) for each in found]}, indent=2))
    elif found:
        table: list[tuple[str, ...]] = [("ID", "SEVERITY", "STATE", "SINCE", "HOST", "WHAT")]
        for each in found:
            since = format_time(each.opened_us)[:19] + "Z"
            cells = (str(each.key), each.severity, each.status, since, each.hostname or _FLEET, each.summary)
            table.append(tuple(map(one_line, cells)))
        click.echo(aligned(table))
        if more is not None:
            click.echo(f"There are more than these {limit}: --limit, --host.")
    else:
        click.echo("There is no threat." if everything else "There is no open threat.")


def _show(settings: Config, number: int, as_json: bool) -> None:
    found = read(settings, lambda connection: threat_reading.get(connection, number))
    if found is None:
        raise Failed(f"there is no threat {number}", "list them: nervectl threats --all")
    if as_json:
        click.echo(json.dumps(_document(found) | {"evidence": found.evidence}, indent=2))
        return
    click.echo(one_line(f"{found.title} ({found.severity}, {found.status}) on {found.hostname or _FLEET}"))
    about = f", about {one_line(_more(found, 'subject'))}" if _more(found, "subject") else ""
    click.echo(f"Since {format_time(found.opened_us)[:19]}Z, type {one_line(found.type)}{about}")
    parts = (("", found.summary), ("Why it matters: ", _more(found, "why")), ("Next: ", _more(found, "next")))
    for word, text in parts:
        if text:
            click.echo(one_line(word + text))
    click.echo(json.dumps(found.evidence, indent=2))


def _document(threat: Threat) -> dict[str, Any]:
    return {
        "id": threat.key,
        "type": threat.type,
        "subject": _more(threat, "subject"),
        "severity": threat.severity,
        "state": threat.status,
        "agent_id": threat.agent_id,
        "hostname": threat.hostname,
        "title": threat.title,
        "summary": threat.summary,
        "why": _more(threat, "why"),
        "next": _more(threat, "next"),
        "opened_at": format_time(threat.opened_us),
        "updated_at": format_time(threat.updated_us),
        "cleared_at": None if threat.cleared_us is None else format_time(threat.cleared_us),
    }


def _more(threat: Threat, name: str) -> str:
    value = threat.more.get(name)
    return value if isinstance(value, str) else ""
