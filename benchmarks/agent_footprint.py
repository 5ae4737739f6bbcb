"""Memory and cpu of the agent beside glances and prometheus-node-exporter, and its way to READY.

    python -m benchmarks.agent_footprint [--seconds N]

All run at the same time with an interval of 5 s: the agent reports to a nerve center, glances exports every
sample to a file, node_exporter is scraped. Counted is everything: all threads and descendants, PSS (shared pages in
their share) as the median over the run, cpu as what was used over the run. The agent runs on the system's
Python where that has its dependencies (as the Debian package does), or else on the one this is run with.

The table is printed and everything measured is saved in build/benchmarks/agent_footprint.json.
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from benchmarks.measure import Cost, cost, machine, running, seconds

REPOSITORY = Path(__file__).resolve().parents[1]
RESULT = REPOSITORY / "build/benchmarks/agent_footprint.json"
INTERVAL_S = 5
WARM_UP_S = 15
STARTS = 5
PEERS = ("glances", "prometheus-node-exporter")
MOST_PSS_RATIO = 1.1
"""To glances; more fails this program."""


def main() -> int:
    """Measure, print, save; 1 when the agent needs more memory than it may."""
    parser = argparse.ArgumentParser(description="What the agent costs beside its peers.")
    parser.add_argument("--seconds", type=int, default=60, help="how long to measure (default: %(default)s)")
    options = parser.parse_args()
    install_peers()
    python = agent_python()
    with tempfile.TemporaryDirectory(prefix="dio-bench-") as name, ExitStack() as stack:
        folder = Path(name)
        os.chdir(REPOSITORY)
        center, agent = commands(folder, python)
        stack.enter_context(running(center, folder, "center", ready=True))
        starts = start_times(agent, folder, python)
        costs = measure(agent, folder, options.seconds)
    result = {
        "machine": machine(),
        "versions": versions(python),
        "interval_s": INTERVAL_S,
        "seconds": options.seconds,
        "footprint": costs,
        "start": starts,
        "pss_ratio_to_glances": ratio(costs, "pss_kib"),
        "cpu_ratio_to_glances": ratio(costs, "cpu_ms_per_sample"),
        "start_ratio_to_imports": round(starts["agent_ready_s"] / starts["imports_s"], 2),
    }
    RESULT.parent.mkdir(parents=True, exist_ok=True)
    RESULT.write_text(json.dumps(result, indent=2) + "\n")
    print_table(result)
    pss = result["pss_ratio_to_glances"]
    return 1 if pss is not None and pss > MOST_PSS_RATIO else 0


def install_peers() -> None:
    """Install what is missing by apt, as root; say it otherwise."""
    missing = [name for name in PEERS if shutil.which(name) is None]
    if not missing:
        return
    command = ["apt-get", "install", "-y", "-q", "--no-install-recommends", *missing]
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        print(f"Left out, not installed: {', '.join(missing)}. As root: {' '.join(command)}")
        return
    print(f"Installing by apt: {', '.join(missing)}")
    subprocess.run(["apt-get", "update", "-q"], check=False, stdout=subprocess.DEVNULL)
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=environment)


def agent_python() -> str:
    """Return the Python that the agent is run with."""
    needs = "import sys, psutil, requests, sdnotify; sys.exit(sys.version_info < (3, 11))"
    system = "/usr/bin/python3"
    if (
        Path(system).exists()
        and not subprocess.run([system, "-c", needs], check=False, capture_output=True).returncode
    ):
        return system
    print(f"The system's Python lacks psutil, requests or sdnotify (python3-…); using {sys.executable}")
    return sys.executable


def commands(folder: Path, python: str) -> tuple[list[str], list[str]]:
    """Write configurations; return the commands of nerve center and agent."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    token = folder / "enrollment-token"
    token.touch(mode=0o600)
    (folder / "state").mkdir()
    token.write_text(secrets.token_urlsafe(32) + "\n")
    (folder / "center.toml").write_text(
        f'[server]\nport = {port}\n[database]\npath = "{folder}/center.db"\n[enrollment]\ntoken_file = "{token}"\n'
    )
    (folder / "agent.toml").write_text(
        f'[nerve_center]\nurl = "http://127.0.0.1:{port}"\nenrollment_token_file = "{token}"\n'
        f"[agent]\ninterval_s = {INTERVAL_S}\n"
        f'[paths]\nstate_dir = "{folder}/state"\nsocket = "{folder}/agent.sock"\n'
    )
    return (
        [sys.executable, "-m", "nerve_center.serve", "--config", str(folder / "center.toml")],
        [python, "-m", "dio_daemon.app", "--config", str(folder / "agent.toml")],
    )


def start_times(agent: list[str], folder: Path, python: str) -> dict[str, float]:
    """Return seconds (medians): agent's start to READY, and a Python that only imports psutil and requests."""
    ready, imports = [], []
    for _ in range(STARTS):
        with running(agent, folder, "agent", ready=True) as (_, ready_s):
            ready.append(ready_s)
        imports.append(seconds([python, "-c", "import psutil, requests"]))
    return {
        "agent_ready_s": round(statistics.median(ready), 3),
        "agent_ready_most_s": round(max(ready), 3),
        "imports_s": round(statistics.median(imports), 3),
    }


def measure(agent: list[str], folder: Path, duration_s: int) -> dict[str, dict[str, float]]:
    """Run all at once; return PSS and cpu of each by name."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    export = ["--export", "json", "--export-json-file", str(folder / "glances.json")]
    peers = {
        "glances": ["glances", "-q", "-t", str(INTERVAL_S), *export],
        "prometheus-node-exporter": ["prometheus-node-exporter", f"--web.listen-address={address}"],
    }
    readings: dict[str, list[Cost]] = {}
    with ExitStack() as stack:
        pids = {"dio-agent": stack.enter_context(running(agent, folder, "agent", ready=True))[0]}
        for name, command in peers.items():
            if shutil.which(command[0]):
                pids[name] = stack.enter_context(running(command, folder, name))[0]
        print(f"Measuring {', '.join(pids)} for {duration_s} s …", flush=True)
        started, passing = time.monotonic(), threading.Event()
        while time.monotonic() < started + WARM_UP_S + duration_s:
            passing.wait(INTERVAL_S)
            if "prometheus-node-exporter" in pids:
                scrape(f"http://{address}/metrics")
            if time.monotonic() > started + WARM_UP_S:
                for name, pid in pids.items():
                    readings.setdefault(name, []).append(cost(pid))
    result = {}
    for name, costs in readings.items():
        samples = len(costs) - 1
        result[name] = {
            "pss_kib": round(statistics.median(each.pss_kib for each in costs)),
            "private_kib": round(statistics.median(each.private_kib for each in costs)),
            "cpu_ms_per_sample": round((costs[-1].cpu_ms - costs[0].cpu_ms) / samples, 2),
        }
    return result


def scrape(url: str) -> None:
    """Ask node_exporter as Prometheus does."""
    with urllib.request.urlopen(url, timeout=INTERVAL_S) as answer:
        answer.read()


def versions(python: str) -> dict[str, str]:
    """Return the versions of what was measured."""
    code = (
        "import sys, psutil, requests as r; print(sys.version.split()[0], psutil.__version__, r.__version__)"
    )
    found = subprocess.run([python, "-c", code], check=True, capture_output=True, text=True).stdout.split()
    result = dict(zip(("python", "psutil", "requests"), found, strict=True))
    for name in PEERS:
        query = ["dpkg-query", "-W", "-f", "${Version}", name]
        try:
            asked = subprocess.run(query, check=False, capture_output=True, text=True)
        except FileNotFoundError:
            continue
        result[name] = asked.stdout or "not installed by dpkg"
    return result


def ratio(costs: dict[str, dict[str, float]], figure: str) -> float | None:
    """Return the agent's figure over that of glances; None without glances."""
    glances = costs.get("glances", {}).get(figure)
    return round(costs["dio-agent"][figure] / glances, 3) if glances else None


def print_table(result: dict[str, Any]) -> None:
    """Print ratios for people: 1 is the agent."""
    for group in ("machine", "versions"):
        print(", ".join(f"{name} {value}" for name, value in result[group].items()))
    own = result["footprint"]["dio-agent"]
    print(
        f"\n{'':26} {'PSS MiB':>9} {'private':>9} {'cpu ms/sample':>14} {'agent/it PSS':>13} {'agent/it cpu':>13}"
    )
    for name, each in result["footprint"].items():
        cpu = (
            f"{own['cpu_ms_per_sample'] / each['cpu_ms_per_sample']:.2f}"
            if each["cpu_ms_per_sample"]
            else "-"
        )
        print(
            f"{name:26} {each['pss_kib'] / 1024:9.1f} {each['private_kib'] / 1024:9.1f} "
            f"{each['cpu_ms_per_sample']:14.1f} {own['pss_kib'] / each['pss_kib']:13.2f} {cpu:>13}"
        )
    start = result["start"]
    print(
        f"\nstart to READY {start['agent_ready_s']:.2f} s (most {start['agent_ready_most_s']:.2f}), "
        f"python3 -c 'import psutil, requests' {start['imports_s']:.2f} s: {result['start_ratio_to_imports']:.1f}x"
    )
    print(f"Saved in {RESULT.relative_to(REPOSITORY)}")


if __name__ == "__main__":
    sys.exit(main())
