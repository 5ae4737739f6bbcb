"""When a disk will be full is known again at once after a restart; what is no history is learned anew."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from dio_daemon.detect import trend
from dio_daemon.detect.trend import DiskTrend
from tests.support.clock import FakeClock

GB = 10**9
STEP_S = 300.0


def disk(used_gb: float) -> dict[str, Any]:
    return {"disks": [{"mount": "/srv", "percent": used_gb, "free_bytes": round((100 - used_gb) * GB)}]}


def forecast(disks: DiskTrend, clock: FakeClock, used_gb: float) -> float | None:
    hours: float | None = disks.fill_in(disk(used_gb), clock.monotonic())["disks"][0]["hours_to_full"]
    return hours


def fill(disks: DiskTrend, clock: FakeClock, hours: float, used_gb: float = 80.0) -> float:
    """Let 1 GB an hour be used up; returns what is used then."""
    for _ in range(round(hours * 3600 / STEP_S)):
        clock.advance(STEP_S)
        used_gb += STEP_S / 3600
        forecast(disks, clock, used_gb)
    return used_gb


def test_a_forecast_outlives_a_restart(tmp_path: Path) -> None:
    clock, path = FakeClock(), tmp_path / "disks.json"
    before = DiskTrend(path, clock)
    used = fill(before, clock, 4)
    before.close()
    assert path.stat().st_mode & 0o777 == 0o600
    clock.time_s = 5.0  # rebooted: the steady clock begins anew
    clock.wall += timedelta(seconds=60)
    hours = forecast(DiskTrend(path, clock), clock, used)
    assert hours == pytest.approx(100 - used, rel=0.05)


def test_it_is_written_once_an_hour(tmp_path: Path) -> None:
    clock, path = FakeClock(), tmp_path / "disks.json"
    disks = DiskTrend(path, clock)
    fill(disks, clock, 0.9)
    assert not path.exists()
    fill(disks, clock, 0.2)
    assert len(json.loads(path.read_text())["free_bytes"]["/srv"]) >= 12


@pytest.mark.parametrize("hours", [-8.0, 8.0])
def test_a_clock_that_was_stepped_is_no_history(tmp_path: Path, hours: float) -> None:
    clock, path = FakeClock(), tmp_path / "disks.json"
    before = DiskTrend(path, clock)
    used = fill(before, clock, 4)
    before.close()
    clock.wall += timedelta(hours=hours)
    after = DiskTrend(path, clock)
    assert forecast(after, clock, used) is None
    used = fill(after, clock, 4, used)
    assert forecast(after, clock, used) == pytest.approx(100 - used, rel=0.05)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"free_bytes": []}',
        '{"free_bytes": {"/srv": 5}}',
        '{"free_bytes": {"/srv": [["x", 1]]}}',
    ],
)
def test_what_cannot_be_read_is_learned_anew(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, text: str
) -> None:
    path = tmp_path / "disks.json"
    path.write_text(text)
    clock = FakeClock()
    disks = DiskTrend(path, clock)
    assert "learned anew" in caplog.text
    assert forecast(disks, clock, 90) is None


def test_the_file_is_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "disks.json"
    monkeypatch.setattr(trend, "MOST_FILE_BYTES", 10)
    path.write_text(" " * 11)
    DiskTrend(path, FakeClock())
    assert "too large" in caplog.text


def test_a_folder_that_cannot_be_written_costs_nothing(tmp_path: Path) -> None:
    clock = FakeClock()
    disks = DiskTrend(tmp_path / "missing" / "disks.json", clock)
    used = fill(disks, clock, 4)
    assert forecast(disks, clock, used) is not None
    disks.close()
