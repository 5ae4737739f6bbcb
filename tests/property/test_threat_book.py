"""Whatever the detectors say, whenever the agent dies: the nerve center ends with what is the case.

The center's side is modelled as it is: the newest record of a fingerprint is its state. At rest (what is said stays the
same for long enough) its open threats are exactly those that the book has, and those are what the detectors say.
"""

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from dio_daemon.detect.book import MOST_QUIET_S, RESTORED_S, ThreatBook
from dio_daemon.detect.finding import SEVERITIES, Finding, Gone, fingerprint
from dio_daemon.threat_log import ThreatLog
from tests.support.clock import FakeClock

SUBJECTS = st.sampled_from("abcd")
HOLD_S = 1000.0


class Died(Exception):
    """The agent was killed while it told."""


class Book(RuleBasedStateMachine):
    """One host's book over restarts, and what the center makes of it."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = TemporaryDirectory()
        self.clock = FakeClock()
        self.center: dict[str, dict[str, Any]] = {}
        self.opened = 0
        self.lasting: dict[str, Finding] = {}
        self.normal: set[str] = set()
        self.untold: set[str] = set()
        """Of what the agent told as it died: the book tells it once more, until then it may say otherwise."""
        self.dies: str | None = None
        self.start()

    def teardown(self) -> None:
        self.folder.cleanup()

    def start(self) -> None:
        self.book = ThreatBook(
            Path(self.folder.name) / "threats.json", self.emit, ThreatLog(lambda *_: None), self.clock
        )
        self.book.tolerate(dict.fromkeys(self.normal))

    def emit(self, data: bytes) -> None:
        if self.dies == "before":
            raise Died
        record = json.loads(data)
        self.untold.discard(record["fingerprint"])
        known = self.center.get(record["fingerprint"])
        self.opened += record["state"] == "open" and (known is None or known["state"] != "open")
        self.center[record["fingerprint"]] = record
        if self.dies == "after":
            self.untold.add(record["fingerprint"])
            raise Died

    def step(self, *once: Finding | Gone, after_s: float = 10.0) -> None:
        self.clock.advance(after_s)
        try:
            self.book.step([*self.lasting.values(), *once], self.clock.monotonic())
        except Died:
            self.dies = None
            self.start()
            self.book.step([*self.lasting.values(), *once], self.clock.monotonic())

    @rule(subject=SUBJECTS, severity=st.sampled_from(SEVERITIES))
    def begins(self, subject: str, severity: str) -> None:
        self.lasting[subject] = Finding("lasting", severity, 1.0, subject, "it lasts")
        self.step()

    @rule(subject=SUBJECTS)
    def ends(self, subject: str) -> None:
        self.lasting.pop(subject, None)
        self.step()

    @rule(subject=SUBJECTS)
    def happens(self, subject: str) -> None:
        self.step(Finding("once", "high", 1.0, subject, "it happened", hold_s=HOLD_S))

    @rule(subject=SUBJECTS)
    def is_undone(self, subject: str) -> None:
        self.step(Gone("once", subject))

    @rule(seconds=st.sampled_from([1.0, 35.0, 200.0, 2000.0]))
    def goes_on(self, seconds: float) -> None:
        self.step(after_s=seconds)

    @rule(subject=SUBJECTS, normal=st.booleans())
    def is_normal_or_no_longer(self, subject: str, normal: bool) -> None:
        key = fingerprint("lasting", subject)
        self.normal = self.normal | {key} if normal else self.normal - {key}
        try:
            self.book.tolerate(dict.fromkeys(self.normal))
        except Died:
            self.dies = None
            self.start()
        self.step()

    @rule()
    def restarts(self) -> None:
        self.book.close()
        self.start()

    @precondition(lambda self: self.dies is None)
    @rule(when=st.sampled_from(["before", "after"]))
    def dies_at_the_next_record(self, when: str) -> None:
        self.dies = when

    @rule()
    def comes_to_rest(self) -> None:
        self.dies = None
        for _ in range(3):
            self.step(after_s=MOST_QUIET_S + RESTORED_S + HOLD_S)
        assert not self.untold
        wrong = [each for each in self.lasting.values() if each.fingerprint not in self.normal]
        assert {each.subject for each in self.book.open_threats()} == {each.subject for each in wrong}
        assert {each.severity for each in self.book.open_threats()} == {each.severity for each in wrong}

    @invariant()
    def the_center_has_what_the_book_has(self) -> None:
        open_ = {key for key, record in self.center.items() if record["state"] == "open"}
        assert open_ - self.untold == {each.fingerprint for each in self.book.open_threats()} - self.untold

    @invariant()
    def what_is_the_case_is_open(self) -> None:
        open_ = {each.fingerprint: each for each in self.book.open_threats()}
        assert not open_.keys() & self.normal
        for finding in self.lasting.values():
            if finding.fingerprint in self.normal:
                continue
            assert SEVERITIES.index(open_[finding.fingerprint].severity) >= SEVERITIES.index(finding.severity)

    @invariant()
    def every_opening_is_counted_once(self) -> None:
        assert self.opened <= sum(record["count"] for record in self.center.values())


TestThreatBook = Book.TestCase
TestThreatBook.settings = settings(max_examples=25, stateful_step_count=40, deadline=None)
