"""What a simulated day does to the agent's memory and files: they stay as they are after its first hour.

    python -m benchmarks.agent_day [--hours 24]

The agent's own parts in one process, as they are put together for a host: each simulated 10 s a sample of this host
is taken, judged by the rules and put into a spool on disk, the nerve center's acknowledgement moves its cursor, and
the integrity thread's work is done twice. Only time is simulated, so a day is a few minutes of one core. Memory is
what belongs to the process alone.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

from benchmarks.crowd import go_apart
from benchmarks.measure import cost_of_one, machine
from benchmarks.pair import REPOSITORY, as_the_unit_does
from dio_daemon.clock import SystemClock
from dio_daemon.collect.collector import HostCollector
from dio_daemon.config import Collect
from dio_daemon.detect.book import ThreatBook
from dio_daemon.detect.integrity.assemble import assemble
from dio_daemon.detect.integrity.host import seen_from_here
from dio_daemon.detect.integrity.window import ChangeWindow
from dio_daemon.detect.rule_files import load_rules
from dio_daemon.detect.rules import Rules
from dio_daemon.detect.trend import DiskTrend
from dio_daemon.detect.watch import Watch
from dio_daemon.heartbeat import Heartbeat
from dio_daemon.safe_spool import SafeSpool
from dio_daemon.spool_model import Budget
from dio_daemon.threat_log import ThreatLog
from dio_daemon.wire import EVENTS, SAMPLES, STREAMS, Mark, to_json

INTERVAL_S = 10.0
LOOKS = 2
"""Of the integrity thread in that time."""
BUDGET = Budget(64 << 20, 7 * 86400.0, 86400.0)
MOST_GROWTH_MIB = 4.0
"""From the end of the first hour on; more fails this program."""


class Day(SystemClock):
    """Time that passes when it is told to."""

    def __init__(self) -> None:
        self.passed_s = 0.0
        self._began = datetime.now(UTC)

    def monotonic(self) -> float:
        """Seconds since the beginning."""
        return self.passed_s

    def boottime(self) -> float:
        """The same."""
        return self.passed_s

    def now(self) -> datetime:
        """The wall clock."""
        return self._began + timedelta(seconds=self.passed_s)


class Agent:
    """Its parts over this host, with what they keep in a folder."""

    def __init__(self, folder: Path) -> None:
        self.clock = Day()
        self._spool = SafeSpool(folder / "spool.db", BUDGET, self.clock)
        self._collector = HostCollector(self.clock, Collect())
        book = ThreatBook(folder / "threats.json", self._threat, ThreatLog(lambda *_: None), self.clock)
        window = ChangeWindow(folder / "window.json", self.clock)
        self._integrity = assemble(
            seen_from_here(),
            folder,
            (),
            window,
            Heartbeat("integrity", self.clock),
            self.clock,
            lambda type_, message, data: None,
            lambda: None,
            follow=(),
        )
        rules = Rules(load_rules(None), book.severity_of, DiskTrend().fill_in)
        self._watch = Watch([rules, self._integrity], book)
        self._collector.prime()

    def interval(self) -> None:
        """Live through one."""
        for _ in range(LOOKS):
            self.clock.passed_s += INTERVAL_S / LOOKS
            self.look_at_files()
        sample = self._collector.sample()
        self._spool.append(SAMPLES, "sample", to_json(sample), INTERVAL_S)
        self._watch.look(sample, self.clock.monotonic())
        for stream in STREAMS:
            batch = self._spool.batch(stream, 60)
            if batch.records:
                last = batch.records[-1]
                self._spool.settle(batch.epoch, stream, Mark(last.seq, last.tag))

    def look_at_files(self) -> None:
        """One step of the integrity thread."""
        self._integrity.wake()  # it waits for nothing
        self._integrity.step()

    @property
    def walked(self) -> bool:
        """Whether the first walk of all disks is over."""
        return self._integrity.walked

    def close(self) -> None:
        """Let its files go."""
        self._integrity.finish()
        self._spool.close()

    def _threat(self, data: bytes) -> None:
        self._spool.append(EVENTS, "threat", data)


def main() -> int:
    """Measure, print; 1 when it grows."""
    parser = argparse.ArgumentParser(description="The agent's memory over a simulated day.")
    parser.add_argument("--hours", type=int, default=24, help="that are simulated (default: %(default)s)")
    options = parser.parse_args()
    as_the_unit_does()
    go_apart("benchmarks.agent_day")
    (REPOSITORY / "build").mkdir(exist_ok=True)
    print(", ".join(f"{name} {value}" for name, value in machine().items()))
    with tempfile.TemporaryDirectory(prefix="day-", dir=REPOSITORY / "build") as name:
        agent, memory = Agent(Path(name)), []
        for hour in range(1, options.hours + 1):
            for _ in range(int(3600 / INTERVAL_S)):
                agent.interval()
            now = cost_of_one(_own())
            memory.append(now.private_kib / 1024)
            kept = sum(file.stat().st_size for file in Path(name).iterdir()) / 1048576
            print(
                f"{hour:3} h: {memory[-1]:6.1f} MiB, {kept:5.1f} MiB of files, {now.cpu_ms / 1000:5.0f} s of cpu,"
                f" {now.written_bytes / 1048576:6.1f} MiB to disk",
                flush=True,
            )
        agent.close()
    growth = max(memory) - memory[0]
    print(f"grown by {growth:.1f} MiB since the first hour")
    return int(growth > MOST_GROWTH_MIB)


def _own() -> int:
    return int(Path("/proc/self").resolve().name)


if __name__ == "__main__":
    sys.exit(main())
