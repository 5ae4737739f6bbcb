"""What is normal clears, policies reach installed agents, and one that an agent cannot use is shown everywhere."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from conftest import MakeHost, Note
from harness import dio
from harness.commands import wait_for
from harness.host import Host

RULE = '[running]\nvalue = "uptime_s"\nenter = { medium = 0 }\nsummary = "It has run for {value:.0f} s."\n'
FILES = {
    "/etc/dio-agent/agent.toml.d/20-fast.toml": "[agent]\ninterval_s = 2\n",
    "/etc/dio-agent/rules.d/own.toml": RULE,
}
ALL = '[server]\nhost = "0.0.0.0"\n'
LABEL = '[agent]\nlabels = { role = "backup" }\n'
WITHIN_S = 90.0
"""A guard against hanging; how long it really took is noted."""


@pytest.mark.parametrize("release", ["trixie"], indirect=True)
def test_a_finding_is_normal_and_a_policy_is_refused(make_host: MakeHost, note: Note) -> None:
    host = make_host("alpha", files=FILES)
    host.run(f"systemctl start {dio.CENTER} {dio.AGENT}")
    api = dio.Api(host)

    def threats(type_: str, state: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = api.get(f"threats?type={type_}&state={state}")["threats"]
        return found

    def policy() -> dict[str, Any]:
        found: dict[str, Any] = json.loads(host.run("dioctl policy --json"))
        return found

    (threat,) = wait_for("the threat", lambda: threats("running", "open"), within_s=WITHIN_S, every_s=0.5)
    assert "No policy is in force" in host.run("dioctl policy")
    begun = time.monotonic()
    said = host.run(f"nervectl tolerance add --threat {threat['id']} --reason 'a test host'")
    assert "running of running is normal on host agent-" in said
    (cleared,) = wait_for("it clears", lambda: threats("running", "cleared"), within_s=WITHIN_S, every_s=0.2)
    note("seconds from marking to cleared, at an interval of 2 s", round(time.monotonic() - begun, 1))
    assert cleared["reason"] == "tolerated"
    assert "a test host" in host.run("nervectl tolerance list")
    dio.wait_line(host, "1 findings that are normal", within_s=WITHIN_S)
    assert host.run("stat -c '%a %U' /var/lib/dio-agent/policy.json").split() == ["600", "dio-agent"]

    # An intruder's way in, marked on the whole fleet before anybody undid it.
    wait_for(
        "the baseline is taken",
        lambda: [
            each
            for each in api.get("events?kind=event&limit=1000")["events"]
            if each["data"]["type"] == "integrity_baseline"
        ],
        within_s=WITHIN_S,
        every_s=1,
    )
    host.run("mkdir -p /etc/cron.d; echo '* * * * * root true' > /etc/cron.d/ours")
    (cron,) = wait_for(
        "the cron entry", lambda: threats("cron_changed", "open"), within_s=WITHIN_S, every_s=0.5
    )
    host.run(f"nervectl tolerance add --threat {cron['id']} --fleet --until 1d")
    wait_for("it clears", lambda: threats("cron_changed", "cleared"), within_s=WITHIN_S, every_s=0.5)

    host.run(f"systemctl stop {dio.CENTER}; systemctl restart --no-block {dio.AGENT}")
    wait_for(
        "it holds without the nerve center, and is counted",
        lambda: any(each["count"] for each in policy()["tolerated"]),
        within_s=WITHIN_S,
        every_s=0.5,
    )
    host.run(f"systemctl start {dio.CENTER}")
    dio.wait_active(host, within_s=WITHIN_S)
    assert threats("running", "open") == []

    before = policy()["version"]
    assert "line 2" in host.run("printf '[cpu]\\nfor = 1\\n' | nervectl policy set --rules - 2>&1 || true")
    host.run("printf '[not_here]\\nfor_s = 5\\n' | nervectl policy set --interval 3 --rules -")
    wait_for("the refusal", lambda: policy()["refused"], within_s=WITHIN_S, every_s=0.5)
    assert policy()["version"] == before
    assert "policy_refused" in wait_for(
        "the Status line", lambda: dio.status_text(host).partition("[")[2], within_s=WITHIN_S
    )
    assert "not_here needs value" in host.run("dioctl status")
    wait_for(
        "the nerve center shows it",
        lambda: "not_here needs value" in host.run("nervectl policy list"),
        within_s=WITHIN_S,
        every_s=0.5,
    )
    host.run("nervectl policy set --interval 3")
    wait_for("another interval", lambda: policy()["interval_s"] == 3, within_s=WITHIN_S, every_s=0.5)
    shown = next(line for line in host.run("dioctl config show").splitlines() if "agent.interval_s" in line)
    assert shown.split()[1:3] == ["3.0", "policy"]
    host.run("printf '[cpu]\\nfor_s = 77\\n' | nervectl policy set --interval 3 --rules -")
    wait_for("rules of the policy", lambda: policy()["rules"], within_s=WITHIN_S, every_s=0.5)
    (cpu,) = (line for line in host.run("dioctl rules list").splitlines() if line.startswith("cpu "))
    assert "77 s" in cpu and f"policy {policy()['version']} (fleet)" in cpu
    wait_for(
        "no condition is left", lambda: not dio.status(host)["conditions"], within_s=WITHIN_S, every_s=0.5
    )

    host.run("nervectl tolerance remove 1")
    wait_for("it is a threat again", lambda: threats("running", "open"), within_s=WITHIN_S, every_s=0.5)
    assert "tolerance.end" in host.run("nervectl audit")


@pytest.mark.parametrize("release", ["bookworm"], indirect=True)
def test_a_finding_is_normal_on_a_label(make_host: MakeHost, note: Note) -> None:
    """Two hosts with the same finding: it is normal on the one with the label alone, and only while it is marked."""
    alpha = make_host("alpha", files=FILES | {"/etc/dio-nerve-center/nerve-center.toml.d/10-all.toml": ALL})
    alpha.run(f"systemctl start {dio.CENTER} {dio.AGENT}")
    beta = make_host("beta", files=FILES | {"/etc/dio-agent/agent.toml.d/30-label.toml": LABEL})
    dio.enroll(beta, alpha)
    beta.run(f"systemctl enable --now {dio.AGENT}")
    api = dio.Api(alpha)

    def hosts(state: str) -> list[str]:
        return sorted(each["hostname"] for each in api.get(f"threats?type=running&state={state}")["threats"])

    def in_force(host: Host) -> str | None:
        """The version of the policy in force, where host and nerve center say the same of it."""
        said = json.loads(host.run("dioctl policy --json"))["version"]
        (agent,) = (each["id"] for each in api.agents() if each["hostname"] == host.name)
        shown = json.loads(alpha.run(f"nervectl policy show {agent}"))
        told = api.get(f"agents/{agent}")["policy"]
        agreed = said == shown["policy"]["version"] == shown["agent"]["version"] == told["version"]
        return said if agreed else "not yet"

    wait_for("both threats", lambda: hosts("open") == ["alpha", "beta"], within_s=WITHIN_S, every_s=0.5)
    begun = time.monotonic()
    alpha.run("nervectl tolerance add running running --label role=backup --reason 'opened by the backup'")
    wait_for("it clears on one", lambda: hosts("cleared") == ["beta"], within_s=WITHIN_S, every_s=0.2)
    note("seconds from marking a label to cleared, at an interval of 2 s", round(time.monotonic() - begun, 1))
    assert "label role=backup" in alpha.run("nervectl tolerance list")
    wait_for(
        "it is in force", lambda: in_force(beta) not in (None, "not yet"), within_s=WITHIN_S, every_s=0.5
    )
    first = in_force(beta)
    assert in_force(alpha) is None and hosts("open") == ["alpha"]
    assert "running" in beta.run("dioctl policy") and "No policy is in force" in alpha.run("dioctl policy")

    # The label is taken off: then it is a threat like anybody's. And put on again.
    beta.run("rm /etc/dio-agent/agent.toml.d/30-label.toml")
    beta.run(f"systemctl restart {dio.AGENT}")
    wait_for("a threat again", lambda: hosts("open") == ["alpha", "beta"], within_s=WITHIN_S, every_s=0.5)
    wait_for("no policy is left", lambda: in_force(beta) is None, within_s=WITHIN_S, every_s=0.5)
    beta.write("/etc/dio-agent/agent.toml.d/30-label.toml", LABEL)
    beta.run(f"systemctl restart {dio.AGENT}")
    wait_for("normal again", lambda: hosts("open") == ["alpha"], within_s=WITHIN_S, every_s=0.5)
    wait_for("it is in force again", lambda: in_force(beta) == first, within_s=WITHIN_S, every_s=0.5)

    begun = time.monotonic()
    alpha.run("nervectl tolerance remove 1")
    wait_for("removed, a threat", lambda: hosts("open") == ["alpha", "beta"], within_s=WITHIN_S, every_s=0.2)
    note("seconds from removing it to a threat again", round(time.monotonic() - begun, 1))
    wait_for("no policy is in force", lambda: in_force(beta) is None, within_s=WITHIN_S, every_s=0.5)
