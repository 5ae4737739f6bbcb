"""What tests of faults do to a host, and how they know that it has healed.

The oracle is `nervectl continuity`: it fails when any record that an agent took is neither stored once nor counted in
a gap.
"""

from __future__ import annotations

import http.client
import json
import socket
import time
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from . import dio
from .clocks import HOUR_S
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
_TAGS = """
import pathlib, shutil, sqlite3, sys, tempfile
spool = pathlib.Path(sys.argv[1])
log = spool.with_name(spool.name + "-wal")
def begun():
    if not log.exists():
        return None
    with log.open("rb") as file:
        return file.read(32)
def tags(folder):
    copy = pathlib.Path(folder, "spool.db")
    before = begun()
    shutil.copyfile(spool, copy)
    if before is not None:
        shutil.copyfile(log, f"{copy}-wal")
    if begun() != before:
        return None
    with sqlite3.connect(copy) as records:
        return records.execute("SELECT tag FROM records WHERE stream = 'samples' AND kind != 'gap'").fetchall()
found = None
while found is None:
    with tempfile.TemporaryDirectory() as folder:
        try:
            found = tags(folder)
        except FileNotFoundError:
            found = None if spool.exists() else []
        except sqlite3.DatabaseError:
            found = []
for tag, in found:
    print(tag)
"""


def both(make_host: Callable[..., Host]) -> Host:
    """A host with nerve center and agent, which has delivered something."""
    host = make_host("alpha", files=FAST)
    host.run(f"systemctl start {dio.CENTER} {dio.AGENT}")
    dio.wait_acknowledged(host)
    return host


class _Control(http.client.HTTPConnection):
    """The agent's control socket, reached from outside: tests ask it often, and a process each time costs more."""

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.host)


def asked(host: Host, timeout_s: float = 10) -> dict[str, Any] | None:
    """The status document; None while nobody answers."""
    control = _Control(f"/proc/{host.leader}/root/run/dio-agent/agent.sock", timeout=timeout_s)
    try:
        control.request("GET", "/v1/status", headers={"Host": "dio"})
        answer = control.getresponse()
        return json.loads(answer.read()) if answer.status == 200 else None
    except (OSError, http.client.HTTPException):
        return None
    finally:
        control.close()


def healed(host: Host, center: Host | None = None) -> list[dict[str, Any]]:
    """Wait until the agent is active and has delivered everything; what the oracle then says."""

    def well() -> bool:
        found = asked(host)
        return found is not None and found["state"] == "active" and found["spool"]["pending"] == 0

    wait_for(f"{host.name} is active and nothing waits", well, within_s=HEALED_S)
    last = (asked(host) or {})["spool"]["streams"]["samples"]["acknowledged_seq"]
    wait_for("it goes on reporting", lambda: reported(host) > last, within_s=HEALED_S)
    return complete(center or host)


def active_again(host: Host) -> float:
    """Wait until a report was acknowledged that was sent from now on; the seconds that it took."""
    began = time.monotonic()
    before = (asked(host) or {}).get("last_acknowledged_at")

    def again() -> bool:
        found = asked(host)
        return (
            found is not None
            and found["state"] == "active"
            and found["last_acknowledged_at"] not in (None, before)
        )

    wait_for(f"{host.name} is active again", again, within_s=HEALED_S)
    return time.monotonic() - began


def acknowledged_after(host: Host, moment: float) -> float:
    """Wait until a report was acknowledged later than `moment` (time of day): so many seconds later.

    What was acknowledged while the host's clock was wrong has a time far from it, and does not count.
    """

    def later() -> float | None:
        found = asked(host, timeout_s=1)
        if found is None or found["state"] != "active" or found["last_acknowledged_at"] is None:
            return None
        at = datetime.fromisoformat(found["last_acknowledged_at"].replace("Z", "+00:00")).timestamp()
        return at - moment if 0 < at - moment < HOUR_S / 2 else None

    return wait_for(f"{host.name} is active again", later, within_s=HEALED_S * 2) or 0.0


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


def condition(host: Host, code: str, there: bool = True, within_s: float = HEALED_S) -> None:
    """Wait until the agent has a condition, or has it no more."""

    def so() -> bool:
        found = asked(host)
        return found is not None and (code in found["conditions"]) == there

    wait_for(f"{code}: {there}", so, within_s=within_s)


def limit(host: Host, unit: str, pids: Sequence[str], what: str, most: str) -> None:
    """Set how much of `what` (as prlimit names it) processes of a unit may have: a number, or `unlimited`.

    As their own user: root inside a container may not, where the machine is a container itself.
    """
    user = "dio-agent" if unit == dio.AGENT else "dio-nerve-center"
    as_user = f"setpriv --reuid={user} --regid={'dio' if user == 'dio-agent' else user} --clear-groups"
    for pid in pids:
        host.run(f"{as_user} prlimit --pid {pid} --{what}={most}:", check=False)


def spooled(host: Host) -> set[str]:
    """The tags of all samples that the agent has on its disk now; it keeps them for a day. Empty when it has no spool,
    or one that is damaged.

    Read from a copy, as the agent lets nobody else open its spool: database and log of one moment, which they are
    when the log was not begun anew meanwhile.
    """
    return set(host.run(f"python3 - {STATE}/spool.db", stdin=_TAGS).split())


def stored_once(host: Host, agent_id: str, tags: set[str]) -> set[str]:
    """Which of these tags the nerve center on `host` does not have. Asserts that it has no tag twice."""
    stored = [sample["tag"] for sample in dio.Api(host).samples(agent_id)]
    assert len(stored) == len(set(stored)), "stored twice"
    return tags - set(stored)


def calm(host: Host, restarts: dict[str, int]) -> None:
    """Assert that units (keys) were started again by systemd so many times and no more, and that nothing crashed."""
    found = {unit: int(host.prop(unit, "NRestarts")) for unit in restarts}
    assert found == restarts, found
    for unit in restarts:
        assert not [line for line in host.messages(unit) if line.startswith("Traceback")]


def steady(hosts: Sequence[Host]) -> None:
    """Assert that nothing of DIO is started again and again."""
    units = [(host, unit) for host in hosts for unit in (dio.AGENT, dio.CENTER, dio.KEEPER)]
    before = [host.prop(unit, "NRestarts") for host, unit in units]
    hosts[0].run("sleep 8")
    assert [host.prop(unit, "NRestarts") for host, unit in units] == before
