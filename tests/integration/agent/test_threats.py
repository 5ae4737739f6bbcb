"""A threat's way from a rule to the nerve center, over a kill of the agent, to its end by a reload."""

import json
import signal
import subprocess
import sys
from typing import Any

from tests.support.processes import RealAgent, RealCenter, wait_for

RULE = '[running]\nvalue = "uptime_s"\nenter = { medium = 0 }\nsummary = "It has run for {value:.0f} s."\n'


def local(agent: RealAgent) -> list[dict[str, Any]]:
    """What `dioctl threats` says."""
    command = [
        sys.executable,
        "-m",
        "dio_daemon.ctl",
        "--socket",
        str(agent.folder / "agent.sock"),
        "threats",
        "--json",
    ]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return [each["data"] for each in json.loads(done.stdout)["threats"] if each["data"]["type"] == "running"]


def test_a_threat_and_its_life(center: RealCenter, agent: RealAgent) -> None:
    rules = agent.folder / "rules.d"
    rules.mkdir()
    (rules / "own.toml").write_text(RULE)
    (agent.folder / "agent.toml.d/20-test.toml").write_text("[startup]\nready_within_s = 600\n")
    agent.start()  # the center is away
    wait_for(lambda: "Threat opened: medium running" in agent.log(), "the threat")
    (known,) = wait_for(lambda: local(agent), "the threat while the center is away")
    assert (known["severity"], known["count"], known["subject"]) == ("medium", 1, "running")
    center.start()
    agent.wait_ready()

    def at_center(state: str) -> list[dict[str, Any]]:
        found = center.get("/api/v1/threats?limit=100")["threats"]
        return [each for each in found if each["type"] == "running" and each["state"] == state]

    (told,) = wait_for(lambda: at_center("open"), "the threat at the center")
    assert told["summary"].startswith("It has run for ")
    agent.kill(signal.SIGKILL)
    agent.start()
    agent.wait_ready()
    (again,) = wait_for(lambda: local(agent), "the threat after a kill")
    assert (again["fingerprint"], again["first_seen"], again["count"]) == (
        known["fingerprint"],
        known["first_seen"],
        1,
    )
    wait_for(
        lambda: any(each["last_seen"] > again["last_seen"] for each in local(agent)),
        "the rule has looked again: before, what was open at the kill has two more minutes",
    )
    (rules / "own.toml").write_text("[running]\nfor_s = 'x'\n")
    refused = reload(agent)
    assert refused.returncode == 1
    assert "own.toml:2: running.for_s must be a number" in refused.stderr
    assert local(agent), "the old rules stay"
    (rules / "own.toml").write_text(RULE + "enabled = false\n")
    assert reload(agent).returncode == 0
    wait_for(lambda: at_center("cleared"), "the end of the threat at the center")
    assert at_center("open") == []
    assert local(agent) == []


def reload(agent: RealAgent) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "dio_daemon.ctl", "--socket", str(agent.folder / "agent.sock"), "reload"]
    return subprocess.run(command, check=False, capture_output=True, text=True)
