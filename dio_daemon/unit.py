"""What systemd says of the agent's unit, for a person who asked the agent and got no answer."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping

UNIT = "dio-agent.service"
SOCKET = "/run/dio-agent/agent.sock"
ENROLLED = ("/etc/dio-agent/enrollment-token", "/var/lib/dio-agent/identity.json")
"""Either lets the unit start; its conditions."""
_PROPERTIES = (
    "LoadState,ActiveState,SubState,Result,ConditionResult,ConditionTimestampMonotonic,StatusText,"
    "ExecMainStatus,NRestarts,Job"
)
SOON_S = 2.0
"""How long an agent that runs, as systemd sees it, may be without its socket."""
CHANGING_S = 9.0
"""How long a start or stop in progress is waited for: less than the 10 s that monitoring systems give a check."""


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


def patience_s(socket: str) -> float:
    """How long an agent that does not answer is worth waiting for, in seconds. It asks systemd and starts nothing."""
    return worth_waiting_s(show()) if _is_unit(socket) else SOON_S


def worth_waiting_s(unit: Mapping[str, str]) -> float:
    """What `patience_s` says for these properties of the unit."""
    state = unit.get("ActiveState", "")
    if state in ("activating", "deactivating", "reloading") or unit.get("Job", "0") not in ("", "0"):
        return CHANGING_S
    if unit and state in ("inactive", "failed"):
        return 0.0
    return SOON_S


def explain(socket: str) -> str:
    """Why the agent does not answer, and what to do. It asks systemd and starts nothing."""
    return sentence(show()) if _is_unit(socket) else "Is the agent running?"


def _is_unit(socket: str) -> bool:
    """Whether it is the unit's agent that was asked, under systemd."""
    return socket == SOCKET and os.path.isdir("/run/systemd/system")  # noqa: PTH112 - pathlib is slow to import


def sentence(unit: Mapping[str, str]) -> str:
    """What `explain` says for these properties of the unit."""
    state, status = unit.get("ActiveState", ""), unit.get("StatusText", "")
    because = f": {status}" if status else ""
    failed = unit.get("Result", "success") not in ("success", "")
    code = _ended(unit)
    if not unit:
        return "Is the agent running? systemd cannot be asked: systemctl status dio-agent"
    if unit.get("LoadState") == "masked":
        return "The agent is masked, so nothing starts it: systemctl unmask dio-agent"
    if unit.get("LoadState") != "loaded":
        return "The agent is not installed as a service (apt install dio-agent)"
    if unit.get("SubState") == "auto-restart":
        times = unit.get("NRestarts", "?")
        return f"The agent fails to start ({code}, tried again {times} times){because}\n{_LOG}"
    if state in ("activating", "reloading"):
        return f"The agent is starting{because}\nFollow it with: journalctl -f -u dio-agent"
    if state == "failed":
        return f"The agent failed ({code}){because}\n{_LOG}"
    if state == "deactivating":
        return f"The agent is stopping{because}"
    if state == "active":
        heard = f' (it last said "{status}")' if status else ""
        return f"The agent runs but does not answer{heard}\nTry: systemctl restart dio-agent"
    if _not_enrolled(unit):
        return "This host is not enrolled: dioctl enroll URL (token on standard input or with --token-file)"
    last = f" (its last run failed: {code}{because})" if failed else ""
    return f"The agent is not running{last}: systemctl start dio-agent"


def _ended(unit: Mapping[str, str]) -> str:
    """How its last process ended."""
    result = unit.get("Result", "")
    status = unit.get("ExecMainStatus", "?")
    return _RESULTS.get(result, f"exit code {status}").format(status)


_RESULTS = {
    "signal": "killed by signal {}",
    "core-dump": "killed by signal {}",
    "watchdog": "it hung and was killed",
    "oom-kill": "it was killed for want of memory",
    "timeout": "it took too long and was killed",
}
_LOG = "See: journalctl -u dio-agent -n 50"


def _not_enrolled(unit: Mapping[str, str]) -> bool:
    """Whether the unit was skipped at its last start, or has no start behind it and would be skipped."""
    if unit.get("ConditionTimestampMonotonic", "0") != "0":
        return unit.get("ConditionResult") == "no"
    unseen = os.path.isdir(os.path.dirname(ENROLLED[1])) and os.geteuid() != 0  # noqa: PTH112, PTH120 - as above
    return not unseen and not any(os.path.lexists(path) for path in ENROLLED)
