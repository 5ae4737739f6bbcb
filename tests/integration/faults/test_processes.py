"""Processes that are killed, frozen, or run out of what they need: on either side, nothing is lost."""

import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.faults.conftest import Site
from tests.support import disks
from tests.support.hosts import Host
from tests.support.oracle import all_there
from tests.support.processes import RealCenter, wait_for

FROZEN_FOR = 3
"""Seconds, longer than agents of these tests wait for an answer."""
NONE_LEFT = 3
"""A limit of open files that is used up by standard input, output and error."""


@pytest.fixture
def center(site: Site) -> RealCenter:
    """The one that the hosts report to."""
    return site.center


def memory_bytes(pid: int) -> int:
    """The address space that a process has."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[0]) * resource.getpagesize()


def more_records(hosts: list[Host], count: int) -> None:
    """Wait until each host has committed so many more."""
    before = {host.name: host.committed() for host in hosts}
    for host in hosts:
        wait_for(
            lambda host=host: len(host.committed() - before[host.name]) >= count,
            f"{count} more of {host.name}",
        )


def test_a_worker_killed(center: RealCenter, hosts: list[Host]) -> None:
    workers = center.processes()[2:]
    assert len(workers) == 2
    os.kill(workers[0], signal.SIGKILL)
    more_records(hosts, 2)
    all_there(center, hosts)
    os.kill(workers[1], signal.SIGKILL)
    wait_for(
        lambda: len(center.processes()) == 4 and not set(workers) & set(center.processes()), "new workers"
    )
    all_there(center, hosts)
    assert center.exits == []


def test_all_workers_killed_at_once(center: RealCenter, hosts: list[Host]) -> None:
    for pid in center.processes()[2:]:
        os.kill(pid, signal.SIGKILL)
    center.healthy()
    all_there(center, hosts)
    assert center.exits == []


def test_the_master_killed(center: RealCenter, hosts: list[Host]) -> None:
    _, master, *_ = center.processes()
    os.kill(master, signal.SIGKILL)
    wait_for(lambda: not center.alive, "the end of the whole center")
    for host in hosts:
        host.failing()
    center.healthy()
    assert center.exits == [1]
    all_there(center, hosts)


def test_the_supervisor_killed(center: RealCenter, hosts: list[Host]) -> None:
    """gunicorn goes with it: two centers on one database would be one too many."""
    supervisor, *others = center.processes()
    os.kill(supervisor, signal.SIGKILL)
    wait_for(lambda: not any(Path(f"/proc/{pid}").exists() for pid in others), "no process left behind")
    center.healthy()
    all_there(center, hosts)


def test_the_whole_center_killed(center: RealCenter, hosts: list[Host]) -> None:
    for _ in range(2):
        center.kill()
        for host in hosts:
            host.failing()
        center.start()
        center.wait_ready()
        all_there(center, hosts)


def test_the_center_frozen(center: RealCenter, hosts: list[Host]) -> None:
    with disks.frozen(center.groups()):
        for host in hosts:
            assert host.failing()["error_kind"] == "timeout"
        more_records(hosts, FROZEN_FOR)
    all_there(center, hosts)


def test_the_agent_frozen(center: RealCenter, hosts: list[Host]) -> None:
    """As a host that is suspended: no burst of records makes up for the time that it missed."""
    frozen, other = hosts
    before = len(frozen.committed())
    with disks.frozen([frozen.pid]):
        more_records([other], 4)
    more_records([frozen], 2)
    assert len(frozen.committed()) - before <= 5
    all_there(center, hosts)


def test_the_center_out_of_descriptors(center: RealCenter, hosts: list[Host]) -> None:
    workers = center.processes()[2:]
    with disks.limited(resource.RLIMIT_NOFILE, dict.fromkeys(workers, NONE_LEFT)):
        for host in hosts:
            host.failing()
        wait_for(lambda: "cannot take more connections" in center.log(), "a word about it")
    all_there(center, hosts)
    assert center.log().count("cannot take more connections") <= len(workers)  # once a minute each
    assert "failed with OSError" not in center.log()


def test_the_agent_out_of_descriptors(center: RealCenter, hosts: list[Host]) -> None:
    first, _ = hosts
    said = len(first.agent.log())
    with disks.limited(resource.RLIMIT_NOFILE, {first.pid: NONE_LEFT}):
        wait_for(lambda: "Too many open files" in first.agent.log()[said:], "a word about it")
        more_records([first], 2)
    all_there(center, hosts)


def test_a_worker_out_of_memory(center: RealCenter, hosts: list[Host]) -> None:
    workers = center.processes()[2:]
    with disks.limited(resource.RLIMIT_AS, {pid: memory_bytes(pid) for pid in workers}):
        more_records(hosts, 3)
    all_there(center, hosts)


def test_every_processor_busy(center: RealCenter, hosts: list[Host]) -> None:
    spin = [sys.executable, "-c", "while True: pass"]
    busy = [subprocess.Popen(spin) for _ in range(2 * (os.cpu_count() or 1))]
    try:
        more_records(hosts, 3)
    finally:
        for process in busy:
            process.kill()
            process.wait()
    all_there(center, hosts)
