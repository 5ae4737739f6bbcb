"""Pages of a large fleet while agents report: how long each takes, and what readers cost the agents.

    python -m benchmarks.pages [--hosts 500] [--days 2] [--agents 32] [--readers 10] [--pause 10] [--seconds 20]

A nerve center over a database that `benchmarks.grown` fills. First each page is asked for: the first time and the
median of five more. Then agents report at half of what they can, with nobody beside them and with readers, each of
whom loads page after page with a pause between: a page that is open loads itself every ten seconds.
"""

from gevent import monkey

monkey.patch_all()

# ruff: noqa: E402 - everything below the patch is patched

import argparse
import http.client
import http.cookies
import re
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.parse
from pathlib import Path

import gevent

from benchmarks import grown
from benchmarks.herd import REPOSITORY, Center
from benchmarks.ingest import Client, Turn, drive, wait_answers

PASSWORD = "correct horse battery"  # noqa: S105 - of a center that ends with the benchmark
PAGES = ("/", "/?sort=-cpu", "/?q=db0", "/?group=env", "/threats", "/events", "/events/states")
SPANS_S = (3600, 86400, 30 * 86400)


class Reader:
    """A person with a browser."""

    def __init__(self, port: int) -> None:
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        self.cookies: dict[str, str] = {}
        token = re.search('name="csrf" value="([^"]*)"', self.get("/login"))
        assert token is not None
        form = {"csrf": token[1], "name": "ann", "password": PASSWORD, "next": "/"}
        self._ask("POST", "/login", urllib.parse.urlencode(form))
        host = re.search(r'href="(/hosts/agent-[0-9a-f]+)"', self.get("/?sort=hostname"))
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
        gevent.sleep(offset_s)
        while True:
            for path in self.pages:
                began = time.monotonic()
                self.get(path)
                took_s.append(time.monotonic() - began)
                gevent.sleep(pause_s)


def main() -> int:
    """Fill, ask, report, print."""
    parser = argparse.ArgumentParser(description="Pages of a large fleet while agents report.")
    parser.add_argument("--hosts", type=int, default=500)
    parser.add_argument("--days", type=int, default=2)
    parser.add_argument("--agents", type=int, default=32)
    parser.add_argument("--readers", type=int, default=10)
    parser.add_argument("--pause", type=float, default=10.0, help="of a reader between pages, in seconds")
    parser.add_argument("--seconds", type=float, default=20.0, help="of each turn")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="dio-pages-") as name:
        folder = Path(name)
        grown.fill(folder / "nerve-center.db", options.hosts, options.days, 600.0)
        center = Center(folder)
        (folder / "password").write_text(PASSWORD)
        command = [sys.executable, "-m", "nerve_center.nervectl", "--config", str(center.config)]
        added = ["user", "add", "ann", "--role", "admin", "--password-file", str(folder / "password")]
        center.start()
        try:
            wait_answers(center.port)
            subprocess.run([*command, *added], check=True, cwd=REPOSITORY, stdout=subprocess.DEVNULL)
            print_pages(Reader(center.port))
            compare(center, options)
        finally:
            center.kill()
    return 0


def print_pages(reader: Reader) -> None:
    """How long each page takes."""
    for path in reader.pages:
        took_ms = []
        for _ in range(6):
            began = time.monotonic()
            reader.get(path)
            took_ms.append(1000 * (time.monotonic() - began))
        print(f"{took_ms[0]:6.0f} ms first, {statistics.median(took_ms[1:]):6.0f} ms then  {path}")


def compare(center: Center, options: argparse.Namespace) -> None:
    """What agents get with and without readers."""
    assert center.process is not None
    pid = center.process.pid
    clients = [Client(center.port, 1) for _ in range(options.agents)]
    for client in clients:
        client.register(center.token)
    rate = drive(clients, pid, options.seconds).rate / 2
    print_turn("nobody", drive(clients, pid, options.seconds, rate), [])
    took_s: list[float] = []
    pause_s, number = options.pause, options.readers
    readers = [
        gevent.spawn(Reader(center.port).go_on, index * pause_s / number, pause_s, took_s)
        for index in range(number)
    ]
    print_turn(f"{options.readers} readers", drive(clients, pid, options.seconds, rate), took_s)
    for reader in readers:
        if reader.ready():
            reader.get()  # raises what ended it
    gevent.killall(readers)


def print_turn(who: str, turn: Turn, took_s: list[float]) -> None:
    """A line for one turn."""
    found = sorted(turn.latencies_s)
    line = f"{who:12} {turn.rate:7.1f} reports/s, p50 {1000 * found[len(found) // 2]:5.1f} ms"
    line += f", p99 {1000 * found[int(len(found) * 0.99)]:6.1f} ms"
    if took_s:
        line += f"; {len(took_s)} pages, median {1000 * statistics.median(took_s):.0f} ms"
    print(line)


if __name__ == "__main__":
    sys.exit(main())
