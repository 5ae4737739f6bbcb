"""What is over goes, the account stays exact, and the file shrinks."""

from __future__ import annotations

import secrets
from typing import Any

import pytest
from sqlalchemy import func, select

from nerve_center.clock import format_time
from nerve_center.keeper import retention
from nerve_center.keeper import rollups as gathering
from nerve_center.keeper.task import Desk
from nerve_center.store import aging, removal, states
from nerve_center.store.due import Bounds
from nerve_center.store.engine import reading
from nerve_center.store.tables import agent_states, events, gaps, minutes, quarters, removed, samples
from tests.unit.center.harness import AgentUnderTest, CenterUnderTest
from tests.unit.center.keeping import desk

__all__ = ["desk"]

DAY_S = 86400


def count(center: CenterUnderTest, table: Any) -> int:
    with reading(center.center.engine) as connection:
        return int(connection.execute(select(func.count()).select_from(table)).scalar() or 0)


def account(center: CenterUnderTest, agent: AgentUnderTest) -> dict[str, Any]:
    report: dict[str, Any] = center.get(f"/api/v1/agents/{agent.agent_id}/continuity").json
    assert report["complete"] and report["unaccounted"] == 0, report
    return report


def hours(agent: AgentUnderTest, first_seq: int, number: int) -> list[dict[str, Any]]:
    """Six samples in each of so many hours from now on."""
    start_us = agent.center.clock.now_us()
    return [
        agent.record(first_seq + index, time=format_time(start_us + index * 600_000_000))
        for index in range(number * 6)
    ]


def test_samples_go_after_their_rollups_and_stay_accounted_for(center: CenterUnderTest, desk: Desk) -> None:
    agent = center.agent()
    agent.deliver(*hours(agent, 1, 10))
    center.clock.advance(5 * 3600)
    agent.deliver(agent.record(61, "gap", from_seq=61, data={"count": 1, "reason": "spool_full"}))
    agent.deliver(*hours(agent, 62, 1))
    center.clock.advance(2 * DAY_S)
    assert retention.step(desk) == "", "nothing is gathered yet"
    gathering.step(desk)
    assert retention.step(desk) == "30 rows removed, 0 pages given back"
    assert count(center, samples) == 36
    (stream,) = account(center, agent)["streams"]
    assert (stream["records"], stream["removed_by_retention"]) == (36, 30)
    center.clock.advance(DAY_S)
    retention.step(desk)
    assert count(center, samples) == 0 and count(center, gaps) == 1
    assert count(center, removed) == 2, "one range on either side of the gap"
    assert account(center, agent)["in_gaps"] == 1
    center.clock.advance(40 * DAY_S)
    assert count(center, minutes) > 0
    retention.step(desk)
    assert (count(center, minutes), count(center, quarters)) == (0, 1)
    center.clock.advance(366 * DAY_S)
    retention.step(desk)
    assert (count(center, quarters), count(center, gaps), count(center, removed)) == (0, 0, 1)
    assert account(center, agent)["streams"][0]["removed_by_retention"] == 67


def test_where_nothing_is_over_nothing_is_written(
    center: CenterUnderTest, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    fresh, old = center.agent(), center.agent()
    old.deliver(*hours(old, 1, 1))
    center.clock.advance(3 * DAY_S)
    fresh.deliver(*hours(fresh, 1, 1))
    fresh.deliver(fresh.record(1, "event"), stream="events")
    gathering.step(desk)
    asked: list[int] = []
    of_agent = retention._of_agent

    def noted(desk: Desk, key: int, over: Bounds) -> int:
        asked.append(key)
        return of_agent(desk, key, over)

    monkeypatch.setattr(retention, "_of_agent", noted)
    monkeypatch.setattr(retention, "_AGENTS", 1)
    assert retention.step(desk) == "6 rows removed, 0 pages given back"
    assert len(asked) == 1
    assert retention.step(desk) == ""
    assert len(asked) == 1


def test_events_and_states_go_in_small_steps(
    center: CenterUnderTest, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "_ROWS", 3)
    agent = center.agent()
    agent.deliver(*[agent.record(n, "event") for n in range(1, 11)], stream="events")
    for state in ("active", "offline", "active", "warning"):
        change = desk.write(lambda connection: states.changes(connection, desk.steady.now_us()))
        wanted = [states.Change(item.agent_key, state, item.row, item.since_us) for item in change]
        if wanted:
            desk.write(
                lambda connection, wanted=wanted: states.note_changes(
                    connection, wanted, center.clock.now_us()
                )
            )
        center.clock.advance(60)
    before = count(center, agent_states)
    assert before > 1
    center.clock.advance(366 * DAY_S)
    agent.deliver(agent.record(11, "event"), stream="events")
    retention.step(desk)
    assert count(center, events) == 1
    assert count(center, agent_states) == 1, "the present one"
    (stream,) = account(center, agent)["streams"]
    assert (stream["records"], stream["removed_by_retention"]) == (1, 10)


def test_ranges_are_joined_whatever_their_order(center: CenterUnderTest, desk: Desk) -> None:
    agent = center.agent()
    agent.deliver(agent.record(1))
    for found in ([(1, 5, 6)], [(1, 9, 9), (1, 2, 2)], [(1, 3, 4)], [(1, 7, 8)], [(1, 1, 1)], [(1, 11, 12)]):
        desk.write(lambda connection, found=found: removal.note(connection, found))
    with reading(center.center.engine) as connection:
        rows = connection.execute(select(removed.c.from_seq, removed.c.seq)).all()
    assert [tuple(row) for row in rows] == [(1, 9), (11, 12)]


@pytest.mark.sqlite("its file")
def test_the_file_shrinks(center: CenterUnderTest, desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aging, "_SPARE_PAGES", 10)
    monkeypatch.setattr(retention, "_VACUUM_PAGES", 30)
    agent = center.agent()
    agent.deliver(*[agent.record(n, data={"noise": secrets.token_hex(20000)}) for n in range(1, 21)])
    center.clock.advance(4 * DAY_S)
    gathering.step(desk)
    before, _ = _pages(center)
    assert retention.step(desk).startswith("20 rows removed")
    after, free = _pages(center)
    assert before - after > 80
    assert free <= 20


@pytest.mark.sqlite("its log")
def test_a_log_that_has_grown_is_cut(
    center: CenterUnderTest, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = center.settings.database.path
    log = path.with_name(path.name + "-wal")
    center.agent()
    assert log.stat().st_size > 0
    monkeypatch.setattr(aging, "_WAL_BYTES", 0)
    retention.step(desk)
    assert log.stat().st_size == 0


def _pages(center: CenterUnderTest) -> tuple[int, int]:
    with reading(center.center.engine) as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar()
        free = connection.exec_driver_sql("PRAGMA freelist_count").scalar()
    return int(pages or 0), int(free or 0)
