"""What the agent costs at rest beside glances, prometheus-node-exporter, collectd and netdata, and its way to READY.

    python -m benchmarks.agent_footprint [--seconds 60] [--processes 150 500 2000]

All run at the same time, as root in namespaces of their own, at the agent's default interval of 10 s, on a host with so
many processes: the agent reports to a nerve center, the peers do what `benchmarks.peers` says. There are two agents,
each with a nerve center of its own: one that was just installed and walks the disks for the first time, as it does for
the first hour or so, and one that has done that (`benchmarks.walked`), as it is ever after. Ratios are the latter's.

Counted is everything: all threads and descendants, PSS (shared pages in their share) and RSS as medians over the run,
cpu, voluntary context switches and bytes to the disk as what was used over the run. They run for a minute before, and
the agent has its unit's environment, and the system's Python where that has its dependencies, as the Debian package
does. The table is printed and saved in build/benchmarks/agent_footprint.json.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from benchmarks import peers
from benchmarks.crowd import crowd, go_apart
from benchmarks.measure import Cost, cost, cost_of_one, machine, running, seconds, switches_of
from benchmarks.pair import REPOSITORY, Pair, agent_python, agent_versions, as_the_unit_does
from benchmarks.walked import walk

RESULT = REPOSITORY / "build/benchmarks/agent_footprint.json"
INTERVAL_S = 10
AGENT, NEW_AGENT = "dio-agent", "dio-agent, first walk"
WARM_UP_S = 60
SETTLE_S = 15
STARTS = 3
MOST_PSS_RATIO = 1.1
"""To glances, with the fewest processes; more fails this program."""
DAY_S = 86400

Figures = dict[str, Any]


def main() -> int:
    """Measure, print, save; 1 when the agent needs more memory than it may."""
    parser = argparse.ArgumentParser(description="What the agent costs beside its peers.")
    parser.add_argument("--seconds", type=int, default=60, help="of each measurement (default: %(default)s)")
    parser.add_argument("--processes", type=int, nargs="+", default=[150, 500, 2000], metavar="N")
    options = parser.parse_args()
    peers.install()
    go_apart("benchmarks.agent_footprint")
    python = agent_python()
    os.chdir(REPOSITORY)
    RESULT.parent.mkdir(parents=True, exist_ok=True)
    # Not in /tmp, which may be memory: bytes to the disk are counted.
    with tempfile.TemporaryDirectory(prefix="footprint-", dir=RESULT.parent) as name:
        found = at_rest(Path(name) / "rest", python, options.processes, options.seconds)
        starts = start_times(Path(name) / "start", python)
    first = found[str(options.processes[0])]
    result = {
        "machine": machine(),
        "versions": agent_versions(python) | peers.versions(),
        "interval_s": INTERVAL_S,
        "seconds": options.seconds,
        "processes": found,
        "start": starts,
        "pss_ratio_to_glances": ratio(first, "pss_kib", "glances"),
        "cpu_ratio_to_node_exporter": ratio(first, "cpu_ms_per_sample", "prometheus-node-exporter"),
        "start_ratio_to_imports": round(starts["agent_ready_s"] / starts["imports_s"], 2),
    }
    RESULT.write_text(json.dumps(result, indent=2) + "\n")
    print_table(result)
    pss = result["pss_ratio_to_glances"]
    return 1 if pss is not None and pss > MOST_PSS_RATIO else 0


def at_rest(folder: Path, python: str, crowds: list[int], duration_s: int) -> dict[str, Figures]:
    """Run all at once; what each cost, by name, with each number of processes."""
    found: dict[str, Figures] = {}
    with ExitStack() as stack:
        pairs = {AGENT: Pair(folder / "walked", python), NEW_AGENT: Pair(folder / "new", python)}
        for pair in pairs.values():
            stack.enter_context(running(pair.center, pair.state.parent, "center", ready=True))
        beside = peers.Running(stack, folder, INTERVAL_S)
        as_the_unit_does()
        walk(pairs[AGENT].state)
        agents = {
            name: stack.enter_context(running(pair.agent, pair.state.parent, "agent", ready=True))[0]
            for name, pair in pairs.items()
        }
        for number in crowds:
            there = stack.enter_context(crowd(number))
            settle(beside, SETTLE_S if found else WARM_UP_S)
            print(f"Measuring for {duration_s} s with {there} processes ...", flush=True)
            found[str(number)] = measure(pairs, agents, beside, duration_s)
    return found


def settle(beside: peers.Running, seconds: int) -> None:
    """Let them run for so long."""
    never, end = threading.Event(), time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        never.wait(min(INTERVAL_S, left))
        beside.scrape()


def measure(
    pairs: dict[str, Pair], agents: dict[str, int], beside: peers.Running, duration_s: int
) -> Figures:
    """What each of those that run costs."""
    readings: dict[str, list[Cost]] = {}
    never, pair, agent = threading.Event(), pairs[AGENT], agents[AGENT]
    counted = pair.counted
    pids = {**agents, **beside.pids}
    assert counted is not None
    threads, alone = switches_of(agent), cost_of_one(agent)
    wire, seq = counted.sent_bytes + counted.received_bytes, _seq(pair)
    began = time.monotonic()
    for number in range(duration_s // INTERVAL_S + 1):
        never.wait(max(0.0, began + number * INTERVAL_S - time.monotonic()))
        for name, pid in pids.items():
            readings.setdefault(name, []).append(cost(pid))
        if number < duration_s // INTERVAL_S:
            beside.scrape()
    took_s = time.monotonic() - began
    after, alone_after = switches_of(agent), cost_of_one(agent)
    wire, samples = counted.sent_bytes + counted.received_bytes - wire, _seq(pair) - seq
    found = {name: figures(costs, took_s) for name, costs in readings.items()}
    per_thread = {task: count - threads.get(task, 0) for task, count in after.items()}
    own: Figures = {"wire_bytes_per_sample": round(wire / samples) if samples else None}
    own["switches_per_minute_of_threads"] = [round(each * 60 / took_s, 1) for each in per_thread.values()]
    own["switches_per_minute_without_children"] = per_minute(alone, alone_after, took_s)
    found[AGENT].update(own)
    return found


def figures(costs: list[Cost], took_s: float) -> Figures:
    """The figures of one program: medians of what is held, differences of what is used."""
    first, last = costs[0], costs[-1]
    return {
        "pss_kib": round(statistics.median(each.pss_kib for each in costs)),
        "private_kib": round(statistics.median(each.private_kib for each in costs)),
        "rss_kib": round(statistics.median(each.rss_kib for each in costs)),
        "threads": round(statistics.median(each.threads for each in costs)),
        "cpu_ms_per_sample": round((last.cpu_ms - first.cpu_ms) / (len(costs) - 1), 2),
        "switches_per_minute": per_minute(first, last, took_s),
        "disk_bytes_per_day": round((last.written_bytes - first.written_bytes) * DAY_S / took_s),
    }


def per_minute(first: Cost, last: Cost, took_s: float) -> float:
    """Voluntary context switches a minute."""
    return round((last.switches - first.switches) * 60 / took_s, 1)


def start_times(folder: Path, python: str) -> dict[str, float]:
    """Return seconds (medians): agent's start to READY, and a Python that only imports psutil and requests."""
    ready, imports = [], []
    pair = Pair(folder, python, direct=True)
    with running(pair.center, folder, "center", ready=True):
        for _ in range(STARTS):
            with running(pair.agent, folder, "agent", ready=True) as (_, ready_s):
                ready.append(ready_s)
            imports.append(seconds([python, "-c", "import psutil, requests"]))
    return {
        "agent_ready_s": round(statistics.median(ready), 3),
        "agent_ready_most_s": round(max(ready), 3),
        "imports_s": round(statistics.median(imports), 3),
    }


def ratio(found: Figures, figure: str, peer: str) -> float | None:
    """Return the agent's figure over that of a peer; None without that."""
    other = found.get(peer, {}).get(figure)
    return round(found[AGENT][figure] / other, 3) if other else None


def _seq(pair: Pair) -> int:
    return int(pair.spool()["streams"]["samples"]["acknowledged_seq"])


def print_table(result: dict[str, Any]) -> None:
    """For people; a ratio is the agent's figure over the peer's."""
    for group in ("machine", "versions"):
        print(", ".join(f"{name} {value}" for name, value in result[group].items()))
    for processes, found in result["processes"].items():
        print(
            f"\n{processes + ' processes':25} {'PSS MiB':>8} {'RSS':>7} {'thr.':>5} {'cpu ms/sample':>13}"
            f" {'switches/min':>12} {'disk MiB/day':>12} {'ratio PSS':>9} {'cpu':>5}"
        )
        for name, each in found.items():
            ratios = [ratio(found, figure, name) for figure in ("pss_kib", "cpu_ms_per_sample")]
            shown = ["-" if value is None else f"{value:.2f}" for value in ratios]
            print(
                f"{name:25} {each['pss_kib'] / 1024:8.1f} {each['rss_kib'] / 1024:7.1f} {each['threads']:5}"
                f" {each['cpu_ms_per_sample']:13.1f} {each['switches_per_minute']:12.1f}"
                f" {each['disk_bytes_per_day'] / 1048576:12.1f} {shown[0]:>9} {shown[1]:>5}"
            )
        own = found[AGENT]
        print(
            f"the agent without its children {own['switches_per_minute_without_children']} switches a minute"
            f" ({', '.join(map(str, own['switches_per_minute_of_threads']))} by thread);"
            f" {own['wire_bytes_per_sample']} bytes on the wire a sample"
        )
    start = result["start"]
    print(
        f"\nstart to READY {start['agent_ready_s']:.2f} s (most {start['agent_ready_most_s']:.2f}), "
        f"python3 -c 'import psutil, requests' {start['imports_s']:.2f} s: {result['start_ratio_to_imports']:.1f}x"
    )
    print(f"Saved in {RESULT.relative_to(REPOSITORY)}")


if __name__ == "__main__":
    sys.exit(main())
