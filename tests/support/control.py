"""A control socket as the agent has it: real parts below it, a clock that tests move, a center that does as told."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from dio_daemon.changes import Changes
from dio_daemon.clock import SystemClock
from dio_daemon.control import Control
from dio_daemon.deadlines import Deadlines
from dio_daemon.detect.book import ThreatBook
from dio_daemon.detect.integrity.window import ChangeWindow
from dio_daemon.detect.watch import Watch
from dio_daemon.feed import Feed
from dio_daemon.heartbeat import Heartbeat
from dio_daemon.ipc.client import Client
from dio_daemon.ipc.routes import Routes
from dio_daemon.ipc.server import ControlServer
from dio_daemon.lifecycle import State
from dio_daemon.sampler import Sampler
from dio_daemon.submissions import Submissions
from dio_daemon.threat_log import ThreatLog
from tests.support.link import Agent

SAMPLE = {
    "uptime_s": 86400.5,
    "cpu": {"percent": 12.5, "user_percent": 8.0, "system_percent": 4.5, "iowait_percent": 0.0},
    "memory": {"total_bytes": 8 << 30, "available_bytes": 6 << 30, "used_bytes": 2 << 30, "percent": 25.0},
    "swap": {"total_bytes": 0, "used_bytes": 0, "percent": None},
    "load": {"load_1m": 0.25, "load_5m": 0.5, "load_15m": 0.75},
    "pressure": None,
    "disks": [
        {
            "mount": "/",
            "status": "ok",
            "total_bytes": 100,
            "used_bytes": 40,
            "free_bytes": 60,
            "percent": 40.0,
        },
        {"mount": '/mnt/"odd"\\name', "status": "unreachable", "percent": None},
    ],
    "network": {
        "rx_bytes_per_s": 1500.0,
        "tx_bytes_per_s": 100.0,
        "interfaces": [{"name": "eth0", "rx_bytes_per_s": 1500.0, "tx_bytes_per_s": 100.0}],
    },
    "processes": {
        "count": 100,
        "running": 1,
        "zombies": 0,
        "top": [{"pid": 1, "name": "systemd", "user": "root", "cpu_percent": 0.1, "rss_bytes": 12 << 20}],
    },
}


class Collector:
    """What a sampler looks at the host with, here always the same."""

    problems: Mapping[str, str] = {}

    def prime(self) -> None:
        """Nothing to do."""

    def sample(self) -> dict[str, Any]:
        """Always the same."""
        return dict(SAMPLE)


class Socket:
    """An agent's control socket with all behind it. Close it."""

    def __init__(self, folder: Path, handle_link: bool = False) -> None:
        """Serve `folder`/agent.sock; with `handle_link` a thread steps the link as well."""
        self.agent = Agent(folder)
        self.feed = Feed(self.agent.clock)
        self.agent.board._publish = self.feed.publish
        self.beats = {name: Heartbeat(name, self.agent.clock) for name in ("control", "sampler", "link")}
        self.findings: list[str] | None = []
        self.book = ThreatBook(
            folder / "threats.json", lambda data: None, ThreatLog(lambda *_: None), self.agent.clock
        )
        self.sampler = Sampler(
            Collector(),
            self.agent.spool,
            self.agent.board,
            self.agent.link.records_waiting,
            self.beats["sampler"],
            self.agent.clock,
            10.0,
            self.feed.publish,
            Watch([], self.book),
        )
        self.window = ChangeWindow(folder / "change-window.json", self.agent.clock)
        self.control = Control(
            self.agent.board,
            self.agent.spool,
            self.sampler,
            self.agent.link,
            list(self.beats.values()),
            self.agent.maintenance,
            Submissions(self.agent.spool, self.agent.clock),
            self.feed,
            self.book,
            self.window.document,
            self.agent.policy,
            lambda: self.agent.config,
            lambda: self.findings,
            self.agent.clock,
        )
        self.path = folder / "agent.sock"
        self.server = ControlServer(self.path, Heartbeat("control", SystemClock()), Deadlines(SystemClock()))
        self.woken = 0
        self.routes = {**self.control.routes(), **Changes(self.window, self._wake).routes()}
        self.server.handle = Routes(self.routes).handle
        self.client = Client(self.path, SystemClock())
        self._ended = threading.Event()
        self._threads = [threading.Thread(target=self._serve)]
        if handle_link:
            self._threads.append(threading.Thread(target=self._step))
        for thread in self._threads:
            thread.start()

    def _wake(self) -> None:
        self.woken += 1

    def active(self) -> None:
        """Register, take a sample and have it acknowledged."""
        self.agent.run_until(State.ACTIVE)
        self.sample()
        while self.agent.spool.pending:
            self.agent.link.step()

    def sample(self) -> None:
        """Take one more sample."""
        before = self.agent.spool.stats().streams["samples"].next_seq
        while self.agent.spool.stats().streams["samples"].next_seq == before:
            self.sampler.step()

    def raw(self, data: bytes, shut: bool = True) -> bytes:
        """Send bytes as they are; everything that comes back."""
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(10)
            client.connect(str(self.path))
            client.sendall(data)
            if shut:
                client.shutdown(socket.SHUT_WR)
            answer = b""
            with suppress(ConnectionResetError):  # what was not read any more; the answer came before it
                while piece := client.recv(65536):
                    answer += piece
            return answer

    def close(self) -> None:
        """Stop serving; everything is given back."""
        self._ended.set()
        self.feed.close()
        self.server.stop()
        for thread in self._threads:
            thread.join(10)
        self.server.close()
        self.agent.spool.close()

    def _serve(self) -> None:
        while not self.server.stopping:
            self.server.step()

    def _step(self) -> None:
        while not self._ended.is_set():
            self.agent.link.step()


def wait_for(condition: Callable[[], object], within_s: float = 10.0) -> None:
    """Wait until a condition holds. Raises AssertionError when it does not in time."""
    clock, never = SystemClock(), threading.Event()
    until = clock.monotonic() + within_s
    while not condition():
        assert clock.monotonic() < until, "not in time"
        clock.wait(never, 0.01)
