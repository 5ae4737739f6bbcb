"""The policy at the agent: what is taken, what is refused whole, what is kept, and when the link asks for it."""

import json
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dio_daemon.board import Board
from dio_daemon.config import Config
from dio_daemon.detect.rule_files import rule_texts
from dio_daemon.errors import PolicyUnusable
from dio_daemon.lifecycle import State
from dio_daemon.link import POLICY_RETRY_S
from dio_daemon.policy import MOST_TOLERATED, parse
from dio_daemon.policy_keeper import NOT_TAKEN, PolicyKeeper
from dio_daemon.transport import Answer
from tests.support.clock import FakeClock
from tests.support.link import REFUSED, Agent

ONE, TWO = "1" * 16, "2" * 16
CPU = "[cpu]\nfor_s = 5\n"
NORMAL = {"type": "cron", "subject": "/etc/crontab", "fingerprint": "f" * 32, "reason": "ours", "until": None}
SHIPPED = rule_texts(None)


def document(version: str | None = ONE, **changes: Any) -> bytes:
    content = {
        "version": version,
        "interval_s": 30,
        "rules": [{"of": "fleet", "toml": CPU}],
        "tolerated": [NORMAL],
    }
    return json.dumps({**content, **changes}).encode()


class Kept:
    """A keeper and what it shows."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "policy.json"
        self.board = Board(FakeClock(), lambda: None, lambda kind, data: None)
        self.changes = 0
        self.keeper = self.start()

    def start(self, accept: bool = True) -> PolicyKeeper:
        self.keeper = PolicyKeeper(self.path, accept, SHIPPED, self.board, self._changed)
        return self.keeper

    def _changed(self) -> None:
        self.changes += 1

    @property
    def version(self) -> str | None:
        return self.keeper.policy.version if self.keeper.policy else None

    @property
    def for_s(self) -> float:
        return next(rule.for_s for rule in self.keeper.rules if rule.name == "cpu")


@pytest.fixture
def kept(tmp_path: Path) -> Kept:
    return Kept(tmp_path)


def test_it_is_taken_whole_and_outlives_restarts(kept: Kept) -> None:
    assert kept.keeper.wants(ONE)
    kept.keeper.take(document(), ONE)
    for _ in range(2):
        assert kept.version == ONE
        assert kept.for_s == 5
        config = kept.keeper.applied_to(Config())
        assert config.agent.interval_s == 30
        assert config.sources["agent.interval_s"] == (f"policy {ONE}", None)
        assert kept.keeper.said() == {"version": ONE}
        assert not kept.keeper.wants(ONE)
        kept.start()
    assert kept.changes == 1
    assert stat.S_IMODE(kept.path.stat().st_mode) == 0o600


BROKEN: list[tuple[bytes, str]] = [
    (b"{", "not JSON"),
    (b"\xff", "not JSON"),
    (b"[" * 100_000, "not JSON"),
    (b"[]", "no JSON object"),
    (b"{}", "has no version"),
    (document("x"), "16 hex digits"),
    (document(TWO, interval_s=0.5), "interval_s"),
    (document(TWO, interval_s=True), "interval_s"),
    (document(TWO, interval_s=float("nan")), "interval_s"),
    (document(TWO, rules={}), "rules is no list"),
    (document(TWO, rules=[1]), "rules hold"),
    (document(TWO, rules=[{"of": "x"}]), "rules.toml"),
    (document(TWO, rules=[{"of": "x", "toml": "\ud800"}]), "not Unicode"),
    (document(TWO, tolerated=[1]), "tolerated holds"),
    (document(TWO, tolerated=[{**NORMAL, "type": "No"}]), "tolerated.type"),
    (document(TWO, tolerated=[{**NORMAL, "fingerprint": ""}]), "fingerprint is empty"),
    (document(TWO, tolerated=[{**NORMAL, "until": "soon"}]), "no time"),
    (document(TWO, tolerated=[{**NORMAL, "until": "2026-01-01T00:00:00"}]), "no zone"),
    (document(TWO, tolerated=[{**NORMAL, "until": "0001-01-01T00:00:00+23:00"}]), "no time"),
    (document(TWO, tolerated=[NORMAL] * (MOST_TOLERATED + 1)), "at most"),
    (document(TWO, rules=[{"of": "web", "toml": "[cpu]\nfor_s = 'x'"}]), f"policy {TWO} (web):2: cpu.for_s"),
    (document(TWO, rules=[{"of": "web", "toml": "[mine]\nfor_s = 5"}]), "mine needs value"),
    (document(TWO, rules=[{"of": "web", "toml": "[cpu"}]), "not valid TOML"),
    (document(TWO, rules=[{"of": "web", "toml": "x = " + "[" * 50_000}]), "not valid TOML"),
    (document(TWO, rules=[{"of": "web", "toml": "[cpu]\nfor_s = 1" + "0" * 400}]), "must be a number"),
    (document(TWO, rules=[{"of": "web", "toml": "[cpu]\nfor_s = 1" + "0" * 5000}]), "not valid TOML"),
    (document(TWO, rules=[{"of": "web", "toml": '[cpu]\nsummary = "{value:999999999f}"'}]), "may name"),
    (b" " * (2 << 20), "larger"),
]


@pytest.mark.parametrize(("raw", "why"), BROKEN, ids=[why for _, why in BROKEN])
def test_what_cannot_be_used_is_refused_whole_and_shown(kept: Kept, raw: bytes, why: str) -> None:
    kept.keeper.take(document(), ONE)
    before = kept.path.read_bytes()
    kept.keeper.take(raw, TWO)
    assert kept.version == ONE
    assert kept.for_s == 5
    assert kept.changes == 1
    assert kept.path.read_bytes() == before
    assert kept.keeper.refused is not None
    assert kept.keeper.refused[0] == TWO
    assert why in kept.keeper.refused[1]
    assert kept.keeper.said()["refused"]["version"] == TWO
    assert why in kept.board.snapshot.conditions["policy_refused"]
    assert not kept.keeper.wants(TWO)
    assert not kept.keeper.wants(ONE)  # the operator went back to it
    assert kept.keeper.said() == {"version": ONE}
    assert kept.board.snapshot.conditions == {}


def test_unknown_fields_are_ignored() -> None:
    found = parse(
        document(new=1, tolerated=[{**NORMAL, "new": [1]}], rules=[{"of": "x", "toml": "", "new": 1}])
    )
    assert found is not None
    assert found.tolerated[0].fingerprint == NORMAL["fingerprint"]
    with pytest.raises(PolicyUnusable):
        parse(b"null")


def test_nothing_is_set_any_more(kept: Kept) -> None:
    kept.keeper.take(document(), ONE)
    assert not kept.keeper.wants(None)
    assert kept.version is None
    assert kept.for_s == 300
    assert not kept.path.exists()
    assert kept.changes == 2
    kept.keeper.take(document(None), TWO)
    assert kept.changes == 2


def test_a_host_that_takes_none(kept: Kept) -> None:
    kept.keeper.take(document(), ONE)
    kept.keeper.use(False, SHIPPED)
    for _ in range(2):
        assert kept.version is None
        assert kept.keeper.said() == {"version": None, "refused": {"version": ONE, "why": NOT_TAKEN}}
        assert not kept.keeper.wants(ONE)
        assert kept.board.snapshot.conditions == {}
        kept.start(accept=False)
    kept.keeper.use(True, SHIPPED)
    assert kept.keeper.wants(ONE)


def test_rules_of_the_host_that_do_not_fit_with_it(kept: Kept) -> None:
    mine = (
        "/etc/dio-agent/rules.d/mine.toml",
        '[mine]\nvalue = "cpu.percent"\nenter = {low = 1}\nsummary = "x"',
    )
    kept.keeper.use(True, [*SHIPPED, mine])
    kept.keeper.take(document(rules=[{"of": "web", "toml": "[mine]\nfor_s = 9"}]), ONE)
    assert kept.version == ONE
    kept.keeper.use(True, SHIPPED)
    assert kept.version is None
    assert "mine needs value" in kept.board.snapshot.conditions["policy_refused"]
    kept.keeper.use(True, [*SHIPPED, mine])
    assert kept.keeper.wants(ONE)


def test_a_disk_that_takes_nothing(kept: Kept) -> None:
    kept.path.mkdir()
    kept.keeper.take(document(), ONE)
    assert kept.version == ONE
    assert "policy.json" in kept.board.snapshot.conditions["policy_not_saved"]
    kept.path.rmdir()
    kept.keeper.take(document(TWO), TWO)
    assert kept.board.snapshot.conditions == {}


def test_a_damaged_file_is_as_none(kept: Kept) -> None:
    kept.path.write_bytes(b"{")
    kept.start()
    assert kept.version is None
    assert kept.keeper.wants(ONE)


@pytest.fixture
def agent(tmp_path: Path, request: pytest.FixtureRequest) -> Agent:
    made = Agent(tmp_path)
    request.addfinalizer(made.spool.close)
    return made


def acknowledging(agent: Agent, policy: object) -> Callable[[dict[str, object]], Answer]:
    def acknowledge(report: dict[str, object]) -> Answer:
        answer = agent.transport.acknowledge(report)
        assert isinstance(answer, Answer)
        body = {**json.loads(answer.body), "policy": policy}
        return Answer(200, {}, json.dumps(body).encode())

    return acknowledge


def report(agent: Agent) -> None:
    agent.sample()
    while agent.spool.pending:
        agent.link.step()


def test_the_link_fetches_what_an_acknowledgement_names(agent: Agent) -> None:
    agent.transport.policy = lambda: Answer(200, {}, document(rules=[]))
    agent.run_until(State.ACTIVE)
    report(agent)
    assert agent.transport.log.count("policy") == 0  # an older nerve center names none
    agent.transport.report = acknowledging(agent, ONE)
    report(agent)
    assert agent.policy.policy is not None
    assert agent.policy_changes == 1
    report(agent)
    assert agent.transport.log.count("policy") == 1
    assert agent.transport.reports[0]["policy"] == {"version": None}
    assert agent.transport.reports[-1]["policy"] == {"version": ONE}
    agent.transport.report = acknowledging(agent, None)
    report(agent)
    assert agent.policy.policy is None
    agent.transport.report = acknowledging(agent, "../x")
    report(agent)
    assert agent.transport.log.count("policy") == 1


def test_a_fetch_that_fails_is_tried_again_later_and_costs_nothing(agent: Agent) -> None:
    agent.transport.policy = lambda: REFUSED
    agent.run_until(State.ACTIVE)
    agent.transport.report = acknowledging(agent, ONE)
    for _ in range(5):
        report(agent)
    assert agent.state is State.ACTIVE
    assert agent.transport.log.count("policy") == 1
    agent.clock.advance(POLICY_RETRY_S)
    agent.transport.policy = lambda: Answer(200, {}, document(rules=[]))
    report(agent)
    assert agent.policy.policy is not None


def test_a_refused_policy_is_told_and_not_fetched_again(agent: Agent) -> None:
    agent.transport.policy = lambda: Answer(200, {}, document(interval_s="soon"))
    agent.run_until(State.ACTIVE)
    agent.transport.report = acknowledging(agent, ONE)
    for _ in range(5):
        agent.clock.advance(10)
        report(agent)
    assert agent.transport.log.count("policy") == 1
    said = agent.transport.reports[-1]["policy"]
    assert isinstance(said, dict)
    assert said["refused"]["version"] == ONE
    assert said["version"] is None
