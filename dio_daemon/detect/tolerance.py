"""What is normal on this host: findings that are counted and open no threat.

They are known by their fingerprint, which is the same for the same type and subject on every host. Until when each is
normal is counted on the time of day, as people named it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from dio_daemon.detect.finding import Finding

Normal = Mapping[str, datetime | None]
"""Fingerprint to the moment from which on it is no longer normal; None: without an end."""


@dataclass(frozen=True)
class Seen:
    """How often a normal finding began or happened since it was marked, and when last."""

    count: int
    last: datetime


class Tolerance:
    """For the thread that holds the book's lock."""

    def __init__(self) -> None:
        self._normal: dict[str, datetime | None] = {}
        self._seen: dict[str, Seen] = {}
        self._present: set[str] = set()
        self._now: set[str] = set()

    def use(self, normal: Normal) -> None:
        """These are normal from now on, and no others."""
        self._normal = dict(normal)
        self._seen = {key: seen for key, seen in self._seen.items() if key in self._normal}

    def holds(self, fingerprint: str, moment: datetime) -> bool:
        """Whether it is normal at a moment."""
        if fingerprint not in self._normal:
            return False
        until = self._normal[fingerprint]
        return until is None or moment < until

    def takes(self, finding: Finding, moment: datetime) -> bool:
        """Whether a finding of this round is normal; then it is counted."""
        key = finding.fingerprint
        if not self.holds(key, moment):
            return False
        before = self._seen.get(key)
        if before is None or finding.hold_s is not None or key not in self._present | self._now:
            self._seen[key] = Seen(1 if before is None else before.count + 1, moment)
        else:
            self._seen[key] = Seen(before.count, moment)
        self._now.add(key)
        return True

    def end_round(self) -> None:
        """All that is the case has been taken."""
        self._present, self._now = self._now, set()

    def seen(self) -> dict[str, Seen]:
        """What was counted, by fingerprint."""
        return dict(self._seen)
