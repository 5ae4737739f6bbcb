"""The keeper's lease and turns, with clocks that the tests turn; two keepers are two leases on one database."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import select

from nerve_center import config
from nerve_center.clock import SystemClock
from nerve_center.errors import DatabaseUnavailable
from nerve_center.keeper import main as entry
from nerve_center.keeper.lease import Lease
from nerve_center.keeper.runner import Keeper, Worker
from nerve_center.keeper.task import Desk, NotNow, Task
from nerve_center.store import leases, migrate
from nerve_center.store.engine import reading_engine
from nerve_center.store.tables import meta
from nerve_center.store.writer import Writer
from tests.unit.center.harness import FakeClock, settings


class Keepers:
    """Leases on one database, all by one clock."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.clock = FakeClock()
        self.settings = settings(folder)
        place = self.settings.database.place
        migrate.prepare(place, self.clock)
        self.engine = reading_engine(place)
        self.writer = Writer(place, self.clock)
        self.writer.start()
        stack.callback(self.engine.dispose)
        stack.callback(self.writer.stop)

    def lease(self, name: str) -> Lease:
        return Lease(self.engine, self.writer, self.clock, name, 15.0)

    def worker(self, task: Task, lease: Lease) -> Worker:
        stopping = threading.Event()
        desk = Desk(self.settings, self.engine, self.writer, lease, self.clock, stopping)
        return Worker(task, desk, lease, stopping)


@pytest.fixture
def keepers(database: str, tmp_path: Path) -> Iterator[Keepers]:
    with ExitStack() as stack:
        yield Keepers(tmp_path, stack)


def test_one_has_it_and_the_other_waits(keepers: Keepers) -> None:
    one, two = keepers.lease("one"), keepers.lease("two")
    assert one.step() == "active" and one.held
    assert two.step() == "waiting, one is active" and not two.held
    for _ in range(50):
        keepers.clock.advance(1.5)
        assert (one.step(), two.step()) == ("active", "waiting, one is active")


def test_another_takes_over_within_the_lease_and_not_before_the_holder_stopped(keepers: Keepers) -> None:
    one, two = keepers.lease("one"), keepers.lease("two")
    one.step()
    two.step()
    waited = 0.0
    while not two.held:
        keepers.clock.advance(two.every_s)
        waited += two.every_s
        two.step()
        assert not (one.held and two.held)
    assert waited <= 15.0
    assert one.step() == "waiting, two is active" and not one.held


def test_letting_go_hands_over_at_once(keepers: Keepers) -> None:
    one, two = keepers.lease("one"), keepers.lease("two")
    one.step()
    two.step()
    one.release()
    assert not one.held
    assert two.step() == "active"


def test_a_holder_that_was_asleep_writes_nothing(keepers: Keepers) -> None:
    one, two = keepers.lease("one"), keepers.lease("two")

    def overtaken(desk: Desk) -> str:
        """The process sleeps in its step, past its lease, and its clock with it; another takes over meanwhile."""
        two.step()
        desk.write(lambda connection: leases.release(connection, leases.KEEPER, "one"))
        assert two.step() == "active"
        desk.write(lambda _connection: pytest.fail("written without the lease"))
        return "unreachable"

    one.step()
    worker = keepers.worker(Task("sleepy", 5.0, overtaken), one)
    assert worker.turn() == 5.0
    with keepers.engine.connect() as connection:
        assert leases.read(connection, leases.KEEPER).holder == "two"


def test_a_step_is_skipped_without_the_lease_and_ends_when_it_is_lost(keepers: Keepers) -> None:
    one = keepers.lease("one")
    steps: list[str] = []

    def long(desk: Desk) -> str:
        steps.append("begun")
        desk.clock.wait(threading.Event(), 4.0)
        desk.pause(4.9)
        desk.pause(4.9)
        steps.append("not reached: 9 s without a renewal are over")
        return ""

    worker = keepers.worker(Task("long", 5.0, long), one)
    assert worker.turn() == 1.0 and steps == []
    one.step()
    assert worker.turn() == 5.0 and steps == ["begun"]
    assert not one.held


def test_a_stop_ends_a_step(keepers: Keepers) -> None:
    one = keepers.lease("one")
    one.step()
    stopping = threading.Event()
    desk = Desk(keepers.settings, keepers.engine, keepers.writer, one, keepers.clock, stopping)
    desk.pause(0.1)
    stopping.set()
    with pytest.raises(NotNow):
        desk.pause(0.1)


def test_a_step_that_fails_is_told_once_and_has_its_next_turn(
    keepers: Keepers, caplog: pytest.LogCaptureFixture
) -> None:
    outcomes: list[Exception | None] = [
        ValueError("a bug"),
        ValueError("a bug"),
        DatabaseUnavailable("full", "disk is full"),
        None,
        ValueError("a bug"),
    ]

    def step(_desk: Desk) -> str:
        outcome = outcomes.pop(0)
        if outcome is not None:
            raise outcome
        return "done"

    one = keepers.lease("one")
    one.step()
    worker = keepers.worker(Task("shaky", 0.1, step), one)
    while outcomes:
        worker.turn()
    told = [
        record.getMessage().partition(": ")[2] for record in caplog.records if record.levelname == "WARNING"
    ]
    assert told == ["ValueError('a bug')", "disk is full", "ValueError('a bug')"]


def test_a_silent_step_counts_as_hung_after_its_time(keepers: Keepers) -> None:
    worker = keepers.worker(Task("quiet", 5.0, lambda _desk: "", allowed_s=60.0), keepers.lease("one"))
    worker.turn()
    keepers.clock.advance(64.0)
    assert not worker.hung
    keepers.clock.advance(2.0)
    assert worker.hung


def test_writes_of_a_task_are_committed(keepers: Keepers) -> None:
    one = keepers.lease("one")
    one.step()

    def step(desk: Desk) -> str:
        desk.write(lambda connection: connection.execute(meta.insert().values(name="of-a-task", value="x")))
        with desk.reading() as connection:
            return str(connection.execute(select(meta.c.value).where(meta.c.name == "of-a-task")).scalar())

    worker = keepers.worker(Task("writes", 5.0, step), one)
    assert worker.task.step(worker.desk) == "x"


def test_a_keeper_runs_its_tasks_in_threads_and_stops(keepers: Keepers) -> None:
    done = threading.Event()

    def step(_desk: Desk) -> str:
        done.set()
        return ""

    patient = replace(keepers.settings, keeper=config.Keeper(lease_s=300))
    keeper = Keeper(patient, [Task("work", 0.05, step)], SystemClock(), "k")
    keeper.start()
    assert keeper.tick() == "active"
    assert done.wait(60)
    assert keeper.hung() == []
    keeper.stop()
    with keepers.engine.connect() as connection:
        assert leases.read(connection, leases.KEEPER).holder == ""


def test_a_bad_configuration_is_told_with_its_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "nerve-center.toml"
    file.write_text("[keeper]\nlease_s = 1\n")
    assert entry.main(["--config", str(file)]) == 78
    assert f"{file}:2: keeper.lease_s must be 2 to 300" in capsys.readouterr().err
    file.write_text("[keeper]\nlease_s = 2\n")
    assert entry.main(["--config", str(file), "--check-config"]) == 0
