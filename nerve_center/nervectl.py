"""nervectl: the administrator's command for a nerve center on this machine.

    nervectl token show|rotate              the enrollment token that agents enroll with
    nervectl agents [--json]                the hosts under watch
    nervectl agents revoke|allow ID         refuse one, or accept it again
    nervectl threats [ID]                   what is wrong, on all of them
    nervectl continuity [--agent ID]        whether anything they sampled is unaccounted for
    nervectl enrollment add|list|remove     further tokens, each with an end, a number of uses, labels to give
    nervectl api-token add|list|remove      tokens for programs
    nervectl audit                          who changed what
    nervectl database migrate|check|backup|restore
    nervectl policy list|set|remove|show    how hosts are watched, on the fleet and by label
    nervectl silence add|list|remove        on which hosts somebody works: nobody is notified of them
    nervectl tolerance add|list|remove      which findings are normal, and where
    nervectl notify list|test               who is notified of what
    nervectl user ...                       people who may log in

It works on the files and on the database directly, also while the nerve center runs or is stopped.

Exit codes: 0 done, 1 not possible (the message says why and what to do), 2 wrong usage, 78 bad configuration.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import click
from sqlalchemy.engine import Connection, Row

from nerve_center import __version__, admin, config, continuity, presence
from nerve_center.cli import (
    api_tokens,
    audit_log,
    database,
    enrollment,
    notify,
    policy,
    silence,
    threats,
    tolerance,
    users,
)
from nerve_center.cli.base import Failed, actor, admin_call, aligned, read, steady_us, write
from nerve_center.clock import SystemClock, format_time, parse_time
from nerve_center.config import Config
from nerve_center.errors import ConfigError
from nerve_center.store import agents, audit, migrate
from nerve_center.store.continuity import stored as histories
from nerve_center.text import one_line

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_AGE = re.compile(r"([0-9]{1,6})([smhd])")
_PAGE = 1000


class _Since(click.ParamType):
    """A moment: RFC 3339, or an age such as 90m, 24h, 7d. Becomes microseconds since 1970."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if age := _AGE.fullmatch(str(value)):
            seconds = int(age[1]) * {"s": 1, "m": 60, "h": 3600, "d": 86400}[age[2]]
            return SystemClock().now_us() - seconds * 1_000_000
        try:
            return parse_time(str(value))
        except ValueError:
            self.fail(
                f"{value!r} is no time such as 2026-01-01T00:00:00Z, nor an age such as 24h", param, ctx
            )


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--config",
    "file",
    type=click.Path(path_type=Path, dir_okay=False),
    help=f"Configuration of the nerve center (default: {config.DEFAULT_PATH}).",
)
@click.version_option(__version__, prog_name="nervectl")
@click.pass_context
def main(context: click.Context, file: Path | None) -> None:
    """Administer the DIO nerve center of this machine."""
    try:
        context.obj = config.load(file)
    except ConfigError as exc:
        raise Failed("the configuration does not fit:\n" + "\n".join(exc.errors), code=78) from exc


@main.group()
def token() -> None:
    """The enrollment token: with it a new agent enrolls, once."""


@token.command("show")
@click.pass_obj
def token_show(settings: Config) -> None:
    """Print the enrollment token."""
    click.echo(admin_call(admin.show_token, settings.enrollment.token_file))


@token.command("rotate")
@click.pass_obj
def token_rotate(settings: Config) -> None:
    """Replace the enrollment token by a new one and print it.

    Agents that are enrolled already go on; agents that are still to enroll need the new one. The nerve center
    sees the change by itself.
    """
    who = actor()
    click.echo(admin_call(admin.rotate_token, settings.enrollment.token_file))
    if migrate.is_current(settings.database.place):  # before the first start there is no log yet
        now_us = SystemClock().now_us()
        write(settings, lambda connection: audit.note(connection, now_us, who, "token.rotate", "file"))


@main.group("agents", invoke_without_command=True)
@click.option("--json", "as_json", is_flag=True, help="For programs: one JSON document.")
@click.pass_context
def list_agents(context: click.Context, as_json: bool) -> None:
    """List the hosts under watch; revoke one, or allow it again."""
    if context.invoked_subcommand is not None:
        return
    settings: Config = context.obj
    rows, now_us = read(settings, lambda connection: (_all_agents(connection), steady_us(connection)))
    if as_json:
        click.echo(json.dumps({"agents": [_as_json(row, now_us) for row in rows]}, indent=2))
    elif rows:
        head = ("ID", "HOSTNAME", "STATE", "LAST REPORT", "VERSION", "SAMPLES")
        click.echo(aligned([head, *(_as_line(row, now_us) for row in rows)]))
    else:
        click.echo(
            "No agent has enrolled yet. `nervectl token show` prints the token that an agent enrolls with."
        )


@list_agents.command("revoke")
@click.argument("agent_id", metavar="ID")
@click.pass_obj
def agents_revoke(settings: Config, agent_id: str) -> None:
    """Refuse an agent from now on: its credential, and every enrollment for its id.

    Its agent exits with code 77 and comes back by itself once it is allowed again.
    """
    _set_revoked(settings, agent_id, SystemClock().now_us())
    click.echo(f"{agent_id} is refused from now on; undo it with: nervectl agents allow {agent_id}")


@list_agents.command("allow")
@click.argument("agent_id", metavar="ID")
@click.pass_obj
def agents_allow(settings: Config, agent_id: str) -> None:
    """Accept an agent again that was revoked."""
    _set_revoked(settings, agent_id, None)
    click.echo(f"{agent_id} is accepted again; its agent comes back by itself within half a minute")


@main.command("continuity")
@click.option("--agent", "agent_id", metavar="ID", help="Only this agent.")
@click.option(
    "--since",
    type=_Since(),
    metavar="TIME",
    help="Only what grew since a time (RFC 3339) or age (90m, 24h, 7d).",
)
@click.option("--json", "as_json", is_flag=True, help="For programs: one JSON document.")
@click.pass_context
def show_continuity(context: click.Context, agent_id: str | None, since: int | None, as_json: bool) -> None:
    """Is anything that the agents sampled unaccounted for?

    Computed from what is stored: every seq is a record, part of a counted gap, or a duplicate that was skipped.
    Exit code 1 when something is neither.
    """
    reports = read(context.obj, lambda connection: _continuity(connection, agent_id, since))
    if agent_id is not None and not reports:
        raise Failed(f"there is no agent {agent_id}", "see: nervectl agents")
    if as_json:
        click.echo(json.dumps({"agents": reports}, indent=2))
    else:
        head = ("AGENT", "STREAM", "EPOCH", "LAST SEQ", "RECORDS", "SKIPPED", "MISSING", "GAPS")
        lines = [_continuity_line(item["agent_id"], stream) for item in reports for stream in item["streams"]]
        click.echo(aligned([head, *lines]) if lines else "Nothing was reported yet.")
    if not all(item["complete"] for item in reports):
        context.exit(1)


def _all_agents(connection: Connection) -> list[Row[Any]]:
    found: list[Row[Any]] = []
    while True:
        page = agents.page(connection, found[-1].id if found else None, _PAGE)
        found += page
        if len(page) < _PAGE:
            return found


def _shown(stamp_us: int, now_us: int) -> str:
    """A stamp of steady time, which it is `now_us` of, as the time of day."""
    return format_time((stamp_us - now_us + SystemClock().now_us()) // 1000 * 1000)


def _set_revoked(settings: Config, agent_id: str, revoked_us: int | None) -> None:
    who = actor()

    def work(connection: Connection) -> bool:
        key = agents.agent_key(connection, agent_id)
        if key is None:
            return False
        agents.set_revoked(connection, key, revoked_us)
        action = "agent.allow" if revoked_us is None else "agent.revoke"
        audit.note(connection, SystemClock().now_us(), who, action, agent_id)
        return True

    if not write(settings, work):
        raise Failed(f"there is no agent {agent_id}", "see: nervectl agents")


def _continuity(connection: Connection, agent_id: str | None, since_us: int | None) -> list[dict[str, Any]]:
    rows = _all_agents(connection)
    return [
        continuity.report(row.id, histories(connection, row.key), since_us)
        for row in rows
        if agent_id in (None, row.id)
    ]


def _continuity_line(agent_id: str, stream: dict[str, Any]) -> tuple[str, ...]:
    return (
        agent_id,
        stream["stream"],
        stream["epoch"],
        str(stream["last_seq"]),
        str(stream["records"]),
        str(stream["duplicates_skipped"]),
        str(stream["missing_count"] + stream["overlapping_count"]),
        ", ".join(f"{gap['count']} {gap['reason']}" for gap in stream["gaps"]) or "-",
    )


def _state(row: Row[Any], now_us: int) -> str:
    return presence.state(row.heard_us, row.goodbye_us, row.maintenance_until_us, row.interval_s, now_us)


def _as_json(row: Row[Any], now_us: int) -> dict[str, Any]:
    return {
        "id": row.id,
        "hostname": row.hostname,
        "state": _state(row, now_us),
        "agent_version": row.agent_version,
        "interval_s": row.interval_s,
        "registered_at": _shown(row.registered_us, now_us),
        "last_report_at": None if row.last_report_us is None else _shown(row.last_report_us, now_us),
        "records": {"samples": row.samples, "events": row.events, "gaps": row.gaps},
    }


def _as_line(row: Row[Any], now_us: int) -> tuple[str, ...]:
    return (
        row.id,
        one_line(row.hostname),
        _state(row, now_us),
        "never" if row.last_report_us is None else _age(now_us - row.last_report_us),
        one_line(row.agent_version),
        str(row.samples),
    )


def _age(age_us: int) -> str:
    seconds = max(0, age_us // 1_000_000)
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds // size} {unit} ago"
    return f"{seconds} s ago"


for group in (
    api_tokens.api_token,
    audit_log.audit_log,
    database.database,
    enrollment.enrollment,
    notify.notify,
    policy.policy,
    silence.silence,
    threats.threats,
    tolerance.tolerance,
    users.user,
):
    main.add_command(group)


if __name__ == "__main__":
    sys.exit(main())
