"""The sampler keeps its schedule on the monotonic clock and everything it saw on disk."""

from pathlib import Path
from typing import Any

import pytest

from dio_daemon.board import Board
from dio_daemon.detect.book import ThreatBook
from dio_daemon.detect.watch import Watch
from dio_daemon.heartbeat import Heartbeat
from dio_daemon.safe_spool import SafeSpool
from dio_daemon.sampler import Sampler
from dio_daemon.spool import Budget
from dio_daemon.threat_log import ThreatLog
from tests.support.clock import FakeClock


class Host:
    """A host whose sampling takes as long as the test says."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.takes_s = 0.0
        self.problems: dict[str, str] = {}
        self.sampled_at: list[float] = []

    def prime(self) -> None:
        pass

    def sample(self) -> dict[str, Any]:
        self.sampled_at.append(self.clock.monotonic() - 1000)
        self.clock.advance(self.takes_s)
        return {"cpu": None}


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def host(clock: FakeClock) -> Host:
    return Host(clock)


@pytest.fixture
def sampler(tmp_path: Path, clock: FakeClock, host: Host, request: pytest.FixtureRequest) -> Sampler:
    spool = SafeSpool(tmp_path / "spool.db", Budget(1 << 24, 1e9, 1e9), clock)
    request.addfinalizer(spool.close)
    return Sampler(
        host,
        spool,
        Board(clock, lambda *_: None, lambda *_: None),
        lambda *_: None,
        Heartbeat("sampler", clock),
        clock,
        10.0,
        lambda *_: None,
        Watch([], ThreatBook(tmp_path / "threats.json", lambda *_: None, ThreatLog(lambda *_: None), clock)),
    )


def run(sampler: Sampler, host: Host, samples: int) -> None:
    while len(host.sampled_at) < samples:
        sampler.step()


def test_the_first_sample_comes_within_the_first_seconds(sampler: Sampler, host: Host) -> None:
    run(sampler, host, 3)
    assert host.sampled_at == [1, 11, 21]
    assert sampler._spool.pending == 3


def test_a_slow_step_does_not_shift_the_next(sampler: Sampler, host: Host) -> None:
    host.takes_s = 4
    run(sampler, host, 3)
    assert host.sampled_at == [1, 11, 21]


def test_a_step_longer_than_the_interval_skips_whole_intervals(sampler: Sampler, host: Host) -> None:
    host.takes_s = 25
    run(sampler, host, 3)
    assert host.sampled_at == [1, 31, 61]


def test_the_wall_clock_does_not_matter(sampler: Sampler, host: Host, clock: FakeClock) -> None:
    from datetime import timedelta

    run(sampler, host, 2)
    clock.wall -= timedelta(hours=1)
    run(sampler, host, 3)
    clock.wall += timedelta(days=20000)
    run(sampler, host, 4)
    assert host.sampled_at == [1, 11, 21, 31]


def test_problems_become_conditions(sampler: Sampler, host: Host) -> None:
    host.problems = {"collect_disks": "cannot be read"}
    run(sampler, host, 1)
    assert sampler._board.snapshot.conditions == {"collect_disks": "cannot be read"}
    host.problems = {}
    run(sampler, host, 2)
    assert sampler._board.snapshot.conditions == {}


def test_another_interval_counts_from_the_last_sample(sampler: Sampler, host: Host) -> None:
    run(sampler, host, 2)
    sampler.reconfigure(host, 3.0)
    run(sampler, host, 4)
    assert host.sampled_at == [1, 11, 14, 17]
