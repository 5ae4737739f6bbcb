"""What is learned, when something is unusual, and that noise, habits, restarts and attackers do not change that."""

import random
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from dio_daemon.detect.baselines import METRICS, Baselines, _metric
from dio_daemon.detect.finding import Finding
from dio_daemon.detect.history import DAYS, PER_HOUR, History, from_disk
from tests.support.clock import FakeClock

CPU = (_metric("cpu.percent", 40.0, "The processor is busier", "%", "dioctl top"),)
STEP_S = 150.0


class Host:
    """A host whose cpu does what the test says, for days."""

    def __init__(self, folder: Path) -> None:
        self.clock = FakeClock()
        self.path = folder / "baselines.json"
        self.noise = random.Random(5)
        self.start()

    def start(self) -> None:
        self.detector = Baselines(self.path, self.clock, CPU)

    def go(self, hours: float, base: float = 10.0, night: float | None = None) -> int:
        """Go on; how many looks found something."""
        found = 0
        for _ in range(round(hours * 3600 / STEP_S)):
            self.clock.advance(STEP_S)
            level = night if night is not None and self.clock.now().hour == 2 else base
            sample = {"cpu": {"percent": level + self.noise.random() * 4}, "processes": {"top": []}}
            said = self.detector.look(sample, self.clock.monotonic())
            found += bool(said)
        self.said = [each for each in said if isinstance(each, Finding)]
        return found


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def test_silent_while_it_learns(host: Host) -> None:
    assert host.go(24 * 5) == 0
    assert host.go(5, 99.0) == 0


def test_large_rare_and_lasting(host: Host) -> None:
    host.go(24 * 9)
    assert host.go(0.2, 95.0) == 0, "not lasting"
    assert host.go(5) == 0
    assert host.go(2, 40.0) == 0, "not large"
    assert host.go(5) == 0
    assert host.go(0.5, 95.0) > 0
    (finding,) = host.said
    assert (finding.type, finding.severity, finding.subject) == ("unusual", "low", "cpu.percent")
    assert finding.evidence["usual"]["median"] < 15
    assert finding.evidence["value"] > 90
    host.go(0.5)
    assert host.said == []


def test_a_job_of_every_night_is_usual(host: Host) -> None:
    assert host.go(24 * 16, 10.0, night=90.0) == 0
    while host.clock.now().hour != 14:
        host.go(0.25)
    assert host.go(0.5, 90.0) > 0, "at another hour it is not"


def test_what_is_unusual_is_not_learned_for_a_day_and_then_is(host: Host) -> None:
    host.go(24 * 9)
    host.go(20, 95.0)
    assert host.said
    host.go(24 * 4, 95.0)
    assert host.said == [], "the new normal"


def test_it_is_kept_over_restarts(host: Host) -> None:
    host.go(24 * 9)
    host.detector.close()
    host.start()
    assert host.go(0.5, 95.0) > 0
    assert host.path.stat().st_size < 30_000


@pytest.mark.parametrize("content", [b"", b"[]", b'{"histories": {"cpu.percent": [1]}}', b"\xff", b"{}"])
def test_a_damaged_file_is_learned_anew(host: Host, content: bytes) -> None:
    host.path.write_bytes(content)
    host.start()
    assert host.go(2, 95.0) == 0


def test_a_file_that_cannot_be_written_is_no_obstacle(host: Host) -> None:
    host.path.mkdir()
    assert host.go(3) == 0


def test_a_clock_that_steps_and_a_host_that_sleeps(host: Host) -> None:
    host.go(24 * 9)
    host.clock.wall += timedelta(hours=7)
    assert host.go(1) == 0
    host.clock.advance(86400 * 2)
    assert host.go(1) == 0
    assert host.go(0.6, 95.0) > 0


def test_memory_is_bounded() -> None:
    history = History()
    for day in range(400):
        for hour in range(24):
            for _ in range(PER_HOUR):
                history.add(day, hour, day * 1.23456789)
    assert sum(len(values) for values in history.to_disk()) == 24 * PER_HOUR * DAYS
    kept: Any = [[list(value) for value in values] for values in history.to_disk()]
    assert from_disk(kept).usual(5) == history.usual(5)


def test_every_figure_is_sampled() -> None:
    from nerve_center.contract import Contract

    properties = Contract().document["components"]["schemas"]["SampleData"]["properties"]
    for metric in METRICS:
        group, figure = metric.place.before
        assert figure in properties[group]["properties"]
