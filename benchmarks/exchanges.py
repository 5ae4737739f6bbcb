"""Requests of simulated hosts, each over a connection of its own, thousands at once in one greenlet.

What an exchange costs here is taken from the center that is measured on the same machine. So there is no greenlet, no
timer and no socket of gevent's for each: plain sockets that do not block, one epoll, and a heap of what is due, looked
at every few milliseconds.
"""

from __future__ import annotations

import contextlib
import heapq
import json
import select
import socket
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from typing import Any

import gevent
from gevent import monkey

_epoll = monkey.get_original("select", "epoll")
_socket = monkey.get_original("socket", "socket")
_PATIENCE_S = 30.0
_EVERY_S = 0.003
_AT_A_TURN = 64
"""Between two turns the other greenlets of this process go on."""
_NOT_CONNECTED = "no connection"


@dataclass(frozen=True)
class Answer:
    """What came of an exchange; status 0 without HTTP's: `said` tells why."""

    status: int
    said: str
    body: Any = None
    retry_after_s: float = 0.0


Done = Callable[[Answer], None]


class _Connection:
    """One exchange on its way."""

    def __init__(self, sock: Any, request: bytes, done: Done, tls: ssl.SSLObject | None) -> None:
        self.sock = sock
        self.done = done
        self.until = time.monotonic() + _PATIENCE_S
        self.unsent = b"" if tls else request
        self.answer = b""
        self._tls = tls
        self._request = request

    def start(self, incoming: ssl.MemoryBIO, outgoing: ssl.MemoryBIO) -> None:
        """Begin TLS over these two."""
        self._incoming, self._outgoing = incoming, outgoing
        self._by_tls(b"")

    def send(self) -> None:
        """Send as far as that goes. Raises OSError."""
        with contextlib.suppress(BlockingIOError):
            self.unsent = self.unsent[self.sock.send(self.unsent) :]

    def read(self) -> bool:
        """Read what there is; whether that was all. Raises OSError."""
        try:
            piece: bytes = self.sock.recv(65536)
        except BlockingIOError:
            return False
        ended = not piece
        if self._tls is None:
            self.answer += piece
        else:
            ended = self._by_tls(piece) or ended
        return ended or _is_whole(self.answer)

    def _by_tls(self, came: bytes) -> bool:
        """Take what came, put what is to be said into `unsent`; whether that was the end. Raises OSError."""
        assert self._tls is not None
        self._incoming.write(came)
        try:
            if self._request:  # which shakes hands first
                self._tls.write(self._request)
                self._request = b""
            while piece := self._tls.read(65536):
                self.answer += piece
        except ssl.SSLWantReadError:
            return False
        except ssl.SSLZeroReturnError:
            return True
        finally:
            self.unsent += self._outgoing.read()
        return True


class Exchanges:
    """Requests to one address. `run` in a greenlet; everything else from any greenlet of the same process.

    Args:
        tls: None for plain HTTP.
    """

    def __init__(self, host: str, port: int, tls: ssl.SSLContext | None) -> None:
        self._host, self._port, self._tls = host, port, tls
        self._epoll = _epoll()
        self._open: dict[int, _Connection] = {}
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._number = count()
        self._address: tuple[Any, Any] | None = None

    def after(self, seconds: float, call: Callable[[], None]) -> None:
        """Call it then."""
        heapq.heappush(self._due, (time.monotonic() + seconds, next(self._number), call))

    def send(self, request: bytes, done: Done) -> None:
        """Send it over a connection of its own; `done` is called with what came of it, never before this returns."""
        try:
            connection = self._connect(request, done)
        except OSError:
            self.after(0.0, lambda: done(Answer(0, _NOT_CONNECTED)))
            return
        try:
            connection.send()  # on one machine it stands by now
        except OSError:
            self.after(0.0, lambda: self._end(connection, _NOT_CONNECTED))
            return
        self._epoll.register(connection.sock, select.EPOLLIN | (select.EPOLLOUT if connection.unsent else 0))

    def _connect(self, request: bytes, done: Done) -> _Connection:
        if self._address is None:
            found = socket.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)[0]
            self._address = found[0], found[4]
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = self._tls.wrap_bio(incoming, outgoing, server_hostname=self._host) if self._tls else None
        sock = _socket(self._address[0], socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        connection = self._open[sock.fileno()] = _Connection(sock, request, done, tls)
        sock.connect_ex(self._address[1])  # what it fails by, sending tells
        if tls is not None:
            connection.start(incoming, outgoing)
        return connection

    def run(self) -> None:
        """Turn after turn, for ever."""
        while True:
            gevent.sleep(0 if self.turn() else _EVERY_S)

    def turn(self) -> bool:
        """Do what is due; whether more may be."""
        events = self._epoll.poll(0, _AT_A_TURN)
        for file, _ in events:
            connection = self._open.get(file)
            if connection is None:  # closed, but a child that is being started holds it for a moment
                continue
            try:
                if connection.read():
                    self._end(connection)
                elif connection.unsent:
                    connection.send()
                    if not connection.unsent:
                        self._epoll.modify(file, select.EPOLLIN)
            except OSError:
                self._end(connection, _NOT_CONNECTED)
        now = time.monotonic()
        while self._open and (first := next(iter(self._open.values()))).until < now:
            self._end(first, _NOT_CONNECTED)
        done = 0
        while done < _AT_A_TURN and self._due and self._due[0][0] <= now:
            heapq.heappop(self._due)[2]()
            done += 1
        return _AT_A_TURN in (len(events), done)

    def _end(self, connection: _Connection, failed: str = "") -> None:
        if self._open.get(connection.sock.fileno()) is not connection:
            return  # timed out before
        del self._open[connection.sock.fileno()]
        connection.sock.close()
        if failed:
            self._address = None  # a name may be another address by now
        connection.done(Answer(0, failed) if failed else _read_answer(connection.answer))


def _is_whole(answer: bytes) -> bool:
    """Whether an answer is there to the end that its head tells; without that, the connection's end is."""
    head, found, body = answer.partition(b"\r\n\r\n")
    at = head.find(b"\r\nContent-Length: ")
    return bool(found) and at >= 0 and len(body) >= int(head[at + 18 :].partition(b"\r\n")[0])


def _read_answer(answer: bytes) -> Answer:
    top, found, content = answer.partition(b"\r\n\r\n")
    if not found or not top.startswith(b"HTTP/1.1 "):
        return Answer(0, _NOT_CONNECTED if not answer else "broken")
    status, retry_after_s = int(top[9:12]), 0.0
    at = top.lower().find(b"\r\nretry-after:") if status >= 400 else -1
    if at >= 0:
        retry_after_s = float(top[at + 14 :].partition(b"\r\n")[0])
    return Answer(
        status, str(status), json.loads(content) if content.startswith(b"{") else None, retry_after_s
    )
