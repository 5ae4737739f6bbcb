"""The center's wall clock is wrong, or steps by hours: presence and identity stay right."""

from typing import Any

import pytest

from .harness import CenterUnderTest
from .test_identity import ELSEWHERE, another_run, problem, started

HOUR_US = 3_600_000_000


def state(center: CenterUnderTest, agent: Any) -> str:
    return str(center.get(f"/api/v1/agents/{agent.agent_id}").json["state"])


@pytest.mark.parametrize("step_us", [HOUR_US, -HOUR_US, -50 * 365 * 24 * HOUR_US])
def test_a_step_makes_nobody_offline_and_keeps_nobody_alive(center: CenterUnderTest, step_us: int) -> None:
    agent = center.agent()
    agent.deliver(agent.record(1))
    center.clock.time_us += step_us
    assert state(center, agent) == "active"
    center.clock.advance(33)
    assert state(center, agent) == "offline"
    agent.deliver(agent.record(2))
    assert state(center, agent) == "active"


def test_the_shown_time_follows_the_wall_clock(center: CenterUnderTest) -> None:
    agent = center.agent()
    agent.deliver(agent.record(1))
    assert agent.seen()["last_report_at"] == "2026-01-01T00:00:00Z"
    center.clock.time_us += HOUR_US
    assert agent.seen()["last_report_at"] == "2026-01-01T01:00:00Z"


def test_a_step_does_not_settle_a_doubt(center: CenterUnderTest) -> None:
    first = started(center)
    center.clock.time_us += HOUR_US
    assert problem(another_run(first).register(place=ELSEWHERE)) == "instance-in-doubt"


def test_the_skew_that_the_center_sees_is_shown(center: CenterUnderTest) -> None:
    agent = center.agent()
    body = agent.report([agent.record(1)])
    center.clock.time_us += HOUR_US
    assert agent.send(body).status_code == 200
    assert agent.seen()["clock_skew_s"] == pytest.approx(-3600)
