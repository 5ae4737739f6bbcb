"""Plays emulations on a host under watch and says what the nerve center was told, after how many seconds.

As a program it prints the table of docs/integrity.md, one emulation after the other on a fresh host:

    PYTHONPATH=tests/e2e python3 -m harness.emulate RELEASE [WORD IN THE NAME ...]
"""

from __future__ import annotations

import json
import sys
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from . import dio
from .commands import wait_for
from .emulation import SCRIPT, Emulation
from .emulations import EMULATIONS, PREPARE, PROGRAMS
from .host import Host
from .network import Network

WITHIN_S = 60.0
"""A guard; how long it really took is told."""
CLEARED_WITHIN_S = 240.0
EVERY_S = 0.5


@dataclass
class Outcome:
    """What came of one emulation."""

    emulation: Emulation
    begun: float
    seen_after_s: float | None = None
    threat: dict[str, Any] | None = None
    undone: float | None = None
    cleared_after_s: float | None = None

    def row(self) -> str:
        """A row of a table in Markdown."""
        threat = self.threat or {}
        seen = "no" if self.seen_after_s is None else f"{self.seen_after_s:.0f} s"
        cleared = "-" if self.cleared_after_s is None else f"{self.cleared_after_s:.0f} s"
        found = (threat.get("type", "-"), threat.get("severity", "-"))
        return "| {} | {} | {} | `{}` | {} | {} |".format(
            self.emulation.name, self.emulation.technique, seen, *found, cleared
        )


class Stage:
    """A host under watch.

    Args:
        host: with both packages installed, booted.
    """

    def __init__(self, host: Host) -> None:
        host.run(PREPARE)
        host.write(SCRIPT, PROGRAMS)
        host.run(f"systemctl start {dio.CENTER} {dio.AGENT}")
        self.host = host
        self.api = dio.Api(host)
        wait_for("the baseline is taken", self._baseline, within_s=WITHIN_S, every_s=1)
        host.run("sleep 12")  # two looks at processes and listeners
        self._before: dict[str, tuple[int, str]] = {}
        self.outcomes: list[Outcome] = []

    def threats(self) -> list[dict[str, Any]]:
        """All that the nerve center knows."""
        found: list[dict[str, Any]] = self.api.get("threats?limit=1000")["threats"]
        return found

    def evidence(self, outcome: Outcome) -> dict[str, Any]:
        """What the threat of an outcome has for evidence."""
        assert outcome.threat is not None, outcome
        found: dict[str, Any] = self.api.get(f"threats/{outcome.threat['id']}")["evidence"]
        return found

    def play(self, emulations: Sequence[Emulation]) -> list[Outcome]:
        """Begin all of them, wait until each is seen or `WITHIN_S` have passed, and undo them."""
        before = {each["fingerprint"]: each["count"] for each in self.threats() if each["state"] == "open"}
        outcomes = []
        for emulation in emulations:
            outcomes.append(Outcome(emulation, time.monotonic()))
            self.host.run(emulation.do)
        end = time.monotonic() + WITHIN_S
        while any(each.threat is None for each in outcomes) and time.monotonic() < end:
            self._note(outcomes, before)
            self.host.run(f"sleep {EVERY_S}")
        self.outcomes += outcomes
        return outcomes

    def undo(self, outcomes: Sequence[Outcome]) -> None:
        """Undo what was begun, the last first."""
        for each in reversed(outcomes):
            self.host.run(each.emulation.undo)
            each.undone = time.monotonic()

    def settle(self) -> list[Outcome]:
        """Wait until all that was undone has cleared; those that have not."""
        end = time.monotonic() + CLEARED_WITHIN_S
        while (left := self.note_cleared()) and time.monotonic() < end:
            self.host.run("sleep 1")
        return left

    def note_cleared(self) -> list[Outcome]:
        """Note what has cleared; what has not and should."""
        left = [
            each
            for each in self.outcomes
            if each.emulation.clears
            and each.undone is not None
            and each.threat
            and each.cleared_after_s is None
        ]
        if not left:
            return []
        states = {each["fingerprint"]: each["state"] for each in self.threats()}
        for each in list(left):
            if each.threat and each.undone and states.get(each.threat["fingerprint"]) != "open":
                each.cleared_after_s = time.monotonic() - each.undone
                left.remove(each)
        return left

    def _note(self, outcomes: Sequence[Outcome], before: dict[str, int]) -> None:
        found = [
            each
            for each in self.threats()
            if each["state"] == "open" and each["count"] != before.get(each["fingerprint"])
        ]
        for outcome in outcomes:
            emulation = outcome.emulation
            for each in found:
                told = each["type"] in emulation.types and emulation.names in each["summary"]
                if told and outcome.threat is None:
                    outcome.threat, outcome.seen_after_s = each, time.monotonic() - outcome.begun

    def _baseline(self) -> bool:
        events = self.api.get("events?kind=event&limit=1000")["events"]
        return any(each["data"]["type"] == "integrity_baseline" for each in events)


def main() -> None:
    """Print the table."""
    release, words = sys.argv[1], sys.argv[2:]
    chosen = [each for each in EMULATIONS if not words or any(word in each.name for word in words)]
    network = Network(uuid.uuid4().hex[:6])
    namespace, address = network.add()
    host = Host("lab", release, "installed", namespace, address=address)
    try:
        host.boot()
        stage = Stage(host)
        for emulation in chosen:
            outcomes = stage.play([emulation])
            stage.undo(outcomes)
            stage.note_cleared()
            for each in outcomes:
                print(each.row(), (each.threat or {}).get("summary"), file=sys.stderr, flush=True)
                if each.threat is not None:
                    print(json.dumps(stage.evidence(each))[:4000], file=sys.stderr, flush=True)
        left = stage.settle()
        for each in stage.outcomes:
            print(each.row())
        expected = {each.threat["fingerprint"] for each in stage.outcomes if each.threat}
        for threat in stage.threats():
            if threat["fingerprint"] not in expected:
                print("besides:", threat["type"], threat["severity"], threat["state"], threat["summary"])
        seen = [each for each in stage.outcomes if each.threat]
        print(f"{len(seen)} of {len(chosen)} seen; not cleared: {[each.emulation.name for each in left]}")
    finally:
        host.close()
        network.close()


if __name__ == "__main__":
    main()
