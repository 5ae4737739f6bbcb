"""What the center finds itself: hosts that fell silent, its own network, outbreaks."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.center.harness import CenterUnderTest
from tests.unit.center.telling import Telling, hosts


@pytest.fixture
def telling(center: CenterUnderTest, tmp_path: Path) -> Telling:
    return Telling(center, tmp_path, "")


def found(telling: Telling, **query: str) -> list[tuple[str, str | None]]:
    return sorted(
        (threat["type"], threat["hostname"] or "") for threat in telling.threats(state="open", **query)
    )


def test_a_host_that_stays_silent_and_comes_back(telling: Telling) -> None:
    *others, lost = hosts(telling.center, 4)
    telling.later(140, *others)
    assert found(telling) == [], "a reboot takes as long"
    telling.later(30, *others)
    assert found(telling) == [("offline", "host3")]
    (threat,) = telling.threats()
    assert (threat["severity"], threat["agent_state"]) == ("high", "open")
    telling.later(30, *others)
    assert len(telling.center.get(f"/api/v1/threats/{threat['id']}").json["history"]) == 1
    telling.later(7, *others, lost)
    assert telling.threats()[0]["state"] == "cleared"


def test_nobody_is_missed_who_said_goodbye(telling: Telling) -> None:
    *others, stopped, paused = hosts(telling.center, 6)
    stopped.goodbye()
    paused.deliver(
        paused.record(1, "event", data={"type": "maintenance.begin", "for_s": 3600}), stream="events"
    )
    telling.later(300, *others)
    assert found(telling) == []


def test_one_that_stops_on_purpose_while_it_is_missed(telling: Telling) -> None:
    *others, lost = hosts(telling.center, 4)
    telling.later(200, *others)
    lost.goodbye()
    telling.turn()
    assert found(telling) == []


def test_half_of_all_hosts_at_once_is_one_finding(telling: Telling) -> None:
    all_hosts = hosts(telling.center, 6)
    alive = all_hosts[:2]
    telling.later(200, *alive)
    assert found(telling) == [("center_isolated", "")]
    (threat,) = telling.threats()
    assert (threat["severity"], threat["count"]) == ("critical", 4)
    evidence = telling.center.get(f"/api/v1/threats/{threat['id']}").json["evidence"]
    assert sorted(host["hostname"] for host in evidence["hosts"]) == ["host2", "host3", "host4", "host5"]
    telling.later(20, *all_hosts[:5])
    assert found(telling) == [("offline", "host5")], "the cause is over, and one is still missing"


def test_a_center_that_does_not_listen_misses_nobody(telling: Telling) -> None:
    agents = hosts(telling.center, 4)
    telling.turn()
    telling.center.clock.advance(3600)
    for task in telling.tasks:
        task.step(telling.desk)
    assert found(telling) == []
    telling.later(14)
    assert found(telling) == [], "they have had no time to come back"
    telling.later(200, *agents[:3])
    assert found(telling) == [("offline", "host3")]


def test_the_same_finding_on_many_hosts_is_an_outbreak(telling: Telling) -> None:
    agents = hosts(telling.center, 7)
    for index, agent in enumerate(agents[:4]):
        telling.opened(agent, type="cron_changed", fingerprint=f"cron:/etc/cron.d/x{index}00")
    telling.turn()
    assert not found(telling, type="outbreak")
    telling.opened(agents[4], type="cron_changed", fingerprint="cron:/etc/cron.d/x900")
    telling.opened(agents[5], type="cron_changed", fingerprint="cron:/etc/passwd")
    telling.turn()
    (outbreak,) = telling.threats(type="outbreak")
    assert (outbreak["count"], outbreak["severity"], outbreak["agent_id"]) == (5, "high", None)
    evidence = telling.center.get(f"/api/v1/threats/{outbreak['id']}").json["evidence"]
    assert {host["agent_id"] for host in evidence["hosts"]} == {agent.agent_id for agent in agents[:5]}
    telling.opened(agents[6], type="cron_changed", fingerprint="cron:/etc/cron.d/x7", severity="critical")
    telling.turn()
    (outbreak,) = telling.threats(type="outbreak")
    assert (outbreak["count"], outbreak["severity"]) == (6, "critical")
    telling.center.clock.advance(60)
    for index, agent in enumerate(agents[:4]):
        telling.cleared(agent, type="cron_changed", fingerprint=f"cron:/etc/cron.d/x{index}00")
    telling.turn()
    (over,) = telling.threats(type="outbreak")
    assert (over["state"], over["count"], over["summary"]) == ("cleared", 6, outbreak["summary"])
    kept = telling.center.get(f"/api/v1/threats/{over['id']}").json["evidence"]
    assert {host["agent_id"] for host in kept["hosts"]} >= {agent.agent_id for agent in agents[:5]}


def test_an_outbreak_of_which_nothing_is_left(telling: Telling) -> None:
    agents = hosts(telling.center, 5)
    for agent in agents:
        telling.opened(agent)
    telling.turn()
    telling.center.clock.advance(60)
    for agent in agents:
        telling.cleared(agent)
    telling.turn()
    (over,) = telling.threats(type="outbreak")
    assert (over["state"], over["count"], over["confidence"]) == ("cleared", 5, 0.9)


def test_what_comes_one_by_one_or_is_of_low_severity_is_no_outbreak(telling: Telling) -> None:
    agents = hosts(telling.center, 6)
    for agent in agents:
        telling.opened(agent, type="cpu", severity="low", fingerprint="cpu")
        telling.opened(agent)
        telling.center.clock.advance(300)
        telling.turn()
    assert telling.threats(type="outbreak") == []
