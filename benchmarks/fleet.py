"""A fleet on one center: how many agents it bears, what that costs, a host that dies, and a center that comes back.

    python -m benchmarks.fleet [--agents 10000] [--seconds 600] [--outage 120]

The hosts are simulated, the protocol is not (`benchmarks.simulated`); nerve center, keeper and hosts share this
machine. First all enroll, 75 a second. Then they report every 10 s for so long: counted are reports that
were late (they carried samples older than two intervals) or refused, the cores that the center used, and its memory
from minute to minute. Then a host falls silent, and the API is asked until it calls it offline. At last the center is
killed, stays away while every host goes on sampling, and comes back: seconds until all have delivered everything, and,
by the center's own continuity report, how many records were lost. Printed, and saved in build/benchmarks/fleet.json.
"""

from gevent import monkey

monkey.patch_all()

# ruff: noqa: E402 - everything below the patch is patched

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import gevent

from benchmarks.center import REPOSITORY, Center, Health, wait_all
from benchmarks.measure import cost, machine
from benchmarks.simulated import INTERVAL_S, Agent, Herd, allow_files, ask

RESULT = REPOSITORY / "build/benchmarks/fleet.json"
BEARS_WITHIN_S = 600.0
ENROLLED_PER_S = 75.0
"""Half of what one center takes: what is measured is a fleet that is there."""
OFFLINE_WITHIN_S = 180.0
REFUSALS = ("429", "503")


def main() -> int:
    """Measure, print, save; 1 when a record was lost or an agent did not come back."""
    parser = argparse.ArgumentParser(description="A fleet of simulated hosts on one nerve center.")
    parser.add_argument("--agents", type=int, default=10000)
    parser.add_argument("--seconds", type=float, default=600, help="of reporting (default: %(default)s)")
    parser.add_argument("--outage", type=float, default=120, help="seconds that the center is away")
    options = parser.parse_args()
    allow_files()
    result: dict[str, Any] = {"machine": machine(), "interval_s": INTERVAL_S}
    result |= {"agents": options.agents, "seconds": options.seconds, "outage_s": options.outage}
    # Not in /tmp, which may be memory: the center commits to a disk.
    RESULT.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="fleet-", dir=RESULT.parent) as name:
        center = Center(Path(name))
        center.start(keeper=True)
        try:
            herd = Herd(center.port, center.token)
            agents, result["enrolling_all_s"] = enrolled(herd, options.agents)
            result["steady"] = steady(center, herd, agents, options.seconds)
            result["offline_after_s"] = told("a silent host offline after {:.1f} s", dies(center, agents))
            result["outage"] = outage(center, herd, agents[1:], options.outage)
            result["continuity"] = continuity(center, herd, agents)
        finally:
            center.kill()
    RESULT.write_text(json.dumps(result, indent=2) + "\n")
    print_table(result)
    return int(result["continuity"]["lost"] > 0 or result["outage"]["all_active_again_s"] is None)


def enrolled(herd: Herd, count: int) -> tuple[list[Agent], float | None]:
    """So many agents that sample and report, and the seconds until all were enrolled (None: never)."""
    agents = [Agent(herd) for _ in range(count)]
    within_s = max(INTERVAL_S, count / ENROLLED_PER_S)
    for agent in agents:
        agent.begin(within_s)
    return agents, told("all enrolled after {:.1f} s", wait_all(agents, BEARS_WITHIN_S))


def told(words: str, seconds: float | None) -> float | None:
    """Say what a wait came to, and give it."""
    print(words.format(seconds) if seconds is not None else "never: " + words.format(-1.0), flush=True)
    return seconds


def steady(center: Center, herd: Herd, agents: list[Agent], seconds: float) -> dict[str, Any]:
    """All report for so long."""
    herd.answers.clear()
    health = Health(center.port)
    watcher = gevent.spawn(health.watch)
    began, first, first_keeper = time.monotonic(), cost(center.pid), cost(center.keeper_pid)
    memory_mib = [first.pss_kib / 1024]
    while (left := began + seconds - time.monotonic()) > 0:
        gevent.sleep(min(60.0, left))
        memory_mib.append(cost(center.pid).pss_kib / 1024)
    took_s, last, last_keeper = time.monotonic() - began, cost(center.pid), cost(center.keeper_pid)
    watcher.kill()
    latencies = sorted(health.latencies_s)
    answers = dict(herd.answers)
    return {
        "answers": answers,
        "reports_per_s": round(answers.get("200", 0) / took_s, 1),
        "late": answers.get("late", 0),
        "refused": sum(answers.get(each, 0) for each in REFUSALS),
        "not_up_to_date": sum(agent.waiting > 2 for agent in agents),
        "cores": round((last.cpu_ms - first.cpu_ms) / 1000 / took_s, 3),
        "cores_of_keeper": round((last_keeper.cpu_ms - first_keeper.cpu_ms) / 1000 / took_s, 3),
        "memory_mib_by_minute": [round(each, 1) for each in memory_mib],
        "health_p50_s": latencies[len(latencies) // 2] if latencies else None,
        "health_p99_s": latencies[int(len(latencies) * 0.99)] if latencies else None,
    }


def dies(center: Center, agents: list[Agent]) -> float | None:
    """The first host falls silent; seconds from its last report until the center calls it offline."""
    victim, token = agents[0], center.ctl("api-token", "add", "bench").decode().strip()
    victim.dead = True
    began = time.monotonic()
    while time.monotonic() - began < OFFLINE_WITHIN_S:
        found = ask(center.port, f"/api/v1/agents/{victim.agent_id}", token)
        if found["state"] == "offline":
            return time.monotonic() - max(victim.acknowledged_at, 0.0)
        gevent.sleep(0.2)
    return None


def outage(center: Center, herd: Herd, agents: list[Agent], seconds: float) -> dict[str, Any]:
    """The center is away for so long, and comes back to all of them."""
    center.kill()
    print(f"center killed, away for {seconds:g} s ...", flush=True)
    gevent.sleep(seconds)
    herd.answers.clear()
    health = Health(center.port)
    watcher = gevent.spawn(health.watch)
    center.start(keeper=True)
    back_s = told("all active again after {:.1f} s", wait_all(agents, BEARS_WITHIN_S))
    watcher.kill()
    latencies = sorted(health.latencies_s)
    return {
        "all_active_again_s": back_s,
        "health_latency_peak_s": latencies[-1] if latencies else None,
        "health_latency_p50_s": latencies[len(latencies) // 2] if latencies else None,
        "answers": dict(herd.answers),
    }


def continuity(center: Center, herd: Herd, agents: list[Agent]) -> dict[str, int]:
    """What became of all records, when every host has stopped and delivered."""
    herd.sampling = False
    wait_all(agents[1:], BEARS_WITHIN_S)
    sampled, waiting = sum(agent.seq for agent in agents), sum(agent.waiting for agent in agents)
    records, in_gaps, unaccounted = center.unaccounted()
    # What was taken although the answer was not heard is at the center and waits here.
    lost = max(0, sampled - waiting - records) + unaccounted + in_gaps
    return {"sampled": sampled, "waiting": waiting, "stored": records, "lost": lost}


def print_table(result: dict[str, Any]) -> None:
    """For people."""
    print(", ".join(f"{name} {value}" for name, value in result["machine"].items()))
    found, after = result["steady"], result["outage"]
    memory = found["memory_mib_by_minute"]
    print(
        f"{result['agents']} agents for {result['seconds']:g} s: {found['reports_per_s']} reports a second, "
        f"{found['late']} late, {found['refused']} refused, {found['not_up_to_date']} hosts behind at the end\n"
        f"the center used {found['cores']:.2f} cores (its keeper {found['cores_of_keeper']:.2f} more), "
        f"memory {memory[0]:.0f} MiB at first, {max(memory):.0f} at most, {memory[-1]:.0f} at last\n"
        f"/health p50 {1000 * (found['health_p50_s'] or 0):.0f} ms, p99 {1000 * (found['health_p99_s'] or 0):.0f} ms\n"
        f"when the center came back: {after['answers']}\n"
        f"records: {result['continuity']}"
    )
    print(f"Saved in {RESULT.relative_to(REPOSITORY)}")


if __name__ == "__main__":
    sys.exit(main())
