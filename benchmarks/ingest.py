"""Reports that a nerve center commits a second, beside a bare Flask app that parses the same JSON and answers.

    python -m benchmarks.ingest [--agents 32] [--seconds 8] [--turns 3] [--postgresql]

With --postgresql a second nerve center takes its turns too, on a server of PostgreSQL that is made for it and syncs to
disk. All run under gunicorn with the same workers; one load generator on the same machine talks to one, then to the
next, in turns, each agent over a connection that it keeps. Everything of the center's promise is in its figure:
credential, contract, marks, exactly once, a commit to disk before the answer. One sample a report is the live case, 60
one that catches up. The latencies at 70 % of each one's peak come from a second, paced run. Printed as a table, saved
in build/benchmarks/ingest.json.
"""

from gevent import monkey

monkey.patch_all()

# ruff: noqa: E402 - everything below the patch is patched

import argparse
import http.client
import json
import os
import secrets
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gevent

from benchmarks.center import Center
from benchmarks.measure import cost, machine
from benchmarks.simulated import SAMPLE, now
from dio_daemon import wire
from tests.support.ports import free_port
from tests.support.postgresql import Cluster

REPOSITORY = Path(__file__).resolve().parents[1]
RESULT = REPOSITORY / "build/benchmarks/ingest.json"
SIZES = (1, 60)
SHARE_OF_PEAK = 0.7
DURABLE = {
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    "autovacuum": "on",
    "shared_buffers": "128MB",
}


class Unexpected(Exception):
    """An answer that is no acknowledgement."""


class Client:
    """One agent on a connection that it keeps; the messages are the agent's own."""

    def __init__(self, port: int, samples: int) -> None:
        self.agent_id = f"agent-{secrets.token_hex(8)}"
        self.credential = secrets.token_urlsafe(32)
        self.samples = samples
        self.sender = wire.Sender(
            secrets.token_hex(16), secrets.token_hex(16), None, 10.0, secrets.token_hex(16)
        )
        self.epoch = secrets.token_hex(8)
        self.mark = wire.Mark(0, None)
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)

    def register(self, token: str) -> None:
        """Enroll. Raises Unexpected."""
        body = wire.registration(self.sender, self.agent_id, "0.1.0", now(), {"hostname": self.agent_id}, {})
        self._post("register", body, {"DIO-Enrollment-Token": token}, 201)

    def prepare(self) -> bytes:
        """The next report, packed."""
        first = self.mark.seq + 1
        records = tuple(
            wire.Record(seq, seq, secrets.token_hex(8), "sample", now(), SAMPLE)
            for seq in range(first, first + self.samples)
        )
        batch = wire.Batch(self.epoch, wire.SAMPLES, self.mark, records)
        return wire.compress(wire.report(self.sender, now(), batch))

    def report(self, body: bytes) -> None:
        """Send a report; the mark moves. Raises Unexpected."""
        answer = self._post(f"{self.agent_id}/reports", body, {"Content-Encoding": "gzip"}, 200)
        self.mark = wire.Mark(answer["mark"]["seq"], answer["mark"]["tag"])

    def _post(self, path: str, body: bytes, headers: dict[str, str], wanted: int) -> Any:
        headers = {
            "Content-Type": "application/json",
            "Authorization": f"Bearer {self.credential}",
            **headers,
        }
        self.connection.request("POST", f"/api/v1/agents/{path}", body, headers)
        answer = self.connection.getresponse()
        content = answer.read()
        if answer.status != wanted:
            raise Unexpected(f"{answer.status}: {content[:300]!r}")
        return json.loads(content)


@dataclass
class Turn:
    """What one turn showed."""

    seconds: float = 0.0
    cpu_ms: float = 0.0
    latencies_s: list[float] = field(default_factory=list)

    @property
    def rate(self) -> float:
        """Reports acknowledged a second."""
        return len(self.latencies_s) / self.seconds


def drive(clients: list[Client], pid: int, seconds: float, rate: float | None = None) -> Turn:
    """All clients at once for so long: as fast as they are answered, or at `rate` reports a second in all."""
    turn = Turn()
    before, began = cost(pid).cpu_ms, time.monotonic()
    end = began + seconds

    def one(client: Client, offset: float) -> None:
        step = len(clients) / rate if rate else 0.0
        due = began + offset * step
        while (at := time.monotonic()) < end:
            body = client.prepare()
            if step:
                due += step
                gevent.sleep(max(0.0, due - time.monotonic()))
                at = time.monotonic()
            client.report(body)
            turn.latencies_s.append(time.monotonic() - at)

    jobs = [gevent.spawn(one, client, number / len(clients)) for number, client in enumerate(clients)]
    gevent.joinall(jobs, raise_error=True)
    turn.seconds = time.monotonic() - began
    turn.cpu_ms = cost(pid).cpu_ms - before
    return turn


def summary(turns: list[Turn], paced: Turn) -> dict[str, float]:
    """The medians of some turns, and the latencies of a paced one."""
    found = sorted(paced.latencies_s)
    return {
        "reports_per_s": round(statistics.median(turn.rate for turn in turns), 1),
        "cpu_ms_per_report": round(
            statistics.median(turn.cpu_ms / len(turn.latencies_s) for turn in turns), 3
        ),
        "paced_per_s": round(paced.rate, 1),
        "p50_ms": round(1000 * found[len(found) // 2], 1),
        "p99_ms": round(1000 * found[int(len(found) * 0.99)], 1),
    }


def start_bare(folder: Path) -> tuple[subprocess.Popen[bytes], int]:
    """The bare app under gunicorn; process and port."""
    port = free_port()
    command = [sys.executable, "-m", "gunicorn", "-k", "gevent", "-w", "2", "--preload"]
    command += ["-b", f"127.0.0.1:{port}", "--keep-alive", "75", "benchmarks.bare:app"]
    with (folder / "bare.log").open("wb") as log:
        return subprocess.Popen(command, cwd=REPOSITORY, stdout=log, stderr=log, start_new_session=True), port


def wait_answers(port: int) -> None:
    """Until /health is answered with 200. Raises TimeoutError after a minute."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        try:
            connection.request("GET", "/health")
            if connection.getresponse().status == 200:
                return
        except OSError:
            pass
        finally:
            connection.close()
        gevent.sleep(0.1)
    raise TimeoutError(f"nothing answers on port {port}")


def main() -> int:
    """Measure, print, save."""
    parser = argparse.ArgumentParser(description="Ingest of the nerve center beside a bare Flask app.")
    parser.add_argument("--agents", type=int, default=32, help="connections (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=8.0, help="of each turn (default: %(default)s)")
    parser.add_argument("--turns", type=int, default=3, help="turns of each (default: %(default)s)")
    parser.add_argument("--postgresql", action="store_true", help="a nerve center on PostgreSQL as well")
    options = parser.parse_args()
    result: dict[str, Any] = {"machine": machine(), **vars(options)}
    with tempfile.TemporaryDirectory(prefix="dio-ingest-") as name, ExitStack() as stack:
        centers = {"center": start_center(stack, Path(name, "sqlite"))}
        if options.postgresql:
            cluster = Cluster(**DURABLE)
            stack.callback(cluster.stop)
            url = cluster.url(cluster.create())
            centers["postgresql"] = start_center(stack, Path(name, "postgresql"), url)
        bare, bare_port = start_bare(Path(name))
        stack.callback(bare.wait)
        stack.callback(os.killpg, bare.pid, 15)
        wait_answers(bare_port)
        for samples in SIZES:
            sides = {}
            for who, center in centers.items():
                clients = [Client(center.port, samples) for _ in range(options.agents)]
                for client in clients:
                    client.register(center.token)
                assert center.process is not None
                # PostgreSQL's own processes are not in this figure.
                sides[who] = (clients, center.process.pid)
            sides["bare"] = ([Client(bare_port, samples) for _ in range(options.agents)], bare.pid)
            result[f"{samples}_a_report"] = compare(sides, options)
    RESULT.parent.mkdir(parents=True, exist_ok=True)
    RESULT.write_text(json.dumps(result, indent=2) + "\n")
    print_table(result)
    return 0


def start_center(stack: ExitStack, folder: Path, url: str = "") -> Center:
    """A nerve center that answers, and ends with the stack."""
    folder.mkdir()
    center = Center(folder, url=url)
    center.start()
    stack.callback(center.kill)
    wait_answers(center.port)
    return center


def compare(sides: dict[str, tuple[list[Client], int]], options: argparse.Namespace) -> dict[str, Any]:
    """All in turns; their figures, and the ratios to the bare app."""
    turns: dict[str, list[Turn]] = {who: [] for who in sides}
    for number in range(options.turns + 1):
        for who, (clients, pid) in sides.items():
            turn = drive(clients, pid, options.seconds if number else 1.0)
            if number:  # the first warms up
                turns[who].append(turn)
    found: dict[str, Any] = {}
    for who, (clients, pid) in sides.items():
        peak = statistics.median(turn.rate for turn in turns[who])
        found[who] = summary(turns[who], drive(clients, pid, options.seconds, SHARE_OF_PEAK * peak))
    least = found["bare"]
    for figures in found.values():
        figures["rate_ratio"] = round(figures["reports_per_s"] / least["reports_per_s"], 3)
        figures["cpu_ratio"] = round(least["cpu_ms_per_report"] / figures["cpu_ms_per_report"], 3)
    return found


def print_table(result: dict[str, Any]) -> None:
    """For people."""
    print(
        f"{'':26} {'reports/s':>10} {'cpu ms':>8} {'p50 ms':>8} {'p99 ms':>8} {'rate':>6} {'cpu':>6}"
        "   p50 and p99 at 70 % of the peak; ratios to the bare app"
    )
    for samples in SIZES:
        for who, row in result[f"{samples}_a_report"].items():
            print(
                f"{who + f', {samples} a report':26} {row['reports_per_s']:10.1f} "
                f"{row['cpu_ms_per_report']:8.3f} {row['p50_ms']:8.1f} {row['p99_ms']:8.1f}"
                f" {row['rate_ratio']:6.2f} {row['cpu_ratio']:6.2f}"
            )
    print(f"Saved in {RESULT.relative_to(REPOSITORY)}")


if __name__ == "__main__":
    sys.exit(main())
