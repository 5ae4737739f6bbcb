"""What the agent costs while its nerve center is away, and while it delivers a day of samples afterwards.

    python -m benchmarks.agent_away [--seconds 60] [--samples 8640]

Away: nobody listens at the nerve center's address. A day: the spool has 8,640 samples, each as this host gives them,
before the agent starts; measured until the last is acknowledged. The table is printed and saved in
build/benchmarks/agent_away.json.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import threading
import time
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.agent_footprint import INTERVAL_S, SETTLE_S, figures
from benchmarks.crowd import go_apart
from benchmarks.measure import cost, machine, running
from benchmarks.pair import REPOSITORY, Pair, agent_python, agent_versions, as_the_unit_does
from dio_daemon.clock import SystemClock, rfc3339
from dio_daemon.collect.collector import HostCollector
from dio_daemon.config import Collect
from dio_daemon.spool import Spool
from dio_daemon.spool_model import Budget
from dio_daemon.wire import SAMPLES, to_json

RESULT = REPOSITORY / "build/benchmarks/agent_away.json"
DRAIN_WITHIN_S = 300.0
BUDGET = Budget(64 << 20, 7 * 86400.0, 86400.0)
"""The defaults of the configuration."""


def main() -> int:
    """Measure, print, save."""
    parser = argparse.ArgumentParser(description="What the agent costs in an outage and after it.")
    parser.add_argument("--seconds", type=int, default=60, help="of the outage (default: %(default)s)")
    parser.add_argument("--samples", type=int, default=8640, help="that wait (default: %(default)s, a day)")
    options = parser.parse_args()
    go_apart("benchmarks.agent_away")
    python = agent_python()
    os.chdir(REPOSITORY)
    RESULT.parent.mkdir(parents=True, exist_ok=True)
    as_the_unit_does()
    with tempfile.TemporaryDirectory(prefix="away-", dir=RESULT.parent) as name:
        away = outage(Path(name) / "outage", python, options.seconds)
        drained = drain(Path(name) / "drain", python, options.samples)
    result = {"machine": machine(), "versions": agent_versions(python), "outage": away, "drain": drained}
    RESULT.write_text(json.dumps(result, indent=2) + "\n")
    print_table(result)
    return 0


def outage(folder: Path, python: str, duration_s: int) -> dict[str, Any]:
    """What the agent costs while it is refused, and how long it then takes to be through."""
    never, costs = threading.Event(), []
    with ExitStack() as stack:
        pair = Pair(folder, python)
        stack.enter_context(running(pair.center, folder, "center", ready=True))
        agent = stack.enter_context(running(pair.agent, folder, "agent", ready=True))[0]
        assert pair.counted is not None
        never.wait(SETTLE_S)
        pair.counted.close()
        print(f"The nerve center is away for {duration_s} s ...", flush=True)
        began = time.monotonic()
        for number in range(duration_s // INTERVAL_S + 1):
            never.wait(max(0.0, began + number * INTERVAL_S - time.monotonic()))
            costs.append(cost(agent))
        took_s = time.monotonic() - began
        pair.counted.open()
        back_s = pair.until(lambda spool: spool["pending"] == 0, DRAIN_WITHIN_S)
    return {**figures(costs, took_s), "back_s": round(back_s, 2)}


def drain(folder: Path, python: str, samples: int) -> dict[str, Any]:
    """What it takes to deliver so many samples that wait when the agent starts."""
    pair = Pair(folder, python)
    fill(pair.state / "spool.db", samples)
    counted = pair.counted
    assert counted is not None
    peak_kib, never = 0, threading.Event()
    with running(pair.center, folder, "center", ready=True):
        began = time.monotonic()
        with running(pair.agent, folder, "agent", ready=True) as (agent, ready_s):
            print(f"{samples} samples wait ...", flush=True)
            while pair.spool()["pending"] > 1:
                if time.monotonic() - began > DRAIN_WITHIN_S:
                    raise TimeoutError(f"not drained within {DRAIN_WITHIN_S:g} s")
                peak_kib = max(peak_kib, cost(agent).pss_kib)
                never.wait(0.5)
            took_s, used = time.monotonic() - began, cost(agent)
    wire = counted.sent_bytes + counted.received_bytes
    return {
        "samples": samples,
        "ready_s": round(ready_s, 2),
        "seconds": round(took_s, 1),
        "samples_per_s": round(samples / took_s),
        "cpu_ms_per_sample": round(used.cpu_ms / samples, 3),
        "pss_peak_kib": max(peak_kib, used.pss_kib),
        "wire_bytes_per_sample": round(wire / samples),
        "disk_bytes": used.written_bytes,
    }


def fill(path: Path, samples: int) -> None:
    """Put so many samples of this host into a new spool, in one transaction."""
    clock, now_s = SystemClock(), time.time()
    collector = HostCollector(clock, Collect())
    collector.prime()
    looks = [to_json(collector.sample()) for _ in range(8)]
    memory, disk = Spool(":memory:", BUDGET), Spool(path, BUDGET)
    for number in range(samples):
        at = datetime.fromtimestamp(now_s - (samples - number) * INTERVAL_S, UTC)
        memory.append(SAMPLES, "sample", rfc3339(at), looks[number % len(looks)], float(INTERVAL_S))
    disk.take_over(memory)
    memory.close()
    disk.close()


def print_table(result: dict[str, Any]) -> None:
    """For people."""
    print(", ".join(f"{name} {value}" for name, value in result["machine"].items()))
    away, drained = result["outage"], result["drain"]
    print(
        f"away:  PSS {away['pss_kib'] / 1024:.1f} MiB, {away['cpu_ms_per_sample']:.1f} ms of cpu a sample, "
        f"{away['switches_per_minute']:.0f} switches a minute, {away['disk_bytes_per_day'] / 1048576:.1f} MiB to disk "
        f"a day; everything delivered {away['back_s']:.1f} s after its end"
    )
    print(
        f"a day: {drained['samples']} samples in {drained['seconds']:.1f} s ({drained['samples_per_s']} a second), "
        f"{drained['cpu_ms_per_sample']:.2f} ms of cpu and {drained['wire_bytes_per_sample']} bytes on the wire each, "
        f"PSS at most {drained['pss_peak_kib'] / 1024:.1f} MiB"
    )
    print(f"Saved in {RESULT.relative_to(REPOSITORY)}")


if __name__ == "__main__":
    sys.exit(main())
