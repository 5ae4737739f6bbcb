"""No policy document, however broken, changes anything by half or raises."""

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from dio_daemon.board import Board
from dio_daemon.config import Config
from dio_daemon.detect.rule_files import CHECKS, rule_texts, rules_of
from dio_daemon.errors import ConfigError
from dio_daemon.policy_keeper import PolicyKeeper
from nerve_center import rule_check
from nerve_center.contract import Contract
from nerve_center.jsontext import Mismatch
from tests.support.clock import FakeClock

FIRST, SECOND = "1" * 16, "2" * 16
CONTRACT = Contract()
GOOD: dict[str, Any] = {
    "version": FIRST,
    "interval_s": 20,
    "rules": [{"of": "fleet", "toml": "[cpu]\nfor_s = 7\n"}],
    "tolerated": [{"type": "cron", "fingerprint": "f" * 32, "subject": "x", "reason": "", "until": None}],
}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=8,
)
WORDS = st.sampled_from(
    [*CHECKS, "cpu", "x", "[", "]", "[cpu]", "=", "{", "}", '"', "'", "\n", ",", "1e999", "low"]
)
TOML = st.lists(WORDS | st.text(max_size=8), max_size=20).map(" ".join)
SHIPPED = rule_texts(None)
SMALL = [("small", '[cpu]\nvalue = "cpu.percent"\nenter = {low = 80, high = 95}\nsummary = "{value:.0f}"\n')]


@st.composite
def documents(draw: st.DrawFn) -> bytes:
    """Bytes; JSON; or a good document of which something was changed."""
    kind = draw(st.sampled_from(["bytes", "json", "changed", "cut"]))
    if kind == "bytes":
        return draw(st.binary(max_size=200))
    if kind == "json":
        return json.dumps(draw(JSON)).encode()
    changed = {**GOOD, "version": SECOND}
    for name in draw(st.sets(st.sampled_from(sorted(GOOD)), max_size=2)):
        changed[name] = draw(JSON)
    if draw(st.booleans()):
        changed["rules"] = [{"of": "x", "toml": draw(TOML)}]
    if draw(st.booleans()):
        entry = dict(GOOD["tolerated"][0])
        entry[draw(st.sampled_from(sorted(entry)))] = draw(JSON)
        changed["tolerated"] = [entry]
    raw = json.dumps(changed).encode()
    return raw[: draw(st.integers(0, len(raw)))] if kind == "cut" else raw


def seen(keeper: PolicyKeeper) -> object:
    """Everything that a policy may change."""
    return (keeper.policy, keeper.rules, keeper.applied_to(Config()).agent)


@settings(max_examples=100, deadline=None)
@given(documents())
def test_a_document_is_taken_whole_or_changes_nothing(raw: bytes) -> None:
    with TemporaryDirectory() as folder:
        path, changes = Path(folder) / "policy.json", []
        board = Board(FakeClock(), lambda: None, lambda kind, data: None)
        keeper = PolicyKeeper(path, True, SMALL, board, lambda: changes.append(1))
        keeper.take(json.dumps(GOOD).encode(), FIRST)
        before, kept = seen(keeper), path.read_bytes()
        keeper.take(raw, SECOND)
        if keeper.refused is not None:
            assert seen(keeper) == before
            assert path.read_bytes() == kept
            assert len(changes) == 1
            assert keeper.said()["refused"]["why"]
        elif keeper.policy is not None:
            assert path.read_bytes() == raw
            again = PolicyKeeper(path, True, SMALL, board, lambda: None)
            assert seen(again) == seen(keeper)
        CONTRACT.check("Report", {**REPORT, "policy": keeper.said()})


REPORT = {
    "instance_id": "0" * 32,
    "run_id": "0" * 32,
    "boot_id": None,
    "sent_at": "2026-01-01T00:00:00Z",
    "interval_s": 10,
    "epoch": "0" * 16,
    "stream": "events",
    "after": {"seq": 0, "tag": None},
    "records": [],
}


@settings(max_examples=100, deadline=None)
@given(TOML)
def test_the_check_at_the_nerve_center_never_raises_and_refuses_nothing_that_agents_take(toml: str) -> None:
    found = rule_check.mistakes(CONTRACT, toml)
    try:
        rules_of([*SMALL, ("policy", toml)])
    except ConfigError:  # whatever it is: the nerve center cannot know the whole
        return
    assert found == []


def test_the_shipped_rules_pass_the_check_of_the_nerve_center() -> None:
    for _, text in SHIPPED:
        assert rule_check.mistakes(CONTRACT, text) == []


def test_every_key_of_a_rule_is_in_the_contract() -> None:
    assert set(CONTRACT.document["components"]["schemas"]["RuleOverride"]["properties"]) == set(CHECKS)
    try:
        CONTRACT.check("RuleOverride", {"nothing": 1})
    except Mismatch as error:
        assert "nothing" in error.message
