"""A process that has no descriptor left: it waits as before, and what it cannot open is not gone."""

import errno
import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from dio_daemon.detect.integrity.host import can_look
from dio_daemon.detect.integrity.inotify import wait_for
from tests.unit.integrity.conftest import FakeHost


@contextmanager
def _no_descriptors() -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_fewer_descriptors_allowed_than_are_waited_for() -> None:
    """poll(2) refuses that; a limit may be lowered under a running agent."""
    reading, writing = os.pipe()
    try:
        assert can_look(reading)
        with _no_descriptors():
            could_look = can_look(reading)
            nothing = wait_for([reading], 0.0)
            os.write(writing, b"x")
            something = wait_for([reading], 60.0)
    finally:
        os.close(reading)
        os.close(writing)
    assert (could_look, nothing, something) == (False, set(), {reading})


def test_nothing_is_gone_because_no_file_can_be_opened(
    fake: FakeHost, caplog: pytest.LogCaptureFixture
) -> None:
    """Detectors do not look then, and say so once; what happens meanwhile is found afterwards."""
    worker, _ = fake.worker()

    def steps(count: int) -> set[str]:
        for _ in range(count):
            worker.wake()  # so that it waits for nothing
            worker.step()
            fake.clock.monotonic_s += 100
        return {finding.subject for finding in worker.look({}, 0.0)}

    caplog.set_level("INFO", "dio_daemon")
    assert steps(30) == set() and worker.ready
    fake.put("/etc/cron.d/evil", "x\n")
    with _no_descriptors():
        assert steps(20) == set()
    told = [record.getMessage().split(":")[0] for record in caplog.records]
    assert told == ["Files and processes cannot be looked at"]
    assert steps(6) == {"/etc/cron.d/evil"}
    with _no_descriptors():
        assert steps(6) == {"/etc/cron.d/evil"}
    worker.finish()
    assert [event[0] for event in fake.recorded] == ["integrity_baseline"]


def test_the_last_descriptor_goes_between_two_files(fake: FakeHost) -> None:
    """A folder that cannot be opened keeps its files, and expanding the patterns keeps the folders."""
    watch = fake.watch()
    assert fake.run(watch) == []
    with _no_descriptors():
        assert fake.run(watch) == []
    assert fake.run(watch) == []
    fake.path("/etc/cron.d/e2scrub").unlink()
    assert [finding.subject for finding in fake.run(watch)] == ["/etc/cron.d/e2scrub"]


def test_a_disk_that_fails_takes_no_file_away(fake: FakeHost, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error that does not say that a file is gone leaves it as it was."""
    watch = fake.watch()
    assert fake.run(watch) == []
    lstat = os.lstat

    def failing(path: Any, *rest: Any, **more: Any) -> os.stat_result:
        if str(path).endswith("/e2scrub"):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return lstat(path, *rest, **more)

    with monkeypatch.context() as patch:
        patch.setattr(os, "lstat", failing)
        assert fake.run(watch) == []
    assert fake.run(watch) == []
