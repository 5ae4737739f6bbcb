"""What other programs submit: bounded, counted for each uid, and never more than a nerve center takes."""

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from dio_daemon.safe_spool import SafeSpool
from dio_daemon.spool import Budget
from dio_daemon.submissions import BURST, MAX_USERS, BadSubmission, Submissions, TooMany
from dio_daemon.wire import SAMPLES
from nerve_center import jsontext
from tests.support.clock import FakeClock


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def spool(tmp_path: Path, clock: FakeClock) -> Iterator[SafeSpool]:
    made = SafeSpool(tmp_path / "spool.db", Budget(1 << 24, 1e9, 1e9), clock)
    yield made
    made.close()


@pytest.fixture
def submissions(spool: SafeSpool, clock: FakeClock) -> Submissions:
    return Submissions(spool, clock)


def stored(spool: SafeSpool, kind: str) -> list[dict[str, Any]]:
    return [json.loads(record.data) for record in spool.recent(SAMPLES, kind, 1e9, 1000)]


def test_the_callers_uid_is_the_agents_word(spool: SafeSpool, submissions: Submissions) -> None:
    body = {"type": "backup.finished", "message": "42 GiB\x1b[31m\n", "data": {"uid": 0}, "uid": 0}
    assert submissions.event(1000, body) == 1
    assert stored(spool, "custom_event") == [
        {"uid": 1000, "type": "backup.finished", "message": "42 GiB\\x1b[31m\\x0a", "data": {"uid": 0}}
    ]
    assert submissions.metrics(1001, {"metrics": {"queue": 3, "lag_s": 0.5}}) == 2
    assert stored(spool, "custom_metrics") == [{"uid": 1001, "metrics": {"queue": 3, "lag_s": 0.5}}]


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return {"x": value}


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"type": 5},
        {"type": ""},
        {"type": "Upper"},
        {"type": "threat"},
        {"type": "threat.fake"},
        {"type": "maintenance.end"},
        {"type": "x" * 65},
        {"type": "x\n"},
        {"type": "x", "message": 5},
        {"type": "x", "message": "m" * 1025},
        {"type": "x", "data": []},
        {"type": "x", "data": {"x": "y" * 5000}},
        {"type": "x", "data": {"x": float("nan")}},
        {"type": "x", "data": {"x": float("inf")}},
        {"type": "x", "data": {"x": 10**400}},
        {"type": "x", "data": {"x": "\0"}},
        {"type": "x", "data": {"\ud800": 1}},
        {"type": "x", "data": nested(8)},
        {"type": "x", "data": nested(5000)},
    ],
)
def test_what_is_no_event(spool: SafeSpool, submissions: Submissions, body: dict[str, Any]) -> None:
    with pytest.raises(BadSubmission):
        submissions.event(1000, body)
    assert spool.pending == 0


@pytest.mark.parametrize(
    "metrics",
    [
        None,
        [],
        {},
        {"x": "1"},
        {"x": True},
        {"x": None},
        {"x": float("nan")},
        {"x": 10**400},
        {"": 1},
        {"a b": 1},
        {f"m{number}": 1 for number in range(65)},
        {"m" * 127 + str(number): 1 for number in range(10, 50)},
    ],
)
def test_what_are_no_metrics(spool: SafeSpool, submissions: Submissions, metrics: Any) -> None:
    with pytest.raises(BadSubmission):
        submissions.metrics(1000, {"metrics": metrics})
    assert spool.pending == 0


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.characters(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=20,
)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.fixed_dictionaries({"type": st.just("x")}, optional={"message": st.text(), "data": values}))
@example({"type": "x", "data": nested(7)})
@example({"type": "x", "message": "\ud800\0"})
def test_whatever_is_taken_is_taken_by_a_nerve_center(
    spool: SafeSpool, clock: FakeClock, body: dict[str, Any]
) -> None:
    """One record that it does not take would hold up all that come after it."""
    try:
        Submissions(spool, clock).event(1000, body)
    except BadSubmission:
        return
    record = spool.recent(SAMPLES, "custom_event", 1e9, 1)[-1]
    report = jsontext.parse(b'{"records": [{"data": ' + record.data + b"}]}")
    jsontext.check_text(report)


def test_a_rate_for_each_user(submissions: Submissions, clock: FakeClock) -> None:
    def submit(uid: int) -> int:
        return submissions.event(uid, {"type": "x"})

    for _ in range(int(BURST)):
        submit(1000)
    with pytest.raises(TooMany, match="uid 1000 submits too quickly") as caught:
        submit(1000)
    assert caught.value.retry_after_s == 1
    submit(1001)
    clock.advance(1)
    submit(1000)
    with pytest.raises(TooMany):
        submit(1000)
    clock.advance(3600)
    for _ in range(int(BURST)):
        submit(1000)
    with pytest.raises(TooMany):
        submit(1000)


def test_a_bad_submission_costs_nothing_and_users_are_forgotten(
    submissions: Submissions, clock: FakeClock
) -> None:
    for _ in range(100):
        with pytest.raises(BadSubmission):
            submissions.event(1000, {})
    for uid in range(MAX_USERS + 50):
        submissions._take(uid)
    assert len(submissions._users) == MAX_USERS
    assert 0 not in submissions._users


def test_a_twentieth_of_the_spool(tmp_path: Path, clock: FakeClock) -> None:
    spool = SafeSpool(tmp_path / "small.db", Budget(1 << 20, 1e9, 1e9), clock)
    submissions = Submissions(spool, clock)
    letters, taken = random.Random(1), 0  # the spool compresses; this does not shrink to less than half
    with pytest.raises(TooMany, match="share of the spool") as caught:
        while taken < 1000:
            clock.advance(1)
            submissions.event(1000, {"type": "x", "data": {"x": letters.randbytes(1500).hex()}})
            taken += 1
    assert caught.value.retry_after_s == 60
    assert 20 < taken < 60
    assert spool.append(SAMPLES, "sample", b"{}") > taken  # the agent's own go on
    spool.close()
