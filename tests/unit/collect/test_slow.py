"""What is asked once a minute: failed units, sensors, a pending reboot, open files."""

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
from fake_host import FakeHost, HandClock

from dio_daemon.collect.host import Forks
from dio_daemon.collect.slow import EVERY_S, PATIENCE, Slow, newest_kernel


@pytest.fixture
def slow(fake: FakeHost, clock: HandClock) -> Slow:
    (fake.folder / "boot").mkdir()
    said = "nginx.service loaded failed failed A web server\n\nsrv.mount loaded failed failed /srv\n"
    return Slow(clock, fake.roots, 60.0, lambda command, timeout_s: said, str(fake.folder / "boot"))


def test_failed_units(slow: Slow, fake: FakeHost, clock: HandClock) -> None:
    assert slow.units() is None, "systemd does not run"
    (fake.folder / "run/systemd/system").mkdir(parents=True)
    clock.advance(EVERY_S)
    assert slow.units() is None, "nor can it be asked"
    fake.write("run/dbus/system_bus_socket", "")
    assert slow.units() is None, "not yet a minute old"
    clock.advance(EVERY_S)
    assert slow.units() == {"failed": 2, "failed_units": ["nginx.service", "srv.mount"]}


def test_systemctl_that_fails(fake: FakeHost, clock: HandClock) -> None:
    (fake.folder / "run/systemd/system").mkdir(parents=True)
    fake.write("run/dbus/system_bus_socket", "")
    asked = []

    def run(command: tuple[str, ...], timeout_s: float) -> str:
        asked.append(command)
        raise OSError("no bus")

    slow = Slow(clock, fake.roots, 60.0, run)
    for _ in range(PATIENCE - 1):
        assert slow.units() is None
        clock.advance(EVERY_S)
    for _ in range(3):
        with pytest.raises(OSError, match="no bus"):
            slow.units()
    assert len(asked) == PATIENCE


@pytest.mark.parametrize(
    ("command", "says"), [(("false",), "failed with 1"), (("/nonexistent/systemctl",), "No such file")]
)
def test_programs_that_do_not_work(command: tuple[str, ...], says: str) -> None:
    from dio_daemon.collect.slow import _run

    with pytest.raises(OSError, match=says):
        _run(command, 60.0)


@pytest.mark.parametrize(
    ("running", "installed", "newest"),
    [
        ("6.1.0-9-amd64", ["6.1.0-9-amd64", "6.1.0-28-amd64"], "6.1.0-28-amd64"),
        ("6.1.0-28-amd64", ["6.1.0-9-amd64", "6.1.0-28-amd64"], None),
        ("6.1.0-28-amd64", ["6.1.0-28-amd64", "6.1.0-40-cloud-amd64", "6.12~rc1-amd64"], "6.12~rc1-amd64"),
        ("6.12.0-amd64", ["6.12.0-amd64", "6.12.0~rc1-amd64"], None),
        ("6.1.0-28-amd64", ["6.1.0-30-amd64"], None),
        ("5.0-own", ["5.0-own", "5.1-own", "6.1.0-28-amd64"], "5.1-own"),
        ("6.1.0-28-amd64", [], None),
    ],
)
def test_a_newer_kernel_of_the_same_flavour(running: str, installed: list[str], newest: str | None) -> None:
    assert newest_kernel(installed, running) == newest


def test_a_pending_reboot(
    slow: Slow, fake: FakeHost, clock: HandClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "uname", lambda: SimpleNamespace(release="6.1.0-9-amd64"))
    assert slow.reboot()["pending"] is False
    for version in ("6.1.0-9-amd64", "6.1.0-28-amd64"):
        fake.write(f"boot/vmlinuz-{version}", "")
    clock.advance(EVERY_S)
    assert slow.reboot() == {
        "pending": True,
        "running_kernel": "6.1.0-9-amd64",
        "newest_kernel": "6.1.0-28-amd64",
        "packages": [],
    }
    fake.write("run/systemd/container", "lxc")
    clock.advance(EVERY_S)
    assert slow.reboot()["pending"] is False, "a container runs its host's kernel"
    fake.write("run/reboot-required", "")
    fake.write("run/reboot-required.pkgs", "libc6\ndbus\nlibc6\n")
    clock.advance(EVERY_S)
    assert (slow.reboot()["pending"], slow.reboot()["packages"]) == (True, ["dbus", "libc6"])


def test_open_files(slow: Slow, fake: FakeHost, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "dio_daemon.collect.slow.count_entries", lambda folder: len(list(Path(folder).iterdir()))
    )
    for pid, opened in ((10, 900), (11, 120), (12, 5)):
        for number in range(opened):
            fake.write(f"proc/{pid}/fd/{number}", "")
        fake.write(f"proc/{pid}/limits", "Limit  Soft  Hard  Units\nMax open files  1000  4096  files\n")
        fake.write(f"proc/{pid}/comm", "leaky\x1b\n")
    files = slow.files()
    assert (files["open"], files["max"], files["percent"]) == (1000, 100000, 1.0)
    assert [each["pid"] for each in files["near_limit"]] == [10]
    assert files["near_limit"][0]["name"] == "leaky\\x1b"


def test_temperatures(slow: Slow, clock: HandClock, monkeypatch: pytest.MonkeyPatch) -> None:
    def sensor(current: float, high: float | None, critical: float | None, label: str = "") -> Any:
        return SimpleNamespace(label=label, current=current, high=high, critical=critical)

    sensors = {
        "coretemp": [sensor(45.04, 80.0, 100.0, "Core 0"), sensor(255.0, None, None)],
        "acpitz": [sensor(30, None, None)],
    }
    monkeypatch.setattr(psutil, "sensors_temperatures", lambda: sensors, raising=False)
    found = slow.temperatures()
    assert found is not None
    assert [(each["sensor"], each["celsius"], each["critical_percent"]) for each in found] == [
        ("acpitz 1", 30, None),
        ("coretemp Core 0", 45.0, 45.04),
    ]
    monkeypatch.setattr(psutil, "sensors_temperatures", dict, raising=False)
    clock.advance(EVERY_S)
    assert slow.temperatures() is None


def test_tasks_and_forks(fake: FakeHost) -> None:
    fake.write("proc/stat", "cpu 1\nprocesses 100\n")
    fake.write("proc/sys/kernel/pid_max", "32768\n")
    forks = Forks(fake.roots)
    assert forks.sample(None) == {"count": 100, "max": 32768, "percent": 0.31, "forks_per_s": None}
    fake.write("proc/stat", "cpu 1\nprocesses 350\n")
    fake.write("proc/sys/kernel/threads-max", "1000\n")
    sample = forks.sample(10.0)
    assert (sample["forks_per_s"], sample["percent"]) == (25.0, 10.0)


def test_this_host(tmp_path: Path) -> None:
    from dio_daemon.clock import SystemClock
    from dio_daemon.collect.procfs import Roots

    slow = Slow(SystemClock(), Roots(), 60.0)
    assert slow.files()["open"] > 0
    assert slow.reboot()["running_kernel"] == os.uname().release
