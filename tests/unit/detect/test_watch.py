"""Detectors are asked within a budget, and one that fails costs nobody else anything."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from dio_daemon.detect.book import ThreatBook
from dio_daemon.detect.finding import Finding, Gone
from dio_daemon.detect.watch import Watch
from dio_daemon.threat_log import ThreatLog
from tests.support.clock import FakeClock

HERE = Finding("a", "low", 1.0, "x", "it is")


class One:
    """A detector that does as the test says."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.said: Sequence[Finding | Gone] = ()
        self.error: Exception | None = None
        self.takes_s = 0.0
        self.asked = 0
        self.spent = [0.0]

    def look(self, sample: Mapping[str, Any], now: float) -> Sequence[Finding | Gone]:
        self.asked += 1
        self.spent[0] += self.takes_s
        if self.error is not None:
            raise self.error
        return self.said


@pytest.fixture
def book(tmp_path: Path) -> ThreatBook:
    return ThreatBook(tmp_path / "threats.json", lambda data: None, ThreatLog(lambda *_: None), FakeClock())


def test_one_that_fails_is_a_condition_and_its_word_holds(
    book: ThreatBook, caplog: pytest.LogCaptureFixture
) -> None:
    bad, good = One("bad"), One("good")
    bad.said, good.said = [HERE], [Finding("b", "low", 1.0, "x", "it is, too")]
    watch = Watch([bad, good], book)
    watch.look({}, 0.0)
    bad.error = ValueError("no")
    for now in range(1, 400, 10):
        watch.look({}, float(now))
    assert len(book.open_threats()) == 2
    assert "ValueError: no" in watch.conditions["detector_failed"]
    assert caplog.text.count("Detector bad failed") == 1
    bad.error, bad.said = None, []
    watch.look({}, 500.0)
    assert watch.conditions == {}
    assert [threat.type for threat in book.open_threats()] == ["b"]


def test_what_is_dear_goes_in_turns(book: ThreatBook) -> None:
    spent = [0.0]
    dear = [One(str(number)) for number in range(3)]
    for each in dear:
        each.takes_s, each.spent, each.said = 2.0, spent, [Finding(each.name, "low", 1.0, "x", "it is")]
    watch = Watch(dear, book, lambda: spent[0])
    for now in range(0, 300, 10):
        watch.look({}, float(now))
    assert [each.asked for each in dear] == [10, 10, 10]
    assert len(book.open_threats()) == 3


def test_other_detectors(book: ThreatBook) -> None:
    old, new = One("old"), One("new")
    old.said = [HERE]
    watch = Watch([old], book)
    watch.look({}, 0.0)
    watch.reconfigure([new])
    watch.look({}, 100.0)
    assert (old.asked, new.asked, book.open_threats()) == (1, 1, [])
