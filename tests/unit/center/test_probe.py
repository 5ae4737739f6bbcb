import sqlite3
import threading

import pytest
from sqlalchemy import text

from tests.unit.center.harness import CenterUnderTest


def test_a_healthy_center(center: CenterUnderTest) -> None:
    agent = center.agent()
    agent.deliver(agent.record(1))
    center.center.probe.step()
    response = center.client.get("/health")
    assert response.status_code == 200
    assert response.json == {
        "status": "healthy",
        "component": "nerve_center",
        "agents_connected": 1,
        "threats_active": 0,
        "timestamp": "2026-01-01T00:00:00Z",
    }
    head = center.client.head("/health")
    assert (head.status_code, head.data) == (200, b"")


def test_who_counts_as_connected(center: CenterUnderTest) -> None:
    silent, gone, there = center.agent(), center.agent(), center.agent()
    center.agent()
    silent.deliver(silent.record(1))
    center.clock.advance(33)
    gone.deliver(gone.record(1))
    gone.goodbye()
    there.deliver(there.record(1))
    center.center.probe.step()
    assert center.center.probe.health()["agents_connected"] == 1


def test_the_first_one_who_asks_waits_for_the_first_probe(center: CenterUnderTest) -> None:
    later = threading.Timer(0.1, center.center.probe.step)
    later.start()
    assert center.client.get("/health").status_code == 200
    later.join()


@pytest.mark.sqlite("how long its lock is waited for")
def test_while_the_database_is_locked(center: CenterUnderTest, caplog: pytest.LogCaptureFixture) -> None:
    center.center.probe.step()
    other = sqlite3.connect(center.settings.database.path, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    center.clock.advance(3)
    with caplog.at_level("INFO", "nerve_center"):
        center.center.probe.step()
        center.clock.advance(3)
        center.center.probe.step()
        response = center.client.get("/health")
        assert (response.status_code, response.json["status"]) == (503, "unhealthy")
        assert response.json["component"] == "nerve_center"
        assert response.json["reason"] == "database is locked for 5 s"
        assert response.json["agents_connected"] is None
        agent_answer = center.get("/api/v1/agents")
        assert agent_answer.status_code == 200
        other.execute("COMMIT")
        other.close()
        center.center.probe.step()
    assert center.client.get("/health").status_code == 200
    assert [record.getMessage() for record in caplog.records] == [
        "the nerve center takes no reports: database is locked",
        "the nerve center takes reports again",
    ]


@pytest.mark.sqlite("how long its lock is waited for")
def test_a_report_while_the_database_is_locked(center: CenterUnderTest) -> None:
    agent = center.agent()
    other = sqlite3.connect(center.settings.database.path, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    response = agent.send(agent.report([agent.record(1)]))
    other.execute("COMMIT")
    other.close()
    assert response.status_code == 503
    assert response.json["type"] == "urn:dio:problem:database-unavailable"
    assert int(response.headers["Retry-After"]) > 0
    assert agent.seen()["records"]["samples"] == 0


def test_a_fresh_commit_saves_the_probe_its_write(center: CenterUnderTest) -> None:
    def last_write() -> str:
        return center.center.writer.submit(
            lambda connection: str(
                connection.execute(text("SELECT value FROM meta WHERE name = 'probe'")).scalar()
            )
        )

    center.center.probe.step()
    before = last_write()
    center.clock.advance(1)
    last_write()
    center.center.probe.step()
    assert last_write() == before
    center.clock.advance(1)
    last_write()
    center.center.probe.step()
    assert last_write() != before, "the pulse is due, whatever else was committed"


def test_a_probe_that_does_not_come_back(center: CenterUnderTest) -> None:
    center.center.probe.step()
    center.clock.advance(7)
    body = center.center.probe.health()
    assert (body["status"], body["reason"]) == ("unhealthy", "the database has not answered for 7 s")


def test_a_probe_that_meets_a_bug(center: CenterUnderTest, caplog: pytest.LogCaptureFixture) -> None:
    center.center.writer.submit(
        lambda connection: connection.execute(text("ALTER TABLE threats RENAME TO gone")) and None
    )
    center.center.probe.step()
    assert center.center.probe.health()["reason"].startswith("the database probe failed")
    assert "Traceback" in caplog.text
