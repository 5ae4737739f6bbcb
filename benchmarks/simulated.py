"""Simulated hosts: the wire protocol is real, what is sampled is not.

    python3 -m benchmarks.simulated --url https://dio.example:8443 --ca ca.pem --agents 500 \\
        --token-file token --status status.json

Each agent has a credential and a spool of its own, builds its messages with the agent's code, sends them gzipped, each
over a connection of its own as the agent does (decision 0003), compares marks, backs off with the agent's waits and
jitter, and honours Retry-After. What was acknowledged it keeps for an hour, and goes back to the mark of a center that
has lost it.

As a program it runs until SIGTERM, then samples no more, delivers what it has and ends; the file of its status is
written anew twice a second: `agents`, those `active`, records `sampled` and `waiting`, and `answers` by HTTP status.
"""

from gevent import monkey

monkey.patch_all()

# ruff: noqa: E402 - everything below the patch is patched

import argparse
import json
import random
import resource
import secrets
import signal
import socket
import ssl
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import gevent

from benchmarks.exchanges import Answer, Done, Exchanges
from dio_daemon import wire
from dio_daemon.backoff import Backoff
from dio_daemon.clock import SystemClock, rfc3339

INTERVAL_S = 10.0
WAITS_S = (2.0, 4.0, 8.0, 10.0)
JITTER = 0.15
FAILURES_BEFORE_OFFLINE = 5
KEPT = 360
MOST_IN_A_REPORT = 200
LATE_RECORDS = 2
"""A report with more brings samples that are older than two intervals: the nerve center calls that host late."""
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
    """An answer that is none of what was asked for."""

    def __init__(self, status: int) -> None:
        super().__init__(str(status))
        self.status = status


@dataclass
class Herd:
    """What all agents share, and what is counted."""

    port: int
    token: str
    host: str = "127.0.0.1"
    tls: ssl.SSLContext | None = None
    answers: Counter[str] = field(default_factory=Counter)
    sampling: bool = True

    def __post_init__(self) -> None:
        self.exchanges = Exchanges(self.host, self.port, self.tls)
        gevent.spawn(self.exchanges.run)

    def post(self, path: str, headers: str, body: bytes, done: Done) -> None:
        """One POST over a connection of its own. `headers` end their lines; what comes of it is counted."""

        def counted(answer: Answer) -> None:
            self.answers[answer.said] += 1
            done(answer)

        head = (
            f"POST {path} HTTP/1.1\r\nHost: {self.host}\r\nContent-Type: application/json\r\n{headers}"
            f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        )
        self.exchanges.send(head.encode() + body, counted)


class Agent:
    """One simulated host; its life is that of `dio_daemon.link`, told by what happens to it."""

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
        self.kept: list[wire.Record] = []
        self.mark = wire.Mark(0, None)
        self.seq = 0
        self.active = False
        self.enrolled = False
        self.dead = False
        self.acknowledged_at = 0.0
        self._registered = False
        self._failures = 0
        self._held_back = True
        """An exchange is on its way, or a wait after one."""

    @property
    def waiting(self) -> int:
        """How many records are not acknowledged."""
        return self.seq - self.mark.seq

    def begin(self, within_s: float) -> None:
        """Sample from some moment of the next interval on, and register at one of the next `within_s` seconds."""
        self.herd.exchanges.after(self.rng.random() * INTERVAL_S, self._sample)
        self.herd.exchanges.after(self.rng.random() * within_s, self._go_on)

    def _sample(self) -> None:
        """Sample as long as the herd does, and report at once."""
        if not self.herd.sampling or self.dead:
            return
        self.seq += 1
        self.kept.append(wire.Record(self.seq, self.seq, secrets.token_hex(8), "sample", now(), SAMPLE))
        if len(self.kept) > KEPT and self.kept[0].seq < self.mark.seq:
            del self.kept[0]
        self.herd.exchanges.after(INTERVAL_S, self._sample)
        if not self._held_back:
            self._go_on()

    def _go_on(self) -> None:
        """Do what is next: register, or report what waits."""
        self._held_back = True
        if not self._registered:
            self._register()
        elif self.waiting:
            self._report()
        else:
            self._held_back = False

    def _wait(self, seconds: float, answer: Answer) -> None:
        """Go on after so long, or what the center asked for where that is longer."""
        self.herd.exchanges.after(max(seconds, self.backoff.spread(answer.retry_after_s)), self._go_on)

    def _register(self) -> None:
        body = wire.registration(self.sender, self.agent_id, "0.1.0", now(), {"hostname": self.agent_id}, {})
        headers = f"Authorization: Bearer {self.credential}\r\n"
        if not self.enrolled:
            headers += f"DIO-Enrollment-Token: {self.herd.token}\r\n"
        self.herd.post("/api/v1/agents/register", headers, body, self._register_answered)

    def _register_answered(self, answer: Answer) -> None:
        if answer.status not in (200, 201):
            self.enrolled = self.enrolled and answer.status != 401
            self._wait(self.backoff.next()[1], answer)
            return
        self.enrolled = self._registered = True
        self._failures = 0
        self.backoff.reset()
        self._go_on()

    def _report(self) -> None:
        behind = self.seq - self.waiting - (self.kept[0].seq - 1)
        records = tuple(self.kept[behind : behind + MOST_IN_A_REPORT])
        batch = wire.Batch(self.epoch, wire.SAMPLES, self.mark, records)
        headers = f"Authorization: Bearer {self.credential}\r\nContent-Encoding: gzip\r\n"
        body = wire.compress(wire.report(self.sender, now(), batch))

        def answered(answer: Answer) -> None:
            self._report_answered(answer, len(records))

        self.herd.post(f"/api/v1/agents/{self.agent_id}/reports", headers, body, answered)

    def _report_answered(self, answer: Answer, sent: int) -> None:
        told = answer.body if answer.status in (200, 409) and answer.body else {}
        if "mark" in told and self._move(wire.Mark(told["mark"]["seq"], told["mark"]["tag"])):
            self.acknowledged_at = time.monotonic()
            self.herd.answers["late"] += sent > LATE_RECORDS
            self._failures = 0
            self.active = True
            self._go_on()
            return
        self.active = False
        if answer.status in (401, 409):  # it knows this agent, or this start of it, no more
            self.enrolled = self.enrolled and answer.status != 401
            self._registered = False
            self._go_on()
            return
        self._failures += 1
        if answer.status in (429, 503):  # who answers is there
            self._failures = min(self._failures, FAILURES_BEFORE_OFFLINE - 1)
        if self._failures >= FAILURES_BEFORE_OFFLINE:
            self._registered = False
            self.backoff.reset()
        self._wait(self.backoff.spread(INTERVAL_S), answer)

    def _move(self, mark: wire.Mark) -> bool:
        """Go to the mark of the center, forwards or, where it has lost something, back; False where it is unknown."""
        known = mark.seq == 0 and self.kept[0].seq == 1
        # The newest first: nearly always it is that one.
        if not known and not any(
            (each.seq, each.tag) == (mark.seq, mark.tag) for each in reversed(self.kept)
        ):
            self.herd.answers["parted"] += 1
            return False
        self.mark = mark
        return True


def ask(port: int, path: str, token: str) -> Any:
    """What the API of a nerve center on loopback answers. Raises OSError, and Failed for another status than 200."""
    request = f"GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n\r\n"
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.sendall(request.encode())
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    top, _, content = answer.partition(b"\r\n\r\n")
    if not top.startswith(b"HTTP/1.1 200"):
        raise Failed(int(top[9:12] or 0))
    return json.loads(content)


def allow_files() -> None:
    """Let this process have as many descriptors open as it may: thousands of hosts may come at once."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def now() -> str:
    return rfc3339(SystemClock().now())


def main() -> int:
    """Run a herd until SIGTERM; 1 when it could not deliver all that it had."""
    parser = argparse.ArgumentParser(description="Simulated agents.")
    parser.add_argument("--url", required=True)
    parser.add_argument("--ca", help="PEM file of the authority of the nerve center's certificate")
    parser.add_argument("--agents", type=int, default=100)
    parser.add_argument("--token-file", type=Path, required=True)
    parser.add_argument("--status", type=Path, required=True)
    options = parser.parse_args()
    allow_files()
    at = urlsplit(options.url)
    tls = ssl.create_default_context(cafile=options.ca) if at.scheme == "https" else None
    port = at.port or (443 if tls else 80)
    herd = Herd(port, options.token_file.read_text().strip(), at.hostname or "", tls)
    agents = [Agent(herd) for _ in range(options.agents)]
    for agent in agents:
        agent.begin(INTERVAL_S)

    def stop() -> None:
        herd.sampling = False

    gevent.signal_handler(signal.SIGTERM, stop)
    left = 120.0
    while left > 0 and (herd.sampling or any(agent.waiting for agent in agents)):
        _tell(options.status, herd, agents)
        gevent.sleep(0.5)
        left -= 0.0 if herd.sampling else 0.5
    _tell(options.status, herd, agents)
    return int(any(agent.waiting for agent in agents))


def _tell(path: Path, herd: Herd, agents: list[Agent]) -> None:
    aside = path.with_suffix(".new")
    aside.write_text(
        json.dumps(
            {
                "agents": len(agents),
                "active": sum(agent.active for agent in agents),
                "sampled": sum(agent.seq for agent in agents),
                "waiting": sum(agent.waiting for agent in agents),
                "answers": dict(herd.answers),
            }
        )
    )
    aside.rename(path)


if __name__ == "__main__":
    sys.exit(main())
