"""The control socket's client, for `dioctl`: quick to import, and able to bridge the second of a restart."""

from __future__ import annotations

import http.client
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dio_daemon.clock import Clock
from dio_daemon.errors import DioError

BRIDGE_S = 2.0
"""How long an agent that is being restarted may be away."""


class NotRunning(DioError):
    """Nobody answers on the socket."""


class NoPermission(DioError):
    """The caller may not use the socket."""


class Refused(DioError):
    """The agent answered with an error."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path, timeout_s: float) -> None:
        super().__init__("dio", timeout=timeout_s)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


class Client:
    """Asks a running agent.

    Args:
        path: of the control socket.
        clock: for the wait between two attempts.
    """

    def __init__(self, path: Path, clock: Clock) -> None:
        self._path = path
        self._clock = clock

    def call(self, method: str, path: str, body: Any = None, timeout_s: float = 10.0) -> Any:
        """One request; the JSON value of its answer.

        Raises:
            NotRunning: nobody answers. NoPermission: the socket is not for this user. Refused: an error.
        """
        with self._exchange(method, path, body, timeout_s) as response:
            try:
                return json.loads(response.read())
            except ValueError as error:
                raise NotRunning(f"what answers on {self._path} is no agent") from error

    def text(self, path: str) -> str:
        """One request; its answer as text. Raises as `call` does."""
        with self._exchange("GET", path, None, 10.0) as response:
            return response.read().decode("utf-8")

    def lines(self, path: str) -> Iterator[bytes]:
        """One request; the lines of its answer as they come, without the empty ones. Raises as `call` does."""
        with self._exchange("GET", path, None, 60.0) as response:
            while line := response.readline():
                if line.strip():
                    yield line

    @contextmanager
    def _exchange(
        self, method: str, path: str, body: Any, timeout_s: float
    ) -> Iterator[http.client.HTTPResponse]:
        connection, response = self._answered(method, path, body, timeout_s)
        try:
            if response.status >= 400:
                raise self._refused(response)
            yield response
        except (OSError, http.client.HTTPException) as error:
            raise NotRunning(f"the agent on {self._path} does not answer: {error}") from error
        finally:
            response.close()
            connection.close()

    def _answered(
        self, method: str, path: str, body: Any, timeout_s: float
    ) -> tuple[_UnixConnection, http.client.HTTPResponse]:
        """Connect and ask; an agent that is just being restarted is waited for."""
        deadline = self._clock.monotonic() + BRIDGE_S
        never = threading.Event()
        content = None if body is None else json.dumps(body).encode()
        while True:
            connection = _UnixConnection(self._path, timeout_s)
            try:
                connection.request(method, path, content)
                return connection, connection.getresponse()
            except (FileNotFoundError, ConnectionRefusedError, ConnectionResetError) as error:
                connection.close()
                if self._clock.monotonic() >= deadline:
                    raise NotRunning(f"no agent answers on {self._path}") from error
                self._clock.wait(never, 0.1)
            except PermissionError as error:
                connection.close()
                raise NoPermission(
                    f"permission denied on {self._path}: join group dio (adduser USER dio, then log in again), "
                    "or use sudo"
                ) from error
            except (OSError, http.client.HTTPException) as error:
                connection.close()
                raise NotRunning(f"the agent on {self._path} does not answer: {error}") from error

    def _refused(self, response: http.client.HTTPResponse) -> DioError:
        try:
            body = json.loads(response.read())
        except ValueError:
            return NotRunning(f"what answers on {self._path} is no agent")
        return Refused(str(body.get("detail") or body.get("title")), response.status)
