"""A center that comes back to a herd: thousands of agents after an outage, over the real wire protocol.

    python -m benchmarks.herd [--agents 2000] [--outage 60]

The hosts are simulated, the protocol is not: each agent has a credential and a spool of its own, builds its messages
with the agent's code, sends them gzipped over a connection of its own, compares marks, backs off with the agent's
waits and jitter, and honours Retry-After. The center is killed, stays away while every agent goes on sampling, and
comes back. Measured: seconds until every agent is active and has delivered everything, the latency of `/health`
meanwhile, how many requests were refused, and, by the center's own continuity report, how many records were lost.
"""

from gevent import monkey

monkey.patch_all()

# ruff: noqa: E402 - everything below the patch is patched

import argparse
import json
import os
import random
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gevent

from benchmarks.measure import free_port, machine
from dio_daemon import wire
from dio_daemon.backoff import Backoff
from dio_daemon.clock import SystemClock, rfc3339

REPOSITORY = Path(__file__).resolve().parents[1]
RESULT = REPOSITORY / "build/benchmarks/herd.json"
INTERVAL_S = 10.0
WAITS_S = (2.0, 4.0, 8.0, 10.0)
JITTER = 0.15
FAILURES_BEFORE_OFFLINE = 5
SAMPLE = wire.to_json(
    {
        "cpu": {"percent": 12.5, "user_percent": 8.1, "system_percent": 4.4, "count": 2},
        "memory": {"total_bytes": 4105170944, "available_bytes": 2105170944, "percent": 48.7},
        "load": {"load_1m": 0.31, "load_5m": 0.28, "load_15m": 0.25},
        "disks": [{"mount": "/", "device": "/dev/vda1", "fstype": "ext4", "status": "ok", "percent": 41.2}],
        "network": {"rx_bytes_per_s": 10240.0, "tx_bytes_per_s": 5120.0, "interfaces": []},
        "processes": {"count": 142, "running": 1, "zombies": 0, "top": []},
        "uptime_s": 86400.0,
    }
)


class Failed(Exception):
    """An exchange that did not end in an acknowledgement."""

    def __init__(self, status: int, retry_after_s: float | None = None, body: Any = None) -> None:
        super().__init__(str(status))
        self.status = status
        self.retry_after_s = retry_after_s
        self.body = body


@dataclass
class Herd:
    """What all agents share, and what is counted."""

    port: int
    token: str
    answers: Counter[str] = field(default_factory=Counter)

    def exchange(self, path: str, headers: dict[str, str], body: bytes) -> dict[str, Any]:
        """One POST over a connection of its own. Raises Failed."""
        head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        request = (
            f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n{head}"
            f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        ).encode() + body
        answer = b""
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=10) as connection:
                connection.settimeout(30)
                connection.sendall(request)
                while piece := connection.recv(65536):
                    answer += piece
        except OSError:
            self.answers["no connection"] += 1
            raise Failed(0) from None
        top, _, content = answer.partition(b"\r\n\r\n")
        if not top.startswith(b"HTTP/1.1 "):
            self.answers["broken"] += 1
            raise Failed(0)
        status = int(top[9:12])
        self.answers[str(status)] += 1
        if status in (200, 201):
            return dict(json.loads(content))
        retry_after = None
        for line in top.split(b"\r\n"):
            if line.lower().startswith(b"retry-after:"):
                retry_after = float(line.partition(b":")[2])
        raise Failed(status, retry_after, json.loads(content) if content else None)


class Agent:
    """One simulated host; its life is that of `dio_daemon.link`, in one loop."""

    def __init__(self, herd: Herd) -> None:
        self.herd = herd
        self.agent_id = f"agent-{secrets.token_hex(8)}"
        self.sender = wire.Sender(
            secrets.token_hex(16), secrets.token_hex(16), None, INTERVAL_S, secrets.token_hex(16)
        )
        self.credential = secrets.token_urlsafe(32)
        self.epoch = secrets.token_hex(8)
        self.rng = random.Random()
        self.backoff = Backoff(WAITS_S, JITTER, self.rng)
        self.spool: list[wire.Record] = []
        self.mark = wire.Mark(0, None)
        self.seq = 0
        self.active = False
        self.enrolled = False

    def sample(self) -> None:
        """Sample for ever."""
        gevent.sleep(self.rng.random() * INTERVAL_S)
        while True:
            self.seq += 1
            self.spool.append(wire.Record(self.seq, self.seq, secrets.token_hex(8), "sample", now(), SAMPLE))
            gevent.sleep(INTERVAL_S)

    def live(self) -> None:
        """Register, report, and come back, for ever."""
        while True:
            if not self.register():
                continue
            failures = 0
            while failures < FAILURES_BEFORE_OFFLINE:
                if not self.spool:
                    gevent.sleep(0.5)
                    continue
                try:
                    self.report()
                    failures = 0
                    self.active = True
                except Failed as failure:
                    self.active = False
                    busy = failure.status in (429, 503)
                    failures = min(failures + 1, FAILURES_BEFORE_OFFLINE - 1) if busy else failures + 1
                    wait = self.backoff.spread(INTERVAL_S)
                    gevent.sleep(max(wait, self.backoff.spread(failure.retry_after_s or 0.0)))
            self.backoff.reset()

    def register(self) -> bool:
        """One attempt; waits after a failure."""
        body = wire.registration(self.sender, self.agent_id, "0.1.0", now(), {"hostname": self.agent_id}, {})
        headers = {"Authorization": f"Bearer {self.credential}"}
        if not self.enrolled:
            headers["DIO-Enrollment-Token"] = self.herd.token
        try:
            self.herd.exchange("/api/v1/agents/register", headers, body)
        except Failed as failure:
            _, wait = self.backoff.next()
            gevent.sleep(max(wait, self.backoff.spread(failure.retry_after_s or 0.0)))
            return False
        self.enrolled = True
        self.backoff.reset()
        return True

    def report(self) -> None:
        """One report of what waits. Raises Failed."""
        records = tuple(self.spool[:200])
        batch = wire.Batch(self.epoch, wire.SAMPLES, self.mark, records)
        headers = {"Authorization": f"Bearer {self.credential}", "Content-Encoding": "gzip"}
        body = wire.compress(wire.report(self.sender, now(), batch))
        try:
            answer = self.herd.exchange(f"/api/v1/agents/{self.agent_id}/reports", headers, body)
        except Failed as failure:
            if failure.status != 409 or not failure.body or "mark" not in failure.body:
                raise
            answer = failure.body
        mark = wire.Mark(answer["mark"]["seq"], answer["mark"]["tag"])
        if not any((record.seq, record.tag) == (mark.seq, mark.tag) for record in records):
            raise Failed(409)
        self.mark = mark
        self.spool = [record for record in self.spool if record.seq > mark.seq]


def now() -> str:
    return rfc3339(SystemClock().now())


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
    """A real nerve center as a process."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.token = secrets.token_urlsafe(32)
        (folder / "token").write_text(self.token)
        self.config = folder / "nerve-center.toml"
        self.config.write_text(
            f'[server]\nport = {self.port}\n[database]\npath = "{folder}/nerve-center.db"\n'
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

    def kill(self) -> None:
        assert self.process is not None
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

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
        if all(agent.active and len(agent.spool) <= 1 for agent in agents):
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
        waiting = sum(len(agent.spool) for agent in agents)
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
