"""What looking for threats costs: processor time as a share of one core, and memory.

.venv/bin/python -m benchmarks.detection [SECONDS [FILES [PROCESSES]]]

A host is made in a temporary folder, with as many files as are asked for (200,000) in the folders that a Debian has,
and as many processes that wait (300). The rules look at samples of this machine. The host's own body is watched for a
while as it is when nothing happens; then 10,000 files change at once. Everything is of one run on one machine: compare
the parts with each other, not with another day's figures.
"""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from dio_daemon.clock import SystemClock
from dio_daemon.collect.collector import HostCollector
from dio_daemon.config import Collect
from dio_daemon.detect.book import ThreatBook
from dio_daemon.detect.integrity.assemble import assemble
from dio_daemon.detect.integrity.host import Host
from dio_daemon.detect.integrity.window import ChangeWindow
from dio_daemon.detect.integrity.worker import Integrity
from dio_daemon.detect.rule_files import load_rules
from dio_daemon.detect.rules import Rules
from dio_daemon.detect.trend import DiskTrend
from dio_daemon.detect.watch import Watch
from dio_daemon.heartbeat import Heartbeat
from dio_daemon.threat_log import ThreatLog

INTERVAL_S = 10.0
ROUNDS = 500
STORM = 10_000
SHARES = {
    # folder: of 1000 files, and files of one folder in it
    "usr/share": (620, 20),
    "var/lib": (100, 50),
    "home/ann": (180, 30),
    "opt": (60, 40),
    "usr/lib": (30, 60),
}
WATCHED = {
    "usr/bin": 1500,
    "usr/sbin": 300,
    "usr/lib/systemd/system": 400,
    "etc/systemd/system": 40,
    "etc/pam.d": 25,
}


def main() -> None:
    """Print the shares."""
    numbers = [int(word) for word in sys.argv[1:]]
    seconds, files, processes = [*numbers, *(60, 200_000, 300)[len(numbers) :]]
    print(f"sampling: {_share(_sampling())}")
    print(f"rules: {_share(_rules())}")
    with TemporaryDirectory() as folder, _processes(processes):
        root = Path(folder, "host")
        made = _make(root, files)
        print(f"a host with {made} files, {processes} waiting processes more than this machine has")
        _integrity(Path(folder), root, seconds)


def _share(each_s: float) -> str:
    return f"{1000 * each_s:.2f} ms a round, {100 * each_s / INTERVAL_S:.3f} % of one core"


def _sampling() -> float:
    collector = HostCollector(SystemClock(), Collect())
    collector.prime()
    begun = time.thread_time()
    for _ in range(20):
        collector.sample()
    return (time.thread_time() - begun) / 20


def _rules() -> float:
    clock = SystemClock()
    collector = HostCollector(clock, Collect())
    collector.prime()
    sample: dict[str, Any] = collector.sample()
    sample["disks"] = [{**sample["disks"][0], "mount": f"/{number}", "percent": 80.0} for number in range(20)]
    with TemporaryDirectory() as folder:
        book = ThreatBook(Path(folder) / "threats.json", lambda data: None, ThreatLog(lambda *_: None), clock)
        watch = Watch([Rules(load_rules(None), book.severity_of, DiskTrend().fill_in)], book)
        begun = time.thread_time()
        for number in range(ROUNDS):
            watch.look(sample, number * INTERVAL_S)
        return (time.thread_time() - begun) / ROUNDS


def _integrity(folder: Path, root: Path, seconds: int) -> None:
    clock = SystemClock()
    events: list[str] = []
    before = _pss_kib()
    watched = assemble(
        Host(str(root)),
        folder,
        (),
        ChangeWindow(folder / "window.json", clock),
        Heartbeat("integrity", clock),
        clock,
        lambda type_, message, data: events.append(message),
        lambda: None,
        follow=(),
    )
    begun, spent = time.monotonic(), time.thread_time()
    while not watched.ready:
        watched.step()
    print(f"first look: {time.thread_time() - spent:.2f} s of cpu within {time.monotonic() - begun:.0f} s")
    print(f"nothing happens: {_spend(watched, seconds)}")
    print(f"memory (PSS): {before / 1024:.1f} MiB before, {_pss_kib() / 1024:.1f} MiB now")
    for number in range(STORM):
        (root / "etc/systemd/system" / f"storm{number}.service").write_text("[Service]\n")
    print(f"{STORM} files change at once: {_spend(watched, seconds)}")
    found = watched.look({}, clock.monotonic())
    with TemporaryDirectory() as aside:
        told: list[bytes] = []
        book = ThreatBook(Path(aside) / "threats.json", told.append, ThreatLog(lambda *_: None), clock)
        spent = time.thread_time()
        book.step(found, clock.monotonic())
        print(
            f"{len(found)} findings are told as {len(told)} threats, {sum(map(len, told)) // 1024} KiB, "
            f"in {1000 * (time.thread_time() - spent):.0f} ms; memory (PSS): {_pss_kib() / 1024:.1f} MiB"
        )
    watched.stop()
    watched.finish()


def _spend(watched: Integrity, seconds: int) -> str:
    end, spent, longest = time.monotonic() + seconds, time.thread_time(), 0.0
    while time.monotonic() < end:
        before = time.thread_time()
        watched.step()
        longest = max(longest, time.thread_time() - before)
    share = 100 * (time.thread_time() - spent) / seconds
    return f"{share:.2f} % of one core over {seconds} s, {1000 * longest:.0f} ms the longest step"


def _make(root: Path, files: int) -> int:
    made = 0
    for folder, (share, together) in SHARES.items():
        for number in range(files * share // 1000):
            path = root / folder / f"d{number // together // 25}" / f"d{number // together}"
            if number % together == 0:
                path.mkdir(parents=True)
            (path / f"f{number}").touch()
            made += 1
    for folder, count in WATCHED.items():
        (root / folder).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            path = root / folder / f"f{number}"
            path.write_text(f"{number}\n" * 100)
            path.chmod(0o755)
            made += 1
    for name, text in (("passwd", "ann:x:1000:1000::/home/ann:/bin/sh\n"), ("group", ""), ("shadow", "")):
        (root / "etc" / name).write_text(text)
    return made


@contextmanager
def _processes(count: int) -> Iterator[None]:
    running = [subprocess.Popen(["sleep", "3600"], stdin=subprocess.DEVNULL) for _ in range(count)]
    try:
        threading.Event().wait(1)
        yield
    finally:
        for each in running:
            each.kill()
            each.wait()


def _pss_kib() -> int:
    for line in Path("/proc/self/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1])
    return 0


if __name__ == "__main__":
    main()
