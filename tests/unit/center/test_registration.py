import zlib
from dataclasses import replace

import pytest

from nerve_center.registration import kept_apart_id
from tests.unit.center.harness import TOKEN, AgentUnderTest, CenterUnderTest, problem


def events_of(center: CenterUnderTest, agent_id: str) -> list[str]:
    from sqlalchemy import text

    from nerve_center.store.engine import reading

    with reading(center.center.engine) as connection:
        rows = connection.execute(
            text("SELECT e.data FROM events e JOIN agents a ON a.key = e.agent_key WHERE a.id = :id"),
            {"id": agent_id},
        )
        return [zlib.decompress(row.data).decode() for row in rows]


def open_threats(center: CenterUnderTest) -> int:
    center.center.probe.step()
    return int(center.center.probe.health()["threats_active"])


def test_enrolling_then_registering_again(center: CenterUnderTest) -> None:
    agent = AgentUnderTest(center)
    first = agent.register(TOKEN)
    assert first.status_code == 201
    assert first.json["agent_id"] == agent.agent_id
    assert first.json["instance_id"] == agent.instance_id
    again = agent.register()
    assert again.status_code == 200
    assert again.json["center_id"] == first.json["center_id"]
    assert agent.seen()["state"] == "never_reported"


def test_a_lost_answer_is_mended_by_registering_again_with_the_token(center: CenterUnderTest) -> None:
    agent = center.agent()
    assert agent.register(TOKEN).status_code == 200
    assert agent.register("wrong").status_code == 200


@pytest.mark.databases("sqlite")
@pytest.mark.parametrize(
    ("token", "code"),
    [
        (None, "enrollment-token-missing"),
        ("", "enrollment-token-missing"),
        ("wrong", "enrollment-token-invalid"),
    ],
)
def test_a_stranger_without_the_token(center: CenterUnderTest, token: str | None, code: str) -> None:
    response = AgentUnderTest(center).register(token)
    assert (response.status_code, problem(response)) == (401, code)
    assert response.headers["WWW-Authenticate"] == "Bearer"
    assert center.get("/api/v1/agents").json["agents"] == []


def test_the_token_file_is_read_again_when_it_changes(center: CenterUnderTest) -> None:
    center.agent()
    file = center.settings.enrollment.token_file
    file.with_name("aside").write_text("another-token-of-a-different-length\n")
    file.with_name("aside").replace(file)
    assert problem(AgentUnderTest(center).register(TOKEN)) == "enrollment-token-invalid"
    assert AgentUnderTest(center).register("another-token-of-a-different-length").status_code == 201
    file.unlink()
    assert (
        problem(AgentUnderTest(center).register("another-token-of-a-different-length"))
        == "enrollment-token-invalid"
    )


@pytest.mark.databases("sqlite")
@pytest.mark.parametrize("content", ["", "two words", "x" * 5000, "t\u00f6ken"])
def test_a_token_file_without_a_token_lets_nobody_in(center: CenterUnderTest, content: str) -> None:
    center.settings.enrollment.token_file.write_text(content)
    assert problem(AgentUnderTest(center).register(content.encode("ascii", "ignore").decode())) in (
        "enrollment-token-missing",
        "enrollment-token-invalid",
    )


@pytest.mark.databases("sqlite")
@pytest.mark.parametrize("header", [None, "", "Basic abc", "Bearer", "Bearer short", "Bearer " + "x" * 600])
def test_without_a_credential(center: CenterUnderTest, header: str | None) -> None:
    headers = {} if header is None else {"Authorization": header}
    response = center.client.post("/api/v1/agents/register", json={}, headers=headers)
    assert (response.status_code, problem(response)) == (401, "credential-missing")
    assert response.headers["WWW-Authenticate"] == "Bearer"


def test_a_revoked_credential_is_refused_everywhere(center: CenterUnderTest) -> None:
    from sqlalchemy import text

    agent = center.agent()
    center.center.writer.submit(lambda c: c.execute(text("UPDATE instances SET revoked_us = 1")) and None)
    responses = [agent.register(TOKEN), agent.send(agent.report([])), agent.goodbye()]
    responses.append(center.get(f"/api/v1/agents/{agent.agent_id}", agent.credential))
    assert {(response.status_code, problem(response)) for response in responses} == {
        (403, "credential-revoked")
    }
    assert agent.seen()["instances"][0]["revoked"] is True


def test_a_credential_of_another_instance_or_agent(center: CenterUnderTest) -> None:
    one, other = center.agent(), center.agent()
    assert problem(one.register(agent_id=other.agent_id)) == "not-your-agent"
    assert problem(one.register(instance_id=other.instance_id)) == "not-your-agent"
    thief = AgentUnderTest(center, instance_id=one.instance_id)
    assert (thief.register(TOKEN).status_code, problem(thief.register(TOKEN))) == (403, "not-your-agent")
    assert problem(replace(one, agent_id=other.agent_id).send(one.report([]))) == "not-your-agent"
    assert problem(one.send(one.report([], instance_id=other.instance_id))) == "not-your-agent"
    assert problem(one.goodbye(instance_id=other.instance_id)) == "not-your-agent"


def test_what_it_says_of_itself_is_kept_up_to_date(center: CenterUnderTest) -> None:
    agent = center.agent()
    agent.register(
        host={"hostname": "new.example", "os": "Debian", "unknown": 1},
        labels={"rack": "7"},
        agent_version="0.2.0",
    )
    seen = agent.seen()
    assert seen["hostname"] == "new.example"
    assert seen["host"] == {"hostname": "new.example", "os": "Debian"}
    assert (seen["labels"], seen["agent_version"]) == ({"rack": "7"}, "0.2.0")


@pytest.mark.parametrize("way", ["silent", "goodbye"])
def test_a_new_instance_takes_a_silent_one_over(center: CenterUnderTest, way: str) -> None:
    old = center.agent()
    old.deliver(old.record(1))
    if way == "goodbye":
        assert old.goodbye().status_code == 204
    else:
        center.clock.advance(33)
    new = center.agent(agent_id=old.agent_id)
    assert new.agent_id == old.agent_id
    (event,) = events_of(center, old.agent_id)
    assert '"type":"reinstalled"' in event
    assert old.instance_id in event
    new.deliver(new.record(1))
    seen = new.seen()
    assert seen["records"] == {"samples": 2, "events": 1, "gaps": 0} or seen["records"]["samples"] == 2
    assert len(seen["instances"]) == 2
    assert open_threats(center) == 0


def test_a_second_live_instance_is_kept_apart(center: CenterUnderTest) -> None:
    old = center.agent()
    center.clock.advance(31)
    new = center.agent(agent_id=old.agent_id)
    assert new.agent_id == kept_apart_id(old.agent_id, new.instance_id) != old.agent_id
    assert open_threats(center) == 1
    old.deliver(old.record(1))
    new.deliver(new.record(1))
    assert (old.seen()["records"]["samples"], new.seen()["records"]["samples"]) == (1, 1)
    again = new.register(agent_id=old.agent_id)
    assert (again.status_code, again.json["agent_id"]) == (200, new.agent_id)
    assert open_threats(center) == 1


def test_one_that_was_taken_over_and_comes_back_is_kept_apart(center: CenterUnderTest) -> None:
    old = center.agent()
    old.deliver(old.record(1))
    center.clock.advance(33)
    new = center.agent(agent_id=old.agent_id)
    assert problem(old.send(old.report([]))) == "credential-unknown"
    back = old.register(TOKEN)
    assert back.status_code == 200
    apart = replace(old, agent_id=back.json["agent_id"], marks={})
    assert apart.agent_id == kept_apart_id(old.agent_id, old.instance_id)
    apart.deliver(apart.record(1))
    new.deliver(new.record(1))
    assert open_threats(center) == 1


def test_one_that_was_taken_over_takes_back_what_fell_silent(center: CenterUnderTest) -> None:
    old = center.agent()
    center.clock.advance(33)
    new = center.agent(agent_id=old.agent_id)
    center.clock.advance(33)
    assert old.register().json["agent_id"] == old.agent_id
    old.deliver(old.record(1))
    assert problem(new.send(new.report([]))) == "credential-unknown"


@pytest.mark.databases("sqlite")
@pytest.mark.parametrize(
    "changes",
    [
        {"protocol": 2},
        {"agent_id": "agent-XYZ"},
        {"agent_id": None},
        {"interval_s": 0},
        {"interval_s": "10"},
        {"host": {}},
        {"host": {"hostname": "a\0b"}},
        {"host": {"hostname": "\ud800"}},
        {"labels": {"a": 1}},
        {"sent_at": "2026-02-30T00:00:00Z"},
        {"boot_id": "x" * 65},
        {"host": {"hostname": "h", "cpus": 1.5}},
        {"labels": {str(n): "x" for n in range(65)}},
    ],
)
def test_a_registration_that_does_not_fit(center: CenterUnderTest, changes: dict[str, object]) -> None:
    response = AgentUnderTest(center).register(TOKEN, **changes)
    assert (response.status_code, problem(response)) == (422, "invalid-body")
    assert response.json["errors"][0]["path"].split(".")[0] in changes
    assert center.get("/api/v1/agents").json["agents"] == []


def test_a_hostname_with_a_newline_is_no_second_log_line(
    center: CenterUnderTest, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO", "nerve_center"):
        AgentUnderTest(center, hostname="a\nERROR forged").register(TOKEN)
    assert "a\\nERROR forged" in caplog.text
    assert "\nERROR forged" not in caplog.text


def test_goodbye_holds_until_the_next_report(center: CenterUnderTest) -> None:
    agent = center.agent()
    agent.deliver(agent.record(1))
    assert agent.goodbye(reason="stop").status_code == 204
    assert agent.seen()["state"] == "stopped"
    center.clock.advance(1000)
    agent.register()
    assert agent.seen()["state"] == "stopped"
    agent.deliver(agent.record(2))
    assert agent.seen()["state"] == "active"


def test_a_late_goodbye_of_an_earlier_run_says_nothing(center: CenterUnderTest) -> None:
    agent = center.agent()
    earlier = agent.run_id
    agent.run_id = "f" * 32
    agent.register()
    agent.deliver(agent.record(1))
    assert agent.goodbye(run_id=earlier).status_code == 204
    assert agent.seen()["state"] == "active"
