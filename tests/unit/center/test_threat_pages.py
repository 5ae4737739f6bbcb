"""The pages of threats, events and enrollment: reading, acting, and who may."""

from __future__ import annotations

import re
import shlex
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.engine import Connection

from nerve_center.dashboard import evidence, threats
from nerve_center.store import audit, states
from nerve_center.store.engine import reading
from nerve_center.store.states import Change
from tests.unit.center.browser import Browser, person
from tests.unit.center.harness import AgentUnderTest, CenterUnderTest
from tests.unit.center.telling import Telling, hosts
from tests.unit.center.test_pages import HOSTILE, Page

THREAT = {
    "type": "disk_full",
    "severity": "high",
    "fingerprint": "f1",
    "state": "open",
    "title": HOSTILE,
    "summary": HOSTILE,
    "why": HOSTILE,
    "evidence": {"mount": HOSTILE, "used_bytes": 2048, "list": [{"pid": 5}, {"pid": 6}], HOSTILE: None},
}


def browser_of(center: CenterUnderTest, role: str) -> Browser:
    person(center, role, role)
    made = Browser(center)
    made.login(role)
    return made


@pytest.fixture
def agent(center: CenterUnderTest) -> AgentUnderTest:
    made = center.agent(hostname=HOSTILE)
    made.deliver(made.record(1, "threat", data=THREAT), stream="events")
    return made


def seen(browser: Browser, path: str) -> str:
    answer = browser.get(path)
    assert answer.status_code == 200, answer.text
    Page(answer.text).check()
    assert "<script>alert" not in answer.text
    return answer.text


def test_an_outbreak_leads_to_its_hosts(center: CenterUnderTest, tmp_path: Path) -> None:
    """And what an agent says leads nowhere, though it looks the same."""
    telling = Telling(center, tmp_path)
    browser = browser_of(center, "viewer")
    agents = hosts(center, 5)
    for each in agents:
        telling.opened(
            each, fingerprint="disk_full:/", evidence={"hosts": [{"agent_id": "x", "hostname": "y"}]}
        )
    telling.turn()
    (outbreak,) = telling.threats(type="outbreak")
    page = seen(browser, f"/threats/{outbreak['id']}")
    for number, each in enumerate(agents):
        assert f'href="/hosts/{each.agent_id}">host{number}</a>' in page
        assert f'href="/threats?host=host{number}"' in page
    assert page.count("had it first</span>") == 1 and "its cause was seen" not in page
    first = min(telling.threats(type="disk_full"), key=lambda each: int(each["id"]))
    assert f'href="/threats/{first["id"]}">what it found</a>' in page
    assert "first threat id" not in page, "a number by itself says nothing"
    assert 'id="hosts"' not in seen(browser, f"/threats/{first['id']}")


def audited(center: CenterUnderTest) -> list[str]:
    with reading(center.center.engine) as connection:
        return [f"{item.actor} {item.action} {item.target}" for item in audit.page(connection, None, 100)]


def test_a_threat_is_worked_on(center: CenterUnderTest, agent: AgentUnderTest) -> None:
    browser = browser_of(center, "operator")
    assert "/threats/1" in seen(browser, "/threats")
    page = seen(browser, "/threats/1")
    assert "2.0 KiB" in page
    assert "&lt;script&gt;" in page
    for act, status in (("acknowledge", "acknowledged"), ("resolve", "resolved"), ("reopen", "open")):
        answer = browser.send_form("/threats/1", f"/threats/1/{act}", {"comment": HOSTILE})
        assert (answer.status_code, answer.location) == (303, "/threats/1")
        assert f'class="tag {status}"' in seen(browser, "/threats/1")
        assert f"user:operator threat.{act} 1" in audited(center)
        assert ("/threats/1" in seen(browser, "/threats")) == (status != "resolved")
        assert "/threats/1" in seen(browser, f"/threats?state={status}")
    assert browser.send_form("/threats/1", "/threats/1/comment", {"comment": " "}).status_code == 422
    assert browser.send_form("/threats/1", "/threats/1/comment", {"comment": "x" * 5000}).status_code == 422
    assert (
        browser.send_form("/threats/1", "/threats/1/comment", {"comment": "looked at it"}).status_code == 303
    )
    assert "looked at it" in seen(browser, "/threats/1")


def test_a_threat_is_silenced_and_told_of_again(center: CenterUnderTest, agent: AgentUnderTest) -> None:
    browser = browser_of(center, "operator")
    path = "/threats/1/silence"
    assert browser.send_form("/threats/1", path, {"span": "5", "scope": "host"}).status_code == 422
    assert browser.send_form("/threats/1", path, {"span": "cleared", "scope": "fleet"}).status_code == 422
    form = {"span": "3600", "scope": "host", "reason": HOSTILE}
    assert browser.send_form("/threats/1", path, form).status_code == 303
    page = seen(browser, "/threats/1")
    assert "silenced" in seen(browser, "/threats")
    ends = re.search(r'action="(/threats/1/silences/\d+/end)"', page)
    assert ends is not None
    assert browser.send_form("/threats/1", ends[1]).status_code == 303
    assert ends[1] not in seen(browser, "/threats/1")


def test_viewers_look_and_do_nothing(center: CenterUnderTest, agent: AgentUnderTest) -> None:
    browser = browser_of(center, "viewer")
    assert "What to do" not in seen(browser, "/threats/1")
    for path in ("/threats/1/resolve", "/threats/1/silence", "/threats/1/silences/1/end", "/enroll"):
        assert browser.send_form("/account", path).status_code == 403
    assert browser.get("/enroll").status_code == 403
    assert browser.get("/events/audit").status_code == 403
    assert browser.get("/threats/99").status_code == 404


def test_a_form_of_another_site_does_nothing(center: CenterUnderTest, agent: AgentUnderTest) -> None:
    browser = browser_of(center, "operator")
    assert browser.post("/threats/1/resolve").status_code == 403
    assert browser.post("/enroll", {"span": "3600", "uses": "1"}).status_code == 403
    assert "resolved" not in seen(browser, "/threats/1")


def test_threats_are_filtered_and_paged(
    center: CenterUnderTest, agent: AgentUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threats, "PAGE", 2)
    records = [
        agent.record(
            seq, "threat", data={**THREAT, "fingerprint": f"f{seq}", "severity": severity, "title": f"t{seq}"}
        )
        for seq, severity in ((2, "low"), (3, "critical"), (4, "medium"))
    ]
    agent.deliver(*records, stream="events")
    browser = browser_of(center, "viewer")

    def keys(page: str) -> list[str]:
        return re.findall(r'id="threat-(\d+)"', page)

    first = seen(browser, "/threats")
    assert keys(first) == ["3", "1"]
    following = re.search(r'id="page-next" rel="next" href="([^"]*)"', first)
    assert following is not None
    assert keys(seen(browser, unescape(following[1]))) == ["4", "2"]
    assert keys(seen(browser, "/threats?severity=low")) == ["2"]
    assert keys(seen(browser, "/threats?q=T3")) == ["3"]
    assert keys(seen(browser, f"/threats?host={agent.agent_id}")) == ["3", "1"]
    assert keys(seen(browser, "/threats?state=cleared")) == []
    assert keys(seen(browser, "/threats?after=x.y.z&severity=none&state=")) == ["3", "1"]


def test_events_and_what_people_did(center: CenterUnderTest, agent: AgentUnderTest) -> None:
    data = {"type": "test.event", "message": HOSTILE}
    agent.deliver(agent.record(2, "event", data=data), stream="events")
    browser = browser_of(center, "admin")
    page = seen(browser, "/events")
    assert "test.event" in page
    assert "test.event" not in seen(browser, "/events?kind=threat")
    assert "test.event" in seen(browser, f"/events?host={agent.agent_id}")
    assert "No event fits" in seen(browser, "/events?host=agent-0")
    assert "user:admin" in seen(browser, "/events/audit")
    assert "Nothing yet" in seen(browser, "/events/audit?before=0")


def test_hosts_that_came_and_went(center: CenterUnderTest, agent: AgentUnderTest) -> None:
    browser = browser_of(center, "viewer")
    assert "Nothing yet" in seen(browser, "/events/states")
    now_us = center.clock.now_us()

    def note(connection: Connection) -> None:
        key = connection.exec_driver_sql("SELECT key FROM agents").scalar_one()
        states.note_changes(connection, [Change(key, "offline", None, None)], now_us)

    center.center.writer.submit(note)
    assert "nothing is heard of the host" in seen(browser, "/events/states")
    center.clock.advance(60)
    until = center.clock.now_us() // 1000
    answer = browser.get(f"/hosts/{agent.agent_id}/series?since={until - 3600_000}&until={until}")
    assert answer.json["away"] == [[now_us // 1000, until]]
    assert {"kind": "state", "tag": "offline"}.items() <= next(
        mark for mark in answer.json["marks"] if mark["kind"] == "state"
    ).items()


def test_a_token_from_the_page_enrolls_a_host(center: CenterUnderTest) -> None:
    browser = browser_of(center, "operator")
    assert 'id="enroll"' not in seen(browser, "/enroll")
    form = {"span": "3600", "uses": "1", "labels": "env=prod\n\n site = fra "}
    answer = browser.send_form("/enroll", "/enroll", form)
    assert answer.status_code == 200
    command = re.search(r'<pre id="enroll">(.*?)</pre>', answer.text, re.DOTALL)
    assert command is not None
    words = shlex.split(unescape(command[1]))
    assert words[:4] == ["sudo", "dioctl", "enroll", "http://center.example"]
    assert "--allow-plain-http" in words
    token = words[-2]
    agent = AgentUnderTest(center)
    assert agent.register(token).status_code == 201
    assert agent.seen()["labels"] == {"env": "prod", "site": "fra"}
    assert AgentUnderTest(center).register(token).status_code == 401
    for wrong in ({"span": "1"}, {"uses": "7"}, {"labels": "nothing"}, {"labels": "\n".join(["a=b"] * 30)}):
        answer = browser.send_form("/enroll", "/enroll", {**form, **wrong})
        assert answer.status_code == (200 if wrong.get("labels", "").startswith("a=b") else 422)


def test_a_token_is_withdrawn_on_the_page(center: CenterUnderTest) -> None:
    browser = browser_of(center, "operator")
    form = {"span": "3600", "uses": "0", "labels": f"env={HOSTILE}"}
    token = re.search(r"TOKEN'\n(.*?)\nTOKEN", browser.send_form("/enroll", "/enroll", form).text)
    assert token is not None
    page = seen(browser, "/enroll")
    (name,) = re.findall(r"/enroll/(page-[0-9a-f]+)/withdraw", page)
    assert "0 in, any number to come" in page
    assert AgentUnderTest(center).register(token[1]).status_code == 201
    assert "1 in, any number to come" in seen(browser, "/enroll")
    assert browser.send_form("/enroll", f"/enroll/{name}/withdraw").status_code == 303
    assert AgentUnderTest(center).register(token[1]).status_code == 401
    assert name not in seen(browser, "/enroll")
    assert browser.send_form("/enroll", f"/enroll/{name}/withdraw").status_code == 404
    with reading(center.center.engine) as connection:
        (noted,) = [item for item in audit.page(connection, None, 50) if item.action == "enrollment.remove"]
    assert (noted.actor, noted.target) == ("user:operator", name)


def test_a_token_that_is_over_is_not_shown(center: CenterUnderTest) -> None:
    browser = browser_of(center, "operator")
    form = {"span": "3600", "uses": "1", "labels": ""}
    for _ in range(2):
        browser.send_form("/enroll", "/enroll", form)
    assert seen(browser, "/enroll").count("/withdraw") == 2
    center.clock.advance(3601)
    assert "/withdraw" not in seen(browser, "/enroll")


@pytest.mark.parametrize(
    ("found", "shown"),
    [
        ({}, []),
        ({"used_bytes": 1024, "percent": 93.4}, [("used bytes", "1.0 KiB"), ("percent", "93 %")]),
        ({"a": {"b": True, "c": None}}, [("a, b", "yes"), ("a, c", "not available")]),
        ({"list": ["x", 1]}, [("list", "x, 1")]),
        ({"since_s": 5, "pid": 12345}, [("since (seconds)", "5"), ("pid", "12345")]),
        ({"n": [{"pid": 1}]}, [("n 1, pid", "1")]),
    ],
)
def test_evidence_is_a_table(found: dict[str, Any], shown: list[tuple[str, str]]) -> None:
    assert [(row.name, row.value) for row in evidence.table(found)] == shown


def test_evidence_is_bounded() -> None:
    deep: Any = "end"
    for _ in range(50):
        deep = {"deeper": deep}
    (row,) = evidence.table({"a": deep})
    assert row.value.startswith("{")
    assert len(evidence.table({str(number): number for number in range(1000)})) == 201
