"""Two processes claim one identity: a restart is accepted at once, a clone is never mixed with its original."""

import secrets
from dataclasses import replace
from typing import Any

from nerve_center.registration import kept_apart_id

from .harness import TOKEN, AgentUnderTest, CenterUnderTest, problem

HERE, ELSEWHERE = "a" * 32, "b" * 32


def started(center: CenterUnderTest) -> AgentUnderTest:
    """An agent that enrolled from HERE and has reported."""
    agent = AgentUnderTest(center)
    assert agent.register(TOKEN, place=HERE).status_code == 201
    agent.deliver(agent.record(1))
    return agent


def another_run(agent: AgentUnderTest) -> AgentUnderTest:
    """The same state folder, started again (perhaps on another host)."""
    return replace(agent, run_id=secrets.token_hex(16), marks=dict(agent.marks))


def open_threats(center: CenterUnderTest) -> int:
    center.center.probe.step()
    found: Any = center.get("/health").json
    return int(found["threats_active"])


def test_a_restart_in_the_same_place_is_accepted_at_once(center: CenterUnderTest) -> None:
    agent = another_run(started(center))
    assert agent.register(place=HERE).status_code == 200
    agent.deliver(agent.record(2))


def test_a_reboot_without_goodbye_waits_until_the_old_run_is_overdue(center: CenterUnderTest) -> None:
    agent = another_run(started(center))
    answer = agent.register(place=ELSEWHERE)
    assert problem(answer) == "instance-in-doubt"
    assert int(answer.headers["Retry-After"]) == 15
    center.clock.advance(17.1)
    assert agent.register(place=ELSEWHERE).status_code == 200
    agent.deliver(agent.record(2))


def test_what_was_under_way_when_the_power_went_is_no_sign_of_life(center: CenterUnderTest) -> None:
    """A nerve center that was frozen reads the last reports of a host after the first word of its next start."""
    first = started(center)
    center.clock.advance(9)
    agent = another_run(first)
    assert problem(agent.register(place=ELSEWHERE)) == "instance-in-doubt"
    center.clock.advance(3)
    first.deliver(first.record(2))
    assert problem(agent.register(place=ELSEWHERE)) == "instance-in-doubt"
    center.clock.advance(17.1)
    assert agent.register(place=ELSEWHERE).status_code == 200


def test_after_a_goodbye_nobody_waits(center: CenterUnderTest) -> None:
    first = started(center)
    assert first.goodbye().status_code == 204
    assert another_run(first).register(place=ELSEWHERE).status_code == 200


def test_a_clone_of_the_whole_folder_is_told_and_kept_apart(center: CenterUnderTest) -> None:
    first = started(center)
    clone = another_run(first)
    assert problem(clone.register(place=ELSEWHERE)) == "instance-in-doubt"
    assert problem(clone.send(clone.report([clone.record(2)]))) == "run-not-current"
    center.clock.advance(6)
    first.deliver(first.record(2))
    assert problem(clone.register(place=ELSEWHERE)) == "instance-cloned"
    assert problem(clone.register(place=ELSEWHERE)) == "instance-cloned"
    own = replace(
        clone, instance_id=secrets.token_hex(16), credential=secrets.token_hex(32), epoch="e" * 16, marks={}
    )
    answer = own.register(TOKEN, place=ELSEWHERE)
    assert answer.status_code == 201
    apart = kept_apart_id(first.agent_id, own.instance_id)
    assert answer.json["agent_id"] == apart
    assert open_threats(center) == 1
    own.agent_id = apart
    own.deliver(own.record(1))
    first.deliver(first.record(3))
    assert first.seen()["records"]["samples"] == 3
    assert own.seen()["records"]["samples"] == 1


def test_two_runs_that_take_turns_are_two_hosts_and_the_younger_is_the_clone(center: CenterUnderTest) -> None:
    first = started(center)
    center.clock.advance(20)
    second = another_run(first)
    assert second.register(place=ELSEWHERE).status_code == 200
    second.deliver(second.record(2))
    assert problem(first.send(first.report([first.record(2)]))) == "run-not-current"
    assert first.register(place=HERE).status_code == 200
    assert problem(second.send(second.report([second.record(3)]))) == "instance-cloned"


def test_a_reinstall_takes_over_once_the_old_instance_is_overdue(center: CenterUnderTest) -> None:
    first = started(center)
    fresh = AgentUnderTest(center, agent_id=first.agent_id)
    assert problem(fresh.register(TOKEN, place=ELSEWHERE)) == "instance-in-doubt"
    center.clock.advance(17.1)
    answer = fresh.register(TOKEN, place=ELSEWHERE)
    assert answer.json["agent_id"] == first.agent_id
    fresh.deliver(fresh.record(1))
    assert fresh.seen()["records"]["samples"] == 2
    assert open_threats(center) == 0


def test_a_lost_identity_file_in_the_same_folder_takes_over_at_once(center: CenterUnderTest) -> None:
    first = started(center)
    fresh = AgentUnderTest(center, agent_id=first.agent_id)
    assert fresh.register(TOKEN, place=HERE).json["agent_id"] == first.agent_id


def test_a_host_with_the_same_machine_id_is_kept_apart(center: CenterUnderTest) -> None:
    first = started(center)
    other = AgentUnderTest(center, agent_id=first.agent_id)
    assert problem(other.register(TOKEN, place=ELSEWHERE)) == "instance-in-doubt"
    center.clock.advance(6)
    first.deliver(first.record(2))
    answer = other.register(TOKEN, place=ELSEWHERE)
    assert answer.json["agent_id"] != first.agent_id
    assert open_threats(center) == 1


def test_a_doubted_registration_changes_nothing_of_the_agent(center: CenterUnderTest) -> None:
    first = started(center)
    clone = another_run(first)
    clone.hostname = "clone.example"
    assert problem(clone.register(place=ELSEWHERE)) == "instance-in-doubt"
    assert first.seen()["hostname"] == "host.example"


def test_revoked_until_allowed(center: CenterUnderTest) -> None:
    from nerve_center.store import agents

    first = started(center)

    def revoke(at: int | None) -> None:
        def work(connection: Any) -> None:
            agents.set_revoked(connection, agents.agent_key(connection, first.agent_id) or 0, at)

        center.center.writer.submit(work)

    revoke(center.clock.now_us())
    assert problem(first.send(first.report([first.record(2)]))) == "credential-revoked"
    assert problem(first.register(place=HERE)) == "credential-revoked"
    fresh = AgentUnderTest(center, agent_id=first.agent_id)
    assert problem(fresh.register(TOKEN, place=HERE)) == "credential-revoked"
    revoke(None)
    first.deliver(first.record(2))
