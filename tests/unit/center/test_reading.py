from typing import Any

import pytest

from nerve_center.clock import format_time
from tests.unit.center.harness import API_TOKEN, CenterUnderTest, packed, problem


@pytest.mark.parametrize("path", ["/api/v1/agents", "/api/v1/openapi.json", "/api/v1/threats"])
def test_what_a_reader_has_is_not_sent_again(center: CenterUnderTest, path: str) -> None:
    center.agent()
    first = center.get(path)
    assert first.headers["Cache-Control"] == "no-store"
    asked = {"Authorization": f"Bearer {API_TOKEN}", "If-None-Match": first.headers["ETag"]}
    again = center.client.get(path, headers=asked)
    assert (again.status_code, again.data, again.headers["ETag"]) == (304, b"", first.headers["ETag"])
    other = center.client.get(path, headers={**asked, "If-None-Match": '"another"'})
    assert (other.status_code, other.json) == (200, first.json)
    nobody = {"If-None-Match": first.headers["ETag"]}
    if path != "/api/v1/openapi.json":
        assert center.client.get(path, headers=nobody).status_code == 401


def test_health_is_never_kept(center: CenterUnderTest) -> None:
    answer = center.get("/health")
    assert answer.headers["Cache-Control"] == "no-store"
    assert "ETag" not in answer.headers


def test_pages_of_samples_join_up(center: CenterUnderTest) -> None:
    agent = center.agent()
    same_time = format_time(center.clock.now_us())
    records = [agent.record(seq, time=same_time) for seq in range(1, 11)]
    records += [agent.record(seq) for seq in range(11, 24)]
    agent.deliver(*records)
    found: list[dict[str, Any]] = []
    query: dict[str, Any] = {"limit": 5}
    while True:
        page = agent.samples(**query).json
        assert len(page["samples"]) <= 5
        found += page["samples"]
        if page["next"] is None:
            break
        query["after"] = page["next"]
    assert sorted(item["seq"] for item in found) == list(range(1, 24))
    keys = [(item["time"], item["tag"]) for item in found]
    assert keys[:10] == sorted(keys[:10])


def test_a_page_ends_early_where_its_samples_are_large(center: CenterUnderTest) -> None:
    agent = center.agent()
    large = {"x": "y" * 60_000}
    for first in range(1, 181, 60):
        records = [agent.record(seq, data=large) for seq in range(first, first + 60)]
        answer = agent.send(None, packed(agent.report(records)), Content_Encoding="gzip")
        agent.marks["samples"] = answer.json["mark"]
    page = agent.samples(limit=5000).json
    assert 130 < len(page["samples"]) < 150
    rest = agent.samples(limit=5000, after=page["next"]).json
    assert (len(page["samples"]) + len(rest["samples"]), rest["next"]) == (180, None)
    newest = agent.samples(limit=5000, newest="true").json["samples"]
    assert (newest[-1]["seq"], len(newest)) == (180, len(page["samples"]))


def test_since_until_and_newest(center: CenterUnderTest) -> None:
    agent = center.agent()
    start = center.clock.now_us()
    agent.deliver(*(agent.record(seq, time=format_time(start + seq * 1_000_000)) for seq in range(1, 11)))

    def seqs(**query: Any) -> list[int]:
        return [item["seq"] for item in agent.samples(**query).json["samples"]]

    third, seventh = format_time(start + 3_000_000), format_time(start + 7_000_000)
    assert seqs(since=third, until=seventh) == [3, 4, 5, 6]
    assert seqs(newest="true", limit=3) == [8, 9, 10]
    assert seqs(newest="true", limit=2, until=seventh) == [5, 6]
    assert seqs(newest="false", limit=2, since=seventh) == [7, 8]
    assert agent.samples(newest="true", limit=3).json["next"] is None


@pytest.mark.parametrize(
    "query",
    [
        {"limit": 0},
        {"limit": 5001},
        {"limit": "x"},
        {"limit": "-1"},
        {"limit": "\u0661"},
        {"since": "yesterday"},
        {"since": "2026-02-30T00:00:00Z"},
        {"after": "x"},
        {"after": "1" * 60},
        {"newest": "yes"},
        {"unknown": "1"},
        {"limit": [1, 2]},
        {"a" * 10000: "1"},
    ],
)
def test_bad_query_parameters(center: CenterUnderTest, query: dict[str, Any]) -> None:
    agent = center.agent()
    response = agent.samples(**query)
    assert (response.status_code, problem(response)) == (400, "bad-parameter")
    assert len(response.data) < 1000


def test_pages_of_agents(center: CenterUnderTest) -> None:
    ids = sorted(center.agent().agent_id for _ in range(5))
    first = center.get("/api/v1/agents", limit=3).json
    assert [item["id"] for item in first["agents"]] == ids[:3]
    assert first["next"] == ids[2]
    second = center.get("/api/v1/agents", limit=3, after=first["next"]).json
    assert ([item["id"] for item in second["agents"]], second["next"]) == (ids[3:], None)


def test_an_agent_reads_itself_and_nobody_else(center: CenterUnderTest) -> None:
    one, other = center.agent(), center.agent()
    one.deliver(one.record(1))
    own = center.get(f"/api/v1/agents/{one.agent_id}", one.credential)
    assert own.json["latest_sample"]["seq"] == 1
    assert center.get(f"/api/v1/agents/{one.agent_id}/samples", one.credential).status_code == 200
    assert problem(center.get(f"/api/v1/agents/{other.agent_id}", one.credential)) == "not-your-agent"
    assert problem(center.get("/api/v1/agents", one.credential)) == "api-token-required"
    assert problem(center.get("/api/v1/agents", None)) == "credential-missing"
    assert problem(center.get("/api/v1/agents", "x" * 40)) == "credential-unknown"
    assert problem(center.get(f"/api/v1/agents/{one.agent_id}", "x" * 40)) == "credential-unknown"


def test_an_api_token_writes_nothing(center: CenterUnderTest) -> None:
    agent = center.agent()
    agent.credential = "an-api-token-that-is-long-enough-for-it"
    assert problem(agent.send(agent.report([]))) == "credential-unknown"
    assert problem(agent.goodbye()) == "credential-unknown"


def test_an_agent_that_is_not_there(center: CenterUnderTest) -> None:
    for path in ("/api/v1/agents/agent-0000000000000000", "/api/v1/agents/x/samples"):
        response = center.get(path)
        assert (response.status_code, problem(response)) == (404, "agent-unknown")


def test_before_anything_was_reported(center: CenterUnderTest) -> None:
    seen = center.agent().seen()
    assert (seen["latest_sample"], seen["last_report_at"], seen["clock_skew_s"]) == (None, None, None)


def test_addresses_and_methods_that_do_not_exist(center: CenterUnderTest) -> None:
    for path in (
        "/nothing",
        "/api/v1/nothing",
        "/api/v1/agents/",
        "//health",
        "/health/",
        "/api/v1/agents/a/b/c",
    ):
        # Spelled out: the client takes what follows two slashes for a host.
        response = center.client.get("/", environ_overrides={"PATH_INFO": path})
        assert (response.status_code, problem(response)) == (404, "not-found"), path
    response = center.client.post("/health")
    assert (response.status_code, problem(response)) == (405, "method-not-allowed")
    assert set(response.headers["Allow"].split(", ")) == {"GET", "HEAD", "OPTIONS"}
    assert center.client.delete("/api/v1/agents/x/reports").headers["Allow"] == "OPTIONS, POST"


def test_a_browser_at_a_wrong_address_gets_a_page(center: CenterUnderTest) -> None:
    browser = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}
    answer = center.client.get("/nothing<script>", headers=browser)
    assert (answer.status_code, answer.mimetype) == (404, "text/html")
    assert "There is nothing at this address." in answer.text
    assert "<script>" not in answer.text
    answer = center.client.post("/health", headers=browser)
    assert (answer.status_code, answer.mimetype) == (405, "text/html")
    assert "GET" in answer.headers["Allow"]
    assert problem(center.client.get("/api/v1/nothing", headers=browser)) == "not-found"
    assert problem(center.client.get("/nothing", headers={"Accept": "*/*"})) == "not-found"


def test_every_answer_forbids_guessing_and_keeping(center: CenterUnderTest) -> None:
    for path in ("/api/v1/openapi.json", "/nothing", "/api/v1/agents"):
        headers = center.client.get(path).headers
        assert (headers["X-Content-Type-Options"], headers["Cache-Control"]) == ("nosniff", "no-store")


def test_an_unexpected_error_is_a_problem_and_one_traceback(
    center: CenterUnderTest, caplog: pytest.LogCaptureFixture
) -> None:
    from sqlalchemy import text

    center.center.writer.submit(lambda c: c.execute(text("DROP TABLE samples")) and None)
    agent = center.agent()
    caplog.clear()
    response = agent.samples()
    assert (response.status_code, problem(response)) == (500, "internal")
    assert len([record for record in caplog.records if record.exc_info]) == 1
