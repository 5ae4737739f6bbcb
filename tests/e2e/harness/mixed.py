"""Every fault of hosts and their network, mixed at random, on one nerve center and its agents.

One fault of a kind (`process`, `files`, `network`, `clock`) is under way on one host at a time, four on all of them
together. A seed decides which; what was on the agents' disks at some moments is a witness beside the continuity report.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from . import dio, faults
from .clocks import HOUR_S, WrongClock
from .host import Host
from .network import Network

MOST_AT_ONCE = 4
_MAIN = f"systemctl show --property=MainPID --value {dio.AGENT} | grep -v '^0$'"
_WORKERS = "sort -n /sys/fs/cgroup/system.slice/dio-nerve-center.service/cgroup.procs | tail -n +3"
_LOCK = """
import sqlite3, sys, time
other = sqlite3.connect(sys.argv[1], timeout=20, isolation_level=None)
other.execute("BEGIN IMMEDIATE")
time.sleep(float(sys.argv[2]))
other.execute("ROLLBACK")
"""
_COPY = """
import sqlite3
source, copy = sqlite3.connect("/var/lib/dio-nerve-center/nerve-center.db"), sqlite3.connect("/root/copy.db")
source.backup(copy)
copy.close()
"""
_RESTORE = (
    "systemctl stop dio-nerve-center && rm -f {database}* && cp /root/copy.db {database}"
    " && chown dio-nerve-center: {database}; systemctl start --no-block dio-nerve-center"
)
_DAMAGE = (
    "rm -f spool.db spool.db-wal spool.db-shm",
    "rm -f spool.db-wal",
    "truncate -s $(($(stat -c %s spool.db) / 2)) spool.db",
    "dd if=/dev/zero of=spool.db bs=4096 seek=2 count=5 conv=notrunc",
)
_never = threading.Event()


@dataclass
class _UnderWay:
    host: str
    kind: str
    until: float
    undo: Callable[[], object]


@dataclass
class Mixed:
    """One run: `run` breaks things; afterwards nothing is broken any more."""

    center: Host
    agents: Sequence[Host]
    network: Network
    seed: int
    done: list[str] = field(default_factory=list)
    """The faults, in their order."""
    witnessed: dict[str, set[str]] = field(default_factory=dict)
    """By host, the tags of samples that stood on its disk."""

    def __post_init__(self) -> None:
        self._rng = random.Random(self.seed)
        self._under_way: list[_UnderWay] = []
        self._clocks = {host.name: WrongClock(host, dio.AGENT) for host in self.agents}
        self._clocks[self.center.name] = WrongClock(self.center, dio.CENTER, dio.KEEPER)

    def run(self, seconds: float) -> None:
        """Break things for so long, then end what is under way."""
        self.center.run("python3 -", stdin=_COPY)
        end = time.monotonic() + seconds
        while (now := time.monotonic()) < end:
            for fault in [fault for fault in self._under_way if fault.until <= now]:
                self._finish(fault)
            if len(self._under_way) < MOST_AT_ONCE:
                self._begin()
            self.witness(self._rng.choice(self.agents))
            _never.wait(self._rng.uniform(0.1, 0.8))
        for fault in list(self._under_way):
            self._finish(fault)

    def witness(self, host: Host) -> None:
        """Note what stands on a host's disk now."""
        self.witnessed.setdefault(host.name, set()).update(faults.spooled(host))

    def _finish(self, fault: _UnderWay) -> None:
        self._under_way.remove(fault)
        fault.undo()

    def _begin(self) -> None:
        kind, fault, of_center = self._rng.choices(
            [
                ("process", self._kill_agent, False),
                ("process", self._limit, False),
                ("process", self._freeze, False),
                ("process", self._power, False),
                ("process", self._busy, False),
                ("files", self._spool, False),
                ("network", self._cut, False),
                ("clock", self._clock, False),
                ("process", self._kill_center, True),
                ("process", self._limit, True),
                ("process", self._freeze, True),
                ("process", self._power, True),
                ("files", self._locked, True),
                ("files", self._restored, True),
                ("clock", self._clock, True),
            ],
            [6, 3, 2, 1, 1, 4, 6, 3, 5, 2, 2, 1, 2, 1, 1],
        )[0]
        host = self.center if of_center else self._rng.choice(self.agents)
        if any(other.host == host.name and other.kind == kind for other in self._under_way):
            return
        name, longest_s, undo = fault(host)
        self.done.append(name)
        until = time.monotonic() + self._rng.uniform(min(0.5, longest_s), longest_s)
        self._under_way.append(_UnderWay(host.name, kind, until, undo))

    # Each returns its name, the most seconds that it lasts, and how it ends.

    def _kill_agent(self, host: Host) -> _Begun:
        how = self._rng.choice(("kill", "kill", "kill", "restart"))
        host.run(
            f"systemctl restart --no-block {dio.AGENT}" if how == "restart" else f"{faults.KILL} {dio.AGENT}",
            check=False,
        )
        return f"agent {how}", 1, _nothing

    def _kill_center(self, host: Host) -> _Begun:
        how, command = self._rng.choice(
            [
                ("supervisor", f"{faults.KILL} {dio.CENTER}"),
                ("all of it", f"systemctl kill -s KILL {dio.CENTER}"),
                ("master", faults.KILL_NTH.format(number=2)),
                ("worker", faults.KILL_NTH.format(number=3)),
                ("worker", faults.KILL_NTH.format(number=4)),
                ("keeper", f"{faults.KILL} {dio.KEEPER}"),
                ("restarted", f"systemctl restart --no-block {dio.CENTER}"),
            ]
        )
        host.run(command, check=False)
        return f"nerve center: {how} killed", 2, _nothing

    def _limit(self, host: Host) -> _Begun:
        """No descriptor left, or a disk that is full, for one process."""
        unit, normal = (dio.CENTER, "65536") if host is self.center else (dio.AGENT, "1024")
        what, low = self._rng.choice([("nofile", "3"), ("fsize", "4096")])
        pids = host.run(_WORKERS if host is self.center else _MAIN, check=False).split()
        pids = [self._rng.choice(pids)] if pids else []

        def undo() -> None:
            faults.limit(host, unit, pids, what, "unlimited" if what == "fsize" else normal)

        faults.limit(host, unit, pids, what, low)
        return f"{what} of {self._role(host)}", 5, undo

    def _freeze(self, host: Host) -> _Begun:
        units = f"{dio.CENTER} {dio.KEEPER}" if host is self.center else dio.AGENT
        host.run(f"systemctl kill -s STOP {units}", check=False)
        return (
            f"{self._role(host)} frozen",
            5,
            lambda: host.run(f"systemctl kill -s CONT {units}", check=False),
        )

    def _power(self, host: Host) -> _Begun:
        host.lose_power()
        # An agent that is cut off waits for its nerve center, and the boot for the agent: nobody waits here for that.
        host.boot(until=lambda: True)
        return f"power of {self._role(host)} lost", 1, _nothing

    def _busy(self, host: Host) -> _Begun:
        busy = host.start("for i in 1 2; do timeout 4 sh -c 'while :; do :; done' & done; wait")
        return "processors busy", 5, lambda: busy.wait(60)

    def _spool(self, host: Host) -> _Begun:
        host.run(f"cd {faults.STATE} && {self._rng.choice(_DAMAGE)}", check=False)
        return "spool damaged", 1, _nothing

    def _cut(self, host: Host) -> _Begun:
        self.network.cut(host.address)
        return "network cut", 6, lambda: self.network.connect(host.address)

    def _clock(self, host: Host) -> _Begun:
        clock = self._clocks[host.name]
        clock.set(self._rng.choice((-HOUR_S, HOUR_S)))
        return f"clock of {self._role(host)}", 6, lambda: clock.set(0)

    def _locked(self, host: Host) -> _Begun:
        seconds = self._rng.uniform(1, 8)
        other = host.start(f"python3 -c '{_LOCK}' {faults.DATABASE} {seconds:.1f}")
        return "database locked", seconds, lambda: other.wait(60)

    def _restored(self, host: Host) -> _Begun:
        host.run(_RESTORE.format(database=faults.DATABASE), check=False)
        return "database restored", 1, _nothing

    def _role(self, host: Host) -> str:
        return "nerve center" if host is self.center else "agent"


_Begun = tuple[str, float, Callable[[], object]]


def _nothing() -> None:
    """It is over by itself."""
