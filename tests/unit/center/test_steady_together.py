"""Nerve centers on two machines and one PostgreSQL whose clock steps: they go on agreeing who was heard when."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from sqlalchemy.engine import make_url

from nerve_center.keeper import presence
from nerve_center.keeper.lease import Lease
from nerve_center.keeper.runner import Worker
from nerve_center.keeper.task import Desk
from nerve_center.store.engine import reading
from nerve_center.store.states import following
from tests.support import postgresql
from tests.unit.center.harness import AgentUnderTest, CenterUnderTest, FakeClock, databases

pytestmark = pytest.mark.databases("postgresql")

HOUR_S = 3600
_CLOCK = """CREATE OR REPLACE FUNCTION public.clock_timestamp() RETURNS timestamptz LANGUAGE sql AS
    $$ SELECT to_timestamp({seconds}) $$"""


class DatabaseHost:
    """The machine of the database: the time of day that it tells."""

    def __init__(self, folder: Path) -> None:
        self._database = make_url(databases.url(folder)).database or ""
        self._seconds = 1_767_225_600
        self.step(0)
        self._run(f"ALTER DATABASE {self._database} SET search_path = public, pg_catalog")

    def step(self, seconds: int) -> None:
        self._seconds += seconds
        self._run(_CLOCK.format(seconds=self._seconds))

    def _run(self, statement: str) -> None:
        postgresql.cluster().execute(statement, self._database)


@pytest.fixture
def host(database: str, tmp_path: Path) -> DatabaseHost:
    return DatabaseHost(tmp_path)


@pytest.fixture
def machine(
    host: DatabaseHost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[str, float], CenterUnderTest]]:
    """Start a nerve center on a machine of that name that has run for so many seconds."""
    with ExitStack() as stack:

        def start(name: str, up_s: float) -> CenterUnderTest:
            monkeypatch.setattr(socket, "gethostname", lambda: name)
            clock = FakeClock()
            clock.monotonic_s = up_s
            made = CenterUnderTest(tmp_path, clock)
            stack.callback(made.close)
            made.center.probe.step()
            return made

        yield start


def states(agent: AgentUnderTest, *centers: CenterUnderTest) -> set[str]:
    return {center.get(f"/api/v1/agents/{agent.agent_id}").json["state"] for center in centers}


def pass_by(seconds: float, *centers: CenterUnderTest) -> None:
    """Time goes on everywhere, and every center goes on listening."""
    for _ in range(round(seconds / 2)):
        for center in centers:
            center.clock.advance(2)
            center.center.probe.step()


def keeper(center: CenterUnderTest) -> Worker:
    """The one that looks after presence, with the lease."""
    parts, stopping = center.center, threading.Event()
    lease = Lease(parts.engine, parts.writer, center.clock, "keeper", 1e12)
    lease.step()
    desk = Desk(center.settings, parts.engine, parts.writer, lease, center.clock, stopping)
    return Worker(presence.TASK, desk, lease, stopping)


@pytest.mark.parametrize("step_s", [0, HOUR_S, -HOUR_S])
def test_machines_agree_though_the_clock_stepped_between_their_starts(
    machine: Callable[[str, float], CenterUnderTest], host: DatabaseHost, step_s: int
) -> None:
    first = machine("one", 5_000_000)
    here = first.agent()
    here.deliver(here.record(1))
    looks = keeper(first)
    looks.turn()
    host.step(step_s)
    second = machine("two", 30)
    there = second.agent()
    there.deliver(there.record(1))
    here.deliver(here.record(2))  # the first does not know yet
    looks.turn()
    pass_by(8, first, second)
    looks.turn()
    here.deliver(here.record(3))
    there.deliver(there.record(2))
    assert states(here, first, second) == states(there, first, second) == {"active"}
    pass_by(40, first, second)
    assert states(here, first, second) == states(there, first, second) == {"offline"}
    looks.turn()
    with reading(first.center.engine) as connection:
        told = [(row.id, row.state) for row in following(connection, 0, 100)]
    for agent in (here, there):
        assert [state for agent_id, state in told if agent_id == agent.agent_id] == ["active", "offline"]


@pytest.mark.parametrize("step_s", [HOUR_S, -HOUR_S])
def test_a_step_while_everybody_runs_is_not_noticed(
    machine: Callable[[str, float], CenterUnderTest], host: DatabaseHost, step_s: int
) -> None:
    first, second = machine("one", 5_000_000), machine("two", 30)
    agent = first.agent()
    agent.deliver(agent.record(1))
    host.step(step_s)
    pass_by(8, first, second)
    assert states(agent, first, second) == {"active"}
    pass_by(32, first, second)
    assert states(agent, first, second) == {"offline"}
