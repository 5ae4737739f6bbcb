"""Clocks that are wrong or step: order, intervals, presence and continuity stay right, and the skew is shown."""

import itertools
import os
import shutil
import time
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import tests.support
from tests.integration.faults.conftest import MakeHost
from tests.support import disks
from tests.support.hosts import Host
from tests.support.oracle import settled
from tests.support.processes import RealCenter, wait_for

HOUR = 3600.0
WRONG_CLOCK = Path(tests.support.__file__).parent / "wrong_clock"


class Wall:
    """The file that says by how much somebody's wall clock is wrong."""

    def __init__(self, path: Path, wrong_by_s: float = 0.0) -> None:
        self.path = path
        self.set(wrong_by_s)

    def set(self, wrong_by_s: float) -> None:
        aside = self.path.with_suffix(".new")
        aside.write_text(f"{wrong_by_s}")
        aside.rename(self.path)


@pytest.fixture
def wall(tmp_path: Path) -> Wall:
    """The host's."""
    return Wall(tmp_path / "wall")


@pytest.fixture
def center_wall(tmp_path: Path, center: RealCenter) -> Wall:
    """The center's; started by the test."""
    found = Wall(tmp_path / "center-wall")
    search = os.pathsep.join([str(WRONG_CLOCK), *filter(None, [os.environ.get("PYTHONPATH")])])
    center.environ = {"DIO_TEST_WALL": str(found.path), "PYTHONPATH": search}
    return found


def host_of(make_host: MakeHost, center: RealCenter, wall: Wall) -> Host:
    host = make_host(center)
    host.agent.environ["DIO_TEST_WALL"] = str(wall.path)
    return host


def more(host: Host, count: int) -> None:
    before = host.committed()
    wait_for(lambda: len(host.committed() - before) >= count, f"{count} more records")


def in_order(center: RealCenter, agent_id: str) -> list[dict[str, Any]]:
    """All samples by their seq; of one epoch, without a hole."""
    found = sorted(center.samples(agent_id), key=lambda sample: sample["seq"])
    assert len({sample["epoch"] for sample in found}) == 1
    assert [sample["seq"] for sample in found] == list(range(1, len(found) + 1))
    return found


def moments(samples: list[dict[str, Any]], field: str) -> list[datetime]:
    return [datetime.fromisoformat(sample[field]) for sample in samples]


def steps(moments: list[datetime]) -> list[float]:
    """Seconds between one and the next."""
    return [(later - earlier).total_seconds() for earlier, later in itertools.pairwise(moments)]


def skew(center: RealCenter, agent_id: str, about_s: float) -> None:
    """Wait until the center shows this skew of the agent."""

    def look() -> bool:
        shown = center.get(f"/api/v1/agents/{agent_id}")["clock_skew_s"]
        return shown is not None and abs(shown - about_s) < 30

    wait_for(look, f"a skew of {about_s:g} s")


def state_of(center: RealCenter, agent_id: str) -> str:
    return str(center.get(f"/api/v1/agents/{agent_id}")["state"])


@pytest.mark.parametrize("by_s", [HOUR, -HOUR], ids=["ahead", "back"])
def test_the_hosts_clock_steps(calm_center: RealCenter, make_host: MakeHost, wall: Wall, by_s: float) -> None:
    host = host_of(make_host, calm_center, wall).started()
    began = time.monotonic()
    known = host.id
    more(host, 2)
    wall.set(by_s)
    more(host, 3)
    skew(calm_center, known, by_s)
    assert state_of(calm_center, known) == "active"
    wall.set(0)
    more(host, 2)
    skew(calm_center, known, 0)
    settled(calm_center, host)
    took = time.monotonic() - began
    samples = in_order(calm_center, known)
    assert len(samples) <= took + 2  # no burst
    large = [step for step in steps(moments(samples, "time")) if abs(step) > 60]
    assert [abs(abs(step) - HOUR) < 60 for step in large] == [True, True]
    assert all(-1 < step < 10 for step in steps(moments(samples, "received_at")))
    assert host.exits == []


def test_a_host_that_boots_in_1970(calm_center: RealCenter, make_host: MakeHost, wall: Wall) -> None:
    wall.set(60 - time.time())
    host = host_of(make_host, calm_center, wall).started()
    known = host.id
    more(host, 2)
    assert state_of(calm_center, known) == "active"
    assert calm_center.get(f"/api/v1/agents/{known}")["clock_skew_s"] < -1e9
    host.proxy.fault = "refuse"
    host.pending(2)
    wall.set(0)
    more(host, 2)
    host.proxy.fault = "pass"
    settled(calm_center, host)
    skew(calm_center, known, 0)
    years = [moment.year for moment in moments(in_order(calm_center, known), "time")]
    assert years == sorted(years)
    assert years[0] == 1970
    assert years[-1] >= 2024


@pytest.mark.parametrize("by_s", [HOUR, -HOUR], ids=["ahead", "back"])
def test_the_centers_clock_is_wrong(
    center: RealCenter, center_wall: Wall, make_host: MakeHost, by_s: float
) -> None:
    center_wall.set(by_s)
    center.start()
    center.wait_ready()
    host = make_host(center).started()
    known = host.id
    more(host, 2)
    skew(center, known, -by_s)
    assert state_of(center, known) == "active"
    center_wall.set(0)
    more(host, 3)
    settled(center, host)
    skew(center, known, 0)
    assert state_of(center, known) == "active"
    assert host.exits == []
    assert all(abs(step) < 10 for step in steps(moments(in_order(center, known), "time")))


def test_everything_boots_in_1970_after_a_loss_of_power(
    center: RealCenter, center_wall: Wall, make_host: MakeHost, tmp_path: Path
) -> None:
    """One machine without a battery for its clock, center and agent on it: it stays who it was."""
    center.start()
    center.wait_ready()
    host = host_of(make_host, center, center_wall).started()
    known = host.id
    more(host, 2)
    host.proxy.fault = "refuse"
    host.pending(2)
    host.kill()
    center.kill()
    # Another boot is another place; here the folder is one, for the kernel's boot id cannot be changed.
    shutil.copytree(host.state_dir, tmp_path / "rebooted")
    shutil.rmtree(host.state_dir)
    (tmp_path / "rebooted").rename(host.state_dir)
    center_wall.set(60 - time.time())
    host.proxy.fault = "pass"
    center.start()
    center.wait_ready()
    host.start()
    settled(center, host)
    assert host.id == known
    center_wall.set(0)
    more(host, 2)
    settled(center, host)
    assert host.id == known
    assert state_of(center, known) == "active"
    assert len(center.get("/api/v1/agents")["agents"]) == 1
    assert (
        timedelta(0)
        <= moments(in_order(center, known), "received_at")[-1] - datetime(2024, 1, 1).astimezone()
    )


def test_suspended_for_an_hour(
    center: RealCenter, center_wall: Wall, make_host: MakeHost, tmp_path: Path
) -> None:
    """The host's monotonic clock stood still; its clock since boot and everybody's time of day went on."""
    asleep = Wall(tmp_path / "asleep")
    center.start()
    center.wait_ready()
    host = host_of(make_host, center, center_wall)
    host.agent.environ["DIO_TEST_ASLEEP"] = str(asleep.path)
    began = time.monotonic()
    host.started()
    known = host.id
    more(host, 2)
    with disks.frozen([host.pid]):
        asleep.set(HOUR)
        center_wall.set(HOUR)
    more(host, 3)
    settled(center, host)
    took = time.monotonic() - began
    skew(center, known, 0)
    samples = in_order(center, known)
    assert len(samples) <= took + 2  # nothing makes up for the time asleep
    booted = [sample["data"]["boottime_s"] for sample in samples]
    since_boot = [later - earlier for earlier, later in itertools.pairwise(booted)]
    for clock in (steps(moments(samples, "time")), since_boot):
        assert [abs(step - HOUR) < 60 for step in clock if abs(step) > 60] == [True]
    assert state_of(center, known) == "active"
    assert host.exits == []
