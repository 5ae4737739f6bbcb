"""What tests of faults do to a host, and how they know that it has healed.

The oracle is `nervectl continuity`: it fails when any record that an agent took is neither stored once nor counted in
a gap.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from . import dio
from .commands import wait_for
from .host import Host

STATE = "/var/lib/dio-agent"
DATABASE = "/var/lib/dio-nerve-center/nerve-center.db"
FAST = {
    "/etc/dio-agent/agent.toml.d/20-fast.toml": "[agent]\ninterval_s = 1\n[delivery]\nconnect_timeout_s = 2\n"
    "total_timeout_s = 4\n"
}
HEALED_S = 60
"""Far more than the 2 intervals and the moment for a restart that it takes: other tests run beside."""
# Never a pid that systemctl may not have: kill 0 would mean everybody who runs this test.
KILL = "systemctl kill -s KILL --kill-who=main"
# Of the nerve center's processes, in the order of their birth: supervisor, master, workers.
KILL_NTH = (
    "pid=$(sort -n /sys/fs/cgroup/system.slice/dio-nerve-center.service/cgroup.procs | sed -n {number}p);"
    ' test "$pid" -gt 1 && kill -9 $pid'
)


def both(make_host: Callable[..., Host]) -> Host:
    """A host with nerve center and agent, which has delivered something."""
    host = make_host("alpha", files=FAST)
    host.run(f"systemctl start {dio.CENTER} {dio.AGENT}")
    dio.wait_acknowledged(host)
    return host


def asked(host: Host) -> dict[str, Any] | None:
    """The status document; None while nobody answers."""
    done = host.run_full("dioctl status --json", check=False)
    return None if done.returncode else json.loads(done.stdout)


def healed(host: Host, center: Host | None = None) -> list[dict[str, Any]]:
    """Wait until the agent is active and has delivered everything; what the oracle then says."""

    def well() -> bool:
        found = asked(host)
        return found is not None and found["state"] == "active" and found["spool"]["pending"] == 0

    wait_for(f"{host.name} is active and nothing waits", well, within_s=HEALED_S)
    last = (asked(host) or {})["spool"]["streams"]["samples"]["acknowledged_seq"]
    wait_for("it goes on reporting", lambda: reported(host) > last, within_s=HEALED_S)
    return complete(center or host)


def reported(host: Host) -> int:
    """How many samples were acknowledged."""
    return int((asked(host) or {})["spool"]["streams"]["samples"]["acknowledged_seq"])


def complete(center: Host) -> list[dict[str, Any]]:
    """What the oracle says once all is there; what is really missing stays so.

    A center whose database was taken away needs a moment to notice, and its agents one more.
    """

    def told() -> list[dict[str, Any]] | None:
        done = center.run_full("nervectl continuity --json", check=False)
        if done.returncode:
            return None
        found: list[dict[str, Any]] = json.loads(done.stdout)["agents"]
        whole = all(report["complete"] and report["unaccounted"] == 0 for report in found)
        return found if whole else None

    return wait_for("nothing is unaccounted for", told, within_s=HEALED_S, every_s=1) or []


def in_gaps(reports: list[dict[str, Any]]) -> int:
    """How many records all gaps count."""
    return sum(report["in_gaps"] for report in reports)


def waiting(host: Host, count: int) -> None:
    """Wait until so many more records wait."""
    before = (asked(host) or {})["spool"]["pending"]

    def enough() -> bool:
        found = asked(host)
        return found is not None and found["spool"]["pending"] >= before + count

    wait_for(f"{count} more records wait", enough, within_s=30)


def condition(host: Host, code: str, there: bool = True) -> None:
    """Wait until the agent has a condition, or has it no more."""

    def so() -> bool:
        found = asked(host)
        return found is not None and (code in found["conditions"]) == there

    wait_for(f"{code}: {there}", so, within_s=HEALED_S)
