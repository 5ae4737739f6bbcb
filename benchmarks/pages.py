"""Pages of a large fleet while agents report: how long each takes, and what readers cost the agents.

    python -m benchmarks.pages [--hosts 500] [--days 30] [--agents 32] [--readers 10] [--pause 10] [--seconds 20]
                               [--database FILE]

A nerve center over a database that `benchmarks.grown` fills, or over FILE, which was filled so before. First each page
is asked for: the first time and the median of five more. Then agents report at half of what they can, in turns with
nobody beside them and with readers, each of whom loads page after page with a pause between: a page that is open loads
itself every ten seconds. Saved in build/benchmarks/pages.json.
"""

from gevent import monkey

monkey.patch_all()

# ruff: noqa: E402 - everything below the patch is patched

import argparse
import http.client
import http.cookies
import json
import re
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.parse
from pathlib import Path
from typing import Any

import gevent

from benchmarks import grown
from benchmarks.center import REPOSITORY, Center
from benchmarks.ingest import Client, Turn, drive, wait_answers
from benchmarks.measure import machine

RESULT = REPOSITORY / "build/benchmarks/pages.json"
PASSWORD = "correct horse battery"  # noqa: S105 - of a center that ends with the benchmark
PAGES = ("/", "/?sort=-cpu", "/?q=db0", "/?group=env", "/threats", "/events", "/events/states")
SPANS_S = (3600, 6 * 3600, 86400, 7 * 86400, 30 * 86400, 366 * 86400)
TURNS = 3


class Reader:
    """A person with a browser."""

    def __init__(self, port: int) -> None:
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        self.cookies: dict[str, str] = {}
        token = re.search('name="csrf" value="([^"]*)"', self.get("/login"))
        assert token is not None
        form = {"csrf": token[1], "name": "ann", "password": PASSWORD, "next": "/"}
        self._ask("POST", "/login", urllib.parse.urlencode(form))
        host = re.search(
            r'<th scope="row"><a id="[^"]*" href="(/hosts/agent-[0-9a-f]+)"', self.get("/?q=web001")
        )
        assert host is not None, "the login was refused"
        now_ms = int(time.time() * 1000)
        series = [f"{host[1]}/series?since={now_ms - span_s * 1000}&until={now_ms}" for span_s in SPANS_S]
        self.pages = (*PAGES, host[1], *series)

    def get(self, path: str) -> str:
        """A page. Raises AssertionError where it is none."""
        return self._ask("GET", path, None)

    def _ask(self, method: str, path: str, body: str | None) -> str:
        headers = {"Cookie": "; ".join(f"{name}={value}" for name, value in self.cookies.items())}
        if body is not None:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        self.connection.request(method, path, body, headers)
        answer = self.connection.getresponse()
        content = answer.read().decode()
        assert answer.status in (200, 303), (path, answer.status, content[:200])
        for line in answer.headers.get_all("Set-Cookie") or ():
            self.cookies.update({name: item.value for name, item in http.cookies.SimpleCookie(line).items()})
        return content

    def go_on(self, offset_s: float, pause_s: float, took_s: list[float]) -> None:
        """Load page after page, for ever."""
        self.connection.close()  # an answer may be left on it
        gevent.sleep(offset_s)
        while True:
            for path in self.pages:
                began = time.monotonic()
                self.get(path)
                took_s.append(time.monotonic() - began)
                gevent.sleep(pause_s)


def main() -> int:
    """Fill, ask, report, print, save."""
    parser = argparse.ArgumentParser(description="Pages of a large fleet while agents report.")
    parser.add_argument("--hosts", type=int, default=500)
    parser.add_argument("--days", type=int, default=30)
    parser.add_argument("--agents", type=int, default=32)
    parser.add_argument("--readers", type=int, default=10)
    parser.add_argument("--pause", type=float, default=10.0, help="of a reader between pages, in seconds")
    parser.add_argument("--seconds", type=float, default=20.0, help="of each turn")
    parser.add_argument("--database", type=Path, help="one that was filled before")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="dio-pages-") as name:
        folder = Path(name)
        center = Center(folder, options.database)
        if options.database is None:
            grown.fill(center.database, options.hosts, options.days, 60.0)
        (folder / "password").write_text(PASSWORD)
        command = [sys.executable, "-m", "nerve_center.nervectl", "--config", str(center.config)]
        added = ["user", "add", "ann", "--role", "admin", "--password-file", str(folder / "password")]
        center.start()
        try:
            wait_answers(center.port)
            subprocess.run([*command, *added], check=False, cwd=REPOSITORY, stdout=subprocess.DEVNULL)
            pages = time_pages(Reader(center.port))
            turns = compare(center, options)
        finally:
            center.kill()
    RESULT.parent.mkdir(parents=True, exist_ok=True)
    found = {
        "machine": machine(),
        "hosts": options.hosts,
        "days": options.days,
        "pages": pages,
        "turns": turns,
    }
    RESULT.write_text(json.dumps(found, indent=2) + "\n")
    print(f"Saved in {RESULT.relative_to(REPOSITORY)}")
    return 0


def time_pages(reader: Reader) -> dict[str, dict[str, int]]:
    """How long each page takes, in milliseconds: the first time, and the median of five more."""
    found = {}
    for path in reader.pages:
        took_ms = []
        for _ in range(6):
            began = time.monotonic()
            reader.get(path)
            took_ms.append(1000 * (time.monotonic() - began))
        first, then = round(took_ms[0]), round(statistics.median(took_ms[1:]))
        name = re.sub(r"agent-[0-9a-f]+", "ID", re.sub(r"since=([0-9]+)&until=([0-9]+)", _span, path))
        found[name] = {"first_ms": first, "then_ms": then}
        print(f"{first:6} ms first, {then:6} ms then  {name}", flush=True)
    return found


def _span(found: re.Match[str]) -> str:
    return f"hours={(int(found[2]) - int(found[1])) // 3_600_000}"


def compare(center: Center, options: argparse.Namespace) -> list[dict[str, Any]]:
    """What agents get with and without readers, in turns."""
    assert center.process is not None
    pid = center.process.pid
    clients = [Client(center.port, 1) for _ in range(options.agents)]
    for client in clients:
        client.register(center.token)
    drive(clients, pid, 2.0)
    rate = drive(clients, pid, options.seconds).rate / 2
    readers = [Reader(center.port) for _ in range(options.readers)]
    found = []
    for _ in range(TURNS):
        found.append(said(0, drive(clients, pid, options.seconds, rate), []))
        took_s: list[float] = []
        pause_s, number = options.pause, options.readers
        jobs = [
            gevent.spawn(reader.go_on, index * pause_s / number, pause_s, took_s)
            for index, reader in enumerate(readers)
        ]
        turn = drive(clients, pid, options.seconds, rate)
        for job in jobs:
            if job.ready():
                job.get()  # raises what ended it
        gevent.killall(jobs)
        found.append(said(number, turn, took_s))
    return found


def said(readers: int, turn: Turn, took_s: list[float]) -> dict[str, Any]:
    """One turn as figures, printed as a line."""
    took = sorted(turn.latencies_s)
    found: dict[str, Any] = {
        "readers": readers,
        "reports_per_s": round(turn.rate, 1),
        "p50_ms": round(1000 * took[len(took) // 2], 1),
        "p99_ms": round(1000 * took[int(len(took) * 0.99)], 1),
        "pages": len(took_s),
        "page_ms": round(1000 * statistics.median(took_s)) if took_s else None,
    }
    line = f"{readers:3} readers {found['reports_per_s']:7.1f} reports/s, p50 {found['p50_ms']:6.1f} ms"
    line += f", p99 {found['p99_ms']:6.1f} ms"
    print(line + (f"; {len(took_s)} pages, median {found['page_ms']} ms" if took_s else ""), flush=True)
    return found


if __name__ == "__main__":
    sys.exit(main())
