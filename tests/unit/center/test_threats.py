"""Threats at the center: what their agent says and what people do, apart and together."""

from __future__ import annotations

from typing import Any

import pytest

from nerve_center.store import audit, threat_log
from nerve_center.store.engine import reading
from tests.unit.center.harness import API_TOKEN, AgentUnderTest, CenterUnderTest, problem

DISK = {"type": "disk_full", "severity": "medium", "fingerprint": "disk:/", "state": "open"}


class Host:
    """An agent that tells of threats, one record after another."""

    def __init__(self, center: CenterUnderTest, labels: dict[str, str] | None = None, **changes: Any) -> None:
        self.agent: AgentUnderTest = center.agent(**changes)
        if labels is not None:
            assert self.agent.register(labels=labels).status_code == 200
        self.center = center
        self.seq = 0

    def tell(self, **changes: Any) -> dict[str, Any]:
        """Send one threat record; the threat as it is then."""
        self.seq += 1
        self.center.clock.advance(1)
        record = self.agent.record(self.seq, "threat", data={**DISK, **changes})
        self.agent.deliver(record, stream="events")
        fingerprint = record["data"]["fingerprint"]
        found = self.center.get("/api/v1/threats", host=self.agent.agent_id).json["threats"]
        threat: dict[str, Any] = next(item for item in found if item["fingerprint"] == fingerprint)
        return threat


def act(center: CenterUnderTest, threat: dict[str, Any], name: str, body: Any = None) -> dict[str, Any]:
    response = center.post(f"/api/v1/threats/{threat['id']}/{name}", body or {}, API_TOKEN)
    assert response.status_code in (200, 201), response.text
    found: dict[str, Any] = response.json
    return found


def listed(center: CenterUnderTest, **query: Any) -> list[str]:
    """Fingerprints of one page."""
    return [item["fingerprint"] for item in center.get("/api/v1/threats", **query).json["threats"]]


def active(center: CenterUnderTest) -> int:
    center.center.probe.step()
    return int(center.center.probe.health()["threats_active"])


def whole(center: CenterUnderTest, threat: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = center.get(f"/api/v1/threats/{threat['id']}").json
    return found


def test_what_the_agent_says_and_what_people_say(center: CenterUnderTest) -> None:
    host = Host(center)
    threat = host.tell()
    assert (threat["state"], threat["agent_state"], threat["triage"], active(center)) == (
        "open",
        "open",
        "none",
        1,
    )
    taken = act(center, threat, "acknowledge", {"comment": "on it"})
    assert (taken["state"], taken["triaged_by"], active(center)) == ("acknowledged", "token:test", 1)
    cleared = host.tell(state="cleared")
    assert (cleared["state"], cleared["triage"], active(center)) == ("cleared", "acknowledged", 0)
    again = host.tell()
    assert (again["state"], again["triage"], again["times_opened"]) == ("open", "none", 2)
    settled = act(center, again, "resolve")
    assert (settled["state"], settled["agent_state"], active(center)) == ("resolved", "open", 0)
    assert host.tell(summary="newer figures")["state"] == "resolved"
    assert act(center, again, "reopen")["state"] == "open"
    history = whole(center, threat)["history"]
    assert [(line["what"], line["by"]) for line in history] == [
        ("opened", None),
        ("acknowledged", "token:test"),
        ("cleared", None),
        ("reopened", None),
        ("resolved", "token:test"),
        ("unresolved", "token:test"),
    ]
    assert history[1]["text"] == "on it"


def test_every_act_is_in_the_audit_log(center: CenterUnderTest) -> None:
    threat = Host(center).tell()
    for name in ("acknowledge", "resolve", "reopen"):
        act(center, threat, name)
    act(center, threat, "comment", {"text": "hello"})
    made = act(center, threat, "silence", {"scope": "fleet", "for_s": 60})
    center.post(f"/api/v1/silences/{made['id']}/end", {}, API_TOKEN)
    with reading(center.center.engine) as connection:
        entries = [(item.actor, item.action, item.target) for item in audit.page(connection, None, 6)]
    acts = ("acknowledged", "resolved", "unresolved", "commented", "silenced")
    wanted = [("token:test", f"threat.{what}", str(threat["id"])) for what in acts]
    assert entries[::-1] == [*wanted, ("token:test", "silence.end", str(made["id"]))]


@pytest.mark.parametrize("worse", [{"severity": "critical"}, {"count": 8}])
def test_a_resolved_threat_that_is_seen_again_is_open(center: CenterUnderTest, worse: dict[str, Any]) -> None:
    host = Host(center)
    threat = host.tell(count=7)
    act(center, threat, "resolve")
    assert host.tell(count=7)["state"] == "resolved"
    assert host.tell(**{"count": 7, **worse})["state"] == "open"
    assert whole(center, threat)["history"][-1]["what"] == "recurred"


def test_a_resolved_threat_that_clears_and_opens_again(center: CenterUnderTest) -> None:
    host = Host(center)
    act(center, host.tell(), "resolve")
    assert host.tell(state="cleared")["state"] == "resolved"
    assert host.tell()["state"] == "open"


def test_severity_goes_up_and_down(center: CenterUnderTest) -> None:
    host = Host(center)
    act(center, host.tell(), "acknowledge")
    assert host.tell(severity="critical")["state"] == "acknowledged"
    threat = host.tell(severity="low")
    assert [line["what"] for line in whole(center, threat)["history"][2:]] == ["escalated", "lowered"]


def test_everything_that_came_is_there(center: CenterUnderTest) -> None:
    evidence = {"value": 97.5, "markup": "<script>alert(1)</script>", "deep": {"x": [1, None]}}
    told = Host(center).tell(
        title="Disk / is full",
        subject="/",
        summary="97 % used",
        why="Programs fail.",
        next="Look at /var.",
        technique="T1499",
        count=3,
        confidence=0.9,
        evidence=evidence,
        invented={"later": True},
    )
    assert "evidence" not in told
    found = whole(center, told)
    assert found["evidence"] == evidence
    assert (found["title"], found["summary"], found["confidence"]) == ("Disk / is full", "97 % used", 0.9)
    assert (found["type"], found["subject"]) == (told["type"], "/"), "what a tolerance names"
    assert (found["why"], found["next"], found["technique"]) == ("Programs fail.", "Look at /var.", "T1499")
    assert (found["count"], found["first_seen"], found["more"]) == (3, None, {"invented": {"later": True}})


def test_filters(center: CenterUnderTest) -> None:
    web = Host(center, {"role": "web", "room": 'a"b'}, hostname="web1")
    database = Host(center, {"role": "db"}, hostname="db1")
    web.tell(fingerprint="w1", severity="low", summary="100% of _it_ is full")
    act(center, web.tell(fingerprint="w2", type="cron_changed", severity="critical"), "acknowledge")
    database.tell(fingerprint="d1")
    database.tell(fingerprint="d2", state="cleared")
    assert listed(center) == ["d2", "d1", "w2", "w1"]
    assert listed(center, worst_first="true") == ["w2", "d2", "d1", "w1"]
    assert listed(center, state="open") == ["d1", "w1"]
    assert listed(center, state="acknowledged,cleared") == ["d2", "w2"]
    assert listed(center, severity="low,critical") == ["w2", "w1"]
    assert listed(center, type="cron_changed") == ["w2"]
    assert listed(center, host="web1") == listed(center, host=web.agent.agent_id) == ["w2", "w1"]
    assert listed(center, label="role=db") == ["d2", "d1"]
    assert listed(center, label='room=a"b') == ["w2", "w1"]
    assert listed(center, label="role=d") == listed(center, label="ole=db") == []
    assert listed(center, text="OF _IT_ is") == ["w1"]
    assert listed(center, text="100%") == ["w1"]
    assert listed(center, text="_cron") == []
    assert listed(center, text="CRON_") == ["w2"]
    assert listed(center, text="Web1", state="open") == ["w1"]


def test_pages_join_up_in_either_order(center: CenterUnderTest) -> None:
    host = Host(center)
    severities = ("low", "high", "medium")
    for number in range(9):
        host.tell(fingerprint=f"f{number}", severity=severities[number % 3])
    for query in ({}, {"worst_first": "true"}):
        wanted = listed(center, limit=1000, **query)
        found: list[str] = []
        after: dict[str, Any] = {}
        while True:
            page = center.get("/api/v1/threats", limit=4, **query, **after).json
            found += [item["fingerprint"] for item in page["threats"]]
            if page["next"] is None:
                break
            after = {"after": page["next"]}
        assert found == wanted
        assert len(found) == 9


@pytest.mark.databases("sqlite")
@pytest.mark.parametrize(
    "query",
    [
        {"state": "closed"},
        {"severity": "low,"},
        {"label": "role"},
        {"label": "=x"},
        {"text": ""},
        {"after": "1.2"},
        {"after": "9.1.1"},
        {"limit": 0},
        {"worst_first": "1"},
        {"agent": "x"},
    ],
)
def test_bad_filters(center: CenterUnderTest, query: dict[str, Any]) -> None:
    response = center.get("/api/v1/threats", **query)
    assert (response.status_code, problem(response)) == (400, "bad-parameter")


@pytest.mark.parametrize("threat_id", ["1", "0", "-1", "x", "9" * 30, "1e3", "\u0661"])
def test_a_threat_that_is_not_there(center: CenterUnderTest, threat_id: str) -> None:
    path = f"/api/v1/threats/{threat_id}"
    assert problem(center.get(path)) == "threat-unknown"
    for name, body in (
        ("acknowledge", {}),
        ("comment", {"text": "x"}),
        ("silence", {"scope": "fleet", "for_s": 60}),
    ):
        assert problem(center.post(f"{path}/{name}", body, API_TOKEN)) == "threat-unknown"


def test_who_may_act(center: CenterUnderTest) -> None:
    host = Host(center)
    path = f"/api/v1/threats/{host.tell()['id']}/resolve"
    assert problem(center.post(path, {}, None)) == "credential-missing"
    assert problem(center.post(path, {}, "x" * 40)) == "credential-unknown"
    assert problem(center.post(path, {}, host.agent.credential)) == "api-token-required"
    assert problem(center.get("/api/v1/threats", host.agent.credential)) == "api-token-required"


def test_an_act_needs_no_body_and_a_bad_one_is_refused(center: CenterUnderTest) -> None:
    threat = Host(center).tell()
    path = f"/api/v1/threats/{threat['id']}"
    bare = center.client.post(f"{path}/acknowledge", headers={"Authorization": f"Bearer {API_TOKEN}"})
    assert bare.json["state"] == "acknowledged"
    for name, body in (
        ("comment", {}),
        ("comment", {"text": ""}),
        ("comment", {"text": "x" * 4097}),
        ("comment", {"text": "a\0b"}),
        ("comment", {"text": "\ud800"}),
        ("resolve", {"comment": 1}),
        ("silence", {}),
        ("silence", {"scope": "host"}),
        ("silence", {"scope": "host", "for_s": 60, "until_cleared": True}),
        ("silence", {"scope": "fleet", "until_cleared": True}),
        ("silence", {"scope": "label", "for_s": 60}),
        ("silence", {"scope": "host", "for_s": 60, "label": {"name": "a", "value": "b"}}),
        ("silence", {"scope": "host", "for_s": 59}),
        ("silence", {"scope": "host", "for_s": 1e300}),
    ):
        response = center.post(f"{path}/{name}", body, API_TOKEN)
        assert (response.status_code, problem(response)) == (422, "invalid-body"), (name, body)
    assert [line["what"] for line in whole(center, threat)["history"]] == ["opened", "acknowledged"]


def test_saying_the_same_twice_leaves_one_line(center: CenterUnderTest) -> None:
    threat = Host(center).tell()
    act(center, threat, "resolve")
    act(center, threat, "resolve")
    act(center, threat, "resolve", {"comment": "really"})
    lines = [(line["what"], line["text"]) for line in whole(center, threat)["history"]]
    assert lines[1:] == [("resolved", ""), ("commented", "really")]


def test_a_threat_that_flaps_keeps_a_bounded_history(
    center: CenterUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threat_log, "KEPT", 5)
    host = Host(center)
    for _ in range(6):
        host.tell()
        threat = host.tell(state="cleared")
    assert len(whole(center, threat)["history"]) == 5


def test_silences_of_each_scope(center: CenterUnderTest) -> None:
    web, other = Host(center, {"role": "web"}), Host(center, {"role": "web"})
    database = Host(center, {"role": "db"})

    def silenced() -> list[bool]:
        return [host.tell()["silenced"] for host in (web, other, database)]

    threat = web.tell()
    assert silenced() == [False, False, False]
    one = act(center, threat, "silence", {"scope": "host", "for_s": 600, "reason": "known"})
    assert (one["created_by"], one["reason"], silenced()) == ("token:test", "known", [True, False, False])
    label = {"scope": "label", "for_s": 600, "label": {"name": "role", "value": "web"}}
    two = act(center, threat, "silence", label)
    assert silenced() == [True, True, False]
    center.post(f"/api/v1/silences/{two['id']}/end", {}, API_TOKEN)
    act(center, threat, "silence", {"scope": "fleet", "for_s": 3000})
    assert silenced() == [True, True, True]
    assert web.tell(type="other", fingerprint="f2")["silenced"] is False
    assert [item["scope"] for item in center.get("/api/v1/silences").json["silences"]] == ["fleet", "host"]
    center.clock.advance(1000)
    assert [item["scope"] for item in center.get("/api/v1/silences").json["silences"]] == ["fleet"]
    assert [item["scope"] for item in whole(center, threat)["silences"]] == ["fleet"]
    center.clock.advance(3000)
    assert silenced() == [False, False, False]


def test_a_silence_until_it_clears(center: CenterUnderTest) -> None:
    host, other = Host(center), Host(center)
    other.tell()
    made = act(center, host.tell(), "silence", {"scope": "host", "until_cleared": True})
    assert made["until"] is None
    assert host.tell(severity="high")["silenced"]
    other.tell(state="cleared")
    assert host.tell()["silenced"]
    host.tell(state="cleared")
    assert not host.tell()["silenced"]


def test_ending_a_silence(center: CenterUnderTest) -> None:
    threat = Host(center).tell()
    made = act(center, threat, "silence", {"scope": "host", "for_s": 600})
    path = f"/api/v1/silences/{made['id']}/end"
    first = center.post(path, {}, API_TOKEN).json
    center.clock.advance(5)
    assert center.post(path, {}, API_TOKEN).json == first
    assert [line["what"] for line in whole(center, threat)["history"]] == ["opened", "silenced", "unsilenced"]
    for other in ("99", "x", "9" * 20):
        assert problem(center.post(f"/api/v1/silences/{other}/end", {}, API_TOKEN)) == "silence-unknown"


def test_not_more_silences_than_can_be_looked_at(
    center: CenterUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nerve_center.store.silences.MOST", 1)
    threat = Host(center).tell()
    act(center, threat, "silence", {"scope": "host", "for_s": 600})
    response = center.post(
        f"/api/v1/threats/{threat['id']}/silence", {"scope": "host", "for_s": 600}, API_TOKEN
    )
    assert (response.status_code, problem(response)) == (409, "too-many-silences")
