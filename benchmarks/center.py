"""A real nerve center as processes, and who watches it, for benchmarks that are patched by gevent."""

from __future__ import annotations

import atexit
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import gevent

from benchmarks.simulated import Agent
from tests.support.ports import free_port

REPOSITORY = Path(__file__).resolve().parents[1]


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
        place = f'url = "{url}"' if url else f'path = "{self.database}"'
        self.config.write_text(
            f"[server]\nport = {self.port}\n[database]\n{place}\n"
            f'[enrollment]\ntoken_file = "{folder}/token"\n'
        )
        self.log = folder / "center.log"
        self.process: subprocess.Popen[bytes] | None = None
        self._processes: list[subprocess.Popen[bytes]] = []

    @property
    def pid(self) -> int:
        """Of the nerve center's main process, the parent of all its others."""
        return self._processes[0].pid

    @property
    def keeper_pid(self) -> int:
        """Of the keeper."""
        return self._processes[1].pid

    def start(self, keeper: bool = False) -> None:
        """Start it, with its keeper if that is wanted. It ends with this program, also where that is told to end."""
        atexit.register(self.kill)
        gevent.signal_handler(signal.SIGTERM, sys.exit, 128 + signal.SIGTERM)
        for module in ("nerve_center.serve", *(("nerve_center.keeper.main",) if keeper else ())):
            with self.log.open("ab") as log:
                self._processes.append(
                    subprocess.Popen(
                        [sys.executable, "-m", module, "--config", str(self.config)],
                        stdout=log,
                        stderr=log,
                        start_new_session=True,
                        cwd=REPOSITORY,
                    )
                )
        self.process = self._processes[0]

    def kill(self) -> None:
        """End it, where that has not been done yet."""
        atexit.unregister(self.kill)
        for process in self._processes:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        self._processes.clear()
        self.process = None

    def ctl(self, *arguments: str) -> bytes:
        """What a nervectl command prints. Raises CalledProcessError."""
        command = [sys.executable, "-m", "nerve_center.nervectl", "--config", str(self.config), *arguments]
        return subprocess.run(command, stdout=subprocess.PIPE, check=True, cwd=REPOSITORY).stdout

    def unaccounted(self) -> tuple[int, int, int]:
        """(records, in gaps, unaccounted) of all agents, by nervectl continuity."""
        command = [sys.executable, "-m", "nerve_center.nervectl", "--config", str(self.config)]
        done = subprocess.run(
            [*command, "continuity", "--json"], capture_output=True, check=False, cwd=REPOSITORY
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
