"""Real keepers as processes: ready, one at work, taken over after kill -9, ended where the database is replaced."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from nerve_center.clock import SystemClock
from nerve_center.store import migrate
from tests.support import stores
from tests.support.processes import Service, wait_for

WITHIN_S = 90


class Keepers:
    """Keepers on one database."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.folder = folder
        self.stack = stack
        self.store = stores.make(folder / "nerve-center.db")
        stack.callback(self.store.end)
        self.config = folder / "nerve-center.toml"
        self.config.write_text(f"{self.store.toml}[keeper]\nlease_s = 4\n")
        migrate.prepare(self.store.place, SystemClock())

    def start(self, name: str) -> Service:
        keeper = Service(self.folder, name, "nerve_center.keeper.main", self.config)
        self.stack.callback(keeper.close)
        keeper.start()
        keeper.wait_ready(WITHIN_S)
        return keeper


@pytest.fixture
def keepers(tmp_path: Path) -> Iterator[Keepers]:
    with ExitStack() as stack:
        yield Keepers(tmp_path, stack)


def test_one_works_and_another_takes_over(keepers: Keepers) -> None:
    one = keepers.start("one")
    wait_for(lambda: "STATUS=active" in one.said.lines(), "the first is active", WITHIN_S)
    two = keepers.start("two")
    assert two.said.lines("STATUS=waiting"), two.said.lines()
    one.kill()
    wait_for(lambda: "STATUS=active" in two.said.lines(), "the second has taken over", WITHIN_S)
    assert wait_for(lambda: two.said.lines("WATCHDOG=1"), "the watchdog is fed", WITHIN_S)
    two.kill(signal.SIGTERM)
    assert "Traceback" not in two.log()


def test_one_that_was_frozen_waits_for_the_other(keepers: Keepers) -> None:
    """It neither writes on, as it did before, nor ends: CPython tells of a signal then that never came."""
    one = keepers.start("one")
    wait_for(lambda: "STATUS=active" in one.said.lines(), "the first is active", WITHIN_S)
    two = keepers.start("two")
    assert one.process is not None
    one.process.send_signal(signal.SIGSTOP)
    wait_for(lambda: "STATUS=active" in two.said.lines(), "the second has taken over", WITHIN_S)
    assert not one.said.lines("STATUS=waiting")
    one.process.send_signal(signal.SIGCONT)
    wait_for(lambda: one.said.lines("STATUS=waiting"), "it waits", WITHIN_S)
    assert one.alive and two.alive


def test_a_reload_keeps_it_ready_and_a_bad_configuration_changes_nothing(keepers: Keepers) -> None:
    keeper = keepers.start("one")
    assert keeper.process is not None
    keeper.process.send_signal(signal.SIGHUP)
    wait_for(lambda: keeper.said.lines().count("READY=1") == 2, "ready after the reload", WITHIN_S)
    keepers.config.write_text("[keeper]\nlease_s = 0\n")
    keeper.process.send_signal(signal.SIGHUP)
    wait_for(lambda: "the configuration is kept as it was" in keeper.log(), "it says so", WITHIN_S)
    assert keeper.alive
    keeper.process.send_signal(signal.SIGTERM)
    assert keeper.ended(WITHIN_S) == 0


@pytest.mark.sqlite("a file can be replaced while it is open")
def test_it_ends_when_its_database_is_replaced(keepers: Keepers) -> None:
    keeper = keepers.start("one")
    file = keepers.folder / "nerve-center.db"
    file.rename(file.with_name("elsewhere.db"))
    assert keeper.ended(WITHIN_S) == 1
    assert "was deleted or replaced" in keeper.log()
