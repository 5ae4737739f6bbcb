"""The link at its start: the gate of health, registration, refusals, identities that are in doubt."""

import logging
import threading
from collections import deque
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from dio_daemon.config import Startup
from dio_daemon.errors import EX_NOPERM, EX_TEMPFAIL, GiveUp
from dio_daemon.lifecycle import State
from dio_daemon.link_state import Connection
from tests.support.clock import FakeClock
from tests.support.link import HEALTHY, REFUSED, Agent, Reply, centers, messages, problem


@pytest.fixture(autouse=True)
def all_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)


def test_a_start_against_a_healthy_center(agent: Agent, caplog: pytest.LogCaptureFixture) -> None:
    agent.run_until(State.ACTIVE)
    assert agent.transport.log == ["health", "register"]
    assert messages(caplog)[0] == "Nerve center is ready, proceeding with registration"
    assert messages(caplog)[1] == "Successfully registered agent: agent-00000000000000aa"
    assert messages(caplog)[2].startswith("Starting system monitoring for DIO-Agent-")
    assert not messages(caplog, logging.WARNING)
    assert agent.clock.waits == []


def test_waits_of_2_4_8_10_10_with_jitter_until_the_center_comes(
    agent: Agent, caplog: pytest.LogCaptureFixture
) -> None:
    replies: deque[Reply] = deque([REFUSED] * 5 + [HEALTHY])
    agent.transport.health = replies.popleft
    agent.run_until(State.ACTIVE)
    for wait, nominal in zip(agent.clock.waits, [2, 4, 8, 10, 10], strict=True):
        assert nominal <= wait <= nominal * 1.15
    waiting = [line for line in messages(caplog) if "not ready yet" in line]
    assert waiting == [
        f"Nerve center not ready yet, waiting {wait}s... (attempt {number})"
        for number, wait in enumerate([2, 4, 8, 10, 10], 1)
    ]
    assert not messages(caplog, logging.WARNING)
    assert messages(caplog).count("Health check failed: connection refused by c:1") == 1


def test_a_center_that_never_comes_ends_in_75_after_60_s(
    agent: Agent, caplog: pytest.LogCaptureFixture
) -> None:
    agent.transport.health = lambda: REFUSED
    start = agent.clock.monotonic()
    with pytest.raises(GiveUp) as caught:
        agent.run_until(State.ACTIVE)
    assert caught.value.code == EX_TEMPFAIL
    assert agent.clock.monotonic() - start == pytest.approx(60)
    assert "connection refused by c:1" in agent.board.snapshot.reason
    assert len(messages(caplog, logging.ERROR)) == 1


def test_later_cycles_are_quiet(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    clock = FakeClock()
    for cycle in range(6):
        caplog.clear()
        agent = Agent(tmp_path)
        agent.clock.advance(clock.monotonic() - agent.clock.monotonic())
        agent.history = agent.start_history()
        agent.link = agent.make_link()
        agent.transport.health = lambda: REFUSED
        with pytest.raises(GiveUp):
            agent.run_until(State.ACTIVE)
        clock.advance(61)
        agent.spool.close()
        if 0 < cycle < 5:
            assert not messages(caplog)
    assert len(messages(caplog)) == 1
    assert messages(caplog)[0].startswith("Giving up for now (6 starts in a row)")


def test_registration_is_tried_three_times_2_and_4_s_apart(agent: Agent) -> None:
    agent.transport.register = lambda headers: problem(500, "internal")
    with pytest.raises(GiveUp) as caught:
        agent.run_until(State.ACTIVE)
    assert caught.value.code == EX_TEMPFAIL
    assert agent.transport.log.count("register") == 3
    first, second = agent.clock.waits
    assert 2 <= first <= 2.3
    assert 4 <= second <= 4.6


def test_the_token_goes_out_only_until_a_center_accepted(agent: Agent) -> None:
    (agent.folder / "token").write_text("secret\n")
    seen: list[str | None] = []

    def register(headers: Mapping[str, str]) -> Reply:
        seen.append(headers.get("DIO-Enrollment-Token"))
        return agent.transport.accept(headers)

    agent.transport.register = register
    agent.run_until(State.ACTIVE)
    agent.transport.report = lambda report: REFUSED
    agent.sample()
    agent.run_until(State.OFFLINE)
    agent.run_until(State.ACTIVE)
    assert seen == ["secret", None]


def test_a_center_that_lost_its_database_enrolls_again_with_the_token(agent: Agent) -> None:
    agent.run_until(State.ACTIVE)
    (agent.folder / "token").write_text("secret\n")

    def register(headers: Mapping[str, str]) -> Reply:
        if "DIO-Enrollment-Token" in headers:
            return agent.transport.accept(headers)
        return problem(401, "enrollment-token-missing")

    agent.transport.register = register
    agent.transport.report = lambda report: problem(401, "credential-unknown")
    agent.sample()
    agent.run_until(State.OFFLINE)
    agent.transport.report = agent.transport.acknowledge
    agent.run_until(State.ACTIVE)
    agent.run_until(State.ACTIVE)
    agent.link.step()
    assert agent.spool.pending == 0


@pytest.mark.parametrize(
    ("code", "status", "hint"),
    [
        ("enrollment-token-missing", 401, "no usable enrollment token: put the nerve center's into"),
        ("enrollment-token-invalid", 401, "is not the nerve center's"),
        ("credential-revoked", 403, "was revoked"),
    ],
)
def test_a_refusal_ends_in_77_with_what_to_do(agent: Agent, code: str, status: int, hint: str) -> None:
    agent.transport.register = lambda headers: problem(status, code)
    with pytest.raises(GiveUp) as caught:
        agent.run_until(State.ACTIVE)
    assert caught.value.code == EX_NOPERM
    assert hint in str(caught.value)


def test_a_refused_agent_holds_back_until_its_token_changes(tmp_path: Path) -> None:
    agent = Agent(tmp_path)
    (tmp_path / "token").write_text("wrong")
    agent.transport.register = lambda headers: problem(401, "enrollment-token-invalid")
    for _ in range(4):
        with pytest.raises(GiveUp):
            agent.run_until(State.ACTIVE)
        agent.spool.close()
        agent = Agent(tmp_path)
        agent.transport.register = lambda headers: problem(401, "enrollment-token-invalid")
    waited: list[float] = []

    def on_wait(event: threading.Event, timeout_s: float) -> None:
        waited.append(timeout_s)
        if len(waited) == 3:
            (tmp_path / "token").write_text("right one")

    agent.clock.on_wait = on_wait
    agent.transport.register = agent.transport.accept
    agent.run_until(State.ACTIVE)
    agent.spool.close()
    assert sum(waited) <= 4
    assert not (tmp_path / "starts.json").exists()


def test_another_nerve_center_registers_again(agent: Agent) -> None:
    agent.run_until(State.ACTIVE)
    other = replace(agent.config, nerve_center=replace(agent.config.nerve_center, url="http://d:2"))
    connection = Connection(other, centers(agent.transport, "http://d:2"), agent.transport)
    agent.link.reconfigure(connection)
    agent.link.step()
    assert agent.transport.log[-2:] == ["health", "register"]
    assert agent.board.snapshot.center_url == "http://d:2"


def test_an_unrelated_change_does_not(agent: Agent) -> None:
    agent.run_until(State.ACTIVE)
    other = replace(agent.config, startup=Startup(jitter=0.5))
    agent.link.reconfigure(Connection(other, centers(agent.transport, "http://c:1"), agent.transport))
    agent.clock.on_wait = lambda event, timeout: None
    agent.link.step()
    assert agent.state is State.ACTIVE
    assert agent.transport.log.count("register") == 1


def test_an_identity_in_doubt_waits_and_then_registers(
    agent: Agent, caplog: pytest.LogCaptureFixture
) -> None:
    replies: deque[Reply] = deque([problem(409, "instance-in-doubt", {"Retry-After": "7"})] * 5)
    agent.transport.register = (
        lambda headers: replies.popleft() if replies else agent.transport.accept(headers)
    )
    before = agent.registrar.identity.instance_id
    agent.run_until(State.ACTIVE)
    assert all(7 <= wait <= 8.05 for wait in agent.clock.waits)
    assert agent.registrar.identity.instance_id == before
    assert not messages(caplog, logging.WARNING)


def test_an_identity_in_doubt_for_ever_gives_up(agent: Agent) -> None:
    agent.transport.register = lambda headers: problem(409, "instance-in-doubt", {"Retry-After": "7"})
    with pytest.raises(GiveUp):
        agent.run_until(State.ACTIVE)


def test_a_clone_takes_an_instance_of_its_own_and_leaves_what_is_not_its(tmp_path: Path) -> None:
    first = Agent(tmp_path)
    first.sample(3)
    first.spool.close()
    agent = Agent(tmp_path)
    agent.sample(2)
    old = agent.registrar.identity
    replies: deque[Reply] = deque([problem(409, "instance-cloned")])
    agent.transport.register = (
        lambda headers: replies.popleft() if replies else agent.transport.accept(headers)
    )
    (tmp_path / "token").write_text("secret")
    agent.run_until(State.ACTIVE)
    new = agent.registrar.identity
    assert new.instance_id != old.instance_id
    assert new.credential != old.credential
    agent.link.step()
    records = agent.transport.reports[-1]["records"]
    assert isinstance(records, list)
    assert [r["seq"] for r in records] == [1, 2]
    agent.spool.close()


def test_a_run_that_is_no_longer_current_registers_again(agent: Agent) -> None:
    agent.run_until(State.ACTIVE)
    agent.sample()
    agent.transport.report = lambda body: problem(409, "run-not-current")
    agent.run_until(State.OFFLINE, steps=2)
    agent.transport.report = agent.transport.acknowledge
    agent.run_until(State.ACTIVE)


def test_another_machine_id_starts_again(agent: Agent) -> None:
    agent.run_until(State.ACTIVE)
    (agent.folder / "machine-id").write_text("2" * 32)
    with pytest.raises(GiveUp) as caught:
        agent.link.step()
    assert caught.value.code == EX_TEMPFAIL
