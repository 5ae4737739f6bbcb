"""What agents are told: policies by label, what is normal, the version in the answers, and what agents say of it."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy.engine import Connection

from nerve_center import auth, policy, rule_check
from nerve_center.contract import Contract
from nerve_center.errors import Refused
from nerve_center.store import audit, policies, tokens, tolerances
from nerve_center.store.engine import reading
from nerve_center.store.policies import Policy
from tests.unit.center.harness import API_TOKEN, TOKEN, AgentUnderTest, CenterUnderTest, problem

ADMIN = "a-token-of-an-admin-that-is-long-enough"
CONTRACT = Contract()


def save(center: CenterUnderTest, label: str = "", interval_s: float | None = None, rules: str = "") -> None:
    name, _, value = label.partition("=")
    new = Policy(name, value, interval_s, rules)
    center.center.writer.submit(lambda connection: policies.save(connection, new, "local:root", 1))


def labelled(center: CenterUnderTest, **labels: str) -> AgentUnderTest:
    agent = AgentUnderTest(center)
    assert agent.register(TOKEN, labels=labels).status_code == 201
    return agent


def told(center: CenterUnderTest, agent: AgentUnderTest) -> dict[str, Any]:
    response = center.get(f"/api/v1/agents/{agent.agent_id}/policy", agent.credential)
    assert response.status_code == 200, response.text
    found: dict[str, Any] = response.json
    return found


def announced(center: CenterUnderTest, agent: AgentUnderTest) -> str | None:
    center.clock.advance(policy.REFRESH_S)
    found: str | None = agent.deliver()["policy"]
    return found


def threat_of(center: CenterUnderTest, agent: AgentUnderTest, type_: str = "cron") -> int:
    fingerprint = tolerances.finding(type_, "/etc/crontab").fingerprint
    data = {
        "type": type_,
        "severity": "high",
        "fingerprint": fingerprint,
        "subject": "/etc/crontab",
        "state": "open",
    }
    agent.deliver(agent.record(1, "threat", data=data), stream="events")
    return int(center.get("/api/v1/threats", host=agent.agent_id).json["threats"][0]["id"])


def test_policies_of_fleet_and_labels_apply_in_their_order(center: CenterUnderTest) -> None:
    web, db = labelled(center, role="web", env="prod"), labelled(center, role="db")
    assert announced(center, web) is None
    save(center, "", 60, "[cpu]\nfor_s = 1")
    save(center, "role=web", 30)
    save(center, "env=prod", 20, "[cpu]\nfor_s = 2")
    assert told(center, web)["interval_s"] == 30  # env comes before role
    assert [each["of"] for each in told(center, web)["rules"]] == ["fleet", "env=prod"]
    assert told(center, db) == {**told(center, db), "interval_s": 60, "tolerated": []}
    assert announced(center, web) == told(center, web)["version"]
    assert announced(center, db) == told(center, db)["version"] != told(center, web)["version"]


def test_the_version_is_that_of_the_content(center: CenterUnderTest) -> None:
    agent = labelled(center)
    save(center, "", 60)
    before = announced(center, agent)
    save(center, "", 30)
    assert announced(center, agent) != before
    save(center, "", 60)
    assert announced(center, agent) == before
    save(center, "")
    assert announced(center, agent) is None


def test_labels_that_change_change_what_holds(center: CenterUnderTest) -> None:
    agent = labelled(center, role="db")
    save(center, "role=web", 30)
    assert announced(center, agent) is None
    assert agent.register(labels={"role": "web"}).status_code == 200
    assert announced(center, agent) is not None


def test_what_is_normal_on_a_host_a_label_the_fleet(center: CenterUnderTest) -> None:
    here, alike, other = (
        labelled(center, role="web"),
        labelled(center, role="web"),
        labelled(center, role="db"),
    )
    key = threat_of(center, here)
    path = f"/api/v1/threats/{key}/tolerate"
    label = {"name": "role", "value": "web"}
    expected = [
        ({"scope": "host", "reason": "ours"}, [True, False, False]),
        ({"scope": "label", "label": label}, [True, True, False]),
        ({"scope": "fleet"}, [True, True, True]),
    ]
    for body, wanted in expected:
        made = center.post(path, body, API_TOKEN)
        assert made.status_code == 201, made.text
        assert made.json["subject"] == "/etc/crontab"
        assert [bool(told(center, agent)["tolerated"]) for agent in (here, alike, other)] == wanted
        assert center.post(f"/api/v1/tolerances/{made.json['id']}/end", None, API_TOKEN).status_code == 200
    assert told(center, here)["tolerated"] == []
    history = center.get(f"/api/v1/threats/{key}").json["history"]
    assert [line["what"] for line in history].count("tolerated") == 3
    with reading(center.center.engine) as connection:
        actions = [entry.action for entry in audit.page(connection, None, 50)]
    assert actions.count("tolerance.add") == 3
    assert actions.count("tolerance.end") == 3


def test_it_ends_by_itself(center: CenterUnderTest) -> None:
    agent = labelled(center)
    body = {"scope": "fleet", "type": "cron", "subject": "x", "until": "2026-01-01T01:00:00Z"}
    assert center.post("/api/v1/tolerances", body, API_TOKEN).status_code == 201
    assert told(center, agent)["tolerated"][0]["until"] == "2026-01-01T01:00:00Z"
    assert announced(center, agent) is not None
    center.clock.advance(3600)
    assert announced(center, agent) is None
    assert center.get("/api/v1/tolerances").json["tolerances"] == []
    again = center.post("/api/v1/tolerances", body, API_TOKEN)
    assert problem(again) == "invalid-body"  # over already


def test_the_same_again_takes_the_place_of_the_one_before(center: CenterUnderTest) -> None:
    body = {"scope": "fleet", "type": "cron", "subject": "x"}
    for reason in ("one", "two"):
        center.post("/api/v1/tolerances", {**body, "reason": reason}, API_TOKEN)
    found = center.get("/api/v1/tolerances").json["tolerances"]
    assert [each["reason"] for each in found] == ["two"]


def test_bounds_and_what_does_not_go_together(
    center: CenterUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, body = "/api/v1/tolerances", {"scope": "fleet", "type": "cron", "subject": "x"}
    agent = labelled(center)
    for wrong in (
        {**body, "scope": "host"},
        {**body, "agent_id": agent.agent_id},
        {**body, "scope": "label"},
        {**body, "label": {"name": "a", "value": "b"}},
        {**body, "type": "No"},
        {**body, "subject": ""},
    ):
        assert problem(center.post(path, wrong, API_TOKEN)) == "invalid-body", wrong
    nobody = {**body, "scope": "host", "agent_id": "agent-0000000000000000"}
    assert problem(center.post(path, nobody, API_TOKEN)) == "agent-unknown"
    assert problem(center.post(path, {**body, "type": "offline"}, API_TOKEN)) == "not-tolerable"
    assert (
        problem(center.post("/api/v1/threats/9/tolerate", {"scope": "host"}, API_TOKEN)) == "threat-unknown"
    )
    assert problem(center.post(f"{path}/9/end", None, API_TOKEN)) == "tolerance-unknown"
    assert problem(center.post(f"{path}/x/end", None, API_TOKEN)) == "tolerance-unknown"
    monkeypatch.setattr(tolerances, "MOST", 1)
    assert center.post(path, body, API_TOKEN).status_code == 201
    assert problem(center.post(path, {**body, "subject": "y"}, API_TOKEN)) == "too-many-tolerances"
    monkeypatch.setattr(policies, "MOST", 1)
    save(center, "", 60)
    with pytest.raises(Refused, match="too-many-policies"):
        save(center, "role=web", 60)


def test_an_agent_says_what_is_in_force_and_what_it_refuses(center: CenterUnderTest) -> None:
    agent = labelled(center)
    assert agent.seen()["policy"] is None
    said: dict[str, Any] = {"version": None, "refused": {"version": "1" * 16, "why": "cpu needs value"}}
    assert agent.send(agent.report([], policy=said)).status_code == 200
    assert agent.seen()["policy"] == said
    agent.deliver()  # an older version of it, or a report that says nothing: what was said stays
    assert agent.seen()["policy"] == said
    assert agent.send(agent.report([], policy={"version": "1" * 16})).status_code == 200
    assert agent.seen()["policy"] == {"version": "1" * 16}
    for wrong in ({"version": "x"}, {"version": None, "refused": {"version": "1" * 16}}, "x"):
        assert problem(agent.send(agent.report([], policy=wrong))) == "invalid-body"


def test_only_admins_set_policies_and_mistakes_are_told_with_their_lines(center: CenterUnderTest) -> None:
    def add(connection: Connection) -> None:
        tokens.add(connection, "admin", auth.hash_of(ADMIN), 1, "admin")

    center.center.writer.submit(add)

    def put(body: Any, token: str = ADMIN) -> Any:
        return center.client.put("/api/v1/policies", json=body, headers={"Authorization": f"Bearer {token}"})

    body = {"label": None, "interval_s": 30, "rules": "[cpu]\nfor_s = 9\n"}
    assert problem(put(body, API_TOKEN)) == "scope-required"
    assert put(body).json["policies"][0]["updated_by"] == "token:admin"
    wrong = put({**body, "rules": "[cpu]\nfor_s = -1\nnothing = 1\n\n[X]\n"})
    assert problem(wrong) == "rules-invalid"
    assert [error["line"] for error in wrong.json["errors"]] == [2, 3, 5]
    assert put({**body, "interval_s": None, "rules": " "}).json["policies"] == []


@pytest.mark.parametrize(
    ("rules", "line", "why"),
    [
        ("[cpu\n", 1, "not valid TOML"),
        ("[cpu]\nfor_s = 1" + "0" * 5000, None, "not valid TOML"),
        ("x = " + "[" * 50_000, None, "not valid TOML"),
        ("cpu = 1", 1, "must be a rule"),
        ("[cpu]\n\nenter = {most = 1}", 3, "cpu.enter"),
        ("[cpu]\nenter = {}", 2, "cpu.enter"),
        ("[cpu]\nwibble = 1", 2, "cpu.wibble: is no key of a rule"),
        ("[cpu]\nfor_s = -5", 2, "cpu.for_s must be 0 or more"),
        ("[cpu]\nenabled = 1", 2, "cpu.enabled must be a boolean"),
        ("[cpu]\nenter = {low = 'x'}", 2, "cpu.enter.low must be a number"),
        ("[cpu]\nop = '>='\nenter = {low = 90, high = 80}", 3, "before low"),
        ("[cpu]\nop = '>='\nenter = {low = 80}\nleave = {low = 90}", 3, "further out"),
        ("[cpu]\nenter = {low = 80}\nleave = {high = 9}", 2, "enter does not have"),
        ("[cpu]\nsummary = '{nothing}'", 2, "may name"),
        ("[cpu]\nsummary = '{value:99999999f}'", 2, "may name"),
        ("[cpu]\nvalue = 'a b'", 2, "cpu.value"),
        ("[cpu]\nonly_if = {low = 'x'}", 2, "cpu.only_if"),
        ('[disk_space.subjects."/srv"]\nleave = {low = 1}', 1, "disk_space.subjects"),
    ],
)
def test_mistakes_in_rules(rules: str, line: int | None, why: str) -> None:
    found = rule_check.mistakes(CONTRACT, rules)
    assert found[0].line == line
    assert why in found[0].message
