"""What happens to a host: its power lost, its database locked, its files forbidden, nothing left of what processes
need, kills. On installed packages; the oracle is `nervectl continuity` (`harness.faults`), and beside it what stood in
the agent's spool.
"""

from __future__ import annotations

import random

from conftest import MakeHost, Note
from harness import dio, faults
from harness.commands import wait_for
from harness.host import Host

NEVER = {dio.AGENT: 0, dio.CENTER: 0, dio.KEEPER: 0}
CENTER_STATE = "/var/lib/dio-nerve-center"
SEED = 2718281828
"""Of the moments: the same ones each time, so that a failure comes from a change."""
# As a crash leaves it: all of it as it was at one moment, whatever was written afterwards.
_SNAPSHOT = (
    "systemctl freeze {units}; rm -rf /root/then; mkdir /root/then; cp -a --parents {folders} /root/then"
)
_CRASH = (
    "systemctl kill -s KILL {units}; systemctl stop {units}; rm -rf {folders}; cp -a /root/then/. /;"
    " systemctl start {units}"
)
_LOCK = """
import sqlite3, sys, time
other = sqlite3.connect(sys.argv[1], timeout=20, isolation_level=None)
other.execute("BEGIN IMMEDIATE")
time.sleep(30)
other.execute("ROLLBACK")
"""
_WORKERS = "sort -n /sys/fs/cgroup/system.slice/dio-nerve-center.service/cgroup.procs | tail -n +3"


def _over(host: Host, what: str, note: Note) -> None:
    """A fault has ended: the agent is active again, by itself, and nothing is lost."""
    note(f"{what}: active again after, seconds", f"{faults.active_again(host):.1f}")
    assert faults.in_gaps(faults.healed(host)) == 0, what


def _all_there(host: Host, tags: set[str]) -> None:
    """What was on the agent's disk is at the nerve center, once."""
    (agent,) = dio.Api(host).agents()
    assert tags and not faults.stored_once(host, agent["id"], tags)


def test_power_lost(make_host: MakeHost, note: Note) -> None:
    """The state of either side, and of both, as it was at some moment, is what it finds after a crash."""
    host = faults.both(make_host)
    chance = random.Random(SEED)
    agent = {"units": dio.AGENT, "folders": faults.STATE}
    center = {"units": f"{dio.CENTER} {dio.KEEPER}", "folders": CENTER_STATE}
    whole = {name: f"{center[name]} {agent[name]}" for name in agent}
    tags: set[str] = set()
    for what, lost in [("agent", agent), ("center", center), ("both", whole)] * 2:
        host.run(f"sleep {chance.uniform(0, 1.5):.2f}; {_SNAPSHOT.format(**lost)}")
        tags |= faults.spooled(host)  # frozen: what is on disk at that moment
        host.run(f"systemctl thaw {lost['units']}; sleep {chance.uniform(0, 3):.2f}; {_CRASH.format(**lost)}")
        _over(host, f"power of {what} lost", note)
    host.run(f"systemctl enable {dio.CENTER} {dio.AGENT}")
    for _ in range(2):
        host.run(f"sleep {chance.uniform(0, 1):.2f}")
        tags |= faults.spooled(host)
        host.lose_power()
        host.boot()
        _over(host, "power of the whole host lost", note)
    _all_there(host, tags)
    faults.calm(host, NEVER)


def test_the_database_locked(make_host: MakeHost, note: Note) -> None:
    """By another process, for 30 s: the center says so and takes nothing; nobody ends, and all of it comes after."""
    host = faults.both(make_host)
    other = host.start(f"python3 -c '{_LOCK}' {faults.DATABASE}")
    wait_for("locked", lambda: "locked" in dio.get(host, f"{dio.CENTER_URL}/health")[1], within_s=20)
    faults.waiting(host, 8)
    tags = faults.spooled(host)
    other.wait(60)
    _over(host, "database locked for 30 s", note)
    _all_there(host, tags)
    (agent,) = dio.Api(host).agents()
    dio.nothing_missing(dio.Api(host).samples(agent["id"]), hole_s=15)
    faults.calm(host, NEVER)


def test_permission_taken_away(make_host: MakeHost, note: Note) -> None:
    """Of the spool, the agent's state folder, the database, while they run and when they start; then given back."""
    host = faults.both(make_host)
    host.run(f"cd {faults.STATE}; chown root:root spool.db*; chmod 400 spool.db*")
    faults.healed(host)
    host.run(f"{faults.KILL} {dio.AGENT}")
    faults.condition(host, "spool_in_memory")
    faults.healed(host)
    host.run(f"systemctl stop {dio.CENTER}")
    faults.waiting(host, 3)
    host.run(f"systemctl start {dio.CENTER}")
    _over(host, "spool forbidden", note)
    host.run(f"cd {faults.STATE}; chown dio-agent:dio spool.db*; chmod 600 spool.db*")
    faults.condition(host, "spool_in_memory", there=False)
    _over(host, "spool given back", note)

    host.run(f"chown root:root {faults.STATE}; chmod 0 {faults.STATE}")
    faults.healed(host)
    host.run(f"{faults.KILL} {dio.AGENT}")
    _over(host, "state folder forbidden, agent killed", note)  # systemd gives it back

    host.run(f"cd {CENTER_STATE}; chown root:root nerve-center.db*; chmod 400 nerve-center.db*")
    host.run(f"sleep 3; {faults.KILL} {dio.CENTER}")
    dio.wait_line(host, "cannot", within_s=faults.HEALED_S, unit=dio.CENTER)
    faults.waiting(host, 5)
    tags = faults.spooled(host)
    host.run(
        f"cd {CENTER_STATE}; chown dio-nerve-center:dio-nerve-center nerve-center.db*; chmod 600 nerve-center.db*"
    )
    _over(host, "database given back", note)
    _all_there(host, tags)


def test_nothing_left(make_host: MakeHost, note: Note) -> None:
    """No descriptor, no memory, no processor: for agent, workers and keeper while reports flow."""
    host = faults.both(make_host)
    workers = host.run(_WORKERS).split()
    assert len(workers) == 2
    each = {dio.AGENT: [host.prop(dio.AGENT, "MainPID")], dio.CENTER: workers}
    each[dio.KEEPER] = [host.prop(dio.KEEPER, "MainPID")]
    for unit, pids in each.items():
        soft = host.run(f"awk '/open files/ {{print $4}}' /proc/{pids[0]}/limits").strip()
        faults.limit(host, unit, pids, "nofile", "3")
        assert host.run(f"awk '/open files/ {{print $4}}' /proc/{pids[0]}/limits").strip() == "3"
        host.run("sleep 6")
        faults.limit(host, unit, pids, "nofile", soft)
        _over(host, f"{unit} out of descriptors", note)
    for unit, pids in each.items():
        for pid in pids:
            now = host.run(f"echo $(($(cut -d' ' -f1 /proc/{pid}/statm) * 4096))").strip()
            faults.limit(host, unit, [pid], "as", now)
        host.run("sleep 6")
        faults.limit(host, unit, pids, "as", "unlimited")
        _over(host, f"{unit} out of memory", note)
    host.run("for i in 1 2 3 4; do timeout 20 sh -c 'while :; do :; done' & done; wait", check=False)
    _over(host, "every processor busy for 20 s", note)
    (known,) = dio.Api(host).agents()
    dio.nothing_missing(dio.Api(host).samples(known["id"]), hole_s=20)


def test_killed_again_and_again(make_host: MakeHost, note: Note) -> None:
    """kill -9 of the agent at 20 moments, then of each process of the nerve center and of its keeper."""
    host = faults.both(make_host)
    chance = random.Random(SEED)
    tags: set[str] = set()
    for number in range(20):
        # Each fourth one while it starts; the others while it samples, sends and deletes.
        ready = f"until systemctl is-active -q {dio.AGENT}; do sleep 0.1; done; " if number % 4 else ""
        host.run(f"{ready}sleep {chance.uniform(0, 1.6):.2f}; {faults.KILL} {dio.AGENT}", check=False)
        tags |= faults.spooled(host)
    _over(host, "agent killed 20 times", note)
    killed = int(host.prop(dio.AGENT, "NRestarts"))
    assert killed >= 10
    for _ in range(4):
        host.run(f"sleep {chance.uniform(0.5, 2.5):.2f}; {faults.KILL} {dio.KEEPER}", check=False)
    dio.wait_active(host, dio.KEEPER, within_s=30)
    _over(host, "keeper killed 4 times", note)
    for what, number in (("worker", 3), ("worker", 4), ("master", 2), ("supervisor", 1)):
        host.run(faults.KILL_NTH.format(number=number))
        _over(host, f"{what} killed", note)
    _all_there(host, tags)
    (agent,) = dio.Api(host).agents()
    dio.nothing_missing(dio.Api(host).samples(agent["id"]), hole_s=20)
    center, keeper = (int(host.prop(unit, "NRestarts")) for unit in (dio.CENTER, dio.KEEPER))
    assert center == 2
    host.run("sleep 5")
    faults.calm(host, {dio.AGENT: killed, dio.CENTER: center, dio.KEEPER: keeper})
