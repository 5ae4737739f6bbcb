"""The control socket's server: bound early, bounded in everything, never in the agent's way.

The socket is bound under a umask that gives nobody anything and then opened to its group, so there is no moment
with a wrong mode. A stale socket of a dead process is replaced, that of a live one never. So many are served at a
time and so long each (`callers`), with no more than `MAX_HEAD_BYTES` of headers and `MAX_BODY_BYTES` of body;
whoever comes on top is told to come again. Who a caller is comes from the kernel (SO_PEERCRED), not from what it
says.
"""

from __future__ import annotations

import http.client
import io
import json
import logging
import os
import select
import socket
import stat
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any, Protocol

from dio_daemon.deadlines import LOOK_S, Deadlines
from dio_daemon.errors import DioError
from dio_daemon.heartbeat import Heartbeat
from dio_daemon.ipc.callers import Caller, Callers
from dio_daemon.text import safe

log = logging.getLogger(__name__)

MAX_BODY_BYTES = 64 * 1024
MAX_HEAD_BYTES = 64 * 1024
"""Of all headers together, beside a first line of as much."""
READ_S = 5.0
"""A read that brings nothing for this long ends the exchange."""
RETRY_S = 0.5


class SocketInUse(DioError):
    """A live process answers on the control socket."""


@dataclass(frozen=True)
class Request:
    """What a caller asks. `uid` is the kernel's word for who it is."""

    method: str
    path: str
    body: bytes
    uid: int


class Stream(Protocol):
    """Lines without an end; closed by whoever was given them."""

    def next_line(self) -> bytes | None:
        """The next line, waited for; None at the end."""

    def close(self) -> None:
        """Give the place back."""


@dataclass(frozen=True)
class Response:
    """What it is told: a status and a JSON value, or a text, or JSON as bytes, or lines without an end (`stream`)."""

    status: int
    body: Any
    headers: tuple[tuple[str, str], ...] = ()
    stream: Stream | None = None


def problem(status: int, code: str, detail: str, headers: tuple[tuple[str, str], ...] = ()) -> Response:
    """An RFC 9457 problem document."""
    title = code.replace("-", " ")
    return Response(
        status,
        {"type": f"urn:dio:problem:{code}", "title": title, "status": status, "detail": detail},
        headers,
    )


class ControlServer:
    """The control thread's work. It also keeps the deadlines of the whole agent, since it never waits for anybody.

    Args:
        path: of the socket.
        heartbeat: the control thread's sign of life.
        deadlines: how long callers may stay, and whatever else others set.

    `handle` answers a request, from a thread of its own for each client; it is set before the first step.

    Raises:
        SocketInUse: a live process has it. OSError: it cannot be bound.
    """

    def __init__(self, path: Path, heartbeat: Heartbeat, deadlines: Deadlines) -> None:
        self._path = path
        self.handle: Callable[[Request], Response] = _nobody_yet
        self._heartbeat = heartbeat
        self._deadlines = deadlines
        self._callers = Callers(deadlines)
        self.stopping = False
        self._socket = _bind(path)
        self._wake_reader, self._wake_writer = socket.socketpair()
        for end in (self._wake_reader, self._wake_writer):
            end.setblocking(False)
        deadlines.wake = self._wake

    def step(self) -> str:
        """Take one caller, or find that there is none; cut off those whose time is over."""
        self._heartbeat.beat(LOOK_S)
        ready, _, _ = select.select([self._socket, self._wake_reader], [], [], self._deadlines.keep())
        if self.stopping:
            return "nobody"
        if self._wake_reader in ready:
            self._wake_reader.recv(4096)
        if self._socket not in ready:
            return "nobody"
        try:
            client, _ = self._socket.accept()
        except OSError as error:
            # Gone again; or out of descriptors, which would otherwise be tried in a tight loop.
            log.debug("Control socket: %s", error)
            select.select([self._wake_reader], [], [], RETRY_S)
            return "lost"
        caller = self._callers.admit(client, _peer_uid(client))
        if caller is None:
            _refuse(client)
            return "refused"
        try:
            threading.Thread(target=self._serve, args=(caller,), name="control-client", daemon=True).start()
        except RuntimeError as error:  # no room for one more thread (TasksMax=), which is no reason to end
            log.debug("Control socket: %s", error)
            caller.leave()
            return "lost"
        return "served"

    def stop(self) -> None:
        """End the waiting; called from another thread."""
        self.stopping = True
        self._wake()

    def _wake(self) -> None:
        try:
            self._wake_writer.send(b"x")
        except OSError:
            return  # woken often enough already, or nobody waits any more

    def close(self) -> None:
        """Remove the socket; after the last step."""
        # In this order: whoever finds a socket that nobody listens on replaces it, and that one must stay.
        self._path.unlink(missing_ok=True)
        for end in (self._socket, self._wake_reader, self._wake_writer):
            end.close()

    def _serve(self, caller: Caller) -> None:
        try:
            caller.socket.settimeout(READ_S)
            _Exchange(caller.socket, self.handle, caller.untimed)
        except OSError as error:  # callers come and go as they like
            log.debug("Control socket: a caller went away: %s", error)
        finally:
            caller.leave()


class _Head:
    """A request's bytes, with headers that are too long in all refused as a line is that is too long."""

    def __init__(self, file: io.BufferedIOBase) -> None:
        self._file = file
        self._left = MAX_HEAD_BYTES

    def readline(self, limit: int) -> bytes:
        """The next line of the headers. Raises LineTooLong, which the parser answers with 431."""
        line = self._file.readline(min(limit, self._left + 1))
        self._left -= len(line)
        if self._left < 0:
            raise http.client.LineTooLong("header")
        return line


class _Exchange(BaseHTTPRequestHandler):
    """One request of one caller, parsed by the standard library."""

    protocol_version = "HTTP/1.1"
    server_version = "dio-agent"
    sys_version = ""
    timeout = READ_S

    def __init__(
        self, client: socket.socket, handle: Callable[[Request], Response], untimed: Callable[[], None]
    ) -> None:
        self._answer = handle
        self._untimed = untimed
        self._uid = _peer_uid(client)
        super().__init__(client, ("control", 0), None)  # type: ignore[arg-type]  # no server behind it

    def __getattr__(self, name: str) -> Any:
        if name.startswith("do_"):
            return self._respond
        raise AttributeError(name)

    def log_message(self, format: str, *args: object) -> None:
        log.debug("Control socket: %s", safe(format % args, 200))

    def parse_request(self) -> bool:
        """The headers, bounded."""
        body = self.rfile
        self.rfile = _Head(body)  # type: ignore[assignment]  # the parser asks for lines only
        try:
            return super().parse_request()
        finally:
            self.rfile = body

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Errors that the parser finds, as problem documents."""
        self.close_connection = True
        detail = safe(message or explain or "the request cannot be understood", 300)
        self._send(problem(int(code), "bad-request", detail))

    def _respond(self) -> None:
        self.close_connection = True
        length = self.headers.get("Content-Length", "0")
        if "Transfer-Encoding" in self.headers:
            self._send(problem(411, "length-required", "send a Content-Length"))
            return
        if not (length.isascii() and length.isdigit()):
            self._send(problem(400, "bad-request", "Content-Length is no number"))
            return
        if len(length) > 12 or int(length) > MAX_BODY_BYTES:
            self._send(problem(413, "too-large", f"at most {MAX_BODY_BYTES} bytes"))
            return
        body = self.rfile.read(int(length))
        if len(body) < int(length):
            return
        path = self.path.split("?", 1)[0]
        try:
            response = self._answer(Request(self.command, path, body, self._uid))
        except Exception:  # one question that fails is not the end of the agent
            log.exception("Control socket: %s %s failed", self.command, safe(path, 100))
            response = problem(500, "internal", "the agent met an error of its own; its journal says more")
        self._send(response)

    def _send(self, response: Response) -> None:
        self.request_version = self.protocol_version  # an answer has a head, whatever was asked
        if response.stream is not None:
            self._send_lines(response.stream)
            return
        if isinstance(response.body, str):
            content, kind = response.body.encode(), "text/plain; version=0.0.4; charset=utf-8"
        elif isinstance(response.body, bytes):
            content, kind = response.body + b"\n", "application/json"
        else:
            content = json.dumps(response.body, indent=1).encode() + b"\n"
            kind = "application/problem+json" if response.status >= 400 else "application/json"
        self.send_response(response.status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Connection", "close")
        for name, value in response.headers:
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def _send_lines(self, lines: Stream) -> None:
        """A stream lasts as long as its follower reads; a send that blocks for `READ_S` ends it."""
        try:
            self._untimed()
            self.send_response(200)
            self.send_header("Content-Type", "application/x-ndjson")
            self.send_header("Connection", "close")
            self.end_headers()
            if self.command != "HEAD":
                while (line := lines.next_line()) is not None:
                    self.wfile.write(line)
        finally:
            lines.close()


def _nobody_yet(request: Request) -> Response:
    return problem(503, "starting", "the agent is being put together", (("Retry-After", "1"),))


def _bind(path: Path) -> socket.socket:
    server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        _remove_stale(path)
        before = os.umask(0o177)
        try:
            server.bind(str(path))
        finally:
            os.umask(before)
        path.chmod(0o660)
        server.listen(64)
        server.setblocking(False)
    except BaseException:
        server.close()
        raise
    return server


def _remove_stale(path: Path) -> None:
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise SocketInUse(f"{path} is in the way and is no socket: move it away")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink(missing_ok=True)
            return
        except FileNotFoundError:
            return
        except (BlockingIOError, TimeoutError):
            log.debug("Control socket: somebody listens on %s, and has callers enough", path)
    raise SocketInUse(f"another agent is running: it answers on {path}")


def _peer_uid(client: socket.socket) -> int:
    credentials = client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    return int(struct.unpack("3i", credentials)[1])


def _refuse(client: socket.socket) -> None:
    body = b'{"type": "urn:dio:problem:busy", "title": "busy", "status": 503, "detail": "too many callers"}\n'
    head = (
        "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/problem+json\r\nRetry-After: 1\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    with client:
        client.setblocking(False)
        try:
            client.send(head.encode() + body)
        except OSError as error:
            log.debug("Control socket: a caller too many went away: %s", error)
