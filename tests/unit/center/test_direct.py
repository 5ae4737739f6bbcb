"""Reports that Flask does not see are answered as it answers them."""

import gzip
import json
from collections.abc import Callable
from typing import Any

import pytest
from werkzeug.test import TestResponse

from nerve_center.admission import Admission
from nerve_center.api import delivery
from nerve_center.errors import DatabaseUnavailable, Refused

from .harness import AgentUnderTest, CenterUnderTest, problem

_WHOLE = {"Content-Type": "application/json; charset=utf-8"}
"""As good as without, and nothing that `direct` takes."""
_Sent = Callable[[AgentUnderTest, dict[str, str]], TestResponse]


@pytest.fixture
def seen(center: CenterUnderTest) -> list[str]:
    """The requests that come as far as Flask."""
    found: list[str] = []
    before = center.app.before_request_funcs.setdefault(None, [])
    before.append(lambda: found.append("request"))
    return found


def _known(center: CenterUnderTest) -> AgentUnderTest:
    """An agent that has reported before, so that it is remembered."""
    agent = center.agent()
    agent.deliver(agent.record(1))
    return agent


def _plain(agent: AgentUnderTest, headers: dict[str, str]) -> TestResponse:
    return agent.send(agent.report([agent.record(2)]), **headers)


def _packed(agent: AgentUnderTest, headers: dict[str, str]) -> TestResponse:
    raw = gzip.compress(json.dumps(agent.report([agent.record(2)])).encode())
    return agent.send(None, raw, **headers, Content_Encoding="gzip")


def _mismatch(agent: AgentUnderTest, headers: dict[str, str]) -> TestResponse:
    return agent.send(agent.report([agent.record(7)], after={"seq": 6, "tag": "0" * 16}), **headers)


def _no_json(agent: AgentUnderTest, headers: dict[str, str]) -> TestResponse:
    return agent.send(None, b"{", **headers)


def _no_gzip(agent: AgentUnderTest, headers: dict[str, str]) -> TestResponse:
    return agent.send(None, b"{}", **headers, Content_Encoding="gzip")


def _invalid(agent: AgentUnderTest, headers: dict[str, str]) -> TestResponse:
    return agent.send(agent.report([agent.record(2, data=[])]), **headers)


def _other_instance(agent: AgentUnderTest, headers: dict[str, str]) -> TestResponse:
    return agent.send(agent.report([agent.record(2)], instance_id="0" * 32), **headers)


@pytest.mark.parametrize(
    "sent",
    [_plain, _packed, _mismatch, _no_json, _no_gzip, _invalid, _other_instance],
    ids=lambda s: s.__name__,
)
def test_the_answer_is_the_same_with_and_without_flask(center: CenterUnderTest, sent: _Sent) -> None:
    direct, by_flask = (_shown(sent(_known(center), headers)) for headers in ({}, _WHOLE))
    assert direct == by_flask


def _shown(response: TestResponse) -> tuple[int, list[tuple[str, str]], set[str]]:
    return response.status_code, sorted(response.headers), set(response.json)


def test_flask_sees_no_report_that_is_taken(center: CenterUnderTest, seen: list[str]) -> None:
    agent = _known(center)
    seen.clear()
    assert _plain(agent, {}).status_code == 200
    assert not seen


def test_flask_sees_what_is_not_plain_or_not_known(center: CenterUnderTest, seen: list[str]) -> None:
    agent = _known(center)
    for headers in (_WHOLE, {"Content_Encoding": "br"}, {"Content_Encoding": "GZIP"}):
        seen.clear()
        _plain(agent, headers)
        assert seen, headers
    seen.clear()
    path = f"/api/v1/agents/{agent.agent_id}/reports"
    assert problem(center.post(path, {}, "x" * 40)) == "credential-unknown"
    assert problem(center.post(path, {}, None)) == "credential-missing"
    assert center.get(path).status_code == 405
    assert len(seen) == 3


def test_over_tls_the_answer_has_what_browsers_take_there(center: CenterUnderTest) -> None:
    agent = _known(center)
    path = f"/api/v1/agents/{agent.agent_id}/reports"
    answer = center.client.post(
        path,
        json=agent.report([agent.record(2)]),
        headers={"Authorization": f"Bearer {agent.credential}"},
        base_url="https://localhost",
    )
    assert answer.status_code == 200
    assert answer.headers["Cross-Origin-Opener-Policy"] == "same-origin"


def test_who_is_turned_away_is_told_when_to_come_and_flask_is_not_asked(
    center: CenterUnderTest, seen: list[str]
) -> None:
    agent = _known(center)
    seen.clear()
    center.center.admission = Admission(most=0)
    answer = _plain(agent, {})
    assert (answer.status_code, problem(answer)) == (503, "overloaded")
    assert int(answer.headers["Retry-After"]) >= 3
    assert answer.headers["Cache-Control"] == "no-store"
    assert not seen


def test_a_credential_that_is_refused_is_not_remembered(center: CenterUnderTest, monkeypatch: Any) -> None:
    agent = _known(center)

    def refuse(*_: Any) -> Any:
        raise Refused(401, "credential-unknown", "It is gone.")

    monkeypatch.setattr(center.center.ingest, "report", refuse)
    assert problem(_plain(agent, {})) == "credential-unknown"
    assert center.center.authority.known(agent.credential, agent.agent_id) is None


@pytest.mark.parametrize(
    ("error", "status"),
    [(DatabaseUnavailable("locked", "database is locked"), 503), (ZeroDivisionError(), 500)],
)
def test_what_goes_wrong_is_told_by_flask(
    center: CenterUnderTest, monkeypatch: Any, error: Exception, status: int
) -> None:
    agent, asked = _known(center), []

    def fail(*_: Any) -> Any:
        asked.append(1)
        raise error

    monkeypatch.setattr(center.center.ingest, "report", fail)
    answer = _plain(agent, {})
    assert answer.status_code == status
    assert problem(answer) in ("database-unavailable", "internal")
    assert len(asked) == 1


def test_delivery_and_direct_know_the_same_address(center: CenterUnderTest) -> None:
    rules = [rule.rule for rule in center.app.url_map.iter_rules(f"{delivery.blueprint.name}.report")]
    assert rules == ["/api/v1/agents/<agent_id>/reports"]
