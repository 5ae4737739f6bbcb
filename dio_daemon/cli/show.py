"""The commands that ask: status, health, spool, threats, policy, metrics, config show, events."""

from __future__ import annotations

import json
import sys

from dio_daemon.cli.terminal import STATE_COLOURS, coloured, duration, moment, percent, table, width, wrapped
from dio_daemon.errors import DioError
from dio_daemon.ipc.client import NotRunning
from dio_daemon.text import counted

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from typing import Any

    from dio_daemon.ipc.client import Client

MOST_EXPLAINED = 10
MOST_SUMMARY = 50
PLAIN_WIDTH = 100
"""Where there is no terminal, as in a mail."""
PAUSED = "reporting_paused"
WINDOWS = (("maintenance", "Maintenance"), ("change", "Change window"))
HEALTH_OK, HEALTH_WARNING, HEALTH_CRITICAL, HEALTH_UNKNOWN = 0, 1, 2, 3
"""Exit codes that monitoring plugins agree on."""


def status(client: Client, options: argparse.Namespace) -> int:
    """How the agent is."""
    document = client.call("GET", "/v1/status")
    if options.json:
        return _json(document)
    for label, text in status_rows(document):
        colour = STATE_COLOURS.get(document["state"]) if label == "State" else None
        if label in ("Condition", "Hung thread"):
            colour = "yellow"
        print(f"{label + ':':<19}{coloured(wrapped(text, 19, width()), colour)}")
    return 0


def status_rows(document: dict[str, Any]) -> list[tuple[str, str]]:
    """What `dioctl status` shows of the status document, as (label, text)."""
    spool = document["spool"]
    rows = [
        ("Agent", document["agent_id"] or "-"),
        (
            "State",
            f"{document['state']} for {duration(document['state_age_s'])} (since {moment(document['since'])})",
        ),
    ]
    if document["reason"]:
        rows.append(("Reason", document["reason"]))
    if document["next_attempt_in_s"] is not None:
        rows.append(("Next attempt", f"in {document['next_attempt_in_s']:.0f} s"))
    rows.append(("Nerve center", document["nerve_center"] or "-"))
    if document["last_acknowledged_at"]:
        age = duration(document["last_acknowledged_age_s"])
        rows.append(("Last acknowledged", f"{age} ago ({moment(document['last_acknowledged_at'])})"))
    else:
        rows.append(("Last acknowledged", "nothing yet"))
    used, most = spool["bytes"] / 1048576, spool["max_bytes"] / 1048576
    waiting = (
        f"{counted(spool['pending'], 'record waits', 'records wait')}, {used:.1f} of {most:.0f} MiB used"
    )
    if spool["dead_letters"]:
        waiting += ", " + counted(spool["dead_letters"], "dead letter", "dead letters")
    rows.append(("Spool", waiting))
    if (threats := document.get("threats")) is not None:
        told = [f"{count} {severity}" for severity, count in threats.items() if count]
        rows.append(("Open threats", ", ".join(told) + "; see: dioctl threats" if told else "none"))
    rows += [(label, _until(window)) for name, label in WINDOWS if (window := document.get(name))]
    rows += [
        ("Condition", f"{code}: {text}") for code, text in document["conditions"].items() if code != PAUSED
    ]
    rows += [("Hung thread", name) for name, beat in document["threads"].items() if not beat["fresh"]]
    rows.append(("Version", document["version"]))
    return rows


def _until(window: dict[str, Any]) -> str:
    return f"until {moment(window['until'])}: {window['reason']}".removesuffix(": ")


def health(client: Client, options: argparse.Namespace) -> int:
    """One line and an exit code: 0 ok, 1 warning, 2 critical, 3 unknown."""
    try:
        document = client.call("GET", "/v1/status")
    except NotRunning as error:
        from dio_daemon import unit

        why = unit.explain(options.socket).partition("\n")[0]
        code, line, document = HEALTH_UNKNOWN, f"UNKNOWN - {error}. {why}", {}
    except DioError as error:
        code, line, document = HEALTH_UNKNOWN, f"UNKNOWN - {error}", {}
    else:
        code, line = verdict(document)
    if options.json:
        words = {HEALTH_OK: "ok", HEALTH_WARNING: "warning", HEALTH_CRITICAL: "critical"}
        _json({"health": words.get(code, "unknown"), "code": code, "line": line, "status": document or None})
    else:
        print(line)
    return code


def verdict(document: dict[str, Any]) -> tuple[int, str]:
    """The exit code and the line for a status document."""
    conditions = set(document["conditions"]) - {PAUSED}
    hung = [name for name, beat in document["threads"].items() if not beat["fresh"]]
    pending = document["spool"]["pending"]
    data = f"| pending={pending} failures={document['consecutive_failures']}"
    reason = f": {document['reason']}" if document["reason"] else ""
    if hung or document["state"] == "offline":
        what = f"thread {', '.join(hung)} hangs" if hung else f"offline{reason}"
        return HEALTH_CRITICAL, f"CRITICAL - {what} {data}"
    if document["state"] != "active" or conditions:
        what = document["state"] + reason + (f" [{', '.join(sorted(conditions))}]" if conditions else "")
        return HEALTH_WARNING, f"WARNING - {what} {data}"
    return HEALTH_OK, f"OK - {document['status_line']} {data}"


def spool(client: Client, options: argparse.Namespace) -> int:
    """What waits to be delivered, what is kept, and what is missing."""
    document = client.call("GET", "/v1/spool")
    if options.json:
        return _json(document)
    used, most = document["bytes"] / 1048576, document["max_bytes"] / 1048576
    print(
        f"Epoch {document['epoch']}, {used:.1f} of {most:.0f} MiB used, {document['dead_letters']} dead letters"
    )
    rows = []
    for name, stream in document["streams"].items():
        figures = (stream["next_seq"] - 1, stream["acknowledged_seq"], stream["pending"], stream["kept"])
        gaps = ", ".join(f"{count} {reason}" for reason, count in stream["gaps"].items()) or "-"
        rows.append([name, *(str(figure) for figure in figures), stream["oldest_pending_at"] or "-", gaps])
    head = ["STREAM", "LAST", "ACKED", "WAITING", "KEPT", "OLDEST WAITING", "MISSING"]
    print(table(head, rows, right=(1, 2, 3, 4)))
    return 0


def threats(client: Client, options: argparse.Namespace) -> int:
    """Open threats."""
    document = client.call("GET", "/v1/threats")
    if options.json:
        return _json(document)
    if not document["threats"]:
        print("No open threats.")
        return 0
    rows = [
        [
            item["data"].get("severity", "-"),
            item["data"].get("type", "-"),
            moment(item["time"]),
            shortened(item["data"].get("summary", "")),
        ]
        for item in document["threats"]
    ]
    print(table(["SEVERITY", "TYPE", "SINCE", "SUMMARY"], rows))
    for item in document["threats"][:MOST_EXPLAINED]:
        print()
        for label, text in threat_rows(item["data"]):
            print(f"{label + ':':<10}{wrapped(text, 10, width() or PLAIN_WIDTH)}")
    return 0


def shortened(summary: str) -> str:
    """A summary as the table has room for it; the whole one stands below."""
    return summary if len(summary) <= MOST_SUMMARY else summary[: MOST_SUMMARY - 1] + "…"


def threat_rows(data: dict[str, Any]) -> list[tuple[str, str]]:
    """What `dioctl threats` explains of a threat, as (label, text)."""
    count = data.get("count", 1)
    seen = f"first {moment(data.get('first_seen', '-'))}, {'once' if count == 1 else f'{count} times'}"
    found = [
        ("Threat", data.get("summary", "")),
        ("Why", data.get("why")),
        ("Next", data.get("next")),
        ("Seen", seen),
    ]
    if data.get("technique"):
        found.append(("ATT&CK", data["technique"]))
    return [(label, text) for label, text in found if text]


def metrics(client: Client, options: argparse.Namespace) -> int:
    """Prometheus text, or with --json the latest sample."""
    if options.json:
        return _json(client.call("GET", "/v1/sample"))
    sys.stdout.write(client.text("/v1/metrics"))
    return 0


def config_show(client: Client, options: argparse.Namespace) -> int:
    """The configuration in force and where each value came from."""
    document = client.call("GET", "/v1/config")
    if options.json:
        return _json(document)
    rows = []
    for item in document["settings"]:
        source = item["source"] if item["line"] is None else f"{item['source']}:{item['line']}"
        rows.append([f"{item['section']}.{item['key']}", json.dumps(item["value"]), source])
    print(table(["SETTING", "VALUE", "SOURCE"], rows))
    return 0


def policy(client: Client, options: argparse.Namespace) -> int:
    """The policy in force, and one that cannot be used."""
    document = client.call("GET", "/v1/policy")
    if options.json:
        return _json(document)
    if document["refused"]:
        print(
            coloured(f"Refused:   {document['refused']['version']}: {document['refused']['why']}", "yellow")
        )
    if document["version"] is None:
        print("No policy is in force: this host is watched as its own files say.")
        return 0
    print(f"In force:  {document['version']}")
    if document["interval_s"] is not None:
        print(f"Interval:  {document['interval_s']:g} s")
    for each in document["rules"]:
        print(f"\nRules of {each['of']}:")
        print("\n".join(f"    {line}" for line in each["toml"].splitlines()))
    if document["tolerated"]:
        print()
        rows = [
            [each["type"], each["until"] or "-", str(each["count"]), each["subject"], each["reason"]]
            for each in document["tolerated"]
        ]
        print(table(["NORMAL", "UNTIL", "SEEN", "SUBJECT", "REASON"], rows, right=(2,)))
    return 0


def events(client: Client, options: argparse.Namespace) -> int:
    """What happens, as it happens."""
    for line in client.lines("/v1/events"):
        event = json.loads(line)
        if options.json:
            print(line.decode().rstrip(), flush=True)
        elif event["kind"] == "dropped":
            print("dioctl: too slow, the agent stopped telling; start again", file=sys.stderr)
            return 1
        else:
            print(event_line(event), flush=True)
    print("dioctl: the agent ended the feed", file=sys.stderr)
    return 1


def event_line(event: dict[str, Any]) -> str:
    """One event for people."""
    data = event["data"]
    match event["kind"]:
        case "state":
            text = f"{data['from']} -> {data['to']}" + (f": {data['reason']}" if data["reason"] else "")
        case "delivery":
            text = (
                "acknowledged"
                if "acknowledged_at" in data
                else f"failed ({data['failures']} in a row): {data['reason']}"
            )
        case "sample":
            cpu, memory = (data.get("cpu") or {}).get("percent"), (data.get("memory") or {}).get("percent")
            text = f"{data['seq']}: cpu {percent(cpu)}, memory {percent(memory)}"
        case "threat":
            text = f"{data['change']}: {data['severity']} {data['type']}: {data['summary']}"
        case _:
            text = json.dumps(data)
    return f"{event['time']}  {event['kind']:<10}  {text}"


def _json(document: Any) -> int:
    print(json.dumps(document, indent=2))
    return 0
