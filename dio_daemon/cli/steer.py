"""The commands that change: reload, flush, reregister, pause, resume, log-level, report."""

from __future__ import annotations

import argparse
import json
import re
import sys
from typing import Any

from dio_daemon.errors import DioError
from dio_daemon.ipc.client import Client

_DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?)(s|m|h|d)?")
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


class BadArgument(DioError):
    """An argument cannot be used as it is."""


def reload(client: Client, options: argparse.Namespace) -> int:
    """Read the configuration again."""
    return _done(options, client.call("POST", "/v1/reload", timeout_s=18.0), "Configuration reloaded")


def flush(client: Client, options: argparse.Namespace) -> int:
    """Deliver what waits now; fails when that does not succeed in ten seconds."""
    return _done(options, client.call("POST", "/v1/flush", timeout_s=15.0), "Everything is delivered")


def reregister(client: Client, options: argparse.Namespace) -> int:
    """Register again."""
    answer = client.call("POST", "/v1/reregister")
    return _done(options, answer, "Registering again; see: dioctl status")


def pause(client: Client, options: argparse.Namespace) -> int:
    """Begin a maintenance window."""
    body = {"for_s": seconds(options.duration), "reason": options.reason}
    answer = client.call("POST", "/v1/pause", body)
    return _done(options, answer, f"Reporting is paused until {answer['until']}; sampling goes on")


def resume(client: Client, options: argparse.Namespace) -> int:
    """End the maintenance window."""
    answer = client.call("POST", "/v1/resume")
    return _done(options, answer, "Reporting goes on" if answer["was_paused"] else "Reporting was not paused")


def change_begin(client: Client, options: argparse.Namespace) -> int:
    """Open a change window."""
    body = {"for_s": seconds(options.duration), "reason": options.reason}
    answer = client.call("POST", "/v1/change/begin", body)
    return _done(options, answer, f"Changes of this host are recorded and not told until {answer['until']}")


def change_end(client: Client, options: argparse.Namespace) -> int:
    """Close the change window."""
    answer = client.call("POST", "/v1/change/end")
    return _done(
        options, answer, "Changes are told again" if answer["was_open"] else "No change was announced"
    )


def change_accept(client: Client, options: argparse.Namespace) -> int:
    """Take what is told now as well."""
    answer = client.call("POST", "/v1/change/accept")
    return _done(options, answer, "What differs now is taken as well; its threats are over in half a minute")


def log_level(client: Client, options: argparse.Namespace) -> int:
    """Log more or less until the next reload or start."""
    answer = client.call("POST", "/v1/log-level", {"level": options.level})
    return _done(options, answer, f"Log level is {options.level} until the next reload or start")


def report_event(client: Client, options: argparse.Namespace) -> int:
    """Submit an event."""
    body: dict[str, Any] = {"type": options.type, "message": options.message}
    if options.data is not None:
        try:
            body["data"] = json.loads(sys.stdin.read() if options.data == "-" else options.data)
        except ValueError as error:
            raise BadArgument(f"--data must be JSON: {error}") from error
    return _done(options, client.call("POST", "/v1/report/event", body), "Submitted")


def report_metrics(client: Client, options: argparse.Namespace) -> int:
    """Submit metrics."""
    metrics = {}
    for pair in options.metric:
        name, _, value = pair.partition("=")
        try:
            metrics[name] = float(value)
        except ValueError as error:
            raise BadArgument(f"{pair!r} must be NAME=NUMBER") from error
    return _done(options, client.call("POST", "/v1/report/metrics", {"metrics": metrics}), "Submitted")


def seconds(text: str) -> float:
    """`90`, `90s`, `30m`, `2h`, `1d` in seconds. Raises BadArgument."""
    found = _DURATION.fullmatch(text)
    if found is None:
        raise BadArgument(f"{text!r} is no duration such as 90s, 30m, 2h or 1d")
    return float(found[1]) * _UNITS[found[2] or "s"]


def _done(options: argparse.Namespace, answer: Any, sentence: str) -> int:
    print(json.dumps(answer, indent=2) if options.json else sentence)
    return 0
