"""The control socket's client, for `dioctl`: quick to import, and able to bridge the second of a restart."""

from __future__ import annotations

import http.client
import json
import socket
import threading
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

    def call(self, method: str, path: str, timeout_s: float = 10.0) -> Any:
        """One request; the JSON value of its answer.

        Raises:
            NotRunning: nobody answers. NoPermission: the socket is not for this user. Refused: an error.
        """
        deadline = self._clock.monotonic() + BRIDGE_S
        never = threading.Event()
        while True:
            try:
                return self._once(method, path, timeout_s)
            except (FileNotFoundError, ConnectionRefusedError) as error:
                if self._clock.monotonic() >= deadline:
                    raise NotRunning(f"no agent answers on {self._path}") from error
                self._clock.wait(never, 0.1)
            except PermissionError as error:
                raise NoPermission(
                    f"permission denied on {self._path}: join group dio (adduser USER dio, then log in again), "
                    "or use sudo"
                ) from error
            except (OSError, http.client.HTTPException) as error:
                raise NotRunning(f"the agent on {self._path} does not answer: {error}") from error

    def _once(self, method: str, path: str, timeout_s: float) -> Any:
        connection = _UnixConnection(self._path, timeout_s)
        try:
            connection.request(method, path)
            response = connection.getresponse()
            try:
                body = json.loads(response.read())
            except ValueError as error:
                raise NotRunning(f"what answers on {self._path} is no agent") from error
        finally:
            connection.close()
        if response.status >= 400:
            raise Refused(str(body.get("detail") or body.get("title")), response.status)
        return body
