"""API tokens with a scope and an end, the API for people who are logged in, the audit log, enrollment tokens."""

from __future__ import annotations

import json
from typing import Any

import pytest
from click.testing import CliRunner, Result
from werkzeug.test import TestResponse

from nerve_center.auth import hash_of
from nerve_center.cli import base
from nerve_center.clock import format_time
from nerve_center.nervectl import main
from nerve_center.store import tokens
from tests.unit.center.browser import Browser, form_token, person
from tests.unit.center.harness import TOKEN, AgentUnderTest, CenterUnderTest, problem


@pytest.fixture(autouse=True)
def one_clock(center: CenterUnderTest, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("base", "api_tokens", "enrollment"):
        monkeypatch.setattr(f"nerve_center.cli.{module}.SystemClock", lambda: center.clock)


def run(center: CenterUnderTest, *arguments: str) -> Result:
    file = center.configuration()
    return CliRunner().invoke(main, ["--config", str(file), *arguments])


def token(center: CenterUnderTest, scope: str, expires_us: int | None = None) -> str:
    made = f"token-for-{scope}-" + "x" * 40
    center.center.writer.submit(
        lambda connection: tokens.add(
            connection, scope, hash_of(made), center.clock.now_us(), scope, expires_us
        )
    )
    return made


def open_threat(center: CenterUnderTest) -> tuple[AgentUnderTest, str]:
    agent = center.agent()
    agent.deliver(agent.record(1, "threat"), stream="events")
    (threat,) = center.get("/api/v1/threats").json["threats"]
    return agent, f"/api/v1/threats/{threat['id']}"


@pytest.mark.parametrize(
    ("scope", "reads", "acts", "audits"),
    [
        ("read", 200, 403, 403),
        ("threats", 200, 200, 403),
        ("metrics", 403, 403, 403),
        ("admin", 200, 200, 200),
    ],
)
def test_scopes(center: CenterUnderTest, scope: str, reads: int, acts: int, audits: int) -> None:
    agent, threat = open_threat(center)
    made = token(center, scope)
    answers = {
        reads: [
            center.get(path, made)
            for path in ("/api/v1/agents", f"/api/v1/agents/{agent.agent_id}", "/api/v1/events", threat)
        ],
    }
    for status, found in answers.items():
        assert {answer.status_code for answer in found} == {status}
    done = center.post(f"{threat}/acknowledge", {}, made)
    listed = center.get("/api/v1/audit", made)
    assert (done.status_code, listed.status_code) == (acts, audits)
    for answer in (*answers[reads], done, listed):
        if answer.status_code == 403:
            assert problem(answer) == "scope-required"
            assert scope in answer.json["detail"]


def test_an_api_token_is_no_credential(center: CenterUnderTest) -> None:
    """No scope lets a program report for an agent, register it, or say goodbye for it."""
    agent = center.agent()
    report = agent.report([agent.record(1)])
    agent.credential = token(center, "admin")
    assert problem(agent.send(report)) == "credential-unknown"
    assert problem(agent.goodbye()) == "credential-unknown"
    assert problem(agent.register()) == "enrollment-token-missing"


def test_an_agents_credential_is_no_token(center: CenterUnderTest) -> None:
    agent, threat = open_threat(center)
    for path in ("/api/v1/agents", "/api/v1/threats", threat, "/api/v1/silences", "/api/v1/audit"):
        assert problem(center.get(path, agent.credential)) == "api-token-required"
    assert problem(center.post(f"{threat}/resolve", {}, agent.credential)) == "api-token-required"
    other = center.agent()
    assert problem(center.get(f"/api/v1/agents/{other.agent_id}", agent.credential)) == "not-your-agent"
    assert problem(center.get("/api/v1/events", agent.credential, agent=other.agent_id)) == "not-your-agent"


def test_a_token_ends(center: CenterUnderTest) -> None:
    made = token(center, "read", center.clock.now_us() + 1_000_000)
    assert center.get("/api/v1/agents", made).status_code == 200
    center.clock.advance(1)
    assert problem(center.get("/api/v1/agents", made)) == "token-expired"


def test_nervectl_makes_tokens_with_scope_and_end(center: CenterUnderTest) -> None:
    made = run(center, "api-token", "add", "ops", "--scope", "threats", "--expires", "2h").output.strip()
    plain = run(center, "api-token", "add", "plain").output.strip()
    assert center.get("/api/v1/threats", made).status_code == 200
    shown = {
        item["name"]: item
        for item in json.loads(run(center, "api-token", "list", "--json").output)["api_tokens"]
    }
    assert (shown["ops"]["scope"], shown["plain"]["scope"]) == ("threats", "read")
    assert shown["ops"]["expires_at"] == format_time(center.clock.now_us() + 2 * 3_600_000_000)
    center.clock.advance(2 * 3600)
    assert problem(center.get("/api/v1/threats", made)) == "token-expired"
    assert center.get("/api/v1/threats", plain).status_code == 200
    assert "(over)" in run(center, "api-token", "list").output
    run(center, "api-token", "remove", "ops")
    assert problem(center.get("/api/v1/threats", made)) == "credential-unknown"
    shown = json.loads(run(center, "audit", "--json").output)["audit"]
    assert [(item["action"], item["target"]) for item in shown] == [
        ("api-token.add", "ops"),
        ("api-token.add", "plain"),
        ("api-token.remove", "ops"),
    ]
    assert made not in json.dumps(shown)
    assert "ops" in run(center, "audit").output


@pytest.mark.databases("sqlite")
@pytest.mark.parametrize("end", ["yesterday", "0h", "-1d", "2001-01-01T00:00:00Z", "9999999d", "1y"])
def test_ends_that_are_none(center: CenterUnderTest, end: str) -> None:
    assert run(center, "api-token", "add", "x", f"--expires={end}").exit_code == 2


def browser(center: CenterUnderTest, role: str) -> Browser:
    person(center, role, role)
    made = Browser(center)
    made.login(role)
    return made


@pytest.mark.parametrize(
    ("role", "acts", "audits"), [("viewer", 403, 403), ("operator", 200, 403), ("admin", 200, 200)]
)
def test_people_use_the_api_from_their_browser(
    center: CenterUnderTest, role: str, acts: int, audits: int
) -> None:
    agent, threat = open_threat(center)
    mine = browser(center, role)
    for path in ("/api/v1/agents", f"/api/v1/agents/{agent.agent_id}", threat, "/api/v1/events"):
        assert mine.get(path).status_code == 200
    assert mine.get("/api/v1/audit").status_code == audits

    def act(**headers: str) -> TestResponse:
        return mine.client.post(
            f"{threat}/acknowledge",
            json={},
            base_url=mine.base,
            headers={name.replace("_", "-"): value for name, value in headers.items()},
        )

    csrf = form_token(mine.get("/account").text)
    assert problem(act()) == "form-forged"
    assert problem(act(X_CSRF_Token="0" * 64)) == "form-forged"
    assert problem(act(X_CSRF_Token=csrf, Sec_Fetch_Site="cross-site")) == "form-forged"
    done = act(X_CSRF_Token=csrf)
    assert done.status_code == acts
    if acts == 200:
        (line, *_) = center.get(threat).json["history"][-1:]
        assert line["by"] == f"user:{role}"


def test_a_wrong_token_is_not_made_good_by_a_cookie(center: CenterUnderTest) -> None:
    mine = browser(center, "admin")
    assert mine.get("/api/v1/agents", Authorization="Bearer " + "x" * 40).status_code == 401
    assert mine.get("/api/v1/audit", Authorization="Bearer " + token(center, "read")).status_code == 403


def test_a_session_that_is_over_reads_nothing(center: CenterUnderTest) -> None:
    mine = browser(center, "viewer")
    center.clock.advance(13 * 3600)
    assert problem(mine.get("/api/v1/agents")) == "credential-missing"


def test_a_person_neither_reports_nor_registers(center: CenterUnderTest) -> None:
    agent = center.agent()
    mine = browser(center, "admin")
    for path in ("register", f"{agent.agent_id}/reports", f"{agent.agent_id}/goodbye"):
        answer = mine.client.post(f"/api/v1/agents/{path}", json={}, base_url=mine.base)
        assert problem(answer) == "credential-missing"


def test_the_audit_log_is_paged(center: CenterUnderTest) -> None:
    _, threat = open_threat(center)
    admin = token(center, "admin")
    for act in ("acknowledge", "reopen", "resolve"):
        assert center.post(f"{threat}/{act}", {}, admin).status_code == 200
    first = center.get("/api/v1/audit", admin, limit=2).json
    second = center.get("/api/v1/audit", admin, limit=2, after=first["next"]).json
    entries = [*first["audit"], *second["audit"]]
    assert [entry["action"] for entry in entries] == [
        "threat.resolved",
        "threat.unresolved",
        "threat.acknowledged",
    ]
    assert {entry["actor"] for entry in entries} == {"token:admin"}
    assert second["next"] is None
    for wrong in ({"after": "x"}, {"after": "0"}, {"limit": "0"}, {"limit": "9" * 30}, {"other": "1"}):
        assert problem(center.get("/api/v1/audit", admin, **wrong)) == "bad-parameter"


def test_agents_that_are_revoked_are_in_the_audit_log(center: CenterUnderTest) -> None:
    agent = center.agent()
    run(center, "agents", "revoke", agent.agent_id)
    run(center, "agents", "allow", agent.agent_id)
    run(center, "token", "rotate")
    shown = json.loads(run(center, "audit", "--json").output)["audit"]
    assert [(item["action"], item["target"]) for item in shown] == [
        ("agent.revoke", agent.agent_id),
        ("agent.allow", agent.agent_id),
        ("token.rotate", "file"),
    ]
    assert all(item["actor"] == base.actor() for item in shown)


def add(center: CenterUnderTest, *options: str) -> str:
    made = run(center, "enrollment", "add", "berlin", *options)
    assert made.exit_code == 0, made.output
    return made.output.strip()


def test_an_enrollment_token_for_two(center: CenterUnderTest) -> None:
    made = add(center, "--uses", "2")
    first = AgentUnderTest(center)
    assert first.register(made).status_code == 201
    assert first.register(made).status_code == 200, "registering again is no use"
    assert AgentUnderTest(center).register(made).status_code == 201
    assert problem(AgentUnderTest(center).register(made)) == "enrollment-token-invalid"
    assert AgentUnderTest(center).register(TOKEN).status_code == 201
    (shown,) = json.loads(run(center, "enrollment", "list", "--json").output)["enrollment_tokens"]
    assert (shown["name"], shown["used"], shown["uses_left"]) == ("berlin", 2, 0)


def test_the_last_use_goes_to_one_of_two(center: CenterUnderTest) -> None:
    """Both were let in when they asked; the one whose enrollment comes second leaves nothing behind."""
    made = add(center, "--uses", "1")
    registrar = center.center.registrar
    first, second = AgentUnderTest(center), AgentUnderTest(center)
    vouched = [registrar.admit(agent.credential, made) for agent in (first, second)]
    assert registrar.register(first.credential, vouched[0], first.registration()).enrolled
    with pytest.raises(Exception, match="enrollment-token-invalid"):
        registrar.register(second.credential, vouched[1], second.registration())
    assert [item["id"] for item in center.get("/api/v1/agents").json["agents"]] == [first.agent_id]


def test_an_enrollment_token_ends(center: CenterUnderTest) -> None:
    made = add(center, "--expires", "30m")
    center.clock.advance(30 * 60)
    assert problem(AgentUnderTest(center).register(made)) == "enrollment-token-invalid"
    assert "(over)" in run(center, "enrollment", "list").output


def test_an_enrollment_token_is_removed(center: CenterUnderTest) -> None:
    made = add(center)
    agent = AgentUnderTest(center)
    assert agent.register(made).status_code == 201
    assert "already" in run(center, "enrollment", "add", "berlin").output
    assert run(center, "enrollment", "remove", "berlin").exit_code == 0
    assert run(center, "enrollment", "remove", "berlin").exit_code == 1
    assert problem(AgentUnderTest(center).register(made)) == "enrollment-token-invalid"
    assert agent.register().status_code == 200
    actions = [item["action"] for item in json.loads(run(center, "audit", "--json").output)["audit"]]
    assert actions == ["enrollment.add", "enrollment.remove"]


def test_labels_that_a_token_gives(center: CenterUnderTest) -> None:
    made = add(center, "--label", "site=berlin", "--label", "role=db")
    agent = AgentUnderTest(center)
    own: dict[str, Any] = {"labels": {"role": "web", "mine": "1"}}
    assert agent.register(made, **own).status_code == 201
    wanted = {"site": "berlin", "role": "web", "mine": "1"}
    assert agent.seen()["labels"] == wanted
    agent.register(**own)
    assert agent.seen()["labels"] == wanted, "a restart keeps them"
    agent.register()
    assert agent.seen()["labels"] == {"site": "berlin", "role": "db"}


@pytest.mark.databases("sqlite")
@pytest.mark.parametrize(
    "options", [["--label", "x"], ["--label", "=x"], ["--label", "a=" + "x" * 257], ["--label", "a=\x1b"]]
)
def test_labels_that_are_none(center: CenterUnderTest, options: list[str]) -> None:
    assert run(center, "enrollment", "add", "x", *options).exit_code == 1


def test_a_token_that_a_person_makes_on_the_page(center: CenterUnderTest) -> None:
    made, ends_us = center.center.enrolling.make("user:ann", 3600, 1, {"site": "bonn"})
    agent = AgentUnderTest(center)
    assert agent.register(made).status_code == 201
    assert agent.seen()["labels"] == {"site": "bonn"}
    assert ends_us == center.clock.now_us() + 3_600_000_000
    (entry,) = json.loads(run(center, "audit", "--json").output)["audit"]
    assert (entry["actor"], entry["action"]) == ("user:ann", "enrollment.add")
    assert made not in json.dumps(entry)
