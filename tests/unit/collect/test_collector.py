"""Whole samples, held against the contract."""

import json
import os
import shutil
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fastjsonschema
import pytest
import yaml
from fake_host import FakeHost, HandClock

from dio_daemon.clock import SystemClock
from dio_daemon.collect.collector import MOST_BYTES, HostCollector

CONTRACT = Path(__file__).parents[3] / "nerve_center/api/openapi.yaml"


@dataclass(frozen=True)
class Settings:
    top_processes: int = 5
    call_timeout_s: float = 0.2


def validator(name: str) -> Any:
    schemas = yaml.safe_load(CONTRACT.read_text())["components"]
    return fastjsonschema.compile({"$ref": f"#/components/schemas/{name}", "components": schemas})


@pytest.fixture(scope="module")
def check() -> Any:
    validate = validator("SampleData")

    def check_sample(sample: dict[str, Any]) -> None:
        text = json.dumps(sample, allow_nan=False)
        assert len(text) <= MOST_BYTES
        assert len(text.encode("utf-8")) <= MOST_BYTES
        validate(json.loads(text))

    return check_sample


def test_this_host(check: Any) -> None:
    collector = HostCollector(SystemClock(), Settings(call_timeout_s=5))
    collector.prime()
    sample = collector.sample()
    check(sample)
    assert collector.problems == {}
    for group in ("cpu", "memory", "swap", "load", "disks", "disk_io", "network", "processes"):
        assert sample[group] is not None, group
    assert sample["uptime_s"] > 0
    assert sample["boottime_s"] > 0
    assert sample["interval_s"] is not None
    assert sample["disks"][0]["mount"] == "/"
    assert (
        any(entry["pid"] == os.getpid() for entry in sample["processes"]["top"])
        or sample["processes"]["count"] > 5
    )
    validator("Host")(json.loads(json.dumps(collector.host_facts())))


def test_rates_are_over_the_monotonic_interval(fake: FakeHost, clock: HandClock, check: Any) -> None:
    collector = HostCollector(clock, Settings(), fake.roots)
    fake.interface("eth0", 0, 0, device=True)
    first = collector.sample()
    check(first)
    assert first["interval_s"] is None
    clock.advance(2.5)
    fake.interface("eth0", 1000, 0, device=True)
    sample = collector.sample()
    check(sample)
    assert sample["interval_s"] == 2.5
    assert sample["network"]["rx_bytes_per_s"] == 400


def test_no_time_passed(fake: FakeHost, clock: HandClock, check: Any) -> None:
    collector = HostCollector(clock, Settings(), fake.roots)
    fake.interface("eth0", 0, 0, device=True)
    fake.process(1)
    collector.prime()
    sample = collector.sample()
    check(sample)
    assert sample["network"]["rx_bytes_per_s"] is None


@pytest.mark.parametrize(
    ("gone", "group", "code"),
    [
        ("proc/stat", "cpu", "collect_cpu"),
        ("proc/meminfo", "memory", "collect_memory"),
        ("proc/loadavg", "load", "collect_load"),
        ("proc/uptime", "uptime_s", "collect_uptime"),
        ("proc/net/dev", "network", "collect_network"),
        ("proc/1/mountinfo", "disks", "collect_disks"),
    ],
)
def test_what_cannot_be_read_is_null_with_a_reason_and_the_rest_goes_on(
    fake: FakeHost, clock: HandClock, check: Any, gone: str, group: str, code: str
) -> None:
    collector = HostCollector(clock, Settings(), fake.roots)
    collector.prime()
    text = (fake.folder / gone).read_bytes()
    fake.remove(gone)
    clock.advance(10)
    sample = collector.sample()
    check(sample)
    assert sample[group] is None
    assert set(collector.problems) - {"collect_tasks"} == {code}, "tasks are counted from two of the files"
    assert "No such file" in collector.problems[code]
    fake.write(gone, text)
    clock.advance(10)
    assert collector.sample()[group] is not None
    assert collector.problems == {}


def test_no_proc_at_all(fake: FakeHost, clock: HandClock, check: Any) -> None:
    shutil.rmtree(fake.folder / "proc")
    collector = HostCollector(clock, Settings(), fake.roots)
    collector.prime()
    sample = collector.sample()
    check(sample)
    assert {name for name, value in sample.items() if value} == {"boottime_s", "reboot"}
    assert len(collector.problems) >= 7
    assert collector.host_facts()["memory_bytes"] is None


def test_disk_statistics_that_the_kernel_does_not_have(fake: FakeHost, clock: HandClock, check: Any) -> None:
    collector = HostCollector(clock, Settings(), fake.roots)
    fake.write("proc/diskstats", "8 0 sda what is this\n")
    sample = collector.sample()
    check(sample)
    assert sample["disk_io"] is None
    assert "collect_disk_io" in collector.problems


def test_a_mount_that_hangs_is_a_problem_that_names_it(fake: FakeHost, clock: HandClock, check: Any) -> None:
    release = threading.Event()
    fake.mounts([("/mnt/nas\\012x", "0:50", "/", "nfs4", "nas:/x")])

    def statvfs(path: bytes) -> os.statvfs_result:
        release.wait()
        raise OSError("too late")

    collector = HostCollector(clock, Settings(call_timeout_s=0.05), fake.roots, statvfs=statvfs)
    try:
        sample = collector.sample()
    finally:
        release.set()
    check(sample)
    assert sample["disks"][0]["status"] == "unreachable"
    assert "/mnt/nas\\x0ax" in collector.problems["collect_mount_unreachable"]


def test_an_odd_host(fake: FakeHost, clock: HandClock, check: Any, statvfs_result: os.statvfs_result) -> None:
    """Thousands of mounts, interfaces and processes, with names as long and as foreign as the kernel allows."""
    foreign, wide = "ü\udcff" * 400, "\U0001f600" * 900
    many = [
        (f"/{foreign}/{number}", f"9:{number}", "/", "ext4", f"/dev/{wide}{number}") for number in range(1000)
    ]
    fake.mounts([("/", "8:1", "/", "ext4", "/dev/sda1"), *many])
    for number in range(200):
        fake.interface(f"v{number}-ü€", number, number)
        fake.process(number + 1, b"\xff\n\x1b" * 5, rss=number + 1)
        fake.disk(f"sd{number}", 1, 1, 1)
    collector = HostCollector(
        clock, Settings(top_processes=1000), fake.roots, statvfs=lambda path: statvfs_result
    )
    collector.prime()
    clock.advance(10)
    sample = collector.sample()
    check(sample)
    assert collector.problems == {}
    assert sample["disks"][0]["mount"] == "/"
    assert len(sample["disks"]) + sample["disks_omitted"] == 1001
    assert sample["processes"]["count"] == 200
    assert sample["processes"]["top"]


def test_facts(fake: FakeHost, clock: HandClock) -> None:
    collector = HostCollector(clock, Settings(), fake.roots)
    assert collector.host_facts()["os"] is None
    fake.write(
        "etc/os-release", b'# x\nNAME=Debian\nPRETTY_NAME="Debian \\"GNU\\"/Linux\x1b \xff"\nBAD="open\n'
    )
    fake.write("run/systemd/container", "systemd-nspawn\n")
    facts = collector.host_facts()
    assert facts["os"] == 'Debian "GNU"/Linux\\x1b \\xff'
    assert facts["virtualization"] == "systemd-nspawn"
    assert facts["memory_bytes"] == 1000 * 1024
    fake.write("etc/os-release", "NAME=Plain\n")
    assert collector.host_facts()["os"] == "Plain"
    validator("Host")(facts)
