"""The link's whole life on a clock that tests move, against a center that does what the test says."""

import json
import logging
import random
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from dio_daemon.backoff import Backoff
from dio_daemon.board import Board
from dio_daemon.center import Center, Limits
from dio_daemon.centers import Centers
from dio_daemon.config import Config, Startup
from dio_daemon.delivery import Delivery
from dio_daemon.errors import EX_NOPERM, EX_TEMPFAIL, GiveUp
from dio_daemon.heartbeat import Heartbeat
from dio_daemon.identity import IdentityFile
from dio_daemon.lifecycle import State
from dio_daemon.link import Link
from dio_daemon.link_state import Connection, LinkState
from dio_daemon.maintenance import Maintenance
from dio_daemon.policy_keeper import PolicyKeeper
from dio_daemon.registrar import Registrar
from dio_daemon.safe_spool import SafeSpool
from dio_daemon.spool import Budget
from dio_daemon.starts import StartHistory
from dio_daemon.transport import Answer, DeadlinePassed, Transport
from tests.support.clock import FakeClock

Reply = Answer | Exception
HEALTHY = Answer(200, {}, json.dumps({"status": "healthy", "component": "nerve_center"}).encode())


def problem(status: int, code: str, headers: Mapping[str, str] | None = None, **fields: object) -> Answer:
    body = {"type": f"urn:dio:problem:{code}", "title": code, "status": status, **fields}
    return Answer(status, headers or {}, json.dumps(body).encode())


def centers(transport: Transport, *urls: str) -> Centers:
    return Centers([Center(url, transport, Limits(5, 10, 30)) for url in urls], random.Random(1))


class ScriptedTransport:
    """Answers each path with what the test put there; real messages, no network."""

    def __init__(self) -> None:
        self.health: Callable[[], Reply] = lambda: HEALTHY
        self.register: Callable[[Mapping[str, str]], Reply] = self.accept
        self.report: Callable[[dict[str, object]], Reply] = self.acknowledge
        self.policy: Callable[[], Reply] = lambda: problem(404, "agent-unknown")
        self.log: list[str] = []
        self.reports: list[dict[str, object]] = []
        self.aborted = False

    def exchange(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes | None,
        connect_s: float,
        total_s: float,
    ) -> Answer:
        import gzip

        name = url.rsplit("/", 1)[1]
        self.log.append(name)
        if name == "health":
            reply = self.health()
        elif name == "register":
            reply = self.register(headers)
        elif name == "reports":
            assert body is not None
            report = json.loads(gzip.decompress(body))
            reply = self.report(report)
            self.reports.append(report)
        elif name == "policy":
            reply = self.policy()
        else:
            reply = Answer(204, {}, b"")
        if isinstance(reply, Exception):
            raise reply
        return reply

    def accept(self, headers: Mapping[str, str]) -> Reply:
        body = {"agent_id": "agent-00000000000000aa", "instance_id": "0" * 32, "center_id": "c" * 32}
        return Answer(200, {}, json.dumps(body).encode())

    def acknowledge(self, report: dict[str, object]) -> Reply:
        records = report["records"]
        assert isinstance(records, list)
        mark = {"seq": records[-1]["seq"], "tag": records[-1]["tag"]} if records else report["after"]
        return Answer(200, {}, json.dumps({"mark": mark}).encode())

    def abort(self) -> None:
        self.aborted = True

    def resume(self) -> None:
        self.aborted = False


class Agent:
    """A link with everything under it real but the transport and the clock."""

    def __init__(
        self, folder: Path, config: Config | None = None, urls: Sequence[str] = ("http://c:1",)
    ) -> None:
        self.folder = folder
        self.urls = urls
        self.clock = FakeClock()
        self.transport = ScriptedTransport()
        self.config = config or Config()
        self.config = replace(
            self.config,
            nerve_center=replace(self.config.nerve_center, enrollment_token_file=folder / "token"),
        )
        self.board = Board(self.clock, lambda: None, lambda kind, data: None)
        self.spool = SafeSpool(folder / "spool.db", Budget(1 << 24, 1e9, 1e9), self.clock)
        (folder / "machine-id").write_text("1" * 32)
        self.history = StartHistory(folder / "starts.json", self.clock, "boot")
        self.maintenance = Maintenance(folder / "maintenance.json", self.clock, "boot")
        self.policy_changes = 0
        self.policy = PolicyKeeper(folder / "policy.json", True, [], self.board, self._policy_changed)
        self.link = self.make_link()

    def _policy_changed(self) -> None:
        self.policy_changes += 1

    def make_link(self) -> Link:
        self.registrar = Registrar(
            IdentityFile(self.folder / "identity.json", self.folder / "machine-id"),
            "r" * 32,
            None,
            "p" * 32,
            dict,
            self.clock,
        )
        state = LinkState(
            Connection(self.config, centers(self.transport, *self.urls), self.transport),
            self.board,
            self.spool,
            self.registrar,
            lambda new: Backoff(new.startup.health_waits_s, new.startup.jitter, random.Random(1)),
            self.history,
            Heartbeat("link", self.clock),
            self.clock,
            self.folder / "agent.toml",
            self.maintenance,
        )
        return Link(state, Delivery(self.spool, self.clock), self.policy)

    @property
    def state(self) -> State:
        return self.board.snapshot.state

    def run_until(self, state: State, steps: int = 200) -> None:
        for _ in range(steps):
            if self.state is state:
                return
            self.link.step()
        raise AssertionError(f"{state} was not reached, the agent is {self.board.snapshot}")

    def sample(self, count: int = 1) -> None:
        for _ in range(count):
            self.spool.append("samples", "sample", b"{}", 10.0)
        self.link.records_waiting()


@pytest.fixture
def agent(tmp_path: Path, request: pytest.FixtureRequest) -> Agent:
    made = Agent(tmp_path)
    request.addfinalizer(made.spool.close)
    return made


def messages(caplog: pytest.LogCaptureFixture, level: int = logging.INFO) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= level]


@pytest.fixture(autouse=True)
def all_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)


REFUSED = ConnectionRefusedError()


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
        agent.history = StartHistory(tmp_path / "starts.json", agent.clock, "boot")
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
