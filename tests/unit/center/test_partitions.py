"""Samples by the day on PostgreSQL: partitions are there before they are needed, and go as a whole when over."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
from sqlalchemy import func, select
from sqlalchemy import table as named

from nerve_center.clock import format_time
from nerve_center.keeper import partitions as keeping_partitions
from nerve_center.keeper import retention
from nerve_center.keeper import rollups as gathering
from nerve_center.keeper.task import Desk
from nerve_center.store import partitions, retiring, rollups
from nerve_center.store.engine import reading
from nerve_center.store.tables import agents, minutes
from tests.unit.center.harness import AgentUnderTest, CenterUnderTest, databases
from tests.unit.center.keeping import desk
from tests.unit.center.test_retention import account, hours

__all__ = ["desk"]

pytestmark = pytest.mark.databases("postgresql")
DAY_S = 86400


def rows(center: CenterUnderTest, table: str) -> int:
    with reading(center.center.engine) as connection:
        return int(connection.execute(select(func.count()).select_from(named(table))).scalar_one())


def days(center: CenterUnderTest) -> list[int]:
    with reading(center.center.engine) as connection:
        return partitions.days(connection)


def today(center: CenterUnderTest) -> int:
    return center.clock.now_us() // partitions.DAY_US


def tidy(desk: Desk) -> None:
    """Every duty that has to do with samples, once."""
    gathering.step(desk)
    keeping_partitions.step(desk)
    retention.step(desk)


def counted(center: CenterUnderTest, hour: int) -> float:
    """How many samples the rollups of an hour of the only agent have counted in."""
    with reading(center.center.engine) as connection:
        key = connection.execute(select(minutes.c.agent_key).limit(1)).scalar_one()
        chunk = rollups.minutes_of(connection, key, hour)
    assert chunk is not None
    return sum(cell[0] for cell in chunk.cells["cpu.percent"] if cell is not None)


def test_every_day_that_is_kept_and_the_next_ones_have_a_partition(
    center: CenterUnderTest, desk: Desk
) -> None:
    agent = center.agent()
    agent.deliver(agent.record(1))
    assert rows(center, "samples_rest") == 1, "no keeper has been at work yet"
    keeping_partitions.step(desk)
    assert days(center) == list(range(today(center) - 2, today(center) + partitions.AHEAD_DAYS + 1))
    agent.deliver(agent.record(2))
    center.clock.advance(partitions.AHEAD_DAYS * DAY_S)
    agent.deliver(agent.record(3))
    assert (rows(center, "samples"), rows(center, "samples_rest")) == (3, 0)
    assert keeping_partitions.step(desk).startswith(f"{partitions.AHEAD_DAYS} partitions made, ")


def test_a_day_goes_as_a_whole_and_stays_accounted_for(center: CenterUnderTest, desk: Desk) -> None:
    first, second = center.agent(), center.agent()
    keeping_partitions.step(desk)
    for agent in (first, second):
        agent.deliver(*hours(agent, 1, 30))
    begun = today(center)
    center.clock.advance(3 * DAY_S + 7200)
    assert keeping_partitions.step(desk).endswith(" 0 dropped"), "its rollups are not made yet"
    silent = center.agent()
    tidy(desk)
    assert days(center)[0] == begun + 1
    with reading(center.center.engine) as connection:
        sealed = {row.id: row.raw_hour for row in connection.execute(select(agents))}
    assert sealed.pop(silent.agent_id) == 0, "nothing of it was removed"
    assert set(sealed.values()) == {(begun + 1) * 24}
    assert (rows(center, "samples"), rows(center, "samples_rest")) == (2 * 36, 0)
    for agent in (first, second):
        (stream,) = account(center, agent)["streams"]
        assert (stream["records"], stream["removed_by_retention"]) == (36, 144)
    center.clock.advance(DAY_S)
    tidy(desk)
    assert rows(center, "samples") == 0 and rows(center, "removed") == 2, "one range for each history"
    assert account(center, first)["streams"][0]["removed_by_retention"] == 180


def test_what_comes_late_for_a_day_that_is_gone_is_counted_in(center: CenterUnderTest, desk: Desk) -> None:
    agent = center.agent()
    start_us = center.clock.now_us()
    keeping_partitions.step(desk)
    agent.deliver(*hours(agent, 1, 2))
    center.clock.advance(4 * DAY_S)
    tidy(desk)
    before = counted(center, start_us // rollups.HOUR_US)
    agent.deliver(agent.record(13, time=format_time(start_us + 60_000_000)))
    assert rows(center, "samples_rest") == 1
    tidy(desk)
    assert counted(center, start_us // rollups.HOUR_US) == before + 1
    assert rows(center, "samples") == 0
    assert account(center, agent)["streams"][0]["removed_by_retention"] == 13


def test_a_keeper_that_ends_in_the_middle_leaves_an_exact_account(
    center: CenterUnderTest, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever transaction was its last one; another one goes on where it ended."""
    monkeypatch.setattr(keeping_partitions, "_AGENTS", 2)
    reporting = [center.agent() for _ in range(5)]
    keeping_partitions.step(desk)
    for agent in reporting:
        agent.deliver(*hours(agent, 1, 1))
    day = today(center)
    center.clock.advance(4 * DAY_S)
    gathering.step(desk)
    assert desk.write(partial(retiring.begin, day=day))
    assert not rows(center, "samples")
    removed = []
    for _ in range(4):
        reports = [account(center, agent)["streams"][0] for agent in reporting]
        removed.append([stream["removed_by_retention"] for stream in reports])
        assert {stream["records"] + stream["removed_by_retention"] for stream in reports} == {6}
        with desk.reading() as connection:
            at = retiring.now(connection)
        assert at is not None
        desk.write(partial(retiring.account, at=at, most=2))
    assert removed == [[0] * 5, [6, 6, 0, 0, 0], [6, 6, 6, 6, 0], [6] * 5]
    keeping_partitions.step(desk)
    assert [account(center, agent)["in_gaps"] for agent in reporting] == [0] * 5
    with reading(center.center.engine) as connection:
        assert retiring.now(connection) is None
        left = connection.exec_driver_sql("SELECT count(*) FROM pg_tables WHERE tablename ~ '^samples_[0-9]'")
        assert left.scalar() == len(partitions.days(connection))


def test_a_day_waits_for_rollups_of_what_came_late(center: CenterUnderTest, desk: Desk) -> None:
    agent = center.agent()
    start_us = center.clock.now_us()
    keeping_partitions.step(desk)
    agent.deliver(*hours(agent, 1, 1))
    center.clock.advance(4 * DAY_S)
    gathering.step(desk)
    agent.deliver(agent.record(7, time=format_time(start_us + 60_000_000)))
    keeping_partitions.step(desk)
    assert rows(center, "samples") == 7
    tidy(desk)
    assert rows(center, "samples") == 0
    assert counted(center, start_us // rollups.HOUR_US) == 7


@pytest.mark.databases("sqlite", "postgresql")
def test_samples_of_the_future_go_when_they_were_received_long_ago(
    center: CenterUnderTest, desk: Desk
) -> None:
    """A host whose clock was a year ahead: else they would stay for a year."""
    agent = center.agent()
    ahead_us = center.clock.now_us() + 365 * DAY_S * 1_000_000
    if databases.postgresql:
        keeping_partitions.step(desk)
    agent.deliver(*[agent.record(n, time=format_time(ahead_us + n * 10_000_000)) for n in range(1, 7)])
    agent.deliver(agent.record(7))
    gathering.step(desk)
    retention.step(desk)
    assert rows(center, "samples") == 7
    center.clock.advance(47 * 3600)
    agent.deliver(*soon(agent, 8))
    retention.step(desk)
    assert rows(center, "samples") == 8
    center.clock.advance(2 * 3600)
    gathering.step(desk)
    retention.step(desk)
    left = rows(center, "samples")
    assert left == (2 if databases.postgresql else 1), (
        "what its partition holds stays with it for the rest of the day"
    )
    assert account(center, agent)["streams"][0]["records"] == left


def soon(agent: AgentUnderTest, seq: int) -> list[dict[str, Any]]:
    """A sample that is ahead by less than a clock may well be."""
    return [agent.record(seq, time=format_time(agent.center.clock.now_us() + 3600 * 1_000_000))]
