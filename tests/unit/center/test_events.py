"""Events of the whole fleet, as they are read."""

from __future__ import annotations

from typing import Any

import pytest

from nerve_center.clock import format_time
from tests.unit.center.harness import TOKEN, CenterUnderTest, problem


def events(center: CenterUnderTest, **query: Any) -> list[dict[str, Any]]:
    response = center.get("/api/v1/events", **query)
    assert response.status_code == 200, response.text
    found: list[dict[str, Any]] = response.json["events"]
    return found


def test_the_newest_first_from_every_host(center: CenterUnderTest) -> None:
    one, two = center.agent(hostname="one"), center.agent(hostname="two")
    start = center.clock.now_us()
    at = [format_time(start + second * 1_000_000) for second in range(5)]
    one.deliver(one.record(1, "event", time=at[1]), one.record(2, "threat", time=at[3]), stream="events")
    two.deliver(two.record(1, "event", time=at[2]), two.record(2, "sensor.new", time=at[4]), stream="events")
    assert [item["time"] for item in events(center)] == at[:0:-1]
    assert [item["hostname"] for item in events(center)] == ["two", "one", "two", "one"]
    assert [item["kind"] for item in events(center, agent=one.agent_id)] == ["threat", "event"]
    assert [item["kind"] for item in events(center, kind="sensor.new")] == ["sensor.new"]
    assert [item["time"] for item in events(center, since=at[2], until=at[4])] == [at[3], at[2]]
    assert events(center, kind="event")[0]["data"] == {"type": "test.event", "message": "something happened"}


def test_pages_join_up(center: CenterUnderTest) -> None:
    agents = [center.agent() for _ in range(3)]
    same = format_time(center.clock.now_us())
    for agent in agents:
        agent.deliver(*(agent.record(seq, "event", time=same) for seq in range(1, 6)), stream="events")
    found: list[str] = []
    after: dict[str, Any] = {}
    while True:
        page = center.get("/api/v1/events", limit=4, **after).json
        found += [item["tag"] for item in page["events"]]
        if page["next"] is None:
            break
        after = {"after": page["next"]}
    assert len(found) == len(set(found)) == 15


def test_a_page_ends_early_where_its_events_are_large(
    center: CenterUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nerve_center.store.event_reading.PAGE_BYTES", 100)
    agent = center.agent()
    agent.deliver(*(agent.record(seq, "event") for seq in range(1, 6)), stream="events")
    page = center.get("/api/v1/events").json
    assert (len(page["events"]), page["next"] is None) == (2, False)


def test_what_the_center_itself_notes(center: CenterUnderTest) -> None:
    agent = center.agent()
    agent.goodbye()
    agent.instance_id, agent.credential = "a" * 32, "b" * 64
    agent.run_id = "c" * 32
    assert agent.register(TOKEN).status_code == 201
    (event,) = events(center)
    assert (event["source"], event["data"]["type"]) == ("center", "reinstalled")


def test_who_reads_events(center: CenterUnderTest) -> None:
    one, two = center.agent(), center.agent()
    one.deliver(one.record(1, "event"), stream="events")
    own = center.get("/api/v1/events", one.credential, agent=one.agent_id)
    assert len(own.json["events"]) == 1
    assert problem(center.get("/api/v1/events", two.credential, agent=one.agent_id)) == "not-your-agent"
    assert problem(center.get("/api/v1/events", one.credential)) == "api-token-required"
    assert problem(center.get("/api/v1/events", agent="agent-0000000000000000")) == "agent-unknown"


@pytest.mark.parametrize("query", [{"after": "1.2.3"}, {"limit": 1001}, {"since": "now"}, {"state": "x"}])
def test_bad_parameters(center: CenterUnderTest, query: dict[str, Any]) -> None:
    response = center.get("/api/v1/events", **query)
    assert (response.status_code, problem(response)) == (400, "bad-parameter")
