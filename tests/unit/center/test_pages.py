"""The pages about the fleet and a host: what they show, how they are asked, and that nothing hostile gets through."""

from __future__ import annotations

import json
import re
from html import unescape
from html.parser import HTMLParser
from typing import Any

import pytest
from sqlalchemy import event

from nerve_center.dashboard import chart_library, fleet, series, shown, timeline
from nerve_center.store import fleet as fleet_store
from tests.unit.center.browser import Browser, person
from tests.unit.center.harness import AgentUnderTest, CenterUnderTest

HOSTILE = "<script>alert(1)</script>\"'&{{7*7}}"
SAMPLE = {
    "cpu": {"percent": 30.0, "user_percent": 20.0, "system_percent": 10.0},
    "memory": {"percent": 50.0, "used_bytes": 5, "total_bytes": 10},
    "disks": [{"mount": HOSTILE, "percent": 96.0, "status": "ok"}, {"mount": "/n", "status": "unreachable"}],
    "disk_io": [{"device": "vda", "read_bytes_per_s": 5.0, "write_bytes_per_s": None}],
    "processes": {"count": 3, "top": [{"pid": 1, "name": HOSTILE, "exe": HOSTILE, "user": None}]},
}


class Page(HTMLParser):
    """What a page consists of: its tags, and whether it keeps to the policy of no inline script and style."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def check(self) -> None:
        """No inline script, style or handler; one main landmark and one h1; every field has a label."""
        names = [tag for tag, _ in self.tags]
        assert names.count("main") == names.count("h1") == 1
        for tag, attrs in self.tags:
            assert tag != "style"
            assert tag != "script" or str(attrs.get("src")).startswith("/static/")
            assert "style" not in attrs
            assert not any(name.startswith("on") for name in attrs), attrs
            assert tag != "th" or "scope" in attrs
        ids = [attrs["id"] for _, attrs in self.tags if "id" in attrs]
        assert len(ids) == len(set(ids))


@pytest.fixture
def browser(center: CenterUnderTest) -> Browser:
    person(center, "ann", "admin")
    made = Browser(center)
    made.login()
    return made


def seen(browser: Browser, path: str) -> str:
    answer = browser.get(path)
    assert answer.status_code == 200, answer.text
    Page(answer.text).check()
    return answer.text


def sampled(center: CenterUnderTest, **changes: Any) -> AgentUnderTest:
    agent = center.agent(**changes)
    agent.deliver(agent.record(1, data=SAMPLE))
    return agent


def hosts(page: str) -> list[str]:
    """The names in the table, in its order."""
    return re.findall(r'<a id="host-[^"]*" href="[^"]*">([^<]*)</a>', page)


@pytest.mark.parametrize(
    "path", ["/", "/hosts/x", "/hosts/x/series", "/hosts/x/moment", "/hosts/x/continuity"]
)
def test_strangers_see_the_login_page(center: CenterUnderTest, path: str) -> None:
    answer = center.client.get(path)
    assert (answer.status_code, answer.location.partition("?")[0]) == (303, "/login")


def test_a_fleet_without_hosts(browser: Browser) -> None:
    assert "No host reports yet" in seen(browser, "/")


def test_hostile_names_are_text(center: CenterUnderTest, browser: Browser) -> None:
    agent = sampled(center, hostname=HOSTILE)
    assert agent.register(labels={HOSTILE: HOSTILE}).status_code == 200
    threat = {
        "type": "t",
        "severity": "high",
        "fingerprint": "f",
        "state": "open",
        "title": HOSTILE,
        "summary": HOSTILE,
    }
    agent.deliver(
        agent.record(1, "threat", data=threat),
        agent.record(2, "event", data={"type": "test.event", "message": HOSTILE}),
        stream="events",
    )
    for path in ("", "/moment", "/continuity"):
        text = browser.get(f"/hosts/{agent.agent_id}{path}").text
        assert "<script>alert" not in text
    for path in ("/", f"/hosts/{agent.agent_id}", "/?q=" + HOSTILE, "/?label=" + HOSTILE):
        text = seen(browser, path)
        assert "<script>alert" not in text
        assert "&lt;script&gt;" in text


def test_answers_forbid_everything_from_elsewhere(center: CenterUnderTest, browser: Browser) -> None:
    sampled(center)
    policy = browser.get("/").headers["Content-Security-Policy"]
    for part in ("default-src 'none'", "script-src 'self'", "style-src 'self'", "connect-src 'self'"):
        assert part in policy
    assert "unsafe" not in policy


def test_the_table_sorts(center: CenterUnderTest, browser: Browser) -> None:
    for number, cpu in enumerate((20.0, 70.0, 50.0)):
        agent = center.agent(hostname=f"h{number}")
        agent.deliver(agent.record(1, data={"cpu": {"percent": cpu}}))
    assert hosts(seen(browser, "/")) == ["h0", "h1", "h2"]
    assert hosts(seen(browser, "/?sort=-hostname")) == ["h2", "h1", "h0"]
    by_cpu = seen(browser, "/?sort=-cpu")
    assert hosts(by_cpu) == ["h1", "h2", "h0"]
    assert by_cpu.count("aria-sort") == 1
    assert 'aria-sort="descending"' in by_cpu
    assert hosts(seen(browser, "/?sort=nonsense&page=x&state=y")) == ["h0", "h1", "h2"]


def test_the_table_filters(center: CenterUnderTest, browser: Browser) -> None:
    first, second = sampled(center, hostname="db1"), sampled(center, hostname="web1")
    assert first.register(labels={"env": "prod"}).status_code == 200
    assert second.goodbye().status_code == 204
    assert hosts(seen(browser, "/?q=DB1")) == ["db1"]
    assert hosts(seen(browser, "/?label=env%3Dprod")) == ["db1"]
    assert hosts(seen(browser, "/?state=stopped")) == ["web1"]
    assert "No host fits" in seen(browser, "/?q=nothing+like+it")


def test_the_fleet_in_groups(center: CenterUnderTest, browser: Browser) -> None:
    first, second, third = (sampled(center, hostname=name) for name in ("db1", "web1", "bare"))
    assert first.register(labels={"env": "prod", HOSTILE: "x"}).status_code == 200
    assert second.register(labels={"env": HOSTILE}).status_code == 200
    assert third.goodbye().status_code == 204
    assert 'id="groups"' not in seen(browser, "/")
    page = seen(browser, "/?group=env")
    assert re.findall(r'<a id="group-[^"]*" href="[^"]*">([^<]*)</a>', page)[1:] == ["prod", "without env"]
    assert "&lt;script&gt;" in page and "<script>alert" not in page
    links = re.findall(r'<a id="group-[^"]*" href="([^"]*)"', page)
    assert [hosts(seen(browser, unescape(link))) for link in links] == [["web1"], ["db1"], ["bare"]]
    assert "without nosuch" in seen(browser, "/?group=nosuch")


def test_the_table_has_pages(
    center: CenterUnderTest, browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fleet, "PAGE", 2)
    for number in range(5):
        center.agent(hostname=f"h{number}")
    first = seen(browser, "/?sort=hostname")
    assert hosts(first) == ["h0", "h1"]
    following = re.search(r'rel="next" href="([^"]*)"', first)
    assert following is not None
    assert hosts(seen(browser, following[1].replace("&amp;", "&"))) == ["h2", "h3"]
    assert hosts(seen(browser, "/?page=3")) == ["h4"]
    assert hosts(seen(browser, "/?page=999999")) == ["h4"]


def queries(center: CenterUnderTest, browser: Browser, path: str) -> int:
    count = 0

    def counted(*_: Any) -> None:
        nonlocal count
        count += 1

    event.listen(center.center.engine, "before_cursor_execute", counted)
    seen(browser, path)
    event.remove(center.center.engine, "before_cursor_execute", counted)
    return count


def test_the_number_of_queries_does_not_grow_with_the_fleet(
    center: CenterUnderTest, browser: Browser
) -> None:
    agent = sampled(center, hostname="h0")
    path = f"/hosts/{agent.agent_id}"
    before = queries(center, browser, "/?q=h"), queries(center, browser, path)
    for number in range(1, 8):
        sampled(center, hostname=f"h{number}")
    agent.deliver(*[agent.record(seq, data=SAMPLE) for seq in range(2, 20)])
    assert (queries(center, browser, "/?q=h"), queries(center, browser, path)) == before


def test_a_host_is_shown(center: CenterUnderTest, browser: Browser) -> None:
    agent = sampled(center, hostname="db1.example")
    agent.deliver(
        agent.record(1, "event", data={"type": "test.event", "message": "it happened"}), stream="events"
    )
    page = seen(browser, f"/hosts/{agent.agent_id}")
    for text in ("db1.example", agent.agent_id, "it happened", "unreachable", "96 %"):
        assert text in page
    assert browser.get("/hosts/agent-0000000000000000").status_code == 404
    assert "none unaccounted for" in browser.get(f"/hosts/{agent.agent_id}/continuity").text


def test_the_moment_pointed_at(center: CenterUnderTest, browser: Browser) -> None:
    agent = center.agent()
    agent.deliver(agent.record(1, data={"processes": {"top": [{"pid": 1, "name": "before"}]}}))
    at_ms = center.clock.now_us() // 1000 + 1
    center.clock.advance(60)
    agent.deliver(agent.record(2, data={"processes": {"top": [{"pid": 1, "name": "after"}]}}))
    path = f"/hosts/{agent.agent_id}/moment"
    assert "after" in browser.get(path).text
    assert "before" in browser.get(f"{path}?at={at_ms}").text
    assert "Nothing was sampled" in browser.get(f"{path}?at=1").text
    assert browser.get(f"{path}?at=x").status_code == 400


def drawn(center: CenterUnderTest, browser: Browser, agent: AgentUnderTest, span_s: int = 3600) -> Any:
    until = center.clock.now_us() // 1000 + 1
    answer = browser.get(f"/hosts/{agent.agent_id}/series?since={until - span_s * 1000}&until={until}")
    assert answer.status_code == 200, answer.text
    return answer.json


def test_charts_show_gaps_and_what_came_late(center: CenterUnderTest, browser: Browser) -> None:
    agent = center.agent()
    agent.deliver(agent.record(1, data=SAMPLE))
    center.clock.advance(10)
    agent.deliver(agent.record(2, data=SAMPLE))
    center.clock.advance(600)
    late = agent.record(3, data=SAMPLE)
    center.clock.advance(300)
    agent.deliver(late)
    found = drawn(center, browser, agent)
    user = next(line for line in found["groups"]["cpu"] if line["name"] == "user")
    assert user["values"] == [20.0, 20.0, None, 20.0]
    assert len(found["t"]) == 4
    assert len(found["late"]) == 1
    assert [line["name"] for line in found["groups"]["disk_io"]] == ["vda read"]
    assert found["groups"]["swap"] == []


def test_charts_of_a_long_span_are_thinned(center: CenterUnderTest, browser: Browser) -> None:
    agent = center.agent()
    for seq in range(1, 41):
        agent.deliver(agent.record(seq, data={"load": {"load_1m": float(seq)}}))
        center.clock.advance(10)
    found = drawn(center, browser, agent, 366 * 86400)
    (line,) = found["groups"]["load"]
    assert line["values"] == [20.5]


@pytest.mark.parametrize("query", ["since=1&until=2", "since=x", "until=99999999999999999", "since=0"])
def test_a_span_that_cannot_be(center: CenterUnderTest, browser: Browser, query: str) -> None:
    agent = sampled(center)
    assert browser.get(f"/hosts/{agent.agent_id}/series?{query}").status_code == 400


def test_what_happened_stands_on_the_charts(center: CenterUnderTest, browser: Browser) -> None:
    agent = sampled(center)
    threat = {"type": "disk", "severity": "high", "fingerprint": "f", "state": "open", "summary": "full"}
    agent.deliver(
        agent.record(1, "threat", data=threat),
        agent.record(2, "gap", data={"count": 7, "reason": "spool_full"}),
        stream="events",
    )
    marks = drawn(center, browser, agent)["marks"]
    assert [(mark["kind"], mark["tag"]) for mark in marks] == [("gap", "gap"), ("threat", "high")]
    assert "7 records are missing" in marks[0]["text"]


def test_pages_work_without_the_chart_library(
    center: CenterUnderTest, browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chart_library, "path", lambda: None)
    agent = sampled(center)
    assert "libjs-chart.js" in seen(browser, f"/hosts/{agent.agent_id}")
    assert browser.get("/static/chart.js").status_code == 404


def test_figures_for_people() -> None:
    assert [shown.percent(value) for value in (None, 0.0, 3.44, 9.96, 97.4)] == [
        "–",
        "0 %",
        "3.4 %",
        "10 %",
        "97 %",
    ]
    assert [shown.size(value) for value in (None, 12, 2048, 5.5e9)] == ["–", "12 B", "2.0 KiB", "5.1 GiB"]
    assert [shown.duration(value) for value in (None, 0, 0.5, 61, 90000)] == [
        "–",
        "0 s",
        "0.5 s",
        "1 min 1 s",
        "1 d 1 h",
    ]
    assert "01:00:00 UTC" in shown.moment(3_600_000_000)
    assert 'points="58,11.0 58.6,11.0"' in shown.spark([(50, None), None])
    assert shown.spark([None]) == ""


def test_figures_that_are_none_of_ours_are_left_out() -> None:
    assert series.figures({"cpu": [], "disks": {"a": 1}, "load": {"load_1m": True, "load_5m": "x"}}) == {}
    assert json.loads(series.dumped({"a": None})) == {"a": None}
    assert timeline.told("event", {"type": 5}) == ("5", "")
    assert set(fleet_store.SORTS) >= {key for key, _ in fleet._COLUMNS if key}
