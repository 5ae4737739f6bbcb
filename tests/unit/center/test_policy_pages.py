"""The page of policies, and what threats, hosts and the fleet show of them."""

from __future__ import annotations

from html import unescape

import pytest

from nerve_center.store import policies, tolerances
from nerve_center.store.engine import reading
from tests.unit.center.browser import Browser, person
from tests.unit.center.harness import CenterUnderTest

RULES = "[cpu]\nfor_s = 60"


@pytest.fixture
def admin(center: CenterUnderTest) -> Browser:
    person(center, role="admin")
    browser = Browser(center)
    browser.login()
    return browser


def saved(center: CenterUnderTest) -> list[tuple[str, float | None, str]]:
    with reading(center.center.engine) as connection:
        return [(each.of, each.interval_s, each.rules) for each in policies.everyone(connection)]


def normal(center: CenterUnderTest) -> list[tuple[str, str]]:
    with reading(center.center.engine) as connection:
        found = tolerances.in_force(connection, center.clock.now_us())
    return [(each.scope, each.reason) for each in found]


def test_an_admin_sets_and_removes_policies(center: CenterUnderTest, admin: Browser) -> None:
    form = {"label": "", "interval_s": "30", "rules": ""}
    assert admin.send_form("/policies", "/policies", form).status_code == 303
    form = {"label": "role=web", "interval_s": "", "rules": RULES.replace("\n", "\r\n")}
    assert admin.send_form("/policies", "/policies", form).status_code == 303
    assert saved(center) == [("fleet", 30.0, ""), ("role=web", None, RULES)]
    page = unescape(admin.get("/policies").text)
    assert RULES in page
    assert "role=web" in page
    form = {"label": "role=web", "interval_s": "", "rules": " "}
    assert admin.send_form("/policies", "/policies", form).status_code == 303
    assert saved(center) == [("fleet", 30.0, "")]


@pytest.mark.parametrize(
    ("form", "why"),
    [
        ({"label": "", "interval_s": "", "rules": "[cpu]\nfor_s = -1\n"}, "line 2: cpu.for_s"),
        ({"label": "web", "interval_s": "5", "rules": ""}, "NAME=TEXT"),
        ({"label": "", "interval_s": "0", "rules": ""}, "1 to 3600"),
        ({"label": "", "interval_s": "nan", "rules": ""}, "1 to 3600"),
        ({"label": "", "interval_s": "5", "rules": "x" * 20_001}, "more than"),
    ],
)
def test_mistakes_are_told_and_the_form_keeps_what_was_written(
    center: CenterUnderTest, admin: Browser, form: dict[str, str], why: str
) -> None:
    answer = admin.send_form("/policies", "/policies", form)
    assert answer.status_code == 422
    page = unescape(answer.text)
    assert why in page
    assert form["rules"].strip() in page
    assert saved(center) == []


def test_a_threat_is_marked_as_normal_and_that_ends(center: CenterUnderTest) -> None:
    person(center, role="operator")
    browser = Browser(center)
    browser.login()
    agent = center.agent()
    agent.register(labels={"role": "web"})
    finding = tolerances.finding("cron", "/etc/crontab").fingerprint
    data = {
        "type": "cron",
        "severity": "high",
        "fingerprint": finding,
        "subject": "/etc/crontab",
        "state": "open",
    }
    agent.deliver(agent.record(1, "threat", data=data), stream="events")
    assert "on hosts with role=web" in browser.get("/threats/1").text
    for where, scope in (("host", "host"), ("role=web", "label"), ("fleet", "fleet")):
        form = {"where": where, "span": "86400", "reason": "ours"}
        assert browser.send_form("/threats/1", "/threats/1/tolerate", form).status_code == 303
        assert normal(center)[0] == (scope, "ours")
    assert browser.send_form("/threats/1", "/threats/1/tolerate", {"span": "5"}).status_code == 422
    assert "/etc/crontab" in browser.get("/policies").text
    for key in (1, 2, 3):
        assert browser.send_form("/policies", f"/policies/tolerances/{key}/end").status_code == 303
    assert normal(center) == []
    cleared = agent.record(2, "threat", data={**data, "state": "cleared", "reason": "tolerated"})
    agent.deliver(cleared, stream="events")
    assert "it was marked as normal" in browser.get("/threats/1").text
    # what admins do is not for operators
    form = {"label": "", "interval_s": "30", "rules": ""}
    assert browser.send_form("/policies", "/policies", form).status_code == 403


def test_a_viewer_sees_and_changes_nothing(center: CenterUnderTest) -> None:
    person(center)
    browser = Browser(center)
    browser.login()
    agent = center.agent()
    agent.deliver(agent.record(1, "threat"), stream="events")
    assert "Set a policy" not in browser.get("/policies").text
    assert "Mark as normal" not in browser.get("/threats/1").text
    assert browser.send_form("/policies", "/threats/1/tolerate", {"span": "0"}).status_code == 403
    assert normal(center) == []


def test_a_refusal_is_shown_on_fleet_host_and_policies(center: CenterUnderTest, admin: Browser) -> None:
    agent = center.agent()
    assert "has not said anything" in admin.get(f"/hosts/{agent.agent_id}").text
    said = {"version": None, "refused": {"version": "1" * 16, "why": "<b>cpu</b> needs value"}}
    agent.send(agent.report([], policy=said))
    for path in ("/policies", f"/hosts/{agent.agent_id}"):
        page = admin.get(path).text
        assert "&lt;b&gt;cpu&lt;/b&gt; needs value" in page
    assert "policy refused" in admin.get("/").text
    agent.send(agent.report([], policy={"version": "1" * 16}))
    assert "1" * 16 in admin.get(f"/hosts/{agent.agent_id}").text
    assert "policy refused" not in admin.get("/").text
