"""Two nerve centers on one PostgreSQL: what people and agents do at one holds at the other."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest
from sqlalchemy import select
from sqlalchemy.engine import Connection

from nerve_center.auth import hash_of
from nerve_center.errors import Refused
from nerve_center.keeper import rollups as gathering
from nerve_center.keeper.lease import Lease
from nerve_center.keeper.task import Desk, NotNow
from nerve_center.people import PER_BOTH
from nerve_center.store import rollups, users
from nerve_center.store.engine import reading
from nerve_center.store.tables import minutes
from tests.unit.center.browser import PASSWORD, Browser, person
from tests.unit.center.harness import TOKEN, AgentUnderTest, CenterUnderTest, problem
from tests.unit.center.test_nervectl import run
from tests.unit.center.test_retention import hours

pytestmark = pytest.mark.databases("postgresql")


def test_a_session_and_its_end_hold_everywhere(center: CenterUnderTest, other: CenterUnderTest) -> None:
    person(center)
    here, there = Browser(center), Browser(other)
    here.login()
    there.client.set_cookie("dio", here.session() or "", domain="center.example")
    assert there.get("/account").status_code == 200
    there.send_form("/account", "/logout")
    assert here.get("/account").status_code == 303


def test_a_form_of_one_center_is_taken_by_another(center: CenterUnderTest, other: CenterUnderTest) -> None:
    """Behind a proxy each request goes to another center, also before there is a session."""
    person(center)
    here, there = Browser(center), Browser(other)
    here.get("/login")
    cookie = here.client.get_cookie("dio-form", domain="center.example")
    assert cookie is not None
    there.client.set_cookie("dio-form", cookie.value, domain="center.example")
    form = {"csrf": cookie.value, "name": "ann", "password": PASSWORD, "next": "/account"}
    assert there.client.post("/login", base_url=there.base, data=form).location == "/account"


def test_guesses_are_counted_together(center: CenterUnderTest, other: CenterUnderTest) -> None:
    person(center)
    for number in range(PER_BOTH):
        which = (center, other)[number % 2]
        with pytest.raises(Refused, match="not right"):
            which.center.people.login("ann", "a wrong one", "192.0.2.7", "")
    for which in (center, other):
        with pytest.raises(Refused) as caught:
            which.center.people.login("ann", PASSWORD, "192.0.2.7", "")
        assert caught.value.status == 429


def test_a_link_logs_in_once_anywhere(center: CenterUnderTest, other: CenterUnderTest) -> None:
    person(center)
    until = center.center.steady.now_us() + 60_000_000
    center.center.writer.submit(
        lambda connection: users.add_link(connection, hash_of("a-link"), "ann", until)
    )
    assert other.center.people.login_by_link("a-link", "192.0.2.7", "")
    with pytest.raises(Refused, match="used already"):
        center.center.people.login_by_link("a-link", "192.0.2.7", "")


def test_an_agent_may_change_with_every_report(center: CenterUnderTest, other: CenterUnderTest) -> None:
    agent = center.agent()
    for seq in range(1, 7):
        agent.center = (center, other)[seq % 2]
        agent.deliver(agent.record(seq))
    assert run(center, "continuity").exit_code == 0
    restarted = replace(agent, run_id="1" * 32, center=other)
    center.clock.advance(60)
    assert restarted.register().status_code == 200
    agent.center = center
    assert problem(agent.send(agent.report([agent.record(7)]))) == "run-not-current"


def test_a_twin_at_another_center_is_kept_apart(center: CenterUnderTest, other: CenterUnderTest) -> None:
    """Whoever was heard here a moment ago is not taken over there."""
    agent = center.agent()
    agent.deliver(agent.record(1))
    twin = AgentUnderTest(other, agent_id=agent.agent_id)
    assert twin.register(TOKEN).json["agent_id"] != agent.agent_id


def test_the_lease_passes_to_the_keeper_of_another_center(
    center: CenterUnderTest, other: CenterUnderTest
) -> None:
    first, second = (
        Lease(each.center.engine, each.center.writer, center.clock, name, 10)
        for each, name in ((center, "a:1:x"), (other, "b:1:y"))
    )
    assert first.step() == "active"
    assert second.step() == "waiting, a:1:x is active"
    for _ in range(8):
        center.clock.advance(1)
        said = second.step()
    assert said == "active" and not first.held
    assert first.step() == "waiting, b:1:y is active"


def test_a_keeper_that_loses_its_lease_in_a_rollup_stores_nothing_of_it(
    center: CenterUnderTest, other: CenterUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first was frozen and its clock with it, so that only the database knows who works."""
    first, second = (
        Lease(each.center.engine, each.center.writer, center.clock, name, lease_s)
        for each, name, lease_s in ((center, "a:1:x", 1e6), (other, "b:1:y", 10))
    )
    desks = [
        Desk(center.settings, each.center.engine, each.center.writer, lease, center.clock, threading.Event())
        for each, lease in ((center, first), (other, second))
    ]
    agent = center.agent()
    agent.deliver(*hours(agent, 1, 3))
    center.clock.advance(4 * 3600)
    make = rollups.make
    made: list[rollups.Made] = []

    def overtaken(connection: Connection, item: rollups.Dirty) -> rollups.Made:
        if len(made) == 1:
            for _ in range(8):
                center.clock.advance(1)
                second.step()
            assert second.held
        made.append(make(connection, item))
        return made[-1]

    monkeypatch.setattr(rollups, "make", overtaken)
    first.step()
    with pytest.raises(NotNow, match="another keeper"):
        gathering.step(desks[0])
    with reading(center.center.engine) as connection:
        assert [row.hour for row in connection.execute(select(minutes))] == [made[0].dirty.hour]
    assert gathering.step(desks[1]) == "2 hours gathered"
    with reading(center.center.engine) as connection:
        assert sorted(connection.execute(select(minutes.c.hour)).scalars()) == sorted(
            {item.dirty.hour for item in made}
        )
        assert rollups.dirty(connection, (-1, 0), 9) == []
