"""A center that comes back to a herd: thousands of agents after an outage, over the real wire protocol.

    python -m benchmarks.herd [--agents 2000] [--outage 60]

The hosts are simulated, the protocol is not (`benchmarks.simulated`). The center is killed, stays away while every
agent goes on sampling, and comes back. Measured: seconds until every agent is active and has delivered everything, the
latency of `/health` meanwhile, how many requests were refused, and, by the center's own continuity report, how many
records were lost.
"""

from gevent import monkey

monkey.patch_all()

# ruff: noqa: E402 - everything below the patch is patched

import argparse
import atexit
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import gevent

from benchmarks.measure import free_port, machine
from benchmarks.simulated import INTERVAL_S, Agent, Herd

REPOSITORY = Path(__file__).resolve().parents[1]
RESULT = REPOSITORY / "build/benchmarks/herd.json"


@dataclass
class Health:
    """`/health`, asked five times a second, as a person's monitoring would."""

    port: int
    latencies_s: list[float] = field(default_factory=list)
    failures: int = 0

    def watch(self) -> None:
        while True:
            began = time.monotonic()
            try:
                with socket.create_connection(("127.0.0.1", self.port), timeout=10) as connection:
                    connection.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                    answer = b""
                    while piece := connection.recv(65536):
                        answer += piece
                self.failures += not answer.startswith(b"HTTP/1.1 200")
                self.latencies_s.append(time.monotonic() - began)
            except OSError:
                self.failures += 1
            gevent.sleep(0.2)


class Center:
    """A real nerve center as a process, on SQLite or on the PostgreSQL that `url` names."""

    def __init__(self, folder: Path, database: Path | None = None, url: str = "") -> None:
        self.database = database or folder / "nerve-center.db"
        self.port = free_port()
        self.token = secrets.token_urlsafe(32)
        (folder / "token").write_text(self.token)
        self.config = folder / "nerve-center.toml"
        self.config.write_text(
            f'[server]\nport = {self.port}\n[database]\npath = "{self.database}"\nurl = "{url}"\n'
            f'[enrollment]\ntoken_file = "{folder}/token"\n'
        )
        self.log = folder / "center.log"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "nerve_center.serve", "--config", str(self.config)],
                stdout=log,
                stderr=log,
                start_new_session=True,
                cwd=REPOSITORY,
            )
        atexit.register(self.kill)

    def kill(self) -> None:
        """End it, where that has not been done yet."""
        atexit.unregister(self.kill)
        if self.process is not None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process = None

    def unaccounted(self) -> tuple[int, int, int]:
        """(records, in gaps, unaccounted) of all agents, by nervectl continuity."""
        done = subprocess.run(
            [
                sys.executable,
                "-m",
                "nerve_center.nervectl",
                "--config",
                str(self.config),
                "continuity",
                "--json",
            ],
            capture_output=True,
            check=False,
            cwd=REPOSITORY,
        )
        agents = json.loads(done.stdout)["agents"]
        return (
            sum(agent["records"] for agent in agents),
            sum(agent["in_gaps"] for agent in agents),
            sum(agent["unaccounted"] for agent in agents),
        )


def wait_all(agents: list[Agent], within_s: float) -> float | None:
    """Seconds until every agent is active and has nothing older than an interval waiting; None if never."""
    began = time.monotonic()
    while time.monotonic() - began < within_s:
        if all(agent.active and agent.waiting <= 1 for agent in agents):
            return time.monotonic() - began
        gevent.sleep(0.1)
    return None


def main() -> int:
    """Measure, print, save; 1 when a record was lost or an agent did not come back."""
    parser = argparse.ArgumentParser(description="A center that comes back to a herd of agents.")
    parser.add_argument("--agents", type=int, default=2000)
    parser.add_argument("--outage", type=float, default=60, help="seconds that the center is away")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="dio-herd-") as name:
        center = Center(Path(name))
        center.start()
        herd = Herd(center.port, center.token)
        agents = [Agent(herd) for _ in range(options.agents)]
        health = Health(center.port)
        for agent in agents:
            gevent.spawn(agent.sample)
            gevent.spawn(agent.live)
        print(f"{options.agents} agents, interval {INTERVAL_S:g} s; enrolling all at once ...", flush=True)
        enrolled_s = wait_all(agents, 300)
        center.kill()
        print(
            f"all active after {enrolled_s} s; center killed, away for {options.outage:g} s ...", flush=True
        )
        gevent.sleep(options.outage)
        herd.answers.clear()
        watcher = gevent.spawn(health.watch)
        center.start()
        back_s = wait_all(agents, 300)
        watcher.kill()
        answers = dict(herd.answers)
        sampled = sum(agent.seq for agent in agents)
        waiting = sum(agent.waiting for agent in agents)
        records, in_gaps, unaccounted = center.unaccounted()
        center.kill()
    # Records sampled while the continuity was read may be at the center already; they are no loss.
    lost = max(0, sampled - waiting - records) + unaccounted + in_gaps
    latencies = sorted(health.latencies_s)
    result = {
        "machine": machine(),
        "agents": options.agents,
        "outage_s": options.outage,
        "enrolling_all_s": enrolled_s,
        "all_active_again_s": back_s,
        "health_latency_peak_s": latencies[-1] if latencies else None,
        "health_latency_p50_s": latencies[len(latencies) // 2] if latencies else None,
        "answers": answers,
        "refused": answers.get("503", 0) + answers.get("429", 0),
        "records_lost": lost,
        "records_stored": records,
    }
    print(json.dumps(result, indent=2))
    RESULT.parent.mkdir(parents=True, exist_ok=True)
    RESULT.write_text(json.dumps(result, indent=2) + "\n")
    return int(lost > 0 or back_s is None)


if __name__ == "__main__":
    sys.exit(main())
