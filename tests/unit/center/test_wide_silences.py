"""Silences about all there is on a host, on hosts with a label, or anywhere."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.unit.center.browser import audited
from tests.unit.center.harness import API_TOKEN, CenterUnderTest, problem
from tests.unit.center.test_notifications import Telling, hosts, telling, titles
from tests.unit.center.test_threat_pages import HOSTILE, browser_of, seen
from tests.unit.center.test_threats import Host

__all__ = ["telling"]
SPAN = {"for_s": 600}


def begin(center: CenterUnderTest, **body: Any) -> dict[str, Any]:
    response = center.post("/api/v1/silences", {**SPAN, **body}, API_TOKEN)
    assert response.status_code == 201, response.text
    found: dict[str, Any] = response.json
    return found


def test_each_scope(center: CenterUnderTest) -> None:
    web, other = Host(center, {"role": "web"}), Host(center, {"role": "web"})
    database = Host(center, {"role": "db"})

    def silenced() -> list[bool]:
        return [
            host.tell(type=kind, fingerprint=kind)["silenced"]
            for host in (web, other, database)
            for kind in ("disk_full", "cron_changed")
        ]

    one = begin(center, scope="host", agent_id=web.agent.agent_id, reason="new disk")
    assert (one["scope"], one["type"], one["agent_id"]) == ("host", None, web.agent.agent_id)
    assert (one["created_by"], one["reason"], one["fingerprint"]) == ("token:test", "new disk", None)
    assert silenced() == [True, True, False, False, False, False]
    two = begin(center, scope="label", label={"name": "role", "value": "web"})
    assert (two["label"], silenced()) == ({"name": "role", "value": "web"}, [True] * 4 + [False] * 2)
    for item in (one, two):
        assert center.post(f"/api/v1/silences/{item['id']}/end", {}, API_TOKEN).json["ended_at"]
    assert silenced() == [False] * 6
    begin(center, scope="fleet")
    assert silenced() == [True] * 6
    center.clock.advance(601)
    assert silenced() == [False] * 6


def test_a_silence_about_a_host_outlives_a_threat_that_clears(center: CenterUnderTest) -> None:
    host = Host(center)
    begin(center, scope="host", agent_id=host.agent.agent_id)
    host.tell()
    host.tell(state="cleared")
    assert host.tell()["silenced"]


def test_who_began_it_and_ended_it(center: CenterUnderTest) -> None:
    host = Host(center)
    made = begin(center, scope="host", agent_id=host.agent.agent_id, reason="new disk")
    begin(center, scope="label", label={"name": "role", "value": "web"})
    center.post(f"/api/v1/silences/{made['id']}/end", {}, API_TOKEN)
    assert audited(center)[::-1] == [
        ("token:test", "silence.begin", host.agent.agent_id),
        ("token:test", "silence.begin", "label"),
        ("token:test", "silence.end", str(made["id"])),
    ]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"scope": "host"}, "invalid-body"),
        ({"scope": "label"}, "invalid-body"),
        ({"scope": "fleet", "label": {"name": "a", "value": "b"}}, "invalid-body"),
        ({"scope": "fleet", "agent_id": "agent-0000000000000000"}, "invalid-body"),
        ({"scope": "fleet", "for_s": 59}, "invalid-body"),
        ({"scope": "host", "agent_id": "agent-0000000000000000"}, "agent-unknown"),
    ],
)
def test_what_does_not_fit(center: CenterUnderTest, body: dict[str, Any], code: str) -> None:
    assert problem(center.post("/api/v1/silences", {**SPAN, **body}, API_TOKEN)) == code
    assert center.get("/api/v1/silences").json["silences"] == []


def test_nobody_is_told_of_a_host_that_somebody_works_on(telling: Telling) -> None:
    """Neither of its threats nor of its silence; what is left is told afterwards."""
    *others, worked_on = hosts(telling.center, 4)
    begin(telling.center, scope="host", agent_id=worked_on.agent_id, for_s=900)
    telling.opened(worked_on)
    assert telling.later(60, *others, worked_on) == []
    assert telling.later(400, *others) == [], "it is offline, and nobody is told"
    assert titles(telling.later(60, *others, worked_on)) == []
    assert titles(telling.later(600, *others, worked_on)) == ["[DIO HIGH] Disk is full: host3"]


def test_on_the_page_of_a_host(center: CenterUnderTest) -> None:
    host = Host(center, {"role": "web"})
    page = f"/hosts/{host.agent.agent_id}"
    browser = browser_of(center, "operator")
    for span, where in (("5", "host"), ("3600", "nothing")):
        form = {"span": span, "where": where}
        assert browser.send_form(page, f"{page}/silence", form).status_code == 422
    form = {"span": "3600", "where": "role=web", "reason": HOSTILE}
    assert browser.send_form(page, f"{page}/silence", form).status_code == 303
    assert host.tell()["silenced"]
    text = seen(browser, page)
    assert "about hosts with role=web until" in text and "by user:" in text
    assert "silenced" in seen(browser, "/")
    ends = re.search(rf'action="({page}/silences/\d+/end)"', text)
    assert ends is not None
    looking = browser_of(center, "viewer")
    assert ends[1] not in seen(looking, page), "a viewer sees it, and changes nothing"
    assert "role=web until" in seen(looking, page)
    for path in (ends[1], f"{page}/silence"):
        assert looking.send_form("/account", path).status_code == 403
    assert browser.send_form(page, ends[1]).status_code == 303
    assert not host.tell()["silenced"]
    assert ends[1] not in seen(browser, page)
    assert "silenced" not in seen(browser, "/")
