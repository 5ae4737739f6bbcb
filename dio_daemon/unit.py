"""What systemd says of the agent's unit, for a person who asked the agent and got no answer."""

from __future__ import annotations

import subprocess

UNIT = "dio-agent.service"
_PROPERTIES = "LoadState,ActiveState,SubState,Result,ConditionResult,StatusText,ExecMainStatus,NRestarts"


def show() -> dict[str, str]:
    """The unit's properties; empty when systemd cannot be asked."""
    try:
        done = subprocess.run(
            ["systemctl", "show", UNIT, f"--property={_PROPERTIES}"],
            capture_output=True,
            text=True,
            timeout=10,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return {}
    return dict(line.split("=", 1) for line in done.stdout.splitlines() if "=" in line)


def explain() -> str:
    """Why the agent does not answer, and what to do."""
    unit = show()
    state = unit.get("ActiveState", "")
    status = unit.get("StatusText", "")
    because = f": {status}" if status else ""
    if unit.get("LoadState") != "loaded":
        return "The agent is not installed as a service (apt install dio-agent)"
    if state in ("activating", "reloading"):
        return f"The agent is starting{because}\nFollow it with: journalctl -f -u dio-agent"
    if state == "failed" or unit.get("Result") not in ("success", ""):
        code = unit.get("ExecMainStatus", "?")
        return f"The agent fails to start (exit code {code}){because}\nSee: journalctl -u dio-agent -n 50"
    if unit.get("ConditionResult") == "no":
        return "This host is not enrolled: dioctl enroll URL (token on standard input or with --token-file)"
    if state == "active":
        return f"The service runs{because}, but its socket does not answer\nTry: systemctl restart dio-agent"
    return "The agent is not running: systemctl start dio-agent"
