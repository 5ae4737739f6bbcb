"""nervectl policy: how hosts are watched, on the fleet and by label."""

from __future__ import annotations

import json
from typing import Any, BinaryIO

import click
from sqlalchemy.engine import Connection

from nerve_center import policy as composing
from nerve_center import rule_check
from nerve_center.cli.base import Failed, actor, aligned, label_of, read, write
from nerve_center.clock import SystemClock, format_time
from nerve_center.config import Config
from nerve_center.contract import Contract
from nerve_center.errors import Refused
from nerve_center.store import agents
from nerve_center.store import policies as store
from nerve_center.store.policies import Policy
from nerve_center.text import one_line

_MOST_BYTES = 32768


@click.group()
def policy() -> None:
    """How hosts are watched: interval and rules, on the fleet and by label."""


@policy.command("list")
@click.option("--json", "as_json", is_flag=True, help="For programs: one JSON document.")
@click.pass_obj
def list_policies(settings: Config, as_json: bool) -> None:
    """List the policies in the order in which they apply, and the hosts that refuse theirs."""
    found, hosts = read(settings, lambda connection: (store.everyone(connection), _refusing(connection)))
    if as_json:
        click.echo(
            json.dumps(
                {"policies": [composing.policy_as_json(each) for each in found], "refused": hosts}, indent=2
            )
        )
        return
    if found:
        head = ("FOR", "INTERVAL", "RULES", "BY", "CHANGED")
        click.echo(aligned([head, *(_line(each) for each in found)]))
    else:
        click.echo("There is no policy: every host is watched as its own files say.")
    for host in hosts:
        click.echo(f"{host['agent_id']} on {host['hostname']} refuses {host['version']}: {host['why']}")


@policy.command("set")
@click.option("--label", metavar="NAME=TEXT", help="For the hosts with this label. Default: for the fleet.")
@click.option("--interval", type=click.FloatRange(1, 3600), metavar="S", help="Seconds between samples.")
@click.option(
    "--rules", type=click.File("rb"), metavar="FILE", help="TOML as in rules.d; - reads standard input."
)
@click.pass_obj
def set_policy(settings: Config, label: str | None, interval: float | None, rules: BinaryIO | None) -> None:
    """Put a policy in the place of the one of this label, or of the fleet.

    Rules are checked first. What is not given, the policy says nothing of.
    """
    raw = b"" if rules is None else rules.read(_MOST_BYTES + 1)
    if len(raw) > _MOST_BYTES:
        raise Failed(
            f"the rules are longer than {_MOST_BYTES} bytes", "keep what differs from the shipped ones"
        )
    if interval is None and not raw.strip():
        raise Failed("that says nothing", "give --interval or --rules; to remove one: nervectl policy remove")
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as exc:
        raise Failed("the rules are not UTF-8", "save them as UTF-8") from exc
    if found := rule_check.mistakes(Contract(), text):
        raise Failed("the rules have mistakes:\n" + "\n".join(map(str, found)), "see: man dio-rules")
    name, value = ("", "") if label is None else label_of(label)
    new = Policy(name, value, interval, text)
    changed = _save(settings, new)
    click.echo(
        f"policy of {new.of} {'set' if changed else 'is so already'}; agents hear of it with their next report"
    )


@policy.command("remove")
@click.option("--label", metavar="NAME=TEXT", help="That of this label. Default: that of the fleet.")
@click.pass_obj
def remove(settings: Config, label: str | None) -> None:
    """Remove a policy: its hosts go back to what their files say."""
    name, value = ("", "") if label is None else label_of(label)
    if not _save(settings, Policy(name, value, None, "")):
        raise Failed("there is no such policy", "see: nervectl policy list")
    click.echo("removed")


@policy.command("show")
@click.argument("agent_id", metavar="AGENT")
@click.pass_obj
def show(settings: Config, agent_id: str) -> None:
    """Print what holds for an agent, and what it says of it, as JSON."""

    def work(connection: Connection) -> dict[str, Any] | None:
        row = agents.by_id(connection, agent_id)
        if row is None:
            return None
        held = composing.held(connection, SystemClock().now_us())
        said = None if row.policy is None else json.loads(row.policy)
        return {"policy": composing.document(held, row.key, json.loads(row.labels)), "agent": said}

    found = read(settings, work)
    if found is None:
        raise Failed(f"there is no agent {agent_id}", "see: nervectl agents")
    click.echo(json.dumps(found, indent=2))


def _save(settings: Config, new: Policy) -> bool:
    who, now_us = actor(), SystemClock().now_us()
    try:
        return write(settings, lambda connection: store.save(connection, new, who, now_us))
    except Refused as exc:
        raise Failed(exc.title.rstrip("."), exc.detail or "") from exc


def _refusing(connection: Connection) -> list[dict[str, Any]]:
    """Hosts that cannot use the policy that holds for them."""
    return [
        {
            "agent_id": row.id,
            "hostname": one_line(row.hostname),
            **_printables(json.loads(row.policy)["refused"]),
        }
        for row in agents.refusing_policy(connection)
    ]


def _printables(texts: dict[str, str]) -> dict[str, str]:
    return {name: one_line(text) for name, text in texts.items()}


def _line(item: Policy) -> tuple[str, ...]:
    interval = "-" if item.interval_s is None else f"{item.interval_s:g} s"
    lines = len(item.rules.splitlines())
    return (
        item.of,
        interval,
        f"{lines} lines" if lines else "-",
        item.updated_by,
        format_time(item.updated_us)[:19] + "Z",
    )
