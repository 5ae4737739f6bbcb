"""nervectl silence."""

from __future__ import annotations

import json

from tests.unit.center.harness import API_TOKEN, CenterUnderTest
from tests.unit.center.test_nervectl import run
from tests.unit.center.test_threats import Host, act


def test_silences_are_begun_listed_and_ended(center: CenterUnderTest) -> None:
    host = Host(center, {"role": "web"})
    agent = host.agent.agent_id
    threat = host.tell()
    assert run(center, "silence", "list").output == "Nothing is silenced.\n"
    done = run(center, "silence", "add", "--host", agent, "--until", "2h", "--reason", "new disk")
    name = threat["hostname"]
    assert done.output.startswith(f"1: everything on host {name} is silenced until ")
    assert run(center, "silence", "add", "--label", "role=web", "--until", "1d").exit_code == 0
    assert run(center, "silence", "add", "--fleet", "--until", "30m").exit_code == 0
    act(center, threat, "silence", {"scope": "host", "until_cleared": True})
    listed = run(center, "silence", "list").output.splitlines()
    assert [line.split()[0] for line in listed] == ["ID", "4", "3", "2", "1"]
    assert f"disk_full on host {name}" in listed[1] and "when it clears" in listed[1]
    assert "everything on the fleet" in listed[2] and "everything on label role=web" in listed[3]
    assert "new disk" in listed[4] and "local:" in listed[4]
    found = json.loads(run(center, "silence", "list", "--json").output)["silences"]
    assert found == center.get("/api/v1/silences", API_TOKEN).json["silences"]
    assert "everything on the fleet is no longer silenced" in run(center, "silence", "remove", "3").output
    assert len(json.loads(run(center, "silence", "list", "--json").output)["silences"]) == 3


def test_what_does_not_fit(center: CenterUnderTest) -> None:
    for arguments in (
        (),
        ("--fleet",),
        ("--fleet", "--until", "soon"),
        ("--until", "2h"),
        ("--fleet", "--label", "a=b", "--until", "2h"),
    ):
        assert run(center, "silence", "add", *arguments).exit_code == 2, arguments
    for arguments, told in (
        (("--host", "agent-0000000000000000"), "There is no agent of this id"),
        (("--label", "role"), "label"),
        (("--fleet", "--reason", "x" * 1025), "too long"),
    ):
        done = run(center, "silence", "add", *arguments, "--until", "2h")
        assert done.exit_code in (1, 2) and told in done.output, done.output
    assert run(center, "silence", "remove", "9").exit_code == 1
