"""Every list is read page by page with the cursor that each page gives, and is the same as when read at once."""

from __future__ import annotations

from typing import Any

import pytest

from nerve_center import auth
from nerve_center.store import policies, tokens
from nerve_center.store.policies import Policy
from tests.unit.center.harness import API_TOKEN, CenterUnderTest, problem

ADMIN = "a-token-of-an-admin-that-is-long-enough"
LISTS = {
    "agents": "id",
    "threats": "id",
    "silences": "id",
    "tolerances": "id",
    "policies": "updated_by",
    "events": "tag",
    "audit": "id",
}
"""Each list, and what tells its items apart."""
LABELS = ("", "env=prod", "env=a=b", "role=", "env=ü")


@pytest.fixture
def filled(center: CenterUnderTest) -> CenterUnderTest:
    """Some of everything."""
    writer = center.center.writer
    writer.submit(lambda connection: tokens.add(connection, "all", auth.hash_of(ADMIN), 0, "admin"))
    for number in range(3):
        agent = center.agent()
        threat = {"type": "t", "severity": "high", "fingerprint": f"f{number}", "state": "open"}
        agent.deliver(agent.record(1, "threat", data=threat), agent.record(2, "event"), stream="events")
        (told,) = center.get("/api/v1/threats", host=agent.agent_id).json["threats"]
        silence = {"scope": "host", "for_s": 600}
        assert center.post(f"/api/v1/threats/{told['id']}/silence", silence, API_TOKEN).status_code == 201
        tolerance = {"scope": "fleet", "type": "cron", "subject": f"/etc/cron.d/{number}"}
        assert center.post("/api/v1/tolerances", tolerance, API_TOKEN).status_code == 201
    for label in LABELS:
        name, _, value = label.partition("=")
        new = Policy(name, value, 30, "")
        writer.submit(lambda connection, new=new: policies.save(connection, new, f"user:{new.of}", 1))
    return center


@pytest.mark.parametrize("name", LISTS)
def test_page_by_page(filled: CenterUnderTest, name: str) -> None:
    def page(**asked: Any) -> Any:
        response = filled.get(f"/api/v1/{name}", ADMIN, **asked)
        assert response.status_code == 200, response.text
        return response.json

    whole = page(limit=1000)
    assert whole["next"] is None and len(whole[name]) >= 3
    items = [item[LISTS[name]] for item in whole[name]]
    assert len(set(items)) == len(items)
    found, asked = [], {}
    for _ in range(len(items)):
        part = page(limit=1, **asked)
        found += [item[LISTS[name]] for item in part[name]]
        asked = {"after": part["next"]}
    assert (found, asked) == (items, {"after": None})
    assert page() == whole, "so many by default"


@pytest.mark.parametrize("name", LISTS)
def test_what_is_no_page(filled: CenterUnderTest, name: str) -> None:
    wrong = [{"limit": "0"}, {"limit": "1001"}, {"limit": "x"}, {"before": "1"}]
    if name != "agents":  # any text may stand where an id could
        wrong += [{"after": ""}, {"after": "\x00"}, {"after": "x" * 600}]
    for asked in wrong:
        assert problem(filled.get(f"/api/v1/{name}", ADMIN, **asked)) == "bad-parameter", asked
