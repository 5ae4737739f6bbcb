"""Faults of every kind on installed packages. The oracle is `nervectl continuity`: it fails when any record that an
agent took is neither stored once nor counted in a gap.
"""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

from conftest import MakeHost
from harness import dio
from harness.commands import wait_for
from harness.host import Host

STATE = "/var/lib/dio-agent"
DATABASE = "/var/lib/dio-nerve-center/nerve-center.db"
FAST = {
    "/etc/dio-agent/agent.toml.d/20-fast.toml": "[agent]\ninterval_s = 1\n[delivery]\nconnect_timeout_s = 2\n"
    "total_timeout_s = 4\n"
}
HEALED_S = 60
"""Far more than the 2 intervals and the moment for a restart that it takes: other tests run beside."""
REMOUNT = (Path(__file__).parent / "harness/remount.py").read_text(encoding="utf-8")
# Never a pid that systemctl may not have: kill 0 would mean everybody who runs this test.
_KILL = "systemctl kill -s KILL --kill-who=main"
# Of the nerve center's processes, in the order of their birth: supervisor, master, workers.
_KILL_NTH = (
    "pid=$(sort -n /sys/fs/cgroup/system.slice/dio-nerve-center.service/cgroup.procs | sed -n {number}p);"
    ' test "$pid" -gt 1 && kill -9 $pid'
)
_LOOPBACK_GONE = """python3 -c '
import fcntl, socket, struct, time
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
    for up in (0, 1):
        fcntl.ioctl(control, 0x8914, struct.pack("16sh22x", b"lo", up))
        time.sleep(4 * (1 - up))
'"""
_COPY = """
import sqlite3, sys
source, copy = sqlite3.connect(sys.argv[1]), sqlite3.connect(sys.argv[2])
source.backup(copy)
copy.close()
"""


def _both(make_host: MakeHost) -> Host:
    host = make_host("alpha", files=FAST)
    host.run(f"systemctl start {dio.CENTER} {dio.AGENT}")
    dio.wait_acknowledged(host)
    return host


def _asked(host: Host) -> dict[str, Any] | None:
    """The status document; None while nobody answers."""
    done = host.run_full("dioctl status --json", check=False)
    return None if done.returncode else json.loads(done.stdout)


def _healed(host: Host, center: Host | None = None) -> list[dict[str, Any]]:
    """Wait until the agent is active and has delivered everything; what the oracle then says."""

    def well() -> bool:
        found = _asked(host)
        return found is not None and found["state"] == "active" and found["spool"]["pending"] == 0

    wait_for(f"{host.name} is active and nothing waits", well, within_s=HEALED_S)
    last = (_asked(host) or {})["spool"]["streams"]["samples"]["acknowledged_seq"]
    wait_for("it goes on reporting", lambda: _reported(host) > last, within_s=HEALED_S)
    return _complete(center or host)


def _reported(host: Host) -> int:
    return int((_asked(host) or {})["spool"]["streams"]["samples"]["acknowledged_seq"])


def _complete(center: Host) -> list[dict[str, Any]]:
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


def _in_gaps(reports: list[dict[str, Any]]) -> int:
    return sum(report["in_gaps"] for report in reports)


def _waiting(host: Host, count: int) -> None:
    """Wait until so many more records wait."""
    before = (_asked(host) or {})["spool"]["pending"]

    def enough() -> bool:
        found = _asked(host)
        return found is not None and found["spool"]["pending"] >= before + count

    wait_for(f"{count} more records wait", enough, within_s=30)


def _condition(host: Host, code: str, there: bool = True) -> None:
    def so() -> bool:
        found = _asked(host)
        return found is not None and (code in found["conditions"]) == there

    wait_for(f"{code}: {there}", so, within_s=HEALED_S)


def _damage(host: Host, kind: str) -> None:
    """Do it to the spool and its write-ahead log."""
    done = {
        "deleted": "rm spool.db*",
        "truncated": "for f in $(ls spool.db spool.db-wal); do truncate -s $(($(stat -c %s $f) / 2)) $f; done",
        "zeroed": "for f in $(ls spool.db spool.db-wal); do head -c $(stat -c %s $f) /dev/zero 1<> $f >&1; done",
    }[kind]
    host.run(f"cd {STATE}; {done}")


def test_the_spool_damaged(make_host: MakeHost) -> None:
    """Deleted, truncated and zeroed, under a running agent and a stopped one, with records that wait."""
    host = _both(make_host)
    for kind in ("deleted", "truncated", "zeroed"):
        host.run(f"systemctl stop {dio.CENTER}")
        _waiting(host, 2)
        _damage(host, kind)
        host.run(f"systemctl start {dio.CENTER}")
        _healed(host)
    assert host.prop(dio.AGENT, "NRestarts") == "0"
    for kind in ("deleted", "truncated", "zeroed"):
        host.run(f"systemctl stop {dio.CENTER}")
        _waiting(host, 2)
        host.run(f"{_KILL} {dio.AGENT}; systemctl stop {dio.AGENT}")
        before = _in_gaps(_complete(host))
        _damage(host, kind)
        host.run(f"systemctl start {dio.CENTER} {dio.AGENT}")
        assert _in_gaps(_healed(host)) >= before + 2, kind  # what waited is counted
    assert host.run(f"stat -c '%a %U' {STATE} {STATE}/spool.db").split() == [
        "700",
        "dio-agent",
        "600",
        "dio-agent",
    ]


def test_the_disk_full_and_read_only(make_host: MakeHost) -> None:
    """The agent goes on in memory, says so, delivers, and returns to disk by itself."""
    host = make_host("alpha", files=FAST)
    host.run(f"mkdir -p {STATE} && mount -t tmpfs -o size=4m tmpfs {STATE}")
    host.run(f"chown dio-agent:dio {STATE} && chmod 700 {STATE}")
    host.run(f"systemctl start {dio.CENTER} {dio.AGENT}")
    dio.wait_acknowledged(host)

    host.run(f"dd if=/dev/zero of={STATE}/filler bs=64k", check=False)
    _condition(host, "spool_in_memory")
    host.run(f"systemctl stop {dio.CENTER}")
    _waiting(host, 3)
    host.run(f"systemctl start {dio.CENTER}")
    _healed(host)
    host.run(f"rm {STATE}/filler")
    _condition(host, "spool_in_memory", there=False)
    _healed(host)
    assert host.prop(dio.AGENT, "NRestarts") == "0"

    host.run(f"systemctl stop {dio.AGENT}")
    host.run(f"python3 - ro {STATE}", stdin=REMOUNT)
    assert host.run_full(f"touch {STATE}/x", check=False).returncode != 0
    host.run(f"systemctl start {dio.AGENT}")
    _condition(host, "spool_in_memory")
    _healed(host)
    host.run(f"python3 - rw {STATE}", stdin=REMOUNT)
    _condition(host, "spool_in_memory", there=False)
    assert _in_gaps(_healed(host)) == 0


def test_the_center_s_database(make_host: MakeHost) -> None:
    """Restored from an older copy, and deleted while running: its agent fills it up again from the first record on."""
    host = _both(make_host)
    host.run(f"python3 - {DATABASE} /root/copy.db", stdin=_COPY)
    last = _reported(host)
    wait_for("records after the copy", lambda: _reported(host) >= last + 4, within_s=30)
    host.run(f"systemctl stop {dio.CENTER} && rm {DATABASE}* && cp /root/copy.db {DATABASE}")
    host.run(f"chown dio-nerve-center: {DATABASE} && systemctl start {dio.CENTER}")
    assert _in_gaps(_healed(host)) == 0
    assert "center_lost_records" in host.run(f"journalctl -q -o json -u {dio.AGENT}")

    host.run(f"rm {DATABASE}*")
    wait_for(
        "it notices and starts again", lambda: host.prop(dio.CENTER, "NRestarts") != "0", within_s=HEALED_S
    )
    wait_for("it begins anew", lambda: dio.healthy(host), within_s=HEALED_S)
    assert _in_gaps(_healed(host)) == 0
    (agent,) = dio.Api(host).agents()
    dio.nothing_missing(dio.Api(host).samples(agent["id"]), hole_s=15)
    assert host.prop(dio.AGENT, "NRestarts") == "0"


def test_killed_and_cut_off_at_random(make_host: MakeHost) -> None:
    """kill -9 of agent, worker, master and supervisor, and a network that goes, at moments that a seed decides."""
    host = _both(make_host)
    chance = random.Random(1329613836)  # the same moments each time: a failure comes from a change
    faults = (
        f"{_KILL} {dio.AGENT}",
        f"{_KILL} {dio.AGENT}",
        f"{_KILL} {dio.CENTER}",
        f"systemctl kill -s KILL {dio.CENTER}",
        _KILL_NTH.format(number=2),
        _KILL_NTH.format(number=3),
        f"systemctl restart {dio.CENTER}",
        _LOOPBACK_GONE,
    )
    for fault in chance.sample(faults, len(faults)):
        host.run(f"sleep {chance.uniform(0.1, 2.5):.2f}; {fault}", check=False)
    reports = _healed(host)
    assert _in_gaps(reports) == 0
    (agent,) = dio.Api(host).agents()
    dio.nothing_missing(dio.Api(host).samples(agent["id"]), hole_s=20)


def test_a_clone_of_a_host(make_host: MakeHost) -> None:
    """Machine id and state folder copied, both alive: kept apart and told; the mended clone gets an id of its own."""
    listen = {"/etc/dio-nerve-center/nerve-center.toml.d/10-all.toml": '[server]\nhost = "0.0.0.0"\n'}
    alpha = make_host("alpha", files={**FAST, **listen})
    alpha.run(f"systemctl start {dio.CENTER} {dio.AGENT}")
    dio.wait_acknowledged(alpha)
    (original,) = dio.Api(alpha).agents()
    beta = make_host("beta", files=FAST)
    beta.run("rm -f /etc/dio-agent/enrollment-token")
    beta.run(
        f"dioctl enroll http://{alpha.address}:8000 --allow-plain-http --no-start",
        stdin=alpha.run("nervectl token show"),
    )
    # As it was at one moment, a whole copy of a disk.
    alpha.run(f"systemctl stop {dio.AGENT}; tar cf /root/state.tar -C {STATE} .; systemctl start {dio.AGENT}")
    packed = Path(f"/proc/{alpha.leader}/root/root/state.tar").read_bytes()
    Path(f"/proc/{beta.leader}/root/root/state.tar").write_bytes(packed)
    beta.write("/etc/machine-id", alpha.run("cat /etc/machine-id"))
    beta.run(f"install -d -m 700 -o dio-agent -g dio {STATE}; tar xpf /root/state.tar -C {STATE}")
    beta.run(f"chown -R dio-agent:dio {STATE}; systemctl start --no-block {dio.AGENT}")

    def ids() -> set[str]:
        return {agent["id"] for agent in dio.Api(alpha).agents()}

    wait_for("two hosts", lambda: len(ids()) == 2, within_s=HEALED_S)
    _healed(beta, alpha)
    _healed(alpha)
    apart = (_asked(beta) or {})["agent_id"]
    assert (_asked(alpha) or {})["agent_id"] == original["id"] != apart
    threats = dio.Api(alpha).get("threats")
    assert "duplicate_identity" in json.dumps(threats), threats

    beta.run("rm /etc/machine-id && systemd-machine-id-setup")
    own = wait_for(
        "an id of its own",
        lambda: (found := _asked(beta))
        and found["agent_id"] not in (original["id"], apart)
        and found["agent_id"],
        within_s=HEALED_S,
    )
    _healed(beta, alpha)
    _healed(alpha)
    assert ids() == {original["id"], apart, own}
    assert alpha.prop(dio.AGENT, "NRestarts") == "0"
