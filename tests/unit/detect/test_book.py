"""The life of threats: what is told, when, and what survives a restart."""

import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from dio_daemon.detect.book import AGAIN_S, QUIET_S, RESTORED_S, ThreatBook
from dio_daemon.detect.finding import MOST_EVIDENCE_BYTES, Finding, Gone, bounded, fingerprint
from dio_daemon.detect.storms import MOST_OPEN, PER_TYPE
from dio_daemon.threat_log import ThreatLog
from nerve_center.contract import Contract
from nerve_center.jsontext import check_text
from tests.support.clock import FakeClock

FULL = Finding("disk_space", "medium", 0.9, "/", "/ is 92 % full", "why", "next", evidence={"percent": 92})
ADDED = Finding("cron", "high", 0.9, "/etc/crontab", "a line was added", hold_s=1000.0)


class Host:
    """A book, the time, and what it told."""

    def __init__(self, folder: Path) -> None:
        self.clock = FakeClock()
        self.path = folder / "threats.json"
        self.told: list[dict[str, Any]] = []
        self.book = self.start()

    def start(self) -> ThreatBook:
        self.book = ThreatBook(
            self.path, lambda data: self.told.append(json.loads(data)), ThreatLog(lambda *_: None), self.clock
        )
        return self.book

    def step(self, *said: Finding | Gone, after_s: float = 10.0) -> list[str]:
        """What it told at one more step."""
        self.clock.advance(after_s)
        before = len(self.told)
        self.book.step(said, self.clock.monotonic())
        return [f"{each['state']} {each['severity']}" for each in self.told[before:]]


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def test_it_opens_once_and_clears_by_itself(host: Host) -> None:
    assert host.step(FULL) == ["open medium"]
    assert host.step(FULL) == []
    assert host.step() == []
    assert host.step(after_s=QUIET_S) == ["cleared medium"]
    assert host.step(after_s=QUIET_S) == []
    assert host.book.open_threats() == []


def test_it_escalates_at_once_and_eases_after_a_while(host: Host) -> None:
    host.step(FULL)
    assert host.step(replace(FULL, severity="critical")) == ["open critical"]
    assert host.step(FULL) == []
    assert host.step(FULL, after_s=QUIET_S) == ["open medium"]


def test_what_else_happens_to_the_same_thing_is_told(host: Host) -> None:
    one, two = replace(FULL, version="one"), replace(FULL, version="two", summary="another line")
    host.step(one)
    assert host.step(one) == []
    assert host.step(two) == ["open medium"]
    assert (host.told[-1]["summary"], host.told[-1]["count"]) == ("another line", 2)
    assert host.step(two, after_s=100) == []
    host.start()
    assert host.step(two) == [], "what it was before a restart is not known"
    assert host.step(one) == ["open medium"]


def test_what_changes_all_the_time_is_told_at_ever_longer_distances(host: Host) -> None:
    for number in range(1000):
        host.step(replace(FULL, version=str(number)))
    assert len(host.told) < 15
    assert host.step(replace(FULL, version="last"), after_s=AGAIN_S) == ["open medium"], (
        "the last one is told"
    )


def test_what_flaps_is_one_long_threat(host: Host) -> None:
    for _ in range(300):
        host.step(FULL)
        host.step(after_s=QUIET_S + 1)
    assert len(host.told) < 20
    assert host.book.open_threats()[0].count > 250


def test_it_reopens_with_its_history(host: Host) -> None:
    host.step(FULL)
    first = host.told[0]["first_seen"]
    host.step(after_s=QUIET_S)
    assert host.step(FULL, after_s=7200) == ["open medium"]
    assert (host.told[-1]["count"], host.told[-1]["first_seen"]) == (2, first)


def test_it_is_told_again_while_it_lasts(host: Host) -> None:
    host.step(FULL)
    told = [each for _ in range(60) for each in host.step(FULL, after_s=AGAIN_S / 6)]
    assert told == ["open medium"] * 10


def test_what_happened_once_stays_for_its_time(host: Host) -> None:
    assert host.step(ADDED) == ["open high"]
    assert host.step(after_s=900) == []
    assert host.step(after_s=101) == ["cleared high"]


def test_what_happened_once_is_over_when_it_is_undone(host: Host) -> None:
    host.step(ADDED)
    host.step(Gone(ADDED.type, ADDED.subject))
    assert host.step(after_s=QUIET_S) == ["cleared high"]


def test_it_outlives_a_restart(host: Host) -> None:
    host.step(FULL, ADDED)
    host.book.close()
    host.start()
    assert {threat.type for threat in host.book.open_threats()} == {"disk_space", "cron"}
    assert host.book.is_open(FULL.fingerprint)
    assert host.step(FULL) == []
    assert host.step(FULL, after_s=RESTORED_S) == []
    assert host.book.open_threats()[0].evidence == {}
    host.start()
    assert host.step(after_s=RESTORED_S + QUIET_S - 1) == []
    assert host.step() == ["cleared medium"]


def test_a_restart_is_no_event_of_a_threat(host: Host) -> None:
    """Detectors take a while to find again what they told: it was not away meanwhile."""
    host.step(FULL)
    host.book.close()
    host.start()
    for _ in range(int(RESTORED_S / 10) - 2):
        assert host.step() == []
    assert host.step(FULL) == []
    assert host.book.open_threats()[0].count == 1
    host.step()
    host.step(FULL)
    assert host.book.open_threats()[0].count == 2, "later on it is"


def test_the_record_is_on_disk_before_the_book_changes(host: Host) -> None:
    def fails(data: bytes) -> None:
        raise OSError("no")

    host.book._emit = fails
    with pytest.raises(OSError):
        host.step(FULL)
    assert not host.path.exists()
    host.start()
    assert host.step(FULL) == ["open medium"]
    host.book._emit = fails
    with pytest.raises(OSError):
        host.step(after_s=QUIET_S)
    assert host.start().is_open(FULL.fingerprint)


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b'{"threats": [1], "normal": {}}', b'{"threats": [{}], "normal": {}}', b"\xff"],
)
def test_a_damaged_file_is_no_obstacle(host: Host, content: bytes) -> None:
    host.path.write_bytes(content)
    host.start()
    assert host.step(FULL) == ["open medium"]


def test_it_goes_on_when_its_file_cannot_be_written(host: Host) -> None:
    host.path.mkdir()
    assert host.step(FULL) == ["open medium"]
    assert "threats.json" in host.book.problem
    host.path.rmdir()
    host.step(FULL)
    assert host.book.problem == ""
    assert host.start().is_open(FULL.fingerprint)


def test_what_is_normal_is_no_threat(host: Host) -> None:
    host.step(FULL)
    host.book.tolerate({FULL.fingerprint: None, "unknown": None})
    assert host.told[-1]["state"] == "cleared"
    assert host.told[-1]["reason"] == "tolerated"
    assert host.step(FULL, after_s=QUIET_S) == []
    assert host.step(FULL) == []
    assert host.book.tolerated()[FULL.fingerprint].count == 1
    host.step()
    host.step(FULL)
    assert host.book.tolerated()[FULL.fingerprint].count == 2
    host.book.tolerate({})
    assert host.book.tolerated() == {}
    assert host.step(FULL) == ["open medium"]
    assert "reason" not in host.told[-1]


def test_what_happens_and_is_normal_is_counted_each_time(host: Host) -> None:
    host.book.tolerate({ADDED.fingerprint: None})
    assert [host.step(ADDED) for _ in range(3)] == [[], [], []]
    assert host.book.tolerated()[ADDED.fingerprint].count == 3


def test_what_is_normal_until_a_moment_is_a_threat_from_then_on(host: Host) -> None:
    host.book.tolerate({FULL.fingerprint: host.clock.now() + timedelta(seconds=60)})
    assert host.step(FULL) == []
    assert host.step(FULL, after_s=60) == ["open medium"]


def test_the_sum_of_a_storm_may_be_normal_too(host: Host) -> None:
    storm = [replace(ADDED, subject=f"/etc/cron.d/{number}") for number in range(100)]
    host.book.tolerate({fingerprint(ADDED.type, "more"): None})
    host.step(*storm)
    assert len(host.told) == PER_TYPE


def test_a_storm_is_summed_up(host: Host) -> None:
    storm = [replace(ADDED, subject=f"/etc/cron.d/{number}") for number in range(5000)]
    host.step(*storm)
    assert len(host.told) == PER_TYPE + 1
    assert host.told[-1]["evidence"]["more"] == 5000 - PER_TYPE
    host.step()
    host.step(*[replace(ADDED, subject=f"/etc/cron.d/x{number}") for number in range(100)])
    more = [threat for threat in host.book.open_threats() if threat.subject == "more"]
    assert [threat.evidence["more"] for threat in more] == [5080 - PER_TYPE + 20]
    host.step(after_s=5000)
    host.step(after_s=5000)
    assert host.book.open_threats() == []
    assert host.step(ADDED) == ["open high"]


def test_the_whole_is_bounded(host: Host) -> None:
    host.step(
        *[replace(FULL, type=f"t{number}", subject=str(of)) for number in range(40) for of in range(30)]
    )
    assert MOST_OPEN <= len(host.book.open_threats()) <= MOST_OPEN + 40


def test_more_severe_ones_come_first_in_a_storm(host: Host) -> None:
    storm = [replace(ADDED, severity="low", subject=str(number)) for number in range(100)]
    host.step(*storm, replace(ADDED, severity="critical", subject="the one"))
    assert "the one" in {threat.subject for threat in host.book.open_threats()}


def test_every_record_fits_the_contract(host: Host) -> None:
    contract = Contract()
    odd = replace(
        ADDED,
        subject="/tmp/\x1b[31m\udcff\n",
        summary="\0" * 5000,
        confidence=7.0,
        technique="T1053.003",
        evidence={
            "bytes": b"\0",
            "nan": float("nan"),
            "deep": [[[[[[[[[1]]]]]]]]],
            "text": "a\0\nb",
            "big": 1 << 70,
        },
    )
    host.step(FULL, odd)
    host.step(after_s=1000)
    for data in host.told:
        contract.check_data("threat", data)
        check_text(data)
    assert host.told[0]["evidence"]["text"] == "a\\x00\nb"


def test_evidence_is_bounded() -> None:
    kept = bounded({"small": 1, **{f"large{number}": "x" * 9000 for number in range(100)}})
    assert len(json.dumps(kept)) <= MOST_EVIDENCE_BYTES + 100
    assert kept["small"] == 1
    assert kept["left_out"] > 80


def test_the_fingerprint_is_that_of_type_and_subject() -> None:
    assert FULL.fingerprint == replace(FULL, severity="low", summary="else").fingerprint
    assert FULL.fingerprint != replace(FULL, subject="/var").fingerprint
    assert Gone(FULL.type, FULL.subject).fingerprint == FULL.fingerprint
