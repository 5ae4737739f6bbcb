"""kill -9 at every point of the cycle of appending, sending, acknowledging and deleting.

A dozen starts of one agent, each killed somewhere else; then one that lives. The nerve center has every seq from 1
to the last exactly once, under one epoch, and nothing stands in a gap.
"""

import signal

import pytest

from tests.support.processes import RealAgent, RealCenter, wait_for

STATEMENTS = (*range(12, 36, 2), 45, 60)
EXCHANGES = (1, 2, 3, 4, 5, 6)


@pytest.mark.parametrize(
    "points",
    [
        [f"sql:{n}" for n in STATEMENTS],
        [f"send:{n}" for n in EXCHANGES] + [f"answer:{n}" for n in EXCHANGES],
    ],
    ids=["spool", "exchange"],
)
def test_killed_at_every_point(center: RealCenter, agent: RealAgent, points: list[str]) -> None:
    center.start()
    center.wait_ready()
    for point in points:
        agent.start(DIO_TEST_KILL=point)
        assert agent.ended() == -signal.SIGKILL, agent.log()
    agent.start()
    agent.wait_ready()
    agent_id = agent.wait_state("active")["agent_id"]
    last = wait_for(lambda: agent.status()["spool"]["streams"]["samples"]["acknowledged_seq"], "acknowledged")
    stored = center.samples(agent_id)
    assert sorted(sample["seq"] for sample in stored)[:last] == list(range(1, last + 1))
    assert len({sample["epoch"] for sample in stored}) == 1
    assert center.get(f"/api/v1/agents/{agent_id}")["records"]["gaps"] == 0
