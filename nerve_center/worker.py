"""gunicorn's gevent worker, with bounds on what a connection may take.

    from accept, or the first byte of a later request, to the last byte of its body     request_timeout_s in all
    between two requests of one connection                                              gunicorn's keepalive
    sending one answer                                                                   request_timeout_s
    bytes of one request, header and body                                                the body's limit and 1 MiB
    connections of a worker        worker_connections; near that each new one ends the one that has idled longest

gunicorn itself bounds the header only. A connection past a bound is closed without a word in the log: it
happens at the will of strangers. A request that is not HTTP gets a problem document, also without a word. The
answer to a request whose body was not read (413, 401) is followed by a short drain, because closing at once
would make the kernel drop the answer.

When the worker stops, connections without a request in hand are closed, so that a graceful stop takes as long as the
requests in hand and not as long as the clients' patience.
"""

from __future__ import annotations

import contextlib
import errno
import gc
import json
import signal
import socket
import ssl
import time
from typing import Any

import gevent
import gevent.socket
from gevent.server import StreamServer
from gevent.threadpool import ThreadPool
from gunicorn.http.errors import ParseException
from gunicorn.workers import ggevent
from gunicorn.workers.ggevent import GeventWorker

from nerve_center.accepting import Refusals
from nerve_center.center import Center
from nerve_center.clock import SystemClock
from nerve_center.pulse import Pulse
from nerve_center.settled import Settled
from nerve_center.web import EXTENSION

_HEADER_BYTES = 1024 * 1024
_DRAIN_BYTES = 16 * 1024 * 1024
_DRAIN_S = 5.0
_PASSWORDS_AT_ONCE = 2
_ROOM_S = 0.005
"""Under a load that never ends readers go on all the same, slowly."""
_plain = gevent.socket.socket
"""Its methods act on the connection below TLS: there is nothing left to say to the client."""
_HANG_UP_EVERY_S = 0.2
_ACCEPTED_AT_ONCE = 16
"""Connections that a worker takes at a time. With gunicorn's one, each report is committed alone where every agent
comes with a connection of its own, and thousands of them wait in the kernel until they give up."""
_SHARE_BEFORE_ROOM = 0.9
"""Of the connections that a worker may hold; past it each new one takes the place of one that is idle."""
_GARBAGE_EVERY = 50_000
"""New objects between two looks for cycles. A report of 60 samples makes 5,000 that are gone by themselves; with
Python's own 700 a quarter of a worker's time went into looking at them."""


class BoundedSocket:
    """A client's socket that gives up where its time or its bytes are used up; otherwise the socket itself."""

    def __init__(self, sock: Any, total_s: float, keepalive_s: float, most_bytes: int) -> None:
        self.handling = False
        self._sock = sock
        self._is_tls = isinstance(sock, ssl.SSLSocket)
        self._total_s = total_s
        self._keepalive_s = keepalive_s
        self._most_bytes = most_bytes
        self._deadline: float | None = time.monotonic() + total_s
        self._received = 0
        self._head = b""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)

    @property
    def idle(self) -> bool:
        """Whether it waits between two requests."""
        return self._deadline is None and not self.handling

    def request_done(self) -> None:
        """A request was answered; what comes next is another one."""
        self.handling = False
        self._deadline = None
        self._received = 0

    def recv(self, size: int, *flags: int) -> bytes:
        now = time.monotonic()
        left = self._keepalive_s if self._deadline is None else self._deadline - now
        if left <= 0 or self._received > self._most_bytes:
            raise _gone()
        try:
            self._sock.settimeout(left)
            # Of TLS one record takes as many reads as its sender likes; the time is for all of them.
            with gevent.Timeout(left if self._is_tls else None, TimeoutError):
                data: bytes = self._sock.recv(size, *flags)
        except OSError as exc:
            raise _gone() from exc
        if self._deadline is None:
            self._deadline = time.monotonic() + self._total_s
        self._received += len(data)
        return data

    def sendall(self, data: bytes) -> None:
        """Send. A head by itself waits for what follows it, or for `flush`: one packet wakes the client once."""
        if data.startswith(b"HTTP/") and data.endswith(b"\r\n\r\n"):
            self._head = data
            return
        data, self._head = self._head + data, b""
        try:
            self._sock.settimeout(self._total_s)
            self._sock.sendall(data)
        except OSError as exc:
            raise _gone() from exc

    def sendfile(self, *arguments: Any, **named: Any) -> Any:
        """As the socket does."""
        self.flush()
        return self._sock.sendfile(*arguments, **named)

    def flush(self) -> None:
        """Send a head that nothing has followed."""
        if self._head:
            self.sendall(b"")

    def drain(self) -> None:
        """End the sending side and swallow, for a short while, what the client still sends."""
        until, left = time.monotonic() + min(_DRAIN_S, self._total_s), _DRAIN_BYTES
        with contextlib.suppress(OSError):
            _plain.shutdown(self._sock, socket.SHUT_WR)
            while left > 0 and (patience := until - time.monotonic()) > 0:
                self._sock.settimeout(patience)
                data = _plain.recv(self._sock, 65536)
                if not data:
                    return
                left -= len(data)

    def hang_up(self) -> None:
        """Wake whoever waits for the next request: there will be none."""
        with contextlib.suppress(OSError):
            _plain.shutdown(self._sock, socket.SHUT_RD)


def _by_tls(client: Any, context: ssl.SSLContext, total_s: float) -> Any:
    """The client's socket once TLS is agreed on; None, and closed, where that fails or takes too long."""
    try:
        wrapped = context.wrap_socket(client, server_side=True, do_handshake_on_connect=False)
    except OSError:  # gone before the first byte
        client.close()
        return None
    try:
        with gevent.Timeout(total_s, TimeoutError):
            wrapped.do_handshake()
    except (OSError, ValueError):  # happens at the will of strangers
        wrapped.close()
        return None
    return wrapped


def _give_way() -> None:
    """Let everything run that is ready, until nothing is, or for so long: a reader makes room for reports."""
    with gevent.Timeout(_ROOM_S, False):
        gevent.idle()


def _gone() -> ConnectionResetError:
    """What gunicorn takes for a client that went away, and passes over."""
    return ConnectionResetError(errno.ECONNRESET, "the connection is past its bounds or was lost")


class Listener(StreamServer):  # type: ignore[misc]  # gevent has no types
    """Takes as many connections at a time as stands above, whatever it is told."""

    @property
    def max_accept(self) -> int:
        return _ACCEPTED_AT_ONCE

    @max_accept.setter
    def max_accept(self, count: int) -> None:
        pass


class BoundedWorker(GeventWorker):  # type: ignore[misc]  # gunicorn has no types
    """See the module."""

    tmp: Any
    cfg: Any

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.tmp.close()
        self.tmp = Pulse(self.cfg)
        self._open: dict[BoundedSocket, None] = {}
        """Whose last request was answered, or who came, longest ago stands first."""

    @property
    def _center(self) -> Center:
        found: Center = self.wsgi.extensions[EXTENSION]
        return found

    def run(self) -> None:
        center = self._center
        self.cfg = Settled(self.cfg)
        gc.freeze()  # what the application is made of stays
        gc.set_threshold(_GARBAGE_EVERY, *gc.get_threshold()[1:])
        hub = gevent.get_hub()
        hub.handle_error = Refusals(hub.handle_error, SystemClock())
        # A password takes a fifth of a second of processor time; agents report meanwhile.
        center.people.passwords.apart = ThreadPool(_PASSWORDS_AT_ONCE).apply
        center.turns.give_way = _give_way
        center.start()
        ggevent.StreamServer = Listener
        try:
            super().run()
        finally:
            center.stop()
            # gunicorn repeats SIGTERM; one that came while the interpreter ends would count as a crash.
            signal.signal(signal.SIGTERM, signal.SIG_IGN)

    def init_signals(self) -> None:
        super().init_signals()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGTERM,))

    def handle_exit(self, sig: int, frame: Any) -> None:
        super().handle_exit(sig, frame)
        gevent.spawn(self._hang_up)

    def timeout_ctx(self) -> contextlib.AbstractContextManager[None]:
        """Nothing: the socket keeps the time."""
        return contextlib.nullcontext()

    def handle(self, listener: Any, client: Any, addr: Any) -> None:
        config = self._center.config
        if self._center.tls is not None:
            client = _by_tls(client, self._center.tls, config.server.request_timeout_s)
            if client is None:
                return
        bounded = BoundedSocket(
            client,
            config.server.request_timeout_s,
            self.cfg.keepalive,
            int(config.limits.body_mib * 1024 * 1024) + _HEADER_BYTES,
        )
        self._open[bounded] = None
        if len(self._open) > _SHARE_BEFORE_ROOM * self.worker_connections:
            self._make_room()
        try:
            super().handle(listener, bounded, addr)
        finally:
            self._open.pop(bounded, None)

    def handle_request(self, listener_name: Any, req: Any, sock: Any, addr: Any) -> None:
        sock.handling = True
        asked_to_close = req.should_close
        req.should_close = lambda: asked_to_close() or _unread(req)
        try:
            super().handle_request(listener_name, req, sock, addr)
        except StopIteration:
            sock.flush()
            if _unread(req):
                sock.drain()
            raise
        sock.flush()
        if not self.alive:
            raise StopIteration
        sock.request_done()
        self._open.pop(sock, None)
        self._open[sock] = None

    def handle_error(self, req: Any, client: Any, addr: Any, exc: BaseException) -> None:
        if not isinstance(exc, ParseException):
            super().handle_error(req, client, addr, exc)
            return
        self.log.debug("malformed request: %r", exc)
        status, reason = (
            (431, "Request Header Fields Too Large")
            if "Limit" in type(exc).__name__
            else (400, "Bad Request")
        )
        body = json.dumps(
            {
                "type": "urn:dio:problem:bad-request",
                "title": "The request is not HTTP as this server takes it.",
                "status": status,
                "detail": type(exc).__name__,
            }
        ).encode()
        head = (
            f"HTTP/1.1 {status} {reason}\r\nConnection: close\r\nContent-Type: application/problem+json\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        with contextlib.suppress(OSError):
            client.sendall(head.encode("ascii") + body)
            client.drain()

    def _make_room(self) -> None:
        """Connections are running out: the one that has been idle for longest goes."""
        idle = next((bounded for bounded in self._open if bounded.idle), None)
        if idle is not None:
            idle.hang_up()
            self._open.pop(idle, None)

    def _hang_up(self) -> None:
        while self._open:
            for bounded in list(self._open):
                if not bounded.handling:
                    bounded.hang_up()
            gevent.sleep(_HANG_UP_EVERY_S)


def _unread(req: Any) -> bool:
    """Whether part of a request's body was left on the wire."""
    reader = req.body.reader
    return bool(getattr(reader, "length", 0) or getattr(reader, "parser", None))
