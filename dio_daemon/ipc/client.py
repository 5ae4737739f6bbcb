"""The control socket's client, for `dioctl`: quick to import, and able to bridge the second of a restart.

It speaks the little HTTP that the agent's own server answers with, over a plain socket: the standard library's
client takes longer to import than everything else that `dioctl status` does. For the same reason the clock is made
when somebody has to be waited for.
"""

from __future__ import annotations

import json
import os
import socket
from contextlib import contextmanager, suppress

from dio_daemon.errors import DioError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from typing import Any, BinaryIO

    from dio_daemon.clock import Clock

BRIDGE_S = 2.0
"""How long an agent that is being restarted, or has callers enough, may be away, when nobody knows better."""
LOOK_AGAIN_S = 0.5
ATTEMPT_EVERY_S = 0.1
MAX_LINE_BYTES = 65536
MAX_HEADERS = 100
BUSY = 503
TWICE_IS_TWO = "/v1/report/"
"""What is below it is never sent a second time: the first may have arrived."""


class NotRunning(DioError):
    """Nobody answers on the socket."""


class NoPermission(DioError):
    """The caller may not use the socket."""


class Refused(DioError):
    """The agent answered with an error. `code` is the last part of the problem's type."""

    def __init__(self, message: str, status: int, code: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.code = code


class _Answer:
    """A status and the stream that the body is read from."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self.file: BinaryIO = connection.makefile("rb")
        self.status = self._read_status()
        self.headers = self._read_headers()

    def body(self) -> bytes:
        """All of it. Raises _NoAnswer when it breaks off."""
        length = self.headers.get("content-length")
        if length is None or not length.isdigit():
            return self.file.read()
        body = self.file.read(int(length))
        if len(body) < int(length):
            raise _NoAnswer("the answer broke off")
        return body

    def close(self) -> None:
        """Give the connection back."""
        self.file.close()
        self._connection.close()

    def _read_status(self) -> int:
        line = self.file.readline(MAX_LINE_BYTES)
        if not line:
            raise ConnectionResetError("the connection was closed")
        words = line.split(None, 2)
        if len(words) < 2 or not words[0].startswith(b"HTTP/1.") or not words[1].isdigit():
            raise _NoAnswer("what it says is no HTTP")
        return int(words[1])

    def _read_headers(self) -> dict[str, str]:
        found: dict[str, str] = {}
        for _ in range(MAX_HEADERS):
            line = self.file.readline(MAX_LINE_BYTES).strip()
            if not line:
                return found
            name, _, value = line.decode("latin-1").partition(":")
            found[name.lower()] = value.strip()
        raise _NoAnswer("what it says is no HTTP")


class _NoAnswer(OSError):
    """What came is no whole answer."""


class _Wait:
    """The wait of one call for an agent that does not answer; begins when it is first asked about."""

    def __init__(self, clock: Clock | None, patience: Callable[[], float]) -> None:
        self._given = clock
        self._patience = patience
        self._began_s: float | None = None
        self._looked_s = 0.0
        self._most_s = 0.0

    def goes_on(self) -> bool:
        """Whether another attempt is worth it."""
        now = self._clock.monotonic()
        if self._began_s is None or now - self._looked_s >= LOOK_AGAIN_S:
            self._began_s = now if self._began_s is None else self._began_s
            self._looked_s, self._most_s = now, self._patience()
        return now - self._began_s < self._most_s

    def a_moment(self) -> None:
        """The time between two attempts."""
        import threading

        self._clock.wait(threading.Event(), ATTEMPT_EVERY_S)

    @property
    def _clock(self) -> Clock:
        if self._given is None:
            from dio_daemon.clock import SystemClock

            self._given = SystemClock()
        return self._given


class Client:
    """Asks a running agent.

    Args:
        path: of the control socket.
        clock: for the wait between two attempts; the system's by default.
        patience: how many seconds an agent that does not answer is worth waiting for, as things are now; asked
            when it does not, and again every half second. `BRIDGE_S` by default.
    """

    def __init__(
        self,
        path: Path | str,
        clock: Clock | None = None,
        patience: Callable[[], float] | None = None,
    ) -> None:
        self._path = os.fspath(path)
        self._clock = clock
        self._patience = patience or (lambda: BRIDGE_S)

    def call(self, method: str, path: str, body: Any = None, timeout_s: float = 10.0) -> Any:
        """One request; the JSON value of its answer.

        Raises:
            NotRunning: nobody answers. NoPermission: the socket is not for this user. Refused: an error.
        """
        with self._exchange(method, path, body, timeout_s) as answer:
            content = answer.body()
        try:
            return json.loads(content)
        except ValueError as error:
            raise NotRunning(f"what answers on {self._path} is no agent") from error

    def text(self, path: str) -> str:
        """One request; its answer as text. Raises as `call` does."""
        with self._exchange("GET", path, None, 10.0) as answer:
            return answer.body().decode("utf-8", "replace")

    def lines(self, path: str) -> Iterator[bytes]:
        """One request; the lines of its answer as they come, without the empty ones. Raises as `call` does."""
        with self._exchange("GET", path, None, 60.0) as answer:
            while line := answer.file.readline(MAX_LINE_BYTES):
                if line.strip():
                    yield line

    @contextmanager
    def _exchange(self, method: str, path: str, body: Any, timeout_s: float) -> Iterator[_Answer]:
        answer = self._answered(method, path, body, timeout_s)
        try:
            if answer.status >= 400:
                raise self._refused(answer)
            yield answer
        except OSError as error:
            raise NotRunning(f"the agent on {self._path} does not answer: {error}") from error
        finally:
            answer.close()

    def _answered(self, method: str, path: str, body: Any, timeout_s: float) -> _Answer:
        """Connect and ask; an agent that is just being restarted, or has callers enough, is waited for."""
        wait = _Wait(self._clock, self._patience)
        while True:
            try:
                answer = self._ask(method, path, body, timeout_s)
                if not (answer.status == BUSY and answer.headers.get("retry-after") == "1"):
                    return answer
                if not wait.goes_on():
                    return answer
                answer.close()
            except (FileNotFoundError, ConnectionRefusedError, BlockingIOError) as error:
                if not wait.goes_on():
                    raise NotRunning(f"no agent answers on {self._path}") from error
            except PermissionError as error:
                only = "" if method == "GET" or path.startswith(TWICE_IS_TWO) else "; changes are for root"
                raise NoPermission(
                    f"permission denied on {self._path}: join group dio (adduser USER dio, then log in again), "
                    f"or use sudo{only}"
                ) from error
            except ConnectionResetError as error:
                if path.startswith(TWICE_IS_TWO) or not wait.goes_on():
                    raise NotRunning(f"the agent on {self._path} went away: {error}") from error
            except OSError as error:
                raise NotRunning(f"the agent on {self._path} does not answer: {error}") from error
            wait.a_moment()

    def _ask(self, method: str, path: str, body: Any, timeout_s: float) -> _Answer:
        content = b"" if body is None else json.dumps(body).encode()
        head = f"{method} {path} HTTP/1.1\r\nHost: dio\r\nContent-Length: {len(content)}\r\n\r\n"
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.settimeout(timeout_s)
            connection.connect(self._path)
            with suppress(BrokenPipeError):  # answered before it read: what it said can still be read
                connection.sendall(head.encode() + content)
            return _Answer(connection)
        except BaseException:
            connection.close()
            raise

    def _refused(self, answer: _Answer) -> DioError:
        try:
            body = json.loads(answer.body())
            code = str(body.get("type", "")).rpartition(":")[2]
            return Refused(str(body.get("detail") or body.get("title")), answer.status, code)
        except (ValueError, AttributeError):
            return NotRunning(f"what answers on {self._path} is no agent")
