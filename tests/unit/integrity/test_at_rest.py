"""What looking costs where nothing happens: counted in calls to the kernel, steps and bytes."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from dio_daemon.detect.integrity import files as files_module
from dio_daemon.detect.integrity import processes as processes_module
from dio_daemon.detect.integrity.facts import exe_of
from dio_daemon.detect.integrity.files import RESCAN_S, SETTLED_COST, STEP_FILES
from dio_daemon.detect.integrity.host import Host
from tests.unit.integrity.conftest import FakeHost
from tests.unit.integrity.test_processes import process, watch

FILES = STEP_FILES * SETTLED_COST // 2


def test_a_look_at_files_that_are_as_they_were_examines_none(
    fake: FakeHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is one step, so that a host with thousands of watched files wakes the agent once a minute for them."""
    for number in range(FILES):
        fake.put(f"/etc/systemd/system/{number % 20}.d/{number}.conf", "[Service]\n")
    watched = fake.watch()
    assert fake.run(watched) == []
    examined: list[str] = []
    examine = files_module.examine

    def counting(host: Host, path: str, *more: Any) -> Any:
        examined.append(path)
        return examine(host, path, *more)

    monkeypatch.setattr(files_module, "examine", counting)
    fake.clock.monotonic_s += RESCAN_S
    assert watched.step() == [] and not watched.scanning
    assert not [path for path in examined if fake.path(path).is_file()]
    changed = "/etc/systemd/system/7.d/7.conf"
    fake.put(changed, "[Service]\nUser=0\n")
    fake.path("/etc/systemd/system/8.d/8.conf").chmod(0o600)
    fake.path("/etc/systemd/system/9.d/9.conf").unlink()
    assert {finding.subject for finding in fake.run(watched)} == {
        changed,
        "/etc/systemd/system/8.d/8.conf",
        "/etc/systemd/system/9.d/9.conf",
    }


def test_nothing_is_written_while_nothing_happens(fake: FakeHost) -> None:
    """The baseline is written whole, so it is written after a change only."""
    fake.put("/etc/cron.d/x", "x\n")
    fake.put("/opt/tool", "x", 0o4755)
    worker, _ = fake.worker()

    def steps(count: int) -> None:
        for _ in range(count):
            worker.wake()  # so that it waits for nothing
            worker.step()
            fake.clock.monotonic_s += 10

    steps(30)
    kept = fake.root / "state/integrity.jsonl.gz"
    before = kept.stat()
    steps(360)
    assert kept.stat().st_ino == before.st_ino
    worker.finish()


def test_old_processes_are_asked_for_their_executable_in_turn(
    fake: FakeHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each at every third look; one that is deleted later is still told."""
    pids = range(100, 160)
    for pid in pids:
        process(fake, pid, "/opt/x")
    watched = watch(fake)
    asked: list[int] = []

    def counting(host: Host, pid: int) -> str | None:
        asked.extend([pid] if pid in pids else [])
        return exe_of(host, pid)

    monkeypatch.setattr(processes_module, "exe_of", counting)
    for number in range(processes_module.OLD_LOOKS):
        assert watched.look(5.0 * number) == []
    assert len(asked) == processes_module.OLD_LOOKS * len(pids)
    asked.clear()
    for number in range(processes_module.OLD_EVERY):
        assert watched.look(100.0 + 5.0 * number) == []
    assert sorted(asked) == list(pids)
    process(fake, 130, "/opt/x (deleted)")
    found = [watched.look(200.0 + 5.0 * number) for number in range(processes_module.OLD_EVERY + 1)]
    assert [finding.type for finding in found[-1]] == ["process_deleted_executable"]


def test_a_folder_that_cannot_be_opened_says_nothing_of_its_files(
    fake: FakeHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake.put("/etc/cron.d/x", "x\n")
    watched = fake.watch()
    assert fake.run(watched) == []
    real = os.open

    def refuse(path: str | Path, *more: Any, **named: Any) -> int:
        if str(path).endswith("/etc/cron.d"):
            raise OSError(24, "Too many open files")
        return real(path, *more, **named)

    with monkeypatch.context() as broken:
        broken.setattr(os, "open", refuse)
        fake.clock.monotonic_s += RESCAN_S
        for _ in range(20):
            assert watched.step() == []
            fake.clock.monotonic_s += 1
    assert fake.run(watched) == []
