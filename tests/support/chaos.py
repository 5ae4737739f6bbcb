"""Every fault mixed at random on one nerve center and its agents; then everything has to be well, and all there.

    python -m tests.support.chaos --seconds 600 --agents 10 [--seed N] [--folder DIR]

The seed is printed first and repeats the choice of faults. The oracle is threefold: every agent is active in time after
the end of the last fault; the continuity report finds nothing unaccounted for; and each record that an agent wrote down
as committed is stored at the center exactly once, or counted in a gap.
"""

import argparse
import contextlib
import os
import random
import resource
import secrets
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from tests.support.hosts import Host
from tests.support.oracle import settled
from tests.support.processes import RealCenter
from tests.support.proxy import FAULTS, PASS, PROBLEMS
from tests.support.stores import CANNOT_LOCK

MOST_AT_ONCE = 4
ACTIVE_WITHIN_S = 15.0
"""How soon every agent has to be active again when the last fault is over, on a machine with time to spare."""
ANSWERS = sorted(set(PROBLEMS) - {"problem_401", "problem_403"})
"""What a center in trouble may answer; an agent that is refused holds back for longer than a fault lasts here."""


@dataclass
class Active:
    """A fault that is under way: what it is, when it ends, and how."""

    name: str
    until: float
    undo: Callable[[], None]


class Chaos:
    """One run.

    Args:
        folder: for everything.
        agents: how many.
        seed: of the choice of faults.
        active_within_s: seconds from the end of the last fault until every agent has to be active.
    """

    def __init__(
        self, folder: Path, agents: int, seed: int, active_within_s: float = ACTIVE_WITHIN_S
    ) -> None:
        self.active_within_s = active_within_s
        self.rng = random.Random(seed)
        self.center = RealCenter(folder / "center")
        self.hosts = [Host(folder / f"agent-{number}", self.center, self.rng) for number in range(agents)]
        self.active: list[Active] = []
        self.center_busy = False
        self.frozen: set[int] = set()
        self.losses: Counter[str] = Counter()
        """By host, what may have cost it records: faults of its spool, of its process, and of what it may write."""
        self.log: list[str] = []

    def run(self, seconds: float) -> None:
        """Start everything, break it for so long, let it heal, and look."""
        self.center.start()
        for host in self.hosts:
            host.start()
        self.center.wait_ready()
        for host in self.hosts:
            host.active()
        end = time.monotonic() + seconds
        never = threading.Event()
        while (now := time.monotonic()) < end:
            for fault in [f for f in self.active if f.until <= now]:
                self._finish(fault)
            if len(self.active) < MOST_AT_ONCE:
                self._begin()
            self._revive()
            never.wait(self.rng.uniform(0.2, 1.2))
        for fault in list(self.active):
            self._finish(fault)
        self._revive()
        self.heal()

    def heal(self) -> None:
        """All faults are over: everybody active in time, everything delivered, everything accounted for."""
        self.center.healthy()
        over = time.monotonic()
        for host in self.hosts:
            host.active(max(1.0, over + self.active_within_s - time.monotonic()))
        print(f"all active {time.monotonic() - over:.1f} s after the last fault")
        for host in self.hosts:
            found = settled(self.center, host, gaps=True, losses=self.losses[host.name])
            print(f"{host.name}: {found}")

    def close(self) -> None:
        for host in self.hosts:
            host.held_down = True
            host.agent.close()
        self.center.close()
        for host in self.hosts:
            host.proxy.close()

    def _finish(self, fault: Active) -> None:
        self.active.remove(fault)
        fault.undo()

    def _begin(self) -> None:
        choose = self.rng.choices(
            [
                self._network,
                self._kill_agent,
                self._freeze_agent,
                self._spool_file,
                self._limits,
                self._center_process,
                self._database,
            ],
            [8, 3, 1, 3, 2, 2, 2],
        )[0]
        fault = choose()
        if fault is not None:
            self.log.append(fault.name)
            self.active.append(fault)

    def _until(self, low: float, high: float) -> float:
        return time.monotonic() + self.rng.uniform(low, high)

    def _revive(self) -> None:
        """What systemd does: an agent or a center that ended is started again."""
        for host in self.hosts:
            host.keep()
        if not self.center_busy and not self.center.alive:
            self.center.ended()
            self.center.start()

    def _network(self) -> Active:
        host = self.rng.choice(self.hosts)
        name = self.rng.choice([*FAULTS, *ANSWERS])
        host.proxy.fault = name
        return Active(f"network {name}", self._until(0.5, 6), lambda: setattr(host.proxy, "fault", PASS))

    def _kill_agent(self) -> Active | None:
        up = [host for host in self.hosts if host.agent.alive and host.pid not in self.frozen]
        if not up:
            return None
        host = self.rng.choice(up)
        self.losses[host.name] += 1
        host.kill(self.rng.choice([signal.SIGKILL, signal.SIGKILL, signal.SIGTERM]))
        return Active("kill agent", self._until(0, 3), host.start)

    def _freeze_agent(self) -> Active | None:
        """As a suspended host: it goes on where it stood."""
        up = [host for host in self.hosts if host.agent.alive and host.pid not in self.frozen]
        if not up:
            return None
        pid = self.rng.choice(up).pid
        self.frozen.add(pid)
        os.kill(pid, signal.SIGSTOP)

        def thaw() -> None:
            self.frozen.discard(pid)
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

        return Active("freeze agent", self._until(1, 5), thaw)

    def _spool_file(self) -> Active:
        host = self.rng.choice(self.hosts)
        self.losses[host.name] += 1
        kind = self.rng.choice(["delete", "delete log", "zero", "truncate"])
        with contextlib.suppress(FileNotFoundError):
            if kind == "delete log":
                Path(f"{host.spool}-wal").unlink()
            elif kind == "delete":
                for suffix in ("", "-wal", "-shm"):
                    Path(str(host.spool) + suffix).unlink(missing_ok=True)
            elif kind == "truncate":
                os.truncate(host.spool, host.spool.stat().st_size // 2)
            else:
                size = host.spool.stat().st_size
                with host.spool.open("r+b") as file:
                    file.seek(self.rng.randrange(max(1, size)))
                    file.write(b"\0" * 20_000)
        return Active(f"spool {kind}", self._until(0, 1), lambda: None)

    def _limits(self) -> Active | None:
        """A disk that is full, or no descriptor left, for one process."""
        pids = [host.pid for host in self.hosts if host.agent.alive]
        pids += self._workers()
        if not pids:
            return None
        pid = self.rng.choice(pids)
        self.losses.update(host.name for host in self.hosts if host.agent.alive and host.pid == pid)
        what = self.rng.choice([resource.RLIMIT_FSIZE, resource.RLIMIT_NOFILE])
        try:
            before = resource.prlimit(pid, what)
            low = 4096 if what == resource.RLIMIT_FSIZE else len(list(Path(f"/proc/{pid}/fd").iterdir()))
            resource.prlimit(pid, what, (low, before[1]))
        except OSError:
            return None

        def undo() -> None:
            with contextlib.suppress(OSError):
                resource.prlimit(pid, what, before)

        return Active("limit", self._until(1, 5), undo)

    def _workers(self) -> list[int]:
        return self.center.processes()[2:] if self.center.alive else []

    def _center_process(self) -> Active | None:
        if self.center_busy or not self.center.alive:
            return None
        kind = self.rng.choice(["worker", "all", "term", "freeze"])
        if kind == "worker":
            for pid in self._workers()[-1:]:
                with contextlib.suppress(OSError):
                    os.kill(pid, signal.SIGKILL)
            return Active("kill worker", self._until(0, 1), lambda: None)
        self.center_busy = True
        if kind == "freeze":
            groups = self.center.groups()
            for group in groups:
                os.killpg(group, signal.SIGSTOP)

            def thaw() -> None:
                for group in groups:
                    with contextlib.suppress(ProcessLookupError):
                        os.killpg(group, signal.SIGCONT)
                self.center_busy = False

            return Active("freeze center", self._until(1, 5), thaw)
        self.center.kill(signal.SIGKILL if kind == "all" else signal.SIGTERM)

        def start() -> None:
            self.center.start()
            self.center_busy = False

        return Active(f"center {kind}", self._until(0, 4), start)

    def _database(self) -> Active | None:
        lock = ExitStack()
        try:
            lock.enter_context(self.center.store.locked(patience_s=0))
        except CANNOT_LOCK:
            return None
        return Active("database locked", self._until(1, 8), lock.close)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--agents", type=int, default=10)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--active-within", type=float, default=ACTIVE_WITHIN_S, metavar="SECONDS")
    parser.add_argument("--folder", type=Path, default=None, help="keep logs and databases here")
    options = parser.parse_args()
    seed = options.seed if options.seed is not None else secrets.randbits(32)
    print(f"seed {seed}", flush=True)
    folder = options.folder or Path(tempfile.mkdtemp(prefix="dio-chaos-"))
    folder.mkdir(parents=True, exist_ok=True)
    chaos = Chaos(folder, options.agents, seed, options.active_within)
    try:
        chaos.run(options.seconds)
    except AssertionError as error:
        print(f"seed {seed} failed: {error}\nfaults: {', '.join(chaos.log)}\nlogs: {folder}", file=sys.stderr)
        return 1
    finally:
        chaos.close()
    counts = {name: chaos.log.count(name) for name in sorted(set(chaos.log))}
    print(
        "all active, nothing unaccounted for;",
        ", ".join(f"{count} x {name}" for name, count in counts.items()),
    )
    if options.folder is None:
        shutil.rmtree(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
