"""The nerve center's disk: full, locked, read-only, lost, restored from an older copy, out of power."""

import os
import signal
from pathlib import Path

import pytest

from tests.integration.faults.conftest import Site
from tests.support import disks
from tests.support.hosts import Host
from tests.support.oracle import all_there
from tests.support.processes import RealCenter, wait_for


@pytest.fixture
def center(site: Site) -> RealCenter:
    """The one that the hosts report to."""
    return site.center


def unhealthy(center: RealCenter, word: str) -> None:
    """Wait until `/health` says what is wrong."""

    def look() -> bool:
        health = center.health()
        return health is not None and health["status"] == "unhealthy" and word in str(health["reason"])

    wait_for(look, f"unhealthy: {word}")


@pytest.mark.sqlite("the center itself writes to the disk")
def test_full_and_free_again(center: RealCenter, hosts: list[Host]) -> None:
    with disks.full(center.processes()):
        unhealthy(center, "")
        for host in hosts:
            host.failing()
            host.pending(2)
    all_there(center, hosts)


@pytest.mark.timeout(180)
def test_locked_by_another_process_for_half_a_minute(center: RealCenter, hosts: list[Host]) -> None:
    with center.store.locked():
        unhealthy(center, "locked")
        for host in hosts:
            host.pending(30, within_s=60)
    all_there(center, hosts)
    status = hosts[0].agent.status()
    assert status["error_kind"] is None


@pytest.mark.sqlite("the center itself writes to the disk")
def test_read_only_at_a_start(center: RealCenter, hosts: list[Host]) -> None:
    center.before = disks.OBEDIENT
    center.kill()
    with disks.forbidden(center.database.parent):
        center.start()
        assert center.ended() != 0
        assert "cannot" in center.log()
        for host in hosts:
            host.failing()
    center.start()
    center.wait_ready()
    all_there(center, hosts)


def test_lost_while_stopped(center: RealCenter, hosts: list[Host]) -> None:
    center.kill(signal.SIGTERM)
    center.store.lose()
    for host in hosts:
        host.failing()
    center.start()
    center.wait_ready()
    all_there(center, hosts)


@pytest.mark.sqlite("a file can go while it is open")
def test_lost_while_running(center: RealCenter, hosts: list[Host]) -> None:
    disks.damage(center.database, "delete")
    center.keep(lambda: center.database.exists() and center.database.stat().st_size > 0, "a new database")
    center.healthy()
    assert center.exits == [1]
    all_there(center, hosts)


def test_restored_from_an_older_copy(center: RealCenter, hosts: list[Host], tmp_path: Path) -> None:
    """What was delivered after the copy is delivered again, also that of an agent that enrolled later."""
    center.store.copy(tmp_path / "copy")
    before = {host.name: len(host.committed()) for host in hosts}
    for host in hosts:
        wait_for(lambda host=host: len(host.committed()) >= before[host.name] + 3, "records after the copy")
        host.drained()
    center.kill(signal.SIGTERM)
    center.store.restore(tmp_path / "copy")
    center.start()
    center.wait_ready()
    all_there(center, hosts)


@pytest.mark.sqlite("its log")
def test_write_ahead_log_lost(center: RealCenter, hosts: list[Host]) -> None:
    center.kill()
    for path in disks.files_of(center.database)[1:]:
        path.unlink()
    center.start()
    center.wait_ready()
    all_there(center, hosts)


@pytest.mark.sqlite("its log")
@pytest.mark.parametrize("wal", ["whole", "cut"])
def test_power_lost(center: RealCenter, hosts: list[Host], tmp_path: Path, wal: str) -> None:
    disks.snapshot(center.database, tmp_path / "then", center.groups())
    for host in hosts:
        known = host.committed()
        wait_for(
            lambda host=host, known=known: len(host.committed() - known) >= 2, "records after the snapshot"
        )
        host.drained()
    center.kill()
    log = tmp_path / "then/nerve-center.db-wal"
    if wal == "cut":
        os.truncate(log, log.stat().st_size * 2 // 3)
    disks.restore(center.database, tmp_path / "then")
    center.start()
    center.wait_ready()
    all_there(center, hosts)


@pytest.mark.sqlite("a file that is damaged")
def test_damaged_while_stopped(center: RealCenter, hosts: list[Host], tmp_path: Path) -> None:
    """It does not start and says what to do; with the file moved away the agents fill it up again."""
    center.kill(signal.SIGTERM)
    disks.damage(center.database, "truncate")
    center.start()
    assert center.ended() != 0
    assert "cannot use the database" in center.log()
    center.database.rename(tmp_path / "damaged")
    center.start()
    center.wait_ready()
    all_there(center, hosts)
