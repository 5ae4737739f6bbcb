"""What happened once and does not come back by itself: it is told for a while, also by the agent's next run.

A log that was cut stays cut. An agent that is started anew no longer sees that; whoever could clear the threat by a
restart would have hidden what was hidden before.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from dio_daemon.clock import Clock
from dio_daemon.detect.finding import SEVERITIES, Finding, bounded
from dio_daemon.detect.integrity.baseline import Baseline

TOLD_S = 3600.0
MOST = 100
"""Kept of one detector; the oldest are let go first."""
KEPT = "told"


class Told:
    """The findings of one detector that are told for `TOLD_S`. Belongs to one thread.

    Args:
        baseline: remembers them.
        name: the detector's.
        clock: for how long.
    """

    def __init__(self, baseline: Baseline, name: str, clock: Clock) -> None:
        self._baseline = baseline
        self._name = name
        self._clock = clock
        self._told: dict[str, tuple[float, Finding]] = self._kept()

    def say(self, key: str, finding: Finding) -> None:
        """This has happened now; it takes the place of an earlier one of the same key."""
        self._told.pop(key, None)
        self._told[key] = (self._clock.monotonic(), finding)
        while len(self._told) > MOST:
            del self._told[next(iter(self._told))]
        self._keep()

    def __contains__(self, key: str) -> bool:
        return key in self._told

    def findings(self) -> list[Finding]:
        """Those that are told still."""
        now = self._clock.monotonic()
        over = [key for key, (at, _) in self._told.items() if now - at >= TOLD_S]
        for key in over:
            del self._told[key]
        if over:
            self._keep()
        return [finding for _, finding in self._told.values()]

    def accept(self) -> int:
        """Tell none of them any more; how many they were."""
        count = len(self._told)
        self._told.clear()
        if count:
            self._keep()
        return count

    def _keep(self) -> None:
        now, wall = self._clock.monotonic(), self._clock.now().timestamp()
        kept = self._baseline.memory.setdefault(KEPT, {})
        kept[self._name] = {key: [wall - (now - at), _plain(each)] for key, (at, each) in self._told.items()}
        self._baseline.changed()

    def _kept(self) -> dict[str, tuple[float, Finding]]:
        """What the run before told; nothing where that cannot be read."""
        memory = self._baseline.memory.get(KEPT)
        if not isinstance(memory, dict):
            self._baseline.memory[KEPT] = memory = {}
        rows = memory.get(self._name)
        now, wall = self._clock.monotonic(), self._clock.now().timestamp()
        found = {}
        try:
            for key, (at, plain) in dict(rows or {}).items():
                finding = Finding(**plain)
                if finding.severity not in SEVERITIES:
                    raise ValueError(finding.severity)
                found[str(key)] = (now - max(0.0, wall - at), finding)
        except (TypeError, ValueError):
            return {}
        return found


def _plain(finding: Finding) -> dict[str, Any]:
    """As JSON."""
    return dataclasses.asdict(finding) | {"evidence": bounded(finding.evidence)}
