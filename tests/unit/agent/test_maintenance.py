"""A maintenance window: over restarts, reboots, and a wall clock that steps."""

import json
from datetime import timedelta
from pathlib import Path

import pytest

from dio_daemon.maintenance import MAX_S, Maintenance
from tests.support.clock import FakeClock


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "maintenance.json"


def test_a_window_begins_and_ends_by_itself(path: Path) -> None:
    clock = FakeClock()
    maintenance = Maintenance(path, clock, "boot")
    assert maintenance.window is None
    assert maintenance.left_s() == 0
    window = maintenance.begin(600, "disk swap")
    assert window.until == "2026-01-01T00:10:00.000Z"
    clock.advance(599)
    assert maintenance.window == window
    assert maintenance.left_s() == 1
    clock.advance(1)
    assert maintenance.window is None
    assert not maintenance.end()


def test_it_is_ended_by_hand(path: Path) -> None:
    maintenance = Maintenance(path, FakeClock(), "boot")
    maintenance.begin(600, "")
    assert maintenance.end()
    assert maintenance.window is None
    assert not path.exists()
    assert not maintenance.end()


def test_it_outlives_a_restart(path: Path) -> None:
    clock = FakeClock()
    window = Maintenance(path, clock, "boot").begin(600, "disk swap")
    clock.advance(100)
    again = Maintenance(path, clock, "boot")
    assert again.window == window
    assert again.left_s() == 500
    clock.advance(500)
    assert Maintenance(path, clock, "boot").window is None


@pytest.mark.parametrize(
    "step", [timedelta(days=-400), timedelta(hours=-1), timedelta(hours=1), timedelta(days=400)]
)
def test_a_wall_clock_that_steps_changes_nothing_while_the_host_runs(path: Path, step: timedelta) -> None:
    clock = FakeClock()
    maintenance = Maintenance(path, clock, "boot")
    maintenance.begin(600, "")
    clock.wall += step
    assert maintenance.left_s() == 600
    assert Maintenance(path, clock, "boot").left_s() == 600


def test_after_a_reboot_the_wall_clock_decides(path: Path) -> None:
    clock = FakeClock()
    Maintenance(path, clock, "boot").begin(600, "")
    clock.time_s = 20  # since the new boot
    clock.wall += timedelta(seconds=200)
    assert Maintenance(path, clock, "another boot").left_s() == pytest.approx(400)
    clock.wall += timedelta(seconds=400)
    assert Maintenance(path, clock, "another boot").window is None


def test_a_wall_clock_that_is_wrong_after_a_reboot_makes_it_no_longer(path: Path) -> None:
    clock = FakeClock()
    Maintenance(path, clock, "boot").begin(600, "")
    clock.time_s = 20
    clock.wall -= timedelta(days=20_000)  # a board without a battery
    assert Maintenance(path, clock, "another boot").left_s() == 600


def test_a_boot_id_that_is_not_known_is_no_proof_of_the_same_boot(path: Path) -> None:
    clock = FakeClock()
    Maintenance(path, clock, None).begin(600, "")
    clock.advance(500)
    clock.time_s = 20
    assert Maintenance(path, clock, None).left_s() == pytest.approx(100)


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "null",
        "{}",
        "[" * 100_000,
        '{"boot_id": "boot", "until_boottime_s": "soon", "until": "2026-01-01T00:10:00Z", "for_s": 1, "reason": ""}',
        '{"boot_id": "boot", "until_boottime_s": 1600, "until": 5, "for_s": 600, "reason": ""}',
        '{"boot_id": "boot", "until_boottime_s": 1600, "until": "tomorrow", "for_s": 600, "reason": ""}',
    ],
)
def test_a_damaged_file_is_no_window(path: Path, content: str) -> None:
    path.write_text(content)
    assert Maintenance(path, FakeClock(), "boot").window is None


def test_a_file_cannot_silence_a_host_for_longer_than_anybody_may(path: Path) -> None:
    clock = FakeClock()
    Maintenance(path, clock, "boot").begin(600, "")
    found = json.loads(path.read_text())
    found |= {"until_boottime_s": 1e18, "for_s": 1e18}
    path.write_text(json.dumps(found))
    assert Maintenance(path, clock, "boot").left_s() == MAX_S


def test_a_disk_that_takes_nothing_costs_only_the_memory_of_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    maintenance = Maintenance(tmp_path / "missing" / "maintenance.json", FakeClock(), "boot")
    maintenance.begin(600, "")
    assert maintenance.left_s() == 600
    assert "a restart would end the maintenance" in caplog.text
    assert maintenance.end()
