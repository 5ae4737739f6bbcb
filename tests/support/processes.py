"""Real agents and nerve centers as processes on loopback, each with a notify socket that records what was said."""

import contextlib
import http.client
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support.ports import free_port

GUARD_S = 90.0
"""How long to wait for what should come in a moment: only a guard against hanging, the machine may be busy."""


def wait_for(condition: Callable[[], Any], what: str, within_s: float = GUARD_S) -> Any:
    """The condition's first truthy value; fails after `within_s`."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        if value := condition():
            return value
        threading.Event().wait(0.05)
    raise AssertionError(f"not within {within_s:g} s: {what}")


@dataclass
class Notifications:
    """A notify socket; `messages` holds (monotonic seconds, line) of all that came."""

    path: Path
    messages: list[tuple[float, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(self.path))
        self._thread = threading.Thread(target=self._receive)
        self._thread.start()

    def _receive(self) -> None:
        while (data := self._socket.recv(65536)) != b"end":
            now = time.monotonic()
            self.messages += [(now, line) for line in data.decode("ascii").splitlines()]

    def lines(self, prefix: str = "") -> list[str]:
        return [line for _, line in self.messages if line.startswith(prefix)]

    def first(self, line: str) -> float | None:
        return next((at for at, said in self.messages if said == line), None)

    def close(self) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.sendto(b"end", str(self.path))
        self._thread.join()
        self._socket.close()


class Service:
    """A process with a notify socket and its log in a file."""

    def __init__(self, folder: Path, name: str, module: str, config: Path) -> None:
        self.folder = folder
        self.name = name
        self.module = module
        self.config = config
        self.log_path = folder / f"{name}.log"
        self.notified: Notifications | None = None
        self.process: subprocess.Popen[bytes] | None = None
        self.before: list[str] = []
        """A command in front of the service's own, such as prlimit."""
        self.environ: dict[str, str] = {}
        self._starts = 0

    def start(self, **environ: str) -> None:
        self._starts += 1
        self.notified = Notifications(self.folder / f"{self.name}.{self._starts}.notify")
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                [*self.before, sys.executable, "-m", self.module, "--config", str(self.config)],
                env={
                    **os.environ,
                    "NOTIFY_SOCKET": str(self.notified.path),
                    "WATCHDOG_USEC": "30000000",
                    **self.environ,
                    **environ,
                },
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    @property
    def alive(self) -> bool:
        """Whether its process runs."""
        return self.process is not None and self.process.poll() is None

    @property
    def said(self) -> Notifications:
        assert self.notified is not None
        return self.notified

    def wait_ready(self, within_s: float = GUARD_S) -> None:
        wait_for(
            lambda: self.said.first("READY=1") or self.process is None or self.process.poll() is not None,
            f"READY of {self.name}",
            within_s,
        )
        assert self.said.first("READY=1"), f"{self.name} ended: {self.log()}"

    def kill(self, number: signal.Signals = signal.SIGKILL) -> None:
        """Send a signal to the whole family for KILL, to the process otherwise, and wait for its end."""
        assert self.process is not None
        if number is signal.SIGKILL:
            for group in self.groups():
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(group, number)
        else:
            self.process.send_signal(number)
        self.ended()

    def ended(self, within_s: float = GUARD_S) -> int:
        assert self.process is not None
        code = self.process.wait(within_s)
        if self.notified is not None:
            self.notified.close()
            self.notified = None
        return code

    def groups(self) -> list[int]:
        """The process groups of these."""
        return sorted({group for _, group in self._family()})

    def processes(self) -> list[int]:
        """Its process and all that descend from it, in the order of their birth."""
        return [pid for pid, _ in self._family()]

    def _family(self) -> list[tuple[int, int]]:
        """Process and group of each process that descends from it, itself first."""
        assert self.process is not None
        parents: dict[int, tuple[int, int]] = {}
        for stat in Path("/proc").glob("[0-9]*/stat"):
            with contextlib.suppress(OSError):
                state, parent, group = stat.read_text().rpartition(")")[2].split()[:3]
                if state != "Z":
                    parents[int(stat.parent.name)] = (int(parent), int(group))
        found = [(self.process.pid, self.process.pid)]
        for pid, _ in found:
            found += [(child, group) for child, (parent, group) in sorted(parents.items()) if parent == pid]
        return found

    def close(self) -> None:
        if self.alive:
            self.kill()
        elif self.notified is not None:
            self.ended()

    def log(self) -> str:
        return self.log_path.read_text() if self.log_path.exists() else ""


class RealCenter(Service):
    """A nerve center on a free port, with an API token to look at what it stored."""

    def __init__(self, folder: Path, settings: str = "") -> None:
        (folder / "state").mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        self.token_file = folder / "token"
        self.token_file.write_text(secrets.token_urlsafe(32))
        from tests.support import stores  # end-to-end tests use this module without drivers of databases

        self.store = stores.make(folder / "state/nerve-center.db")
        config = folder / "nerve-center.toml"
        config.write_text(
            f'[server]\nport = {self.port}\n{self.store.toml}[enrollment]\ntoken_file = "{self.token_file}"\n{settings}'
        )
        super().__init__(folder, "center", "nerve_center.serve", config)
        self.url = f"http://127.0.0.1:{self.port}"
        self.exits: list[int] = []
        """Exit codes of supervisors that ended by themselves."""
        self._api_token = ""

    def close(self) -> None:
        super().close()
        self.store.end()

    @property
    def database(self) -> Path:
        """The file, where it is one of SQLite."""
        return self.folder / "state/nerve-center.db"

    def control(self, *arguments: str, stdin: str = "") -> str:
        """What nervectl prints; fails where it fails."""
        command = [sys.executable, "-m", "nerve_center.nervectl", "--config", str(self.config), *arguments]
        done = subprocess.run(command, check=False, capture_output=True, text=True, input=stdin)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def get(self, path: str) -> Any:
        """The JSON under a path, with an API token that is made anew where the database forgot it."""
        try:
            return self._get(path)
        except urllib.error.HTTPError as error:
            with error:
                if error.code != 401:
                    raise
        self._api_token = self.control("api-token", "add", f"test-{secrets.token_hex(4)}").split()[-1]
        return self._get(path)

    def _get(self, path: str) -> Any:
        headers = {"Authorization": f"Bearer {self._api_token}"} if self._api_token else {}
        request = urllib.request.Request(self.url + path, headers=headers)
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.load(answer)

    def keep(self, condition: Callable[[], Any], what: str, within_s: float = GUARD_S) -> Any:
        """Wait for a condition while the center is started again whenever it ends, as systemd does."""

        def look() -> Any:
            if not self.alive:
                self.exits.append(self.ended())
                self.start()
            return condition()

        return wait_for(look, f"{what}; log: {self.log()[-2000:]}", within_s)

    def healthy(self, within_s: float = GUARD_S) -> None:
        """Wait until `/health` says so, while the center is kept alive."""
        self.keep(lambda: (self.health() or {}).get("status") == "healthy", "healthy", within_s)

    def health(self) -> dict[str, Any] | None:
        """The body of /health, whatever its status; None when nobody answers."""
        try:
            with urllib.request.urlopen(self.url + "/health", timeout=3) as answer:
                return dict(json.load(answer))
        except urllib.error.HTTPError as error:
            with error:
                return dict(json.load(error))
        except (OSError, ValueError, http.client.HTTPException):
            return None

    def samples(self, agent_id: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        after = ""
        while True:
            page = self.get(f"/api/v1/agents/{agent_id}/samples?limit=1000{after}")
            found += page["samples"]
            if page["next"] is None:
                return found
            after = f"&after={page['next']}"


class RealAgent(Service):
    """An agent with its own folder; quick settings unless told otherwise."""

    def __init__(self, folder: Path, url: str, token_file: Path, settings: str = "") -> None:
        folder.mkdir(exist_ok=True)
        config = folder / "agent.toml"
        config.write_text(
            f'[nerve_center]\nurl = "{url}"\nenrollment_token_file = "{token_file}"\n'
            # what the machine that runs the tests does is no matter of theirs
            f'[integrity]\nenabled = false\n[paths]\nstate_dir = "{folder}/state"\nsocket = "{folder}/agent.sock"\n'
        )
        (folder / "agent.toml.d").mkdir(exist_ok=True)
        quick = "[agent]\ninterval_s = 1\n[startup]\nhealth_waits_s = [0.2, 0.4]\nhealth_timeout_s = 1\n"
        (folder / "agent.toml.d/10-quick.toml").write_text(quick)
        (folder / "agent.toml.d/20-test.toml").write_text(settings)
        super().__init__(folder, "agent", "dio_daemon.start", config)

    def status(self) -> dict[str, Any]:
        done = subprocess.run(
            [
                sys.executable,
                "-m",
                "dio_daemon.ctl",
                "--socket",
                self.folder / "agent.sock",
                "status",
                "--json",
            ],
            check=True,
            capture_output=True,
            text=True,
        )
        return dict(json.loads(done.stdout))

    def look(self) -> dict[str, Any] | None:
        """The same document asked for over the socket, without the cost of a process; None when nobody answers."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
            sock.settimeout(5)
            try:
                sock.connect(str(self.folder / "agent.sock"))
                sock.sendall(b"GET /v1/status HTTP/1.1\r\nHost: dio\r\nConnection: close\r\n\r\n")
                response = http.client.HTTPResponse(sock)
                response.begin()
                return dict(json.loads(response.read())) if response.status == 200 else None
            except (OSError, ValueError, http.client.HTTPException):
                return None

    def wait_state(self, *states: str, within_s: float = GUARD_S) -> dict[str, Any]:
        def ask() -> dict[str, Any] | None:
            document = self.look()
            return document if document is not None and document["state"] in states else None

        return dict(wait_for(ask, f"{self.name} in state {states}", within_s))
