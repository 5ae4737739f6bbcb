"""The commands about rules: list, check, test. They read this host's files and need no agent.

An agent that answers is asked for its policy: `list` and `test` have its rules on top, as the agent itself has.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event
from typing import Any

from dio_daemon.cli.files import checked
from dio_daemon.cli.terminal import table
from dio_daemon.detect.book import ThreatBook
from dio_daemon.detect.rule_files import RuleText, folder_of, load_rules, rule_texts, rules_of
from dio_daemon.detect.rules import Levels, Rule, Rules
from dio_daemon.detect.trend import DiskTrend
from dio_daemon.errors import DioError
from dio_daemon.ipc.client import Client, NoPermission, NotRunning, Refused
from dio_daemon.text import safe
from dio_daemon.threat_log import ThreatLog

INTERVAL_S = 10.0
MOST_LINE_BYTES = 1 << 20


class BadRecording(DioError):
    """What was to be replayed is no recording of samples."""


def list_(client: Client, options: argparse.Namespace) -> int:
    """The rules in force."""
    rules = _in_force(client, options)
    if options.json:
        print(json.dumps({"rules": [_document(rule) for rule in rules]}, indent=2))
        return 0
    rows = []
    for rule in rules:
        source = (
            rule.source if rule.line is None or rule.source == "default" else f"{rule.source}:{rule.line}"
        )
        levels = _levels(rule.levels) if rule.enabled else "off"
        rows.append([rule.name, f"{rule.value.text} {rule.op}", levels, f"{rule.for_s:g} s", source])
    print(table(["RULE", "VALUE", "LEVELS", "FOR", "SOURCE"], rows))
    return 0


def check(client: Client, options: argparse.Namespace) -> int:
    """Every error of the files, with its line."""
    return checked(
        lambda: f"{len(load_rules(folder_of(options.config), options.file))} rules, no errors", options.json
    )


def test(client: Client, options: argparse.Namespace) -> int:
    """What the rules say of recorded samples."""
    rules = _in_force(client, options)
    logging.disable(logging.CRITICAL)
    try:
        if str(options.file) == "-":
            changes = replay(rules, sys.stdin.buffer)
        else:
            with options.file.open("rb") as stream:
                changes = replay(rules, stream)
    except OSError as error:
        raise BadRecording(f"cannot read {options.file}: {error.strerror}") from error
    finally:
        logging.disable(logging.NOTSET)
    if options.json:
        print(json.dumps({"changes": changes}, indent=2))
        return 0
    for each in changes:
        data = each["data"]
        print(f"{each['time']}  {data['state']:<8} {data['severity']:<9} {data['type']}: {data['summary']}")
    if not changes:
        print("The rules say nothing of these samples.")
    return 0


def _in_force(client: Client, options: argparse.Namespace) -> list[Rule]:
    """The rules of the files, and those of the policy unless only the files are asked for."""
    texts = rule_texts(folder_of(options.config))
    return rules_of(texts if options.files else [*texts, *_of_policy(client)])


def _of_policy(client: Client) -> list[RuleText]:
    try:
        policy = client.call("GET", "/v1/policy")
    except (NotRunning, NoPermission, Refused) as error:
        print(f"dioctl: {error}; rules of a policy are not among these", file=sys.stderr)
        return []
    return [
        (f"policy {policy['version']} ({safe(each['of'], 80)})", each["toml"]) for each in policy["rules"]
    ]


def replay(rules: list[Rule], lines: Iterable[bytes]) -> list[dict[str, Any]]:
    """Each change of a threat, with its time. Raises BadRecording."""
    clock = _Replay()
    changes: list[dict[str, Any]] = []

    def emit(data: bytes) -> None:
        changes.append({"time": clock.now().isoformat().replace("+00:00", "Z"), "data": json.loads(data)})

    with TemporaryDirectory(prefix="dioctl-rules-") as folder:
        book = ThreatBook(Path(folder) / "threats.json", emit, ThreatLog(lambda *_: None), clock)
        detector = Rules(rules, book.severity_of, DiskTrend().fill_in)
        for moment, sample in _samples(lines):
            clock.move(moment)
            book.step(detector.look(sample, clock.monotonic()), clock.monotonic())
    return changes


def _samples(lines: Iterable[bytes]) -> Iterator[tuple[datetime | None, dict[str, Any]]]:
    """Samples as such, or records with `time` and `data`, as `dioctl events --json` writes them."""
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            if len(line) > MOST_LINE_BYTES:
                raise ValueError("it is too long")
            record = json.loads(line)
            if not isinstance(record, dict):
                raise ValueError("it is no object")
            moment = datetime.fromisoformat(record["time"]) if isinstance(record.get("time"), str) else None
            if moment is not None and moment.tzinfo is None:
                raise ValueError("its time has no zone")
        except (ValueError, RecursionError) as error:
            raise BadRecording(f"line {number} is no sample: {error}") from error
        if record.get("kind", "sample") == "sample":
            data = record["data"] if isinstance(record.get("data"), dict) else record
            yield moment, data


class _Replay:
    """A clock that goes with the recording."""

    def __init__(self) -> None:
        self._now = datetime(2000, 1, 1, tzinfo=UTC)
        self._first: datetime | None = None

    def move(self, moment: datetime | None) -> None:
        """To the moment of a sample; one interval on where it has none. It never goes back."""
        if self._first is None:
            self._first = self._now = moment or self._now
        else:
            self._now = max(self._now, moment) if moment else self._now + timedelta(seconds=INTERVAL_S)

    def monotonic(self) -> float:
        """Seconds since the first sample."""
        return (self._now - (self._first or self._now)).total_seconds()

    boottime = monotonic

    def now(self) -> datetime:
        """The moment of the sample."""
        return self._now

    def wait(self, event: Event, timeout_s: float) -> bool:
        """Nobody waits in a replay."""
        return event.is_set()


def _levels(levels: Levels) -> str:
    return " ".join(f"{severity} {enter:g}" for severity, enter, _ in levels.steps)


def _document(rule: Rule) -> dict[str, Any]:
    return {
        "name": rule.name,
        "enabled": rule.enabled,
        "value": rule.value.text,
        "op": rule.op,
        "enter": {severity: enter for severity, enter, _ in rule.levels.steps},
        "leave": {severity: leave for severity, _, leave in rule.levels.steps},
        "for_s": rule.for_s,
        "leave_for_s": rule.leave_for_s,
        "subjects": {
            pattern: {severity: enter for severity, enter, _ in each.steps}
            for pattern, each in rule.subjects.items()
        },
        "ignore": list(rule.ignore),
        "source": rule.source,
        "line": rule.line,
    }
