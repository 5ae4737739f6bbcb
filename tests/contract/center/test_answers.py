"""The nerve center's own messages, held against openapi.yaml: every answer that the contract names, as it names it."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fastjsonschema
import pytest
from sqlalchemy.engine import Connection
from werkzeug.test import TestResponse

import nerve_center
from nerve_center import auth
from nerve_center.contract import Contract, whole
from nerve_center.store import audit, tokens
from tests.unit.center.harness import API_TOKEN, TOKEN, AgentUnderTest, CenterUnderTest

DOCUMENT = Contract().document
SCHEMAS = DOCUMENT["components"]["schemas"]


@pytest.fixture
def center(database: str, tmp_path: Path) -> Iterator[CenterUnderTest]:
    under_test = CenterUnderTest(tmp_path)
    yield under_test
    under_test.close()


def hold(response: TestResponse, path: str, method: str) -> Any:
    """Fail unless the answer is one that the contract gives for this operation; its body."""
    operation = DOCUMENT["paths"][path][method]
    described = operation["responses"].get(str(response.status_code))
    assert described is not None, f"{method} {path} answered {response.status_code}: {response.text}"
    if "$ref" in described:
        described = DOCUMENT["components"]["responses"][described["$ref"].rpartition("/")[2]]
    if "content" not in described:
        assert response.data == b""
        return None
    schema = described["content"][response.mimetype]["schema"]
    body = response.json if response.is_json or "json" in response.mimetype else response.text
    fastjsonschema.compile(whole(SCHEMAS, schema), use_default=False)(body)
    return body


AGENT = "/api/v1/agents/{id}"


def test_what_every_operation_answers(center: CenterUnderTest) -> None:
    center.center.probe.step()
    hold(center.client.get("/health"), "/health", "get")
    hold(center.client.get("/metrics"), "/metrics", "get")
    hold(center.client.get("/api/v1/openapi.json"), "/api/v1/openapi.json", "get")
    agent = AgentUnderTest(center)
    register = "/api/v1/agents/register"
    assert hold(agent.register(TOKEN), register, "post")["agent_id"] == agent.agent_id
    hold(agent.register(), register, "post")
    hold(center.get(f"/api/v1/agents/{agent.agent_id}"), AGENT, "get")
    first = agent.report([agent.record(1), agent.record(2)])
    assert hold(agent.send(first), f"{AGENT}/reports", "post")["stored"] == 2
    assert "mark" in hold(agent.send(agent.report([agent.record(9)])), f"{AGENT}/reports", "post")
    for kind in ("event", "threat", "gap", "unknown"):
        other = AgentUnderTest(center)
        other.register(TOKEN)
        hold(other.send(other.report([other.record(1, kind)], "events")), f"{AGENT}/reports", "post")
    body = hold(center.get(f"/api/v1/agents/{agent.agent_id}"), AGENT, "get")
    assert body["latest_sample"]["seq"] == 2
    hold(agent.samples(limit=1), f"{AGENT}/samples", "get")
    assert len(hold(center.get("/api/v1/agents"), "/api/v1/agents", "get")["agents"]) == 5
    hold(center.get("/api/v1/agents", limit=2), "/api/v1/agents", "get")
    hold(agent.goodbye(), f"{AGENT}/goodbye", "post")


def test_what_is_answered_about_threats(center: CenterUnderTest) -> None:
    agent = center.agent()
    data = {
        "type": "disk_full",
        "severity": "high",
        "fingerprint": "disk:/",
        "state": "open",
        "why": "x",
        "new": [1],
    }
    agent.deliver(agent.record(1, "threat", data=data), agent.record(2, "event"), stream="events")
    found = hold(center.get("/api/v1/threats"), "/api/v1/threats", "get")["threats"]
    assert len(found) == 1
    path, template = f"/api/v1/threats/{found[0]['id']}", "/api/v1/threats/{id}"
    hold(center.get(path), template, "get")
    for act in ("acknowledge", "resolve", "reopen"):
        hold(center.post(f"{path}/{act}", {}, API_TOKEN), f"{template}/{act}", "post")
    hold(center.post(f"{path}/comment", {"text": "hello"}, API_TOKEN), f"{template}/comment", "post")
    silence = {"scope": "host", "until_cleared": True}
    made = hold(center.post(f"{path}/silence", silence, API_TOKEN), f"{template}/silence", "post")
    hold(center.get("/api/v1/silences"), "/api/v1/silences", "get")
    ended = center.post(f"/api/v1/silences/{made['id']}/end", None, API_TOKEN)
    assert hold(ended, "/api/v1/silences/{id}/end", "post")["ended_at"] is not None
    wide = {"scope": "host", "agent_id": agent.agent_id, "for_s": 600}
    assert hold(center.post("/api/v1/silences", wide, API_TOKEN), "/api/v1/silences", "post")["type"] is None
    hold(
        center.post("/api/v1/silences", {"scope": "host", "for_s": 1}, API_TOKEN), "/api/v1/silences", "post"
    )
    hold(center.get("/api/v1/silences"), "/api/v1/silences", "get")
    assert len(hold(center.get("/api/v1/events"), "/api/v1/events", "get")["events"]) == 2
    for token in (None, "x" * 40, agent.credential):
        for where, described in ((path, template), ("/api/v1/threats",) * 2, ("/api/v1/silences",) * 2):
            hold(center.get(where, token), described, "get")
        hold(center.get("/api/v1/events", token), "/api/v1/events", "get")
        for act in ("acknowledge", "resolve", "reopen", "comment", "silence"):
            hold(center.post(f"{path}/{act}", {}, token), f"{template}/{act}", "post")
    for raw, content_type in ((b"{", "application/json"), (b"[]", "application/json"), (b"x", "text/plain")):
        for act in ("acknowledge", "resolve", "reopen", "comment", "silence"):
            refused = center.post(f"{path}/{act}", None, API_TOKEN, raw, Content_Type=content_type)
            hold(refused, f"{template}/{act}", "post")


def test_what_is_answered_about_policies(center: CenterUnderTest) -> None:
    agent, admin = center.agent(), "a-token-of-an-admin-that-is-long-enough"
    center.center.writer.submit(
        lambda connection: tokens.add(connection, "admin", auth.hash_of(admin), 1, "admin")
    )
    policies, tolerances, told = "/api/v1/policies", "/api/v1/tolerances", f"{AGENT}/policy"
    own = f"/api/v1/agents/{agent.agent_id}/policy"
    assert hold(center.get(own, agent.credential), told, "get")["version"] is None
    rules = "[cpu]\nfor_s = 60\n"
    wanted: dict[str, Any] = {"label": None, "interval_s": 30, "rules": rules}

    def put(body: Any, token: str | None = admin) -> TestResponse:
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        return center.client.put(policies, json=body, headers=headers)

    assert len(hold(put(wanted), policies, "put")["policies"]) == 1
    hold(center.get(policies), policies, "get")
    bad = hold(put({**wanted, "rules": "[cpu]\nfor = 1"}), policies, "put")
    assert bad["errors"][0]["line"] == 2
    hold(put({}), policies, "put")
    for token in (None, "x" * 40, agent.credential, API_TOKEN):
        hold(put(wanted, token), policies, "put")
    finding = {"scope": "fleet", "type": "cron", "subject": "/etc/crontab"}
    made = hold(center.post(tolerances, finding, API_TOKEN), tolerances, "post")
    hold(center.get(tolerances), tolerances, "get")
    document = hold(center.get(own, agent.credential), told, "get")
    assert document["interval_s"] == 30
    assert [each["fingerprint"] for each in document["tolerated"]] == [made["fingerprint"]]
    center.clock.advance(2)
    agent.deliver(agent.record(1, "threat"), stream="events")
    answer = agent.send(agent.report([], policy={"version": document["version"], "refused": None}))
    assert hold(answer, f"{AGENT}/reports", "post")["policy"] == document["version"]
    assert hold(center.get(f"/api/v1/agents/{agent.agent_id}"), AGENT, "get")["policy"]["version"]
    threat, tolerate = "/api/v1/threats/1/tolerate", "/api/v1/threats/{id}/tolerate"
    hold(center.post(threat, {"scope": "host"}, API_TOKEN), tolerate, "post")
    hold(center.get("/api/v1/threats/1"), "/api/v1/threats/{id}", "get")
    end = f"{tolerances}/{made['id']}/end"
    assert hold(center.post(end, None, API_TOKEN), "/api/v1/tolerances/{id}/end", "post")["ended_by"]
    for token in (None, "x" * 40, agent.credential):
        hold(center.get(policies, token), policies, "get")
        hold(center.get(tolerances, token), tolerances, "get")
        hold(center.post(tolerances, finding, token), tolerances, "post")
        hold(center.post(threat, {"scope": "host"}, token), tolerate, "post")
        hold(center.post(end, None, token), "/api/v1/tolerances/{id}/end", "post")
    hold(center.get(own, center.agent().credential), told, "get")
    hold(center.get("/api/v1/agents/agent-0000000000000000/policy"), told, "get")
    for raw, content_type in ((b"{", "application/json"), (b"[]", "application/json"), (b"x", "text/plain")):
        for path, where in ((tolerances, tolerances), (threat, tolerate)):
            hold(center.post(path, None, API_TOKEN, raw, Content_Type=content_type), where, "post")


def test_what_every_operation_refuses_with(center: CenterUnderTest) -> None:
    register, reports, goodbye = "/api/v1/agents/register", f"{AGENT}/reports", f"{AGENT}/goodbye"
    stranger, agent, other = AgentUnderTest(center), center.agent(), center.agent()
    hold(stranger.register(), register, "post")
    hold(stranger.register("wrong"), register, "post")
    hold(stranger.register(TOKEN, agent_id=1), register, "post")
    hold(agent.register(agent_id=other.agent_id), register, "post")
    bodies: list[dict[str, Any]] = [
        {"raw": b"{"},
        {"raw": b"{}"},
        {"raw": b" " * (1024 * 1024 + 1)},
        {"raw": b"x", "Content_Encoding": "gzip"},
        {"raw": b"{}", "Content_Type": "text/plain"},
    ]
    for changes in bodies:
        hold(agent.send(None, **changes), reports, "post")
        hold(center.post(register, None, agent.credential, **changes), register, "post")
        path = f"/api/v1/agents/{agent.agent_id}/goodbye"
        hold(center.post(path, None, agent.credential, **changes), goodbye, "post")
    hold(agent.send(agent.report([agent.record(1, data={"cpu": 1})])), reports, "post")
    hold(stranger.send(None, b""), reports, "post")
    hold(stranger.goodbye(), goodbye, "post")
    for path, template in (
        ("", ""),
        (f"/{agent.agent_id}", "/{id}"),
        (f"/{agent.agent_id}/samples", "/{id}/samples"),
    ):
        for token in (None, "x" * 40, other.credential):
            hold(center.get(f"/api/v1/agents{path}", token), f"/api/v1/agents{template}", "get")
        hold(center.get(f"/api/v1/agents{path}", unknown=1), f"/api/v1/agents{template}", "get")
    hold(center.get("/api/v1/agents/agent-0000000000000000"), AGENT, "get")
    hold(center.get("/api/v1/agents/agent-0000000000000000/samples"), f"{AGENT}/samples", "get")


def test_the_audit_log(center: CenterUnderTest) -> None:
    path, made = "/api/v1/audit", "a-token-of-an-admin-that-is-long-enough"

    def work(connection: Connection) -> None:
        tokens.add(connection, "admin", auth.hash_of(made), 1, "admin")
        audit.note(connection, 1, "local:root", "api-token.add", "admin", {"scope": "admin"})

    center.center.writer.submit(work)
    assert hold(center.get(path, made), path, "get")["audit"][0]["actor"] == "local:root"
    for token in (None, "x" * 40, center.agent().credential, API_TOKEN):
        hold(center.get(path, token), path, "get")
    hold(center.get(path, made, after="x"), path, "get")


@pytest.mark.sqlite("how long its lock is waited for")
def test_while_the_database_takes_no_writes(center: CenterUnderTest) -> None:
    agent = center.agent()
    other = sqlite3.connect(center.settings.database.path, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    center.clock.advance(3)
    try:
        center.center.probe.step()
        assert hold(center.client.get("/health"), "/health", "get")["status"] == "unhealthy"
        refused = agent.send(agent.report([]))
        hold(refused, f"{AGENT}/reports", "post")
        assert refused.headers["Retry-After"].isdigit()
        hold(agent.register(), "/api/v1/agents/register", "post")
        hold(agent.goodbye(), f"{AGENT}/goodbye", "post")
    finally:
        other.close()


def test_every_operation_is_served_and_every_route_is_in_the_contract(center: CenterUnderTest) -> None:
    served = {
        (re.sub("<[a-z]+_id>", "{id}", rule.rule), method.lower())
        for rule in center.app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
        if not rule.endpoint.startswith("dashboard.")
    }
    described = {
        (path, method)
        for path, operations in DOCUMENT["paths"].items()
        for method in operations
        if method in ("get", "post", "put", "patch", "delete")
    }
    assert served == described


def test_unknown_fields_are_ignored_everywhere(center: CenterUnderTest) -> None:
    """An agent of a later version says more than this center knows."""
    agent = AgentUnderTest(center)
    more: dict[str, Any] = {"from_the_future": {"x": [1]}}
    assert agent.register(TOKEN, **more).status_code == 201
    record = {**agent.record(1, data={"cpu": {"percent": 1, "new": 2}, "new_group": {}}), **more}
    assert agent.send({**agent.report([record]), **more}).status_code == 200
    assert agent.samples().json["samples"][0]["data"]["new_group"] == {}
    assert agent.goodbye(**more).status_code == 204


def test_every_problem_code_is_in_the_contract() -> None:
    """The table in the contract's description and the codes in the product are the same."""
    described = set(
        re.findall(r"`([a-z]+(?:-[a-z]+)+|internal|incomplete|overloaded)`", DOCUMENT["info"]["description"])
    )
    source = "".join(path.read_text() for path in Path(nerve_center.__file__).parent.rglob("*.py"))
    raised = set(
        re.findall(r'(?:Refused\(\s*\d+,\s*|urn:dio:problem:|answer\(500, )"?([a-z]+(?:-[a-z]+)*)"', source)
    )
    raised |= {"not-found", "method-not-allowed", "database-unavailable", "overloaded"}
    assert raised == described
