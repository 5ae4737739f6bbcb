"""A host that slept: the monotonic clock stood still, the clock since boot and the wall clock did not."""

from datetime import timedelta
from pathlib import Path

import pytest

from dio_daemon.heartbeat import Heartbeat
from dio_daemon.maintenance import Maintenance
from dio_daemon.safe_spool import RETURN_EVERY_S, SafeSpool
from dio_daemon.spool_model import Budget
from dio_daemon.starts import FORGET_S, StartHistory
from dio_daemon.wire import SAMPLES
from tests.support.clock import FakeClock

NIGHT_S = 8 * 3600.0
DAY = Budget(16 << 20, 3600.0, 3600.0)


class LaptopClock(FakeClock):
    """A clock of a host that can be suspended."""

    def __init__(self) -> None:
        super().__init__()
        self.asleep_s = 0.0

    def boottime(self) -> float:
        return self.time_s + self.asleep_s

    def suspend(self, seconds: float) -> None:
        self.asleep_s += seconds
        self.wall += timedelta(seconds=seconds)


@pytest.fixture
def clock() -> LaptopClock:
    return LaptopClock()


def test_a_thread_that_slept_is_not_hung(clock: LaptopClock) -> None:
    beat = Heartbeat("sampler", clock)
    beat.beat(10.0)
    clock.suspend(NIGHT_S)
    assert beat.fresh


def test_a_night_ages_no_record(tmp_path: Path, clock: LaptopClock) -> None:
    spool = SafeSpool(tmp_path / "spool.db", DAY, clock)
    for _ in range(70):
        spool.append(SAMPLES, "sample", b"{}", 10.0)
    clock.suspend(NIGHT_S)
    for _ in range(70):
        spool.append(SAMPLES, "sample", b"{}", 10.0)
    records = spool.batch(SAMPLES, 500).records
    assert [record.kind for record in records] == ["sample"] * 140
    assert records[70].time[:13] == "2026-01-01T08"
    spool.close()


def test_the_disk_is_tried_again_after_the_time_awake(tmp_path: Path, clock: LaptopClock) -> None:
    spool = SafeSpool(tmp_path / "gone" / "spool.db", DAY, clock)
    (tmp_path / "gone").mkdir()
    clock.suspend(NIGHT_S)
    spool.append(SAMPLES, "sample", b"{}")
    assert "spool_in_memory" in spool.conditions()
    clock.advance(RETURN_EVERY_S)
    spool.append(SAMPLES, "sample", b"{}")
    assert spool.conditions() == {}
    spool.close()


def test_a_maintenance_window_goes_on_in_the_night(tmp_path: Path, clock: LaptopClock) -> None:
    maintenance = Maintenance(tmp_path / "maintenance.json", clock, "boot")
    maintenance.begin(NIGHT_S + 60, "")
    clock.suspend(NIGHT_S)
    assert maintenance.left_s() == 60
    clock.suspend(60)
    assert maintenance.window is None


def test_failed_starts_of_the_evening_are_forgotten(tmp_path: Path, clock: LaptopClock) -> None:
    StartHistory(tmp_path / "starts.json", clock, "boot", "").failed(False, "", "not ready")
    assert StartHistory(tmp_path / "starts.json", clock, "boot", "").quiet
    clock.suspend(FORGET_S + 1)
    assert not StartHistory(tmp_path / "starts.json", clock, "boot", "").quiet
