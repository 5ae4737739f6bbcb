"""The agent's disk: full, forbidden, damaged, gone, rolled back."""

import itertools
import os
import resource
import shutil
import signal
import threading
from pathlib import Path

import pytest

from tests.integration.faults.conftest import MakeHost
from tests.support import disks
from tests.support.hosts import faultless
from tests.support.oracle import settled
from tests.support.processes import RealCenter, wait_for
from tests.support.proxy import PASS

DAMAGES = ("delete", "truncate", "zero")


def test_full_and_free_again(calm_center: RealCenter, make_host: MakeHost) -> None:
    host = make_host(calm_center).started()
    host.proxy.fault = "refuse"
    host.pending(2)
    with disks.full([host.pid]):
        host.condition("spool_in_memory")
        host.pending(2)  # sampling goes on
        host.proxy.fault = PASS
        host.active()  # and is delivered
        host.drained()
    host.condition("spool_in_memory", there=False)
    settled(calm_center, host)
    assert host.exits == []


def test_full_at_the_start(calm_center: RealCenter, make_host: MakeHost) -> None:
    host = make_host(calm_center).started()
    host.kill()
    host.agent.before = ["prlimit", "--fsize=4096:", "--"]
    host.start()
    host.condition("spool_in_memory")
    host.active()
    host.drained()
    host.kill(signal.SIGTERM)
    host.agent.before = []
    host.start()
    settled(calm_center, host)
    assert host.agent.look()["conditions"] == {}


def test_permission_taken_away_and_given_back(calm_center: RealCenter, make_host: MakeHost) -> None:
    host = make_host(calm_center)
    host.agent.before = disks.OBEDIENT
    host.started()
    with disks.forbidden(host.state_dir):
        tags = host.committed()
        wait_for(lambda: len(host.committed() - tags) >= 2, "samples while running")
        host.kill()
        host.start()
        host.condition("spool_in_memory")
        host.active()
        host.drained()
    host.condition("spool_in_memory", there=False)
    settled(calm_center, host)
    assert host.exits == []


def test_the_whole_folder_forbidden(calm_center: RealCenter, make_host: MakeHost) -> None:
    """Not even who it is can be read: the agent ends with 75 until it can."""
    host = make_host(calm_center)
    host.agent.before = disks.OBEDIENT
    host.started()
    known = host.id
    host.kill()
    host.state_dir.chmod(0)
    try:
        host.start()
        wait_for(lambda: "Permission denied" in host.agent.log(), "a reason in the journal")
    finally:
        host.state_dir.chmod(0o700)
    host.active()
    settled(calm_center, host)
    assert host.id == known


@pytest.mark.parametrize("kind", DAMAGES)
def test_damaged_while_running(calm_center: RealCenter, make_host: MakeHost, kind: str) -> None:
    host = make_host(calm_center).started()
    host.proxy.fault = "refuse"
    host.pending(3)
    disks.damage(host.spool, kind)
    if kind == "delete":
        wait_for(lambda: "deleted or replaced" in host.agent.log(), "noticed")
    committed = host.committed()
    wait_for(lambda: len(host.committed() - committed) >= 2, "sampling goes on")
    faultless(host)
    settled(calm_center, host, gaps=kind != "delete")
    assert host.exits == []


def test_every_file_cut_while_running(calm_center: RealCenter, make_host: MakeHost) -> None:
    """Also those that SQLite may have mapped: none of them ends the process."""
    host = make_host(calm_center).started()
    host.proxy.fault = "refuse"
    for name, share in itertools.product(("spool.db", "spool.db-wal", "spool.db-shm"), (0, 2)):
        host.pending(2)
        host.condition("spool_in_memory", there=False)
        path = host.state_dir / name
        if path.exists():
            os.truncate(path, disks.written(path) // share if share else 0)
        committed = host.committed()
        wait_for(lambda known=committed: len(host.committed() - known) >= 2, f"sampling without {name}")
    faultless(host)
    settled(calm_center, host, gaps=True)
    assert host.exits == []


@pytest.mark.parametrize("kind", DAMAGES)
def test_damaged_while_stopped(calm_center: RealCenter, make_host: MakeHost, kind: str) -> None:
    host = make_host(calm_center).started()
    known = host.id
    wait_for(lambda: len(host.committed()) >= 2, "some records")
    host.drained()
    host.kill(signal.SIGTERM)
    disks.damage(host.spool, kind)
    host.start()
    settled(calm_center, host)
    assert host.id == known
    assert host.exits == []


@pytest.mark.parametrize("kind", DAMAGES)
def test_damaged_while_stopped_with_records_waiting(
    calm_center: RealCenter, make_host: MakeHost, kind: str
) -> None:
    """What waited and cannot be read any more stands there as a gap."""
    host = make_host(calm_center).started()
    host.proxy.fault = "refuse"
    host.pending(3)
    host.kill(signal.SIGTERM)
    disks.damage(host.spool, kind)
    faultless(host)
    host.start()
    found = settled(calm_center, host, gaps=True)
    assert found.in_gaps == len(found.lost) > 0


def test_killed_while_the_disk_is_full(calm_center: RealCenter, make_host: MakeHost) -> None:
    """What was in memory only is lost, and counted."""
    host = make_host(calm_center).started()
    host.drained()
    host.proxy.fault = "refuse"
    with disks.full([host.pid]):
        host.condition("spool_in_memory")
        host.pending(3)
        host.kill()
    faultless(host)
    host.start()
    found = settled(calm_center, host, gaps=True)
    assert found.lost


def test_state_folder_deleted_while_running(calm_center: RealCenter, make_host: MakeHost) -> None:
    host = make_host(calm_center).started()
    known = host.id
    host.proxy.fault = "refuse"
    host.pending(2)
    shutil.rmtree(host.state_dir)
    committed = host.committed()
    wait_for(lambda: len(host.committed() - committed) >= 2, "sampling goes on")
    faultless(host)
    settled(calm_center, host)
    host.kill(signal.SIGTERM)
    host.start()
    settled(calm_center, host)
    assert host.id == known


@pytest.mark.parametrize("after_s", [0.0, 0.37, 0.71])
def test_power_lost(calm_center: RealCenter, make_host: MakeHost, tmp_path: Path, after_s: float) -> None:
    """The whole state folder, copied at any moment, is what the next start finds: nothing is lost."""
    host = make_host(calm_center).started()
    wait_for(lambda: len(host.committed()) >= 3, "some records")
    host.proxy.fault = "black_hole"  # an answer may be on its way when the power goes
    host.pending(2)
    threading.Event().wait(after_s)
    with disks.frozen([host.pid]):
        shutil.copytree(host.state_dir, tmp_path / "then")
        host.kill()
    for path in host.state_dir.iterdir():  # the folder stays, for it says which host this is
        path.unlink()
    for path in (tmp_path / "then").iterdir():
        shutil.copy2(path, host.state_dir)
    faultless(host)
    host.start()
    settled(calm_center, host)
    assert host.exits == []


@pytest.mark.parametrize("wal", ["whole", "cut", "lost"])
def test_set_back(calm_center: RealCenter, make_host: MakeHost, tmp_path: Path, wal: str) -> None:
    """The spool is what it was a while ago: what is gone with that, and was not delivered, is counted."""
    host = make_host(calm_center).started()
    wait_for(lambda: len(host.committed()) >= 3, "some records")
    disks.snapshot(host.spool, tmp_path / "then", [host.pid])
    later = host.committed()
    wait_for(lambda: len(host.committed() - later) >= 2, "records after the snapshot")
    host.drained()
    host.proxy.fault = "black_hole"
    host.pending(1)
    host.kill()
    log = tmp_path / "then/spool.db-wal"
    if wal == "cut":
        os.truncate(log, disks.written(log) * 2 // 3)
    elif wal == "lost":
        log.unlink()
    disks.restore(host.spool, tmp_path / "then")
    faultless(host)
    host.start()
    settled(calm_center, host, gaps=True)
    assert host.exits == []


@pytest.mark.parametrize("what", ["spool.db", "spool.db-wal"])
@pytest.mark.parametrize("kind", ["delete", "truncate", "zero"])
def test_damaged_and_killed(calm_center: RealCenter, make_host: MakeHost, what: str, kind: str) -> None:
    """One file of the spool is damaged under the agent, which is killed before it can do anything about it."""
    host = make_host(calm_center).started()
    host.proxy.fault = "refuse"
    host.pending(3)
    path = host.state_dir / what
    with disks.frozen([host.pid]):
        if kind == "delete":
            path.unlink()
        else:
            size = path.stat().st_size
            half = disks.written(path) // 2
            os.truncate(path, half if kind == "truncate" else 0)
            os.truncate(path, half if kind == "truncate" else size)
        host.kill()
    faultless(host)
    host.start()
    settled(calm_center, host, gaps=True)
    assert host.exits == []


def test_out_of_descriptors_with_a_full_disk(calm_center: RealCenter, make_host: MakeHost) -> None:
    """Even then it is written down how much was in memory when the agent is killed."""
    host = make_host(calm_center).started()
    host.drained()
    host.proxy.fault = "refuse"
    with disks.full([host.pid]), disks.limited(resource.RLIMIT_NOFILE, {host.pid: 3}):
        committed = host.committed()
        wait_for(lambda: len(host.committed() - committed) >= 3, "sampling goes on")
        host.kill()
    faultless(host)
    host.start()
    found = settled(calm_center, host, gaps=True)
    assert found.lost
