"""No page and no operation that reads asks the database to go through a large table without an index."""

from __future__ import annotations

import re
from typing import Any

import pytest
from sqlalchemy import event

from nerve_center.keeper import presence
from nerve_center.keeper.task import Desk
from nerve_center.store.tables import metadata
from tests.unit.center.browser import Browser, person
from tests.unit.center.harness import AgentUnderTest, CenterUnderTest
from tests.unit.center.keeping import desk

__all__ = ["desk"]
pytestmark = pytest.mark.sqlite("its query plans")

SMALL = {
    *("meta", "users", "sessions", "login_links", "policies", "tolerances", "silences", "leases"),
    *("api_tokens", "enrollment_tokens"),
}
"""Tables with a row for each of what people made by hand."""
GROWING = {
    *("samples", "events", "gaps", "minutes", "quarters", "agent_states", "threats", "threat_log", "audit"),
    *("outbox", "streams", "runs", "instances"),
}
"""Tables that grow with time, not only with the fleet."""
ALLOWED = {
    "SELECT sum(agents.samples) AS sum_1, sum(agents.events) AS sum_2, sum(agents.gaps) AS sum_3 \nFROM agents"
}
"""A sum over every host; an index with these columns would be written at every report."""
FLEET = (
    "/",
    *(f"/?sort={sort}" for sort in ("cpu", "-memory", "disk", "-seen", "hostname", "-state")),
    "/?state=offline&label=env%3Dprod&q=web&group=env&page=2",
    "/?label=env",
    "/?label=!env",
)
HOST = ("", "/series", "/series?since=1764547200000", "/moment", "/moment?at=1767225600000", "/continuity")
THREATS = (
    "/threats",
    *(f"/threats?state={state}" for state in ("open", "acknowledged", "resolved", "all")),
    "/threats?severity=high&host=db1&q=disk",
    "/threats?after=3.1767225600000000.9",
    "/threats/1",
)
OTHERS = (
    *(
        "/events",
        "/events?host=db1&kind=threat",
        "/events?kind=event&after=1767225600000000.1.0000000000000000",
    ),
    *("/events/states", "/events/states?before=9", "/events/audit", "/events/audit?before=9"),
    *("/policies", "/enroll", "/notifications", "/people", "/account"),
)
API = (
    *("agents", "agents?after=agent-1&limit=10", "silences", "tolerances", "policies", "audit?after=9"),
    *("events", "events?kind=event&since=2026-01-01T00:00:00Z&after=1767225600000000.1.0000000000000000"),
    *("threats", "threats?worst_first=true&after=3.1767225600000000.9", "threats/1", "threats?type=disk"),
    *(
        "threats?label=env%3Dprod",
        "threats?host=db1",
        "threats?text=disk",
        "threats?state=open&severity=high",
    ),
)
OF_AGENT = ("", "/samples", "/samples?newest=true", "/series", "/continuity", "/policy")
SPANS = ("from=2025-12-31T12:00:00Z", "from=2025-12-01T00:00:00Z", "from=2025-01-01T00:00:00Z")


@pytest.fixture
def agent(center: CenterUnderTest, desk: Desk) -> AgentUnderTest:
    """A host with something in every table that pages read."""
    made = center.agent(hostname="db1")
    made.register(labels={"env": "prod"})
    made.deliver(made.record(1), made.record(2, "gap"))
    made.deliver(made.record(1, "threat"), made.record(2, "event"), stream="events")
    presence.step(desk)
    return made


def plans(
    center: CenterUnderTest, browser: Browser, paths: list[str]
) -> dict[str, list[tuple[str, list[str]]]]:
    """For each path the statements that it asked for, each with its plan."""
    found: dict[str, list[tuple[str, list[str]]]] = {}

    def explain(connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        asked = connection.connection.cursor().execute("EXPLAIN QUERY PLAN " + statement, parameters)
        found[path].append((statement, [step[3] for step in asked.fetchall()]))

    event.listen(center.center.engine, "before_cursor_execute", explain)
    path = "/health"
    found[path] = []
    center.center.probe.step()
    for path in [*paths, "/metrics"]:
        found[path] = []
        answer = center.get(path) if path == "/metrics" else browser.get(path)
        assert answer.status_code == 200, (path, answer.text)
        answer.close()
    event.remove(center.center.engine, "before_cursor_execute", explain)
    return found


def costly(statement: str, plan: list[str]) -> list[str]:
    """The steps that go through a large table by no index, or through a growing one to put it in order afterwards."""
    found = []
    for step in plan:
        scanned = re.match(r"SCAN (\w+)", step)
        if scanned is None or scanned[1] in SMALL or scanned[1] not in metadata.tables:
            continue
        if scanned[1] in GROWING and "USE TEMP B-TREE FOR ORDER BY" in plan:
            found.append(step)
        elif "INDEX" not in step and not re.search(rf'ORDER BY {scanned[1]}."key" DESC\s+LIMIT', statement):
            # In the order of its key and with an end: it reads no more than it answers with.
            found.append(step)
    return found


def test_no_page_reads_a_large_table_without_an_index(center: CenterUnderTest, agent: AgentUnderTest) -> None:
    person(center, "ann", "admin")
    browser = Browser(center)
    browser.login()
    of_agent = f"/api/v1/agents/{agent.agent_id}"
    paths = [
        *FLEET,
        *(f"/hosts/{agent.agent_id}{path}" for path in HOST),
        *THREATS,
        *OTHERS,
        *(f"/api/v1/{path}" for path in API),
        *(of_agent + path for path in OF_AGENT),
        *(f"{of_agent}/series?{span}" for span in SPANS),
        f"/api/v1/events?agent={agent.agent_id}",
    ]
    found = plans(center, browser, paths)
    assert all(found.values()), "every one asks the database"
    bad = [
        f"{path}: {step}: {statement}"
        for path, asked in found.items()
        for statement, plan in asked
        for step in costly(statement, plan)
        if statement not in ALLOWED
    ]
    assert not bad, "\n\n".join(bad)
