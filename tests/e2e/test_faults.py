"""What breaks a spool, a disk, a database, a process and an identity, on installed packages. The oracle is
`nervectl continuity` (`harness.faults`).
"""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
from conftest import MakeHost
from harness import dio, faults
from harness.commands import wait_for
from harness.host import Host

REMOUNT = (Path(__file__).parent / "harness/remount.py").read_text(encoding="utf-8")
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


_WRITTEN = """python3 -c 'import sys; print(len(open(sys.argv[1], "rb").read().rstrip(b"\\0")))'"""
"""Up to where something was written: the log is reserved, its end is still empty."""


def _damage(host: Host, kind: str) -> None:
    """Do it to the spool and its write-ahead log."""
    done = {
        "deleted": "rm spool.db*",
        "truncated": f"for f in $(ls spool.db spool.db-wal); do truncate -s $(($({_WRITTEN} $f) / 2)) $f; done",
        "zeroed": "for f in $(ls spool.db spool.db-wal); do head -c $(stat -c %s $f) /dev/zero 1<> $f >&1; done",
    }[kind]
    host.run(f"cd {faults.STATE}; {done}")


def test_the_spool_damaged(make_host: MakeHost) -> None:
    """Deleted, truncated and zeroed, under a running agent and a stopped one, with records that wait."""
    host = faults.both(make_host)
    for kind in ("deleted", "truncated", "zeroed"):
        host.run(f"systemctl stop {dio.CENTER}")
        faults.waiting(host, 2)
        _damage(host, kind)
        host.run(f"systemctl start {dio.CENTER}")
        faults.healed(host)
    assert host.prop(dio.AGENT, "NRestarts") == "0"
    for kind in ("deleted", "truncated", "zeroed"):
        host.run(f"systemctl stop {dio.CENTER}")
        faults.waiting(host, 2)
        host.run(f"{faults.KILL} {dio.AGENT}; systemctl stop {dio.AGENT}")
        before = faults.in_gaps(faults.complete(host))
        _damage(host, kind)
        host.run(f"systemctl start {dio.CENTER} {dio.AGENT}")
        assert faults.in_gaps(faults.healed(host)) >= before + 2, kind  # what waited is counted
    assert host.run(f"stat -c '%a %U' {faults.STATE} {faults.STATE}/spool.db").split() == [
        "700",
        "dio-agent",
        "600",
        "dio-agent",
    ]


@pytest.mark.timeout(600)
def test_the_disk_full_and_read_only(make_host: MakeHost) -> None:
    """The agent goes on in memory once its log is full as well, says so, delivers, and returns to disk by itself."""
    host = make_host("alpha", files=faults.FAST)
    host.run(f"mkdir -p {faults.STATE} && mount -t tmpfs -o size=4m tmpfs {faults.STATE}")
    host.run(f"chown dio-agent:dio {faults.STATE} && chmod 700 {faults.STATE}")
    host.run(f"systemctl start {dio.CENTER} {dio.AGENT}")
    dio.wait_acknowledged(host)

    host.run(f"dd if=/dev/zero of={faults.STATE}/filler bs=64k", check=False)
    # The spool's log has its whole length from the start: the disk takes some 150 samples more.
    faults.condition(host, "spool_in_memory", within_s=360)
    host.run(f"systemctl stop {dio.CENTER}")
    faults.waiting(host, 3)
    host.run(f"systemctl start {dio.CENTER}")
    faults.healed(host)
    host.run(f"rm {faults.STATE}/filler")
    faults.condition(host, "spool_in_memory", there=False)
    faults.healed(host)
    assert host.prop(dio.AGENT, "NRestarts") == "0"

    host.run(f"systemctl stop {dio.AGENT}")
    host.run(f"python3 - ro {faults.STATE}", stdin=REMOUNT)
    assert host.run_full(f"touch {faults.STATE}/x", check=False).returncode != 0
    host.run(f"systemctl start {dio.AGENT}")
    faults.condition(host, "spool_in_memory")
    faults.healed(host)
    host.run(f"python3 - rw {faults.STATE}", stdin=REMOUNT)
    faults.condition(host, "spool_in_memory", there=False)
    assert faults.in_gaps(faults.healed(host)) == 0


def test_the_center_s_database(make_host: MakeHost) -> None:
    """Restored from an older copy, and deleted while running: its agent fills it up again from the first record on."""
    host = faults.both(make_host)
    host.run(f"python3 - {faults.DATABASE} /root/copy.db", stdin=_COPY)
    last = faults.reported(host)
    wait_for("records after the copy", lambda: faults.reported(host) >= last + 4, within_s=30)
    host.run(f"systemctl stop {dio.CENTER} && rm {faults.DATABASE}* && cp /root/copy.db {faults.DATABASE}")
    host.run(f"chown dio-nerve-center: {faults.DATABASE} && systemctl start {dio.CENTER}")
    assert faults.in_gaps(faults.healed(host)) == 0
    assert "center_lost_records" in host.run(f"journalctl -q -o json -u {dio.AGENT}")

    host.run(f"rm {faults.DATABASE}*")
    wait_for(
        "it notices and starts again",
        lambda: host.prop(dio.CENTER, "NRestarts") != "0",
        within_s=faults.HEALED_S,
    )
    wait_for("it begins anew", lambda: dio.healthy(host), within_s=faults.HEALED_S)
    assert faults.in_gaps(faults.healed(host)) == 0
    (agent,) = dio.Api(host).agents()
    dio.nothing_missing(dio.Api(host).samples(agent["id"]), hole_s=15)
    assert host.prop(dio.AGENT, "NRestarts") == "0"


def test_killed_and_cut_off_at_random(make_host: MakeHost) -> None:
    """kill -9 of agent, worker, master and supervisor, and a network that goes, at moments that a seed decides."""
    host = faults.both(make_host)
    chance = random.Random(1329613836)  # the same moments each time: a failure comes from a change
    broken = (
        f"{faults.KILL} {dio.AGENT}",
        f"{faults.KILL} {dio.AGENT}",
        f"{faults.KILL} {dio.CENTER}",
        f"systemctl kill -s KILL {dio.CENTER}",
        faults.KILL_NTH.format(number=2),
        faults.KILL_NTH.format(number=3),
        f"systemctl restart {dio.CENTER}",
        _LOOPBACK_GONE,
    )
    for fault in chance.sample(broken, len(broken)):
        host.run(f"sleep {chance.uniform(0.1, 2.5):.2f}; {fault}", check=False)
    reports = faults.healed(host)
    assert faults.in_gaps(reports) == 0
    (agent,) = dio.Api(host).agents()
    dio.nothing_missing(dio.Api(host).samples(agent["id"]), hole_s=20)


def test_a_clone_of_a_host(make_host: MakeHost) -> None:
    """Machine id and state folder copied, both alive: kept apart and told; the mended clone gets an id of its own."""
    listen = {"/etc/dio-nerve-center/nerve-center.toml.d/10-all.toml": '[server]\nhost = "0.0.0.0"\n'}
    alpha = make_host("alpha", files={**faults.FAST, **listen})
    alpha.run(f"systemctl start {dio.CENTER} {dio.AGENT}")
    dio.wait_acknowledged(alpha)
    (original,) = dio.Api(alpha).agents()
    beta = make_host("beta", files=faults.FAST)
    dio.enroll(beta, alpha)
    # As it was at one moment, a whole copy of a disk.
    alpha.run(
        f"systemctl stop {dio.AGENT}; tar cf /root/state.tar -C {faults.STATE} .; systemctl start {dio.AGENT}"
    )
    packed = Path(f"/proc/{alpha.leader}/root/root/state.tar").read_bytes()
    Path(f"/proc/{beta.leader}/root/root/state.tar").write_bytes(packed)
    beta.write("/etc/machine-id", alpha.run("cat /etc/machine-id"))
    beta.run(
        f"install -d -m 700 -o dio-agent -g dio {faults.STATE}; tar xpf /root/state.tar -C {faults.STATE}"
    )
    beta.run(f"chown -R dio-agent:dio {faults.STATE}; systemctl start --no-block {dio.AGENT}")

    def ids() -> set[str]:
        return {agent["id"] for agent in dio.Api(alpha).agents()}

    wait_for("two hosts", lambda: len(ids()) == 2, within_s=faults.HEALED_S)
    faults.healed(beta, alpha)
    faults.healed(alpha)
    apart = (faults.asked(beta) or {})["agent_id"]
    assert (faults.asked(alpha) or {})["agent_id"] == original["id"] != apart
    threats = dio.Api(alpha).get("threats")
    assert "duplicate_identity" in json.dumps(threats), threats

    beta.run("rm /etc/machine-id && systemd-machine-id-setup")
    own = wait_for(
        "an id of its own",
        lambda: (found := faults.asked(beta))
        and found["agent_id"] not in (original["id"], apart)
        and found["agent_id"],
        within_s=faults.HEALED_S,
    )
    faults.healed(beta, alpha)
    faults.healed(alpha)
    assert ids() == {original["id"], apart, own}
    assert alpha.prop(dio.AGENT, "NRestarts") == "0"
