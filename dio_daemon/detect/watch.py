"""Runs the detectors: what they say goes into the book.

All of them together have `BUDGET_S` of processor time a round. When that is used up, the rest wait for the next
round and are first then; until a detector was asked again, what it said last still holds. So it is for one that
raises: that is logged once and shown as a condition, and it is asked again at the next round.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from dio_daemon.detect.book import ThreatBook
from dio_daemon.detect.finding import Detector, Finding, Gone
from dio_daemon.messages import Kind, about

log = logging.getLogger(__name__)

BUDGET_S = 0.5
"""Of processor time a round: an occasional round may be dear, as the one that learns; the average must not be."""


class Watch:
    """The detectors of this host, asked by one thread.

    Args:
        detectors: who is asked, in this order.
        book: where it goes.
        spent: processor time of this thread so far, in seconds.
    """

    def __init__(
        self,
        detectors: Sequence[Detector],
        book: ThreatBook,
        spent: Callable[[], float] = time.thread_time,
    ) -> None:
        self._detectors = list(detectors)
        self._next: list[Detector] | None = None
        self._book = book
        self._spent = spent
        self._lasting: dict[str, list[Finding]] = {}
        self._failed: dict[str, str] = {}
        self.conditions: dict[str, str] = {}
        """What does not work: condition code to sentence."""

    def reconfigure(self, detectors: Sequence[Detector]) -> None:
        """Other detectors from the next round on; may be called from another thread."""
        self._next = list(detectors)

    def look(self, sample: Mapping[str, Any], now: float) -> None:
        """One round.

        Args:
            sample: the newest sample.
            now: monotonic seconds.
        """
        new, self._next = self._next, None
        if new is not None:
            self._detectors = new
            names = {detector.name for detector in new}
            self._lasting = {name: said for name, said in self._lasting.items() if name in names}
            self._failed = {name: why for name, why in self._failed.items() if name in names}
        until = self._spent() + BUDGET_S
        once: list[Finding | Gone] = []
        asked = 0
        for detector in self._detectors:
            if asked and self._spent() > until:
                break
            asked += 1
            once += self._ask(detector, sample, now)
        self._detectors = self._detectors[asked:] + self._detectors[:asked]
        lasting = [finding for said in self._lasting.values() for finding in said]
        self._book.step([*lasting, *once], now)
        self.conditions = self._conditions()

    def close(self) -> None:
        """Write the book down."""
        self._book.close()

    def _ask(self, detector: Detector, sample: Mapping[str, Any], now: float) -> list[Finding | Gone]:
        """What has happened; what lasts is put down."""
        try:
            said = detector.look(sample, now)
        except Exception as error:
            why = f"{type(error).__name__}: {error}"[:300]
            if detector.name not in self._failed:
                failed = about(Kind.DETECTOR_FAILED, detector=detector.name)
                log.error("Detector %s failed: %s", detector.name, why, exc_info=True, extra=failed)
            self._failed[detector.name] = why
            return []
        if self._failed.pop(detector.name, None) is not None:
            log.info("Detector %s works again", detector.name)
        self._lasting[detector.name] = [
            each for each in said if isinstance(each, Finding) and each.hold_s is None
        ]
        return [each for each in said if isinstance(each, Gone) or each.hold_s is not None]

    def _conditions(self) -> dict[str, str]:
        found = {}
        if self._failed:
            names = "; ".join(f"{name} ({why})" for name, why in sorted(self._failed.items()))
            found["detector_failed"] = f"Not watched for now: {names}. What they said before still holds."
        if self._book.problem:
            found["threats_not_saved"] = (
                f"{self._book.problem}. Threats are kept in memory until it works again."
            )
        return found
