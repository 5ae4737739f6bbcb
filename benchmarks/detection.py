"""What looking for threats costs: processor time a round, as a share of one core at the default interval.

.venv/bin/python -m benchmarks.detection [ROUNDS]
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from dio_daemon.clock import SystemClock
from dio_daemon.collect.collector import HostCollector
from dio_daemon.config import Collect
from dio_daemon.detect.book import ThreatBook
from dio_daemon.detect.rule_files import load_rules
from dio_daemon.detect.rules import Rules
from dio_daemon.detect.trend import DiskTrend
from dio_daemon.detect.watch import Watch
from dio_daemon.threat_log import ThreatLog

INTERVAL_S = 10.0


def main() -> None:
    """Print the shares."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 500
    clock = SystemClock()
    collector = HostCollector(clock, Collect())
    collector.prime()
    begun = time.thread_time()
    for _ in range(20):
        sample: dict[str, Any] = collector.sample()
    sampling_s = (time.thread_time() - begun) / 20
    sample["disks"] = [{**sample["disks"][0], "mount": f"/{number}", "percent": 80.0} for number in range(20)]
    with TemporaryDirectory() as folder:
        book = ThreatBook(Path(folder) / "threats.json", lambda data: None, ThreatLog(lambda *_: None), clock)
        watch = Watch([Rules(load_rules(None), book.severity_of, DiskTrend().fill_in)], book)
        begun = time.thread_time()
        for number in range(rounds):
            watch.look(sample, number * INTERVAL_S)
        looking_s = (time.thread_time() - begun) / rounds
    for what, seconds in (("sampling", sampling_s), ("looking for threats", looking_s)):
        print(f"{what}: {1000 * seconds:.2f} ms a round, {100 * seconds / INTERVAL_S:.3f} % of one core")


if __name__ == "__main__":
    main()
