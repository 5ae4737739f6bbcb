"""Reports that a nerve center commits a second, beside a bare Flask app that parses the same JSON and answers.

    python -m benchmarks.ingest [--agents 32] [--seconds 8] [--turns 3]

Both run under gunicorn with the same workers; one load generator on the same machine talks to one, then the other, in
turns, each agent over a connection that it keeps. Everything of the center's promise is in its figure: credential,
contract, marks, exactly once, a commit to disk before the answer. One sample a report is the live case, 60 one that
catches up. The latencies at 70 % of each one's peak come from a second, paced run. Printed as a table, saved in
build/benchmarks/ingest.json.
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
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gevent

from benchmarks.herd import Center
from benchmarks.measure import cost, free_port, machine
from benchmarks.simulated import SAMPLE, now
from dio_daemon import wire

REPOSITORY = Path(__file__).resolve().parents[1]
RESULT = REPOSITORY / "build/benchmarks/ingest.json"
SIZES = (1, 60)
SHARE_OF_PEAK = 0.7


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
    options = parser.parse_args()
    result: dict[str, Any] = {"machine": machine(), **vars(options)}
    with tempfile.TemporaryDirectory(prefix="dio-ingest-") as name:
        center = Center(Path(name))
        center.start()
        bare, bare_port = start_bare(Path(name))
        try:
            wait_answers(center.port)
            wait_answers(bare_port)
            assert center.process is not None
            for samples in SIZES:
                of_center = [Client(center.port, samples) for _ in range(options.agents)]
                of_bare = [Client(bare_port, samples) for _ in range(options.agents)]
                for client in of_center:
                    client.register(center.token)
                result[f"{samples}_a_report"] = compare(
                    (of_center, center.process.pid), (of_bare, bare.pid), options
                )
        finally:
            center.kill()
            os.killpg(bare.pid, 15)
            bare.wait()
    RESULT.parent.mkdir(parents=True, exist_ok=True)
    RESULT.write_text(json.dumps(result, indent=2) + "\n")
    print_table(result)
    return 0


def compare(
    center: tuple[list[Client], int], bare: tuple[list[Client], int], options: argparse.Namespace
) -> dict[str, Any]:
    """Both in turns; their figures and ratios."""
    turns: tuple[list[Turn], list[Turn]] = ([], [])
    for number in range(options.turns + 1):
        for which, (clients, pid) in enumerate((center, bare)):
            turn = drive(clients, pid, options.seconds if number else 1.0)
            if number:  # the first warms up
                turns[which].append(turn)
    figures = []
    for which, (clients, pid) in enumerate((center, bare)):
        peak = statistics.median(turn.rate for turn in turns[which])
        figures.append(summary(turns[which], drive(clients, pid, options.seconds, SHARE_OF_PEAK * peak)))
    mine, least = figures
    return {
        "center": mine,
        "bare": least,
        "rate_ratio": round(mine["reports_per_s"] / least["reports_per_s"], 3),
        "cpu_ratio": round(least["cpu_ms_per_report"] / mine["cpu_ms_per_report"], 3),
    }


def print_table(result: dict[str, Any]) -> None:
    """For people."""
    print(f"{'':22} {'reports/s':>10} {'cpu ms':>8} {'p50 ms':>8} {'p99 ms':>8}   at 70 % of the peak")
    for samples in SIZES:
        found = result[f"{samples}_a_report"]
        for who in ("center", "bare"):
            row = found[who]
            print(
                f"{who + f', {samples} a report':22} {row['reports_per_s']:10.1f} "
                f"{row['cpu_ms_per_report']:8.3f} {row['p50_ms']:8.1f} {row['p99_ms']:8.1f}"
            )
        print(f"{'ratio':22} {found['rate_ratio']:10.2f} {found['cpu_ratio']:8.2f}")
    print(f"Saved in {RESULT.relative_to(REPOSITORY)}")


if __name__ == "__main__":
    sys.exit(main())
