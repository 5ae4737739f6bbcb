"""nervectl policy and nervectl tolerance."""

from __future__ import annotations

import json
from pathlib import Path

from nerve_center.store import audit, tolerances
from nerve_center.store.engine import reading
from tests.unit.center.harness import CenterUnderTest
from tests.unit.center.test_nervectl import run


def rules(folder: Path, text: str) -> str:
    file = folder / "rules.toml"
    file.write_text(text)
    return str(file)


def test_policies_are_set_listed_shown_and_removed(center: CenterUnderTest, tmp_path: Path) -> None:
    agent = center.agent()
    agent.register(labels={"role": "web"})
    assert "There is no policy" in run(center, "policy", "list").output
    done = run(center, "policy", "set", "--interval", "30")
    assert (done.exit_code, done.output.splitlines()[0][:19]) == (0, "policy of fleet set")
    file = rules(tmp_path, "[cpu]\nfor_s = 60\n")
    assert run(center, "policy", "set", "--label", "role=web", "--rules", file).exit_code == 0
    assert "is so already" in run(center, "policy", "set", "--label", "role=web", "--rules", file).output
    listed = run(center, "policy", "list").output.splitlines()
    assert [line.split()[0] for line in listed] == ["FOR", "fleet", "role=web"]
    shown = json.loads(run(center, "policy", "show", agent.agent_id).output)
    assert shown["policy"]["interval_s"] == 30
    assert shown["policy"]["rules"] == [{"of": "role=web", "toml": "[cpu]\nfor_s = 60\n"}]
    assert shown["agent"] is None
    assert len(json.loads(run(center, "policy", "list", "--json").output)["policies"]) == 2
    assert run(center, "policy", "remove").exit_code == 0
    assert run(center, "policy", "remove").exit_code == 1
    assert run(center, "policy", "remove", "--label", "role=web").exit_code == 0
    assert run(center, "policy", "show", "agent-0000000000000000").exit_code == 1
    with reading(center.center.engine) as connection:
        actions = [entry.action for entry in audit.page(connection, None, 10)]
    assert actions == ["policy.remove", "policy.remove", "policy.save", "policy.save"]


def test_what_a_policy_cannot_be(center: CenterUnderTest, tmp_path: Path) -> None:
    wrong = run(center, "policy", "set", "--rules", rules(tmp_path, "[cpu]\nfor_s = 'x'\nnothing = 1\n"))
    assert wrong.exit_code == 1
    assert "line 2: cpu.for_s" in wrong.output
    assert "line 3: cpu.nothing" in wrong.output
    for arguments in (
        [],
        ["--label", "web", "--interval", "5"],
        ["--rules", rules(tmp_path, "#" * 40_000)],
        ["--rules", rules(tmp_path, " \n")],
    ):
        assert run(center, "policy", "set", *arguments).exit_code == 1, arguments
    assert run(center, "policy", "set", "--interval", "0").exit_code == 2
    (tmp_path / "latin").write_bytes(b"# \xe4")
    assert "not UTF-8" in run(center, "policy", "set", "--rules", str(tmp_path / "latin")).output


def test_who_refuses_is_listed(center: CenterUnderTest) -> None:
    agent = center.agent()
    said = {"version": None, "refused": {"version": "1" * 16, "why": "cpu needs\x1b[31m value"}}
    agent.send(agent.report([], policy=said))
    listed = run(center, "policy", "list").output
    assert "cpu needs?[31m value" in listed
    assert (
        json.loads(run(center, "policy", "list", "--json").output)["refused"][0]["agent_id"] == agent.agent_id
    )


def test_findings_are_marked_listed_and_taken_back(center: CenterUnderTest) -> None:
    agent = center.agent()
    agent.deliver(agent.record(1, "threat"), stream="events")
    assert run(center, "tolerance", "list").output == "Nothing is marked as normal.\n"
    done = run(center, "tolerance", "add", "--threat", "1", "--reason", "ours")
    assert done.exit_code == 0, done.output
    assert f"is normal on host {agent.agent_id}" in done.output
    assert run(center, "tolerance", "add", "--threat", "1", "--label", "role=web").exit_code == 0
    done = run(center, "tolerance", "add", "cron_changed", "/etc/crontab", "--fleet", "--until", "30d")
    assert done.output == "3: cron_changed of /etc/crontab is normal on fleet\n"
    listed = json.loads(run(center, "tolerance", "list", "--json").output)["tolerances"]
    assert [each["scope"] for each in listed] == ["fleet", "label", "host"]
    assert listed[0]["fingerprint"] == tolerances.finding("cron_changed", "/etc/crontab").fingerprint
    assert listed[0]["until"] is not None
    assert "ours" in run(center, "tolerance", "list").output
    assert run(center, "tolerance", "remove", "3").exit_code == 0
    assert len(json.loads(run(center, "tolerance", "list", "--json").output)["tolerances"]) == 2


def test_what_cannot_be_marked(center: CenterUnderTest) -> None:
    for arguments in (
        ["--fleet"],
        ["cron", "--fleet"],
        ["cron", "x"],
        ["cron", "x", "--fleet", "--label", "a=b"],
        ["cron", "x", "--threat", "1"],
    ):
        assert run(center, "tolerance", "add", *arguments).exit_code == 2, arguments
    for arguments in (
        ["cron", "x", "--host", "agent-0000000000000000"],
        ["cron", "x", "--label", "a"],
        ["cron", "x" * 2000, "--fleet"],
        ["offline", "x", "--fleet"],
        ["--threat", "9"],
    ):
        done = run(center, "tolerance", "add", *arguments)
        assert done.exit_code == 1, arguments
    assert run(center, "tolerance", "remove", "9").exit_code == 1
