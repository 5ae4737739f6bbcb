"""Readers wait for each other and make room; agents, and whoever asks for health, never wait for them."""

from __future__ import annotations

import threading

import pytest

from nerve_center.errors import DatabaseUnavailable
from nerve_center.turns import Turns, breathe
from tests.unit.center.browser import Browser, person
from tests.unit.center.harness import CenterUnderTest, problem


def test_one_after_the_other() -> None:
    turns, order = Turns(at_once=1), []
    turns.enter()
    waiting, began = threading.Event(), threading.Event()

    def second() -> None:
        waiting.set()
        turns.enter()
        order.append("second")
        began.set()
        turns.leave()

    thread = threading.Thread(target=second)
    thread.start()
    assert waiting.wait(60)
    order.append("first")
    turns.leave()
    assert began.wait(60)
    thread.join(60)
    assert order == ["first", "second"]


def test_only_who_has_a_turn_gives_way() -> None:
    turns, given = Turns(), []
    turns.give_way = lambda: given.append(threading.get_ident())
    breathe()
    turns.enter()
    breathe()
    other = threading.Thread(target=breathe)
    other.start()
    other.join(60)
    turns.leave()
    breathe()
    turns.leave()  # nothing to leave
    assert given == [threading.get_ident()]


def test_where_too_many_wait_for_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nerve_center.turns.PATIENCE_S", 0.0)
    turns = Turns(at_once=0)
    for _ in range(3):  # who gave up is not counted any more
        with pytest.raises(DatabaseUnavailable, match="too many readers"):
            turns.enter()
    turns = Turns(at_once=1, most_waiting=0)
    with pytest.raises(DatabaseUnavailable, match="too many readers"):
        turns.enter()


def test_agents_and_health_do_not_wait_for_readers(
    center: CenterUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent = center.agent()
    center.center.probe.step()
    monkeypatch.setattr("nerve_center.turns.PATIENCE_S", 0.0)
    center.center.turns = Turns(at_once=0)
    assert problem(center.get("/api/v1/agents")) == "overloaded"
    browser = Browser(center)
    page = browser.get("/threats")
    assert page.status_code == 503 and page.headers["Retry-After"]
    agent.deliver(agent.record(1))
    assert center.get(f"/api/v1/agents/{agent.agent_id}/policy", agent.credential).status_code == 200
    assert center.get("/health", token=None).status_code == 200
    with browser.get("/static/dio.css") as style:
        assert style.status_code == 200


def test_a_turn_ends_with_its_request_whatever_became_of_it(center: CenterUnderTest) -> None:
    given: list[int] = []
    center.center.turns = Turns(at_once=1)
    center.center.turns.give_way = lambda: given.append(1)
    person(center, "ann", "viewer")
    browser = Browser(center)
    browser.login("ann")
    for path, status in (("/", 200), ("/hosts/agent-0", 404), ("/people", 403)):
        assert browser.get(path).status_code == status, path
    assert problem(center.get("/api/v1/agents", token="nobody-s-token-" * 3)) == "credential-unknown"
    assert given, "queries give way"
    given.clear()
    center.agent()
    assert given == [], "agents do not"
