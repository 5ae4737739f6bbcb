"""A link with all below it, on a clock that tests move, and a nerve center that says what they want."""

import json
import logging
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from dio_daemon.backoff import Backoff
from dio_daemon.board import Board
from dio_daemon.center import Center, Limits
from dio_daemon.centers import Centers
from dio_daemon.config import Config
from dio_daemon.delivery import Delivery
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
from dio_daemon.starts import StartHistory, credentials_stamp
from dio_daemon.transport import Answer, Transport
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
        self.history = self.start_history()
        self.maintenance = Maintenance(folder / "maintenance.json", self.clock, "boot")
        self.policy_changes = 0
        self.policy = PolicyKeeper(folder / "policy.json", True, [], self.board, self._policy_changed)
        self.link = self.make_link()

    def start_history(self) -> StartHistory:
        """What is known of starts before this one, as a process reads it that starts now."""
        stamp = credentials_stamp(self.folder / "token", self.folder / "agent.toml")
        return StartHistory(self.folder / "starts.json", self.clock, "boot", stamp)

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


def messages(caplog: pytest.LogCaptureFixture, level: int = logging.INFO) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= level]


REFUSED = ConnectionRefusedError()
