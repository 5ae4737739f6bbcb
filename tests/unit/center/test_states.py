"""The history of presence that the keeper writes, and a center that was itself away."""

from __future__ import annotations

from itertools import pairwise

import pytest

from nerve_center.keeper import presence
from nerve_center.keeper.task import Desk
from nerve_center.store import agents, states, steady
from nerve_center.store.engine import reading
from tests.unit.center.harness import AgentUnderTest, CenterUnderTest
from tests.unit.center.keeping import desk

__all__ = ["desk"]


def look(center: CenterUnderTest, desk: Desk) -> str:
    center.center.probe.step()
    return presence.step(desk)


def history(center: CenterUnderTest, agent: AgentUnderTest) -> list[tuple[str, bool]]:
    """The states that stand there, and whether each is over; spans must join."""
    with reading(center.center.engine) as connection:
        key = agents.agent_key(connection, agent.agent_id)
        assert key is not None
        rows = states.history(connection, key, 0, 2**62)
    for before, after in pairwise(rows):
        assert before.until_us == after.since_us
    return [(row.state, row.until_us is not None) for row in rows]


def pass_time(center: CenterUnderTest, seconds: float) -> None:
    """Time goes by while the center listens."""
    for _ in range(round(seconds)):
        center.clock.advance(1)
        center.center.probe.step()


def test_every_change_is_written_down_once(center: CenterUnderTest, desk: Desk) -> None:
    agent, other = center.agent(), center.agent()
    assert look(center, desk) == "2 changes of state"
    agent.deliver(agent.record(1))
    look(center, desk)
    for seconds in (23, 10, 10):
        pass_time(center, seconds)
        look(center, desk)
    agent.deliver(agent.record(2))
    look(center, desk)
    assert look(center, desk) == ""
    agent.goodbye()
    look(center, desk)
    expected = ["never_reported", "active", "warning", "offline", "active", "stopped"]
    assert history(center, agent) == [(state, state != "stopped") for state in expected]
    assert history(center, other) == [("never_reported", False)]
    with reading(center.center.engine) as connection:
        found = states.following(connection, 0, 100)
        assert [row.key for row in found] == sorted(row.key for row in found)
        assert states.following(connection, found[-2].key, 5) == found[-1:]
        assert found[-1].id == agent.agent_id


def test_a_clock_that_went_back_leaves_no_span_that_ends_before_it_began(
    center: CenterUnderTest, desk: Desk
) -> None:
    agent = center.agent()
    look(center, desk)
    center.clock.time_us -= 3_600_000_000
    agent.deliver(agent.record(1))
    look(center, desk)
    assert history(center, agent) == [("never_reported", True), ("active", False)]


def test_a_center_that_was_away_calls_nobody_offline(center: CenterUnderTest, desk: Desk) -> None:
    there, gone = center.agent(), center.agent()
    gone.deliver(gone.record(1))
    pass_time(center, 100)
    there.deliver(there.record(1))
    look(center, desk)
    center.clock.advance(3600)
    assert presence.step(desk) == "the nerve center is not listening; all states are kept"
    assert look(center, desk) == ""
    assert (there.seen()["state"], gone.seen()["state"]) == ("active", "offline")
    pass_time(center, 30)
    assert there.seen()["state"] == "active"
    pass_time(center, 30)
    look(center, desk)
    assert there.seen()["state"] == "offline"
    assert history(center, there) == [("active", True), ("offline", False)]
    assert there.seen()["last_report_at"] == "2026-01-01T00:01:40Z"


def test_who_came_back_before_the_first_pulse_is_simply_there(center: CenterUnderTest, desk: Desk) -> None:
    agent = center.agent()
    agent.deliver(agent.record(1))
    look(center, desk)
    center.clock.advance(600)
    agent.deliver(agent.record(2))
    look(center, desk)
    pass_time(center, 40)
    assert agent.seen()["state"] == "offline"


def test_a_short_restart_excuses_nobody(center: CenterUnderTest) -> None:
    agent = center.agent()
    agent.deliver(agent.record(1))
    center.center.probe.step()
    center.clock.advance(7)
    pass_time(center, 26)
    assert agent.seen()["state"] == "offline"


@pytest.mark.sqlite("the center's own clock; PostgreSQL has one for all centers")
def test_after_a_reboot_steady_time_goes_on_also_where_the_boot_has_no_name(
    center: CenterUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the sandbox of the unit nothing names the boot; only the clock tells that it began anew."""
    monkeypatch.setattr(steady, "_boot_id", lambda: "unknown")
    center.center.writer.submit(lambda connection: steady.settle(connection, center.clock))
    agent = center.agent()
    agent.deliver(agent.record(1))
    pass_time(center, 600)
    stamp_us = center.center.steady.now_us()
    center.clock.time_us += 3600 * 1_000_000
    center.clock.monotonic_s = 20.0
    center.center.writer.submit(lambda connection: steady.settle(connection, center.clock))
    again = steady.Steady(center.center.engine, center.clock)
    assert again.now_us() - stamp_us >= 3600 * 1_000_000
    before = again.now_us()
    center.center.writer.submit(lambda connection: steady.settle(connection, center.clock))
    assert again.now_us() == before
