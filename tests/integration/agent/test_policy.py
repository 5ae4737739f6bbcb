"""What is marked as normal clears within two intervals; a policy outlives the ends of both sides."""

import json
import signal
import subprocess
import sys
from typing import Any

from tests.support.processes import RealAgent, RealCenter, wait_for

RULE = '[running]\nvalue = "uptime_s"\nenter = { medium = 0 }\nsummary = "It has run for {value:.0f} s."\n'


def dioctl(agent: RealAgent, *words: str) -> Any:
    command = [sys.executable, "-m", "dio_daemon.ctl", "--socket", str(agent.folder / "agent.sock")]
    done = subprocess.run([*command, *words, "--json"], check=True, capture_output=True, text=True)
    return json.loads(done.stdout)


def state(center: RealCenter) -> str:
    """Of the threat of the rule, at the nerve center."""
    found = center.get("/api/v1/threats?type=running")["threats"]
    return str(found[0]["state"]) if found else ""


def said(center: RealCenter) -> dict[str, Any]:
    """What the agent says of the policy, at the nerve center."""
    return dict(center.get("/api/v1/agents")["agents"][0]["policy"] or {})


def test_a_finding_is_marked_as_normal_and_a_policy_is_refused(center: RealCenter, agent: RealAgent) -> None:
    (agent.folder / "rules.d").mkdir()
    (agent.folder / "rules.d/own.toml").write_text(RULE)
    center.start()
    agent.start()
    agent.wait_ready()
    wait_for(lambda: state(center) == "open", "the threat")
    agent_id = agent.status()["agent_id"]
    center.control("tolerance", "add", "running", "running", "--host", agent_id, "--reason", "a test")
    wait_for(lambda: state(center) == "cleared", "the threat is cleared")
    (threat,) = center.get("/api/v1/threats?type=running")["threats"]
    assert threat["reason"] == "tolerated"
    version = wait_for(lambda: said(center).get("version"), "the agent says which policy is in force")
    assert dioctl(agent, "policy")["version"] == version

    agent.kill(signal.SIGKILL)
    center.kill(signal.SIGTERM)
    agent.start()  # alone
    counted = wait_for(
        lambda: agent.look() and dioctl(agent, "policy")["tolerated"][0]["count"], "it is seen, and counted"
    )
    assert counted == 1
    assert [each["data"]["type"] for each in dioctl(agent, "threats")["threats"]].count("running") == 0
    center.start()
    agent.wait_ready()

    rules = center.folder / "rules.toml"
    rules.write_text("[not_here]\nfor_s = 5\n")
    center.control("policy", "set", "--interval", "2", "--rules", str(rules))
    refused = wait_for(lambda: said(center).get("refused"), "the refusal")
    assert "not_here needs value" in refused["why"]
    assert said(center)["version"] == version
    assert "policy_refused" in agent.status()["conditions"]
    assert refused["why"] in center.control("policy", "list")
    center.control("policy", "set", "--interval", "2")
    wait_for(lambda: "policy_refused" not in agent.status()["conditions"], "the refusal is over")
    settings = {(item["section"], item["key"]): item for item in dioctl(agent, "config", "show")["settings"]}
    assert settings["agent", "interval_s"]["value"] == 2
    assert settings["agent", "interval_s"]["source"].startswith("policy ")
    wait_for(lambda: center.get("/api/v1/agents")["agents"][0]["interval_s"] == 2, "the interval of reports")

    center.control("tolerance", "remove", "1")
    center.control("policy", "remove")
    wait_for(lambda: state(center) == "open", "the threat is there again")
    wait_for(lambda: said(center) == {"version": None}, "no policy is in force")
