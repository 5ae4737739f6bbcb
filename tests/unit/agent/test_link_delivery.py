"""The link at work: outages, throttling, refused records, marks, the last flush."""

import json
import logging
from collections import deque
from itertools import pairwise

import pytest

from dio_daemon.lifecycle import State
from dio_daemon.transport import Answer, DeadlinePassed
from tests.support.link import HEALTHY, REFUSED, Agent, Reply, messages, problem


@pytest.fixture(autouse=True)
def all_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)


def test_an_outage_from_the_first_failure_to_the_resumption(
    agent: Agent, caplog: pytest.LogCaptureFixture
) -> None:
    agent.run_until(State.ACTIVE)
    agent.transport.report = lambda report: REFUSED
    agent.transport.health = lambda: REFUSED
    agent.sample()
    caplog.clear()
    agent.run_until(State.WARNING)
    agent.run_until(State.OFFLINE)
    expected = [
        f"Failed to send metrics (consecutive failures: {n}): connection refused by c:1" for n in range(1, 6)
    ]
    assert messages(caplog) == [*expected, "Too many consecutive failures, attempting to re-register..."]
    caplog.clear()
    began = agent.clock.monotonic()
    while agent.clock.monotonic() - began < 3600:
        agent.link.step()
        agent.spool.append("samples", "sample", b"{}", 10.0)
    assert 10 <= len(messages(caplog)) <= 13, "an hour's outage does not fill the journal"
    agent.transport.health = lambda: HEALTHY
    agent.transport.report = agent.transport.acknowledge
    caplog.clear()
    agent.run_until(State.ACTIVE)
    assert messages(caplog) == [
        "Successfully re-registered with nerve center",
        "Resumed monitoring after re-registration",
    ]
    while agent.spool.pending:
        agent.link.step()
    assert not messages(caplog, logging.WARNING)


def test_a_short_outage_is_over_with_the_next_report(agent: Agent, caplog: pytest.LogCaptureFixture) -> None:
    agent.run_until(State.ACTIVE)
    replies: deque[Reply] = deque([REFUSED, REFUSED])
    agent.transport.report = (
        lambda report: replies.popleft() if replies else agent.transport.acknowledge(report)
    )
    agent.sample()
    agent.run_until(State.WARNING)
    agent.run_until(State.ACTIVE)
    assert agent.board.snapshot.failures == 0
    assert messages(caplog)[-1] == "Reports are acknowledged again after 2 failures"


def test_a_timeout_was_a_wait_already(agent: Agent) -> None:
    """A network that heals in the last moment of a report's 30 s is noticed a second later, offline or not."""
    agent.run_until(State.ACTIVE)
    tried_at: list[tuple[float, float]] = []

    def late() -> Reply:
        begun = agent.clock.monotonic()
        agent.clock.advance(30)
        tried_at.append((begun, agent.clock.monotonic()))
        return DeadlinePassed()

    agent.transport.report = lambda report: late()
    agent.transport.health = late
    agent.sample()
    agent.run_until(State.OFFLINE)
    for _ in range(5):
        agent.link.step()
    pauses = [begun - ended for (_, ended), (begun, _) in pairwise(tried_at)]
    assert len(pauses) == 9
    assert pauses.pop(4) == 0  # the first health check of an outage waits for nothing
    assert all(1.0 <= pause <= 1.2 for pause in pauses), pauses


def test_retry_after_is_honoured(agent: Agent) -> None:
    agent.run_until(State.ACTIVE)
    replies: deque[Reply] = deque([problem(503, "busy", {"Retry-After": "40"})])
    agent.transport.report = (
        lambda report: replies.popleft() if replies else agent.transport.acknowledge(report)
    )
    agent.sample()
    began = agent.clock.monotonic()
    agent.run_until(State.WARNING)
    agent.run_until(State.ACTIVE)
    assert 40 <= agent.clock.monotonic() - began <= 46


@pytest.mark.parametrize(("status", "code"), [(429, "too-many"), (503, "overloaded")])
def test_a_center_that_throttles_is_not_lost(agent: Agent, status: int, code: str) -> None:
    agent.run_until(State.ACTIVE)
    agent.transport.report = lambda report: problem(status, code, {"Retry-After": "1"})
    agent.sample()
    for _ in range(40):
        agent.link.step()
    assert agent.state is State.WARNING


def test_413_halves_the_batch(agent: Agent) -> None:
    agent.run_until(State.ACTIVE)

    def report(body: dict[str, object]) -> Reply:
        records = body["records"]
        assert isinstance(records, list)
        return problem(413, "too-large") if len(records) > 3 else agent.transport.acknowledge(body)

    agent.transport.report = report
    agent.sample(20)
    while agent.spool.pending:
        agent.link.step()
    assert agent.state is State.ACTIVE
    assert agent.spool.stats().dead_letters == 0


def test_a_413_of_a_proxy_sets_no_record_aside(agent: Agent) -> None:
    agent.run_until(State.ACTIVE)
    agent.transport.report = lambda body: Answer(413, {}, b"<html>too large")
    agent.sample(20)
    agent.run_until(State.WARNING)
    assert agent.board.snapshot.error_kind == "status"
    agent.sample(20)
    agent.run_until(State.OFFLINE)  # that smaller reports are asked for acknowledges nothing
    agent.transport.report = agent.transport.acknowledge
    agent.run_until(State.ACTIVE)
    while agent.spool.pending:
        agent.link.step()
    assert agent.spool.stats().dead_letters == 0


def test_an_invalid_record_is_set_aside_and_its_place_taken_by_a_gap(agent: Agent) -> None:
    agent.run_until(State.ACTIVE)

    def report(body: dict[str, object]) -> Reply:
        records = body["records"]
        assert isinstance(records, list)
        if any(r["seq"] == 2 and r["kind"] == "sample" for r in records):
            return problem(422, "invalid-record", index=1, seq=2)
        return agent.transport.acknowledge(body)

    agent.transport.report = report
    agent.sample(3)
    while agent.spool.pending:
        agent.link.step()
    assert agent.spool.stats().dead_letters == 1
    last = agent.transport.reports[-1]["records"]
    assert isinstance(last, list)
    assert [r["kind"] for r in last] == ["sample", "gap", "sample"]
    assert last[1]["data"]["reason"] == "dead_letter"


def test_a_center_that_calls_everything_invalid_gets_nothing_thrown_away(agent: Agent) -> None:
    agent.run_until(State.ACTIVE)

    def report(body: dict[str, object]) -> Reply:
        records = body["records"]
        assert isinstance(records, list)
        bad = next((r["seq"] for r in records if r["kind"] == "sample"), 1)
        return problem(422, "invalid-record", seq=bad)

    agent.transport.report = report
    agent.sample(20)
    agent.run_until(State.OFFLINE)
    assert agent.spool.stats().dead_letters == 3
    assert agent.spool.pending == 20


def test_a_mark_that_never_fits_is_a_failure_not_a_loop(agent: Agent) -> None:
    agent.run_until(State.ACTIVE)
    agent.transport.report = lambda body: problem(409, "mark-mismatch", mark={"seq": 10**6, "tag": "0" * 16})
    agent.sample()
    agent.run_until(State.WARNING, steps=20)


def test_an_acknowledgement_of_nothing_is_a_failure(agent: Agent) -> None:
    agent.run_until(State.ACTIVE)
    agent.transport.report = lambda body: Answer(200, {}, json.dumps({"mark": body["after"]}).encode())
    agent.sample()
    agent.run_until(State.WARNING, steps=5)


def test_stop_flushes_and_says_goodbye(agent: Agent) -> None:
    agent.run_until(State.ACTIVE)
    agent.sample(3)
    agent.link.stop()
    assert agent.transport.aborted
    agent.link.finish()
    assert agent.spool.pending == 0
    assert agent.transport.log[-2:] == ["reports", "goodbye"]
    assert agent.state is State.STOPPING


def test_stop_while_waiting_says_nothing_to_anybody(agent: Agent) -> None:
    agent.transport.health = lambda: REFUSED
    agent.link.step()
    agent.link.step()
    agent.link.stop()
    agent.transport.log.clear()
    agent.link.finish()
    assert agent.transport.log == []


def test_a_flush_that_fails_does_not_hold_up_the_stop(agent: Agent, caplog: pytest.LogCaptureFixture) -> None:
    agent.run_until(State.ACTIVE)
    agent.sample(3)
    agent.transport.report = lambda body: REFUSED
    agent.link.stop()
    agent.link.finish()
    assert "3 records wait on disk" in messages(caplog)[-1]
    assert not messages(caplog, logging.WARNING)


def test_streams_with_nothing_to_send_are_asked_for_their_marks(agent: Agent) -> None:
    agent.spool.append("events", "event", b"{}")
    agent.run_until(State.ACTIVE)
    while agent.spool.pending:
        agent.link.step()
    agent.transport.report = lambda body: REFUSED
    agent.sample()
    agent.run_until(State.OFFLINE)

    def restored(body: dict[str, object]) -> Reply:
        after = body["after"]
        assert isinstance(after, dict)
        if after["seq"] and body["stream"] == "events":
            return problem(409, "mark-mismatch", mark={"seq": 0, "tag": None})
        return agent.transport.acknowledge(body)

    agent.transport.report = restored
    agent.transport.reports.clear()
    agent.run_until(State.ACTIVE)
    for _ in range(6):
        agent.link.step()
    again = [r for r in agent.transport.reports if r["stream"] == "events" and r["records"]]
    assert len(again) == 1
