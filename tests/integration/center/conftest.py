"""A real nerve center as a process: dio-nerve-center with gunicorn below it, on a free port of loopback."""

from __future__ import annotations

import http.client
import json
import signal
import socket
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.processes import RealCenter, wait_for


class CenterProcess(RealCenter):
    """The center, what systemd heard of it, and ways to trouble it."""

    def configure(self, text: str) -> None:
        """Settings on top of the ordinary ones; from the next start or reload."""
        folder = self.config.with_name(self.config.name + ".d")
        folder.mkdir(exist_ok=True)
        (folder / "10-test.toml").write_text(text)

    def health(self, timeout_s: float = 5.0) -> tuple[int, dict[str, Any]]:
        try:
            with urllib.request.urlopen(self.url + "/health", timeout=timeout_s) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as answer:
            return answer.code, json.load(answer)

    def connect(self, timeout_s: float = 10.0) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=timeout_s)

    def raw(self, request: bytes) -> bytes:
        """What comes back for these bytes until the other side closes."""
        with self.connect() as connection:
            connection.sendall(request)
            received = bytearray()
            while data := connection.recv(65536):
                received += data
        return bytes(received)

    @property
    def master(self) -> int:
        assert self.process is not None
        return children(self.process.pid)[0]

    def workers(self) -> list[int]:
        """The worker processes, once both of them are there."""
        return list(
            wait_for(lambda: found if len(found := children(self.master)) == 2 else None, "two workers")
        )

    def make_database(self) -> None:
        """The database as a first start leaves it."""
        self.start()
        self.wait_ready()
        self.kill(signal.SIGTERM)
        self.log_path.unlink()

    def complaints(self) -> list[str]:
        """Lines of the log that are more than information."""
        return [line for line in self.log().splitlines() if " INFO " not in line]


def read_answer(connection: socket.socket) -> bytes:
    """One answer of a connection that may stay open."""
    answer = http.client.HTTPResponse(connection)
    answer.begin()
    return b"HTTP/1.1 %d\r\n%s\r\n" % (answer.status, bytes(answer.headers)) + answer.read()


def children(pid: int) -> list[int]:
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(child) for child in text.split() if is_alive(int(child))]


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def port_is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


@pytest.fixture
def center(tmp_path: Path) -> Iterator[CenterProcess]:
    process = CenterProcess(tmp_path / "center")
    yield process
    process.close()
    wait_for(lambda: port_is_free(process.port), "the port is free again")


@pytest.fixture
def running(center: CenterProcess) -> CenterProcess:
    center.start()
    center.wait_ready()
    return center
