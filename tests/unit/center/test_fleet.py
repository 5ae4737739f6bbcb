"""What the store tells of the whole fleet: counts, pages, figures and the course of the last hour."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import event

from nerve_center.store import agents, fleet, labels, latest, threat_reading
from nerve_center.store.engine import reading
from nerve_center.store.threats import ACTIVE
from tests.unit.center.harness import AgentUnderTest, CenterUnderTest


def sample(agent: AgentUnderTest, seq: int, cpu: float, memory: float = 50.0) -> dict[str, Any]:
    data = {
        "cpu": {"percent": cpu},
        "memory": {"percent": memory},
        "load": {"load_1m": 1.25},
        "disks": [{"mount": "/", "percent": 20.0}, {"mount": "/srv", "percent": 70.5}, {"mount": "/mnt"}],
    }
    return agent.record(seq, data=data)


def row_of(center: CenterUnderTest, agent: AgentUnderTest) -> Any:
    with reading(center.center.engine) as connection:
        rows = fleet.page(connection, fleet.Wanted(), 0, 50, center.center.steady.now_us())
    return next(row for row in rows if row.id == agent.agent_id)


def test_the_newest_sample_is_what_is_shown(center: CenterUnderTest) -> None:
    agent = center.agent()
    assert row_of(center, agent).time_us is None
    agent.deliver(sample(agent, 1, 10.0), sample(agent, 2, 33.33))
    row = row_of(center, agent)
    assert (row.cpu_percent, row.memory_percent, row.load_1m) == (33.33, 50.0, 1.25)
    assert (row.disk_percent, row.disk_mount) == (70.5, "/srv")


def test_the_course_has_a_point_a_minute_and_shows_gaps(center: CenterUnderTest) -> None:
    agent = center.agent()
    agent.deliver(sample(agent, 1, 10.0))
    center.clock.advance(10)
    agent.deliver(sample(agent, 2, 90.0))
    center.clock.advance(60)
    agent.deliver(sample(agent, 3, 20.0))
    center.clock.advance(300)
    agent.deliver(sample(agent, 4, 30.0, memory=200.0))
    assert latest.course(row_of(center, agent).course) == [(10, 50), (20, 50), None, (30, 100)]


def test_a_course_does_not_grow_for_ever(center: CenterUnderTest) -> None:
    agent = center.agent()
    for seq in range(1, 200):
        center.clock.advance(120)
        agent.deliver(sample(agent, seq, seq % 100))
    row = row_of(center, agent)
    assert len(row.course) <= latest.WIDTH * (2 * latest.POINTS + 2)
    assert latest.course(row.course)[-1] == (99, 50)
    assert len(latest.course(row.course)) == latest.POINTS


def test_a_backlog_that_comes_late_changes_nothing(center: CenterUnderTest) -> None:
    agent = center.agent()
    agent.deliver(sample(agent, 1, 10.0))
    agent.deliver({**sample(agent, 2, 99.0), "time": "2025-12-31T00:00:00Z"})
    assert row_of(center, agent).cpu_percent == 10.0


@pytest.mark.parametrize("data", [{}, {"cpu": None, "disks": None}, {"cpu": {"percent": None}, "disks": []}])
def test_what_is_not_to_be_had_is_none(center: CenterUnderTest, data: dict[str, Any]) -> None:
    agent = center.agent()
    agent.deliver(agent.record(1, data=data))
    row = row_of(center, agent)
    assert (row.cpu_percent, row.disk_percent, row.disk_mount) == (None, None, None)
    assert latest.course(row.course) == [(None, None)]


def fleet_of_states(center: CenterUnderTest) -> dict[str, AgentUnderTest]:
    """One agent in each state, by its name."""
    made = {name: center.agent(hostname=f"{name}.example") for name in fleet.STATES}
    for name in ("offline", "maintenance", "warning", "stopped", "active"):
        made[name].deliver(sample(made[name], 1, len(name)))
    begin = {"type": "maintenance.begin", "for_s": 3600}
    made["maintenance"].deliver(made["maintenance"].record(1, "event", data=begin), stream="events")
    center.clock.advance(100)
    made["warning"].deliver(sample(made["warning"], 2, 7))
    center.clock.advance(25)
    made["active"].deliver(sample(made["active"], 2, 6))
    assert made["stopped"].goodbye().status_code == 204
    return made


def test_states_in_sql_are_those_of_presence(center: CenterUnderTest) -> None:
    fleet_of_states(center)
    now_us = center.center.steady.now_us()
    with reading(center.center.engine) as connection:
        assert fleet.counts(connection, now_us) == dict.fromkeys(fleet.STATES, 1)
        for name in fleet.STATES:
            wanted = fleet.Wanted(state=name)
            (row,) = fleet.page(connection, wanted, 0, 50, now_us)
            assert (row.hostname, row.state) == (f"{name}.example", name)
            assert fleet.count(connection, wanted, now_us) == 1
        assert [row.state for row in fleet.silent(connection, now_us, 5)] == ["warning", "offline"]
        by_state = fleet.page(connection, fleet.Wanted(sort="state"), 0, 50, now_us)
        assert [row.state for row in by_state] == list(fleet.STATES)


def test_hosts_are_found_by_label_and_text(center: CenterUnderTest) -> None:
    first, second = center.agent(hostname="db_1.example"), center.agent(hostname="dbx1.example")
    assert first.register(labels={"env": "prod", "rack": "r7"}).status_code == 200
    assert second.register(labels={"env": "stage"}).status_code == 200

    def found(**wanted: Any) -> list[str]:
        with reading(center.center.engine) as connection:
            asked = fleet.Wanted(**wanted)
            rows = fleet.page(connection, asked, 0, 50, 0)
            assert fleet.count(connection, asked, 0) == len(rows)
        return [row.hostname for row in rows]

    assert found(label=("env", "prod")) == ["db_1.example"]
    assert found(label=("env", None)) == ["db_1.example", "dbx1.example"]
    assert found(text="DB_1") == ["db_1.example"]
    assert found(text="r7") == ["db_1.example"]
    assert found(text=second.agent_id[8:]) == ["dbx1.example"]
    assert found(text="%") == []
    assert first.register(labels={"env": "stage"}).status_code == 200
    with reading(center.center.engine) as connection:
        assert [tuple(row) for row in labels.known(connection, 9)] == [("env", "stage", 2)]


@pytest.mark.sqlite("its query plans")
def test_no_query_of_the_fleet_reads_a_table_without_an_index(center: CenterUnderTest) -> None:
    agent = center.agent()
    agent.deliver(sample(agent, 1, 10.0))
    plans: list[str] = []

    def explain(connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        asked = connection.connection.cursor().execute("EXPLAIN QUERY PLAN " + statement, parameters)
        plans.extend(step[3] for step in asked.fetchall())

    event.listen(center.center.engine, "before_cursor_execute", explain)
    with reading(center.center.engine) as connection:
        for sort in fleet.SORTS:
            for descending in (False, True):
                fleet.page(connection, fleet.Wanted(sort=sort, descending=descending), 0, 50, 0)
        narrow = fleet.Wanted(state="offline", label=("env", "prod"), text="web")
        fleet.page(connection, narrow, 0, 50, 0)
        fleet.count(connection, narrow, 0)
        fleet.counts(connection, 0)
        fleet.groups(connection, fleet.Wanted(), "env", 0)
        fleet.groups(connection, narrow, "env", 0)
        fleet.count(connection, fleet.Wanted(unlabelled="env"), 0)
        labels.names(connection, 10)
        fleet.silent(connection, 0, 5)
        threat_reading.page(connection, threat_reading.Filter(ACTIVE), 5, worst_first=True)
        threat_reading.active_of_agents(connection, [1, 2, 3])
        labels.known(connection, 10)
        agents.page(connection, None, 10)
    event.remove(center.center.engine, "before_cursor_execute", explain)
    assert plans
    assert [step for step in plans if step.startswith("SCAN") and "USING" not in step] == []


def test_hosts_are_grouped_by_a_label_and_trouble_comes_first(center: CenterUnderTest) -> None:
    made = []
    for number, env in enumerate(("prod", "prod", "stage", "test", None)):
        agent = center.agent(hostname=f"h{number}")
        assert agent.register(labels={"env": env} if env else {}).status_code == 200
        agent.deliver(sample(agent, 1, 20.0 * number))
        made.append(agent)
    assert made[0].goodbye().status_code == 204
    threat = {"type": "t", "severity": "critical", "fingerprint": "f", "state": "open"}
    made[3].deliver(made[3].record(1, "threat", data=threat), stream="events")
    now_us = center.center.steady.now_us()
    with reading(center.center.engine) as connection:
        found = fleet.groups(connection, fleet.Wanted(), "env", now_us)
        of_active = fleet.groups(connection, fleet.Wanted(state="active"), "env", now_us)
        without = fleet.page(connection, fleet.Wanted(unlabelled="env"), 0, 9, now_us)
        ordered = fleet.page(connection, fleet.Wanted(sort="state"), 0, 9, now_us)
    assert [(group.value, group.hosts, group.threats, group.rank) for group in found] == [
        ("test", 1, 1, 4),
        ("prod", 2, 0, 0),
        ("stage", 1, 0, 0),
        (None, 1, 0, 0),
    ]
    assert (found[1].states["stopped"], found[1].states["active"], found[1].cpu_percent) == (1, 1, 20.0)
    assert [(group.value, group.hosts) for group in of_active] == [
        ("test", 1),
        ("prod", 1),
        ("stage", 1),
        (None, 1),
    ]
    assert [row.hostname for row in without] == ["h4"]
    assert [row.hostname for row in ordered] == ["h0", "h3", "h1", "h2", "h4"]
