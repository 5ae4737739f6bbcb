"""A nerve center and an agent of this repository as processes, on loopback, with the defaults."""

from __future__ import annotations

import json
import os
import secrets
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.wire_count import Counted
from tests.support.ports import free_port

REPOSITORY = Path(__file__).resolve().parents[1]
UNIT = REPOSITORY / "packaging/systemd/dio-agent.service"
WHOLE_MACHINE = "import sys, psutil, requests, sdnotify; sys.exit(sys.version_info < (3, 11))"


class Pair:
    """Configurations of both in a folder, and a forwarder between them that counts.

    Args:
        folder: a new one, on a disk.
        python: what the agent is run with.
        direct: without the forwarder.
    """

    def __init__(self, folder: Path, python: str, direct: bool = False) -> None:
        port = free_port()
        self.socket = folder / "agent.sock"
        self.state = folder / "state"
        self.state.mkdir(parents=True)
        self.counted = None if direct else Counted(port)
        reached = port if self.counted is None else self.counted.port
        token = folder / "enrollment-token"
        token.touch(mode=0o600)
        token.write_text(secrets.token_urlsafe(32) + "\n")
        (folder / "center.toml").write_text(
            f'[server]\nport = {port}\n[database]\npath = "{folder}/center.db"\n[enrollment]\ntoken_file = "{token}"\n'
        )
        (folder / "agent.toml").write_text(
            f'[nerve_center]\nurl = "http://127.0.0.1:{reached}"\nenrollment_token_file = "{token}"\n'
            f'[paths]\nstate_dir = "{self.state}"\nsocket = "{self.socket}"\n'
        )
        for compiler in {python, sys.executable}:
            subprocess.run(
                [compiler, "-m", "compileall", "-q", "dio_daemon", "nerve_center"], cwd=REPOSITORY, check=True
            )
        self.center = [sys.executable, "-m", "nerve_center.serve", "--config", str(folder / "center.toml")]
        self.agent = [python, "-m", "dio_daemon.start", "--config", str(folder / "agent.toml")]

    def spool(self) -> dict[str, Any]:
        """The agent's spool, by its own word. Raises OSError."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(10)
            connection.connect(str(self.socket))
            connection.sendall(b"GET /v1/spool HTTP/1.0\r\nHost: dio\r\n\r\n")
            answer = b"".join(iter(lambda: connection.recv(65536), b""))
        return dict(json.loads(answer.partition(b"\r\n\r\n")[2]))

    def until(self, true: Callable[[dict[str, Any]], bool], within_s: float) -> float:
        """Wait until something holds of the agent's spool; how many seconds that took. Raises TimeoutError."""
        began, never = time.monotonic(), threading.Event()
        while not true(self.spool()):
            if time.monotonic() - began > within_s:
                raise TimeoutError(f"not within {within_s:g} s")
            never.wait(0.25)
        return time.monotonic() - began


def agent_python() -> str:
    """Return the Python that the agent is run with: the system's where it has what the package depends on."""
    system = "/usr/bin/python3"
    if Path(system).exists():
        asked = subprocess.run([system, "-c", WHOLE_MACHINE], check=False, capture_output=True)
        if asked.returncode == 0:
            return system
    print(f"The system's Python lacks psutil, requests or sdnotify (python3-…); using {sys.executable}")
    return sys.executable


def as_the_unit_does() -> None:
    """Set the environment that the agent's unit sets, for whatever is started from now on."""
    for line in UNIT.read_text().splitlines():
        if line.startswith("Environment="):
            name, _, value = line.removeprefix("Environment=").partition("=")
            os.environ[name] = value


def agent_versions(python: str) -> dict[str, str]:
    """The versions of what the agent runs on."""
    code = (
        "import sys, psutil, requests as r; print(sys.version.split()[0], psutil.__version__, r.__version__)"
    )
    found = subprocess.run([python, "-c", code], check=True, capture_output=True, text=True).stdout.split()
    return dict(zip(("python", "psutil", "requests"), found, strict=True))
