"""HTTP with one deadline over everything: connecting, TLS, header and body.

The timeout of a socket bounds each read, so a server that drips a byte a second would hold the agent for hours.
Here the keeper of deadlines shuts the connection's socket down when the time is over, whatever the exchange is doing;
`abort` does the same when the agent has to stop. What that cannot end is getaddrinfo, which takes as long as
resolv.conf lets it.

No retries, no redirects, nothing from the environment (`~/.netrc` and proxy variables would override what the
configuration says), and no connection outlives its exchange: one that idled would break under the next report. That
little is what http.client does; a larger client would take 4 MiB of the host for what is switched off here.
"""

from __future__ import annotations

import http.client
import socket
import ssl
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from urllib.parse import SplitResult, urlsplit

from dio_daemon.deadlines import Deadlines

MAX_ANSWER_BYTES = 1 << 20
"""No answer of a nerve center is larger; what is larger comes from something else."""


class DeadlinePassed(Exception):
    """The whole exchange did not end in time."""


class Aborted(Exception):
    """The exchange was broken off because the agent stops."""


class AnswerTooLarge(Exception):
    """More than `MAX_ANSWER_BYTES` came."""


class NotConnected(TimeoutError):
    """There was no connection in the time for connecting."""


class ProxyFailed(OSError):
    """The proxy is there and did not connect."""


@dataclass(frozen=True)
class Answer:
    """A whole answer."""

    status: int
    headers: Mapping[str, str]
    """By their names as they are usually written: `Retry-After`."""
    body: bytes


class Transport(Protocol):
    """How the client of the nerve center reaches it."""

    def exchange(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes | None,
        connect_s: float,
        total_s: float,
    ) -> Answer:
        """One request and its whole answer. Raises OSError, HTTPException, DeadlinePassed, Aborted, AnswerTooLarge."""

    def abort(self) -> None:
        """Break off the exchange in hand and refuse those to come."""

    def resume(self) -> None:
        """Allow exchanges again (for the goodbye)."""


class _Line:
    """The socket of the exchange in hand, kept as a duplicate: TLS takes the original's descriptor away."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        self._cut: type[Exception] | None = None

    def connected(self, sock: socket.socket) -> None:
        with self._lock:
            self._drop()
            self._socket = sock.dup()
            if self._cut is not None:
                self._shutdown()

    def cut(self, why: type[Exception]) -> None:
        with self._lock:
            self._cut = self._cut or why
            self._shutdown()

    def close(self) -> type[Exception] | None:
        with self._lock:
            self._drop()
            return self._cut

    def _shutdown(self) -> None:
        if self._socket is not None:
            try:
                self._socket.shutdown(socket.SHUT_RDWR)
            except OSError:
                return  # it broke by itself, which is as good

    def _drop(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None


class HttpTransport:
    """The transport over http.client.

    Args:
        deadlines: for the time that each exchange may take.
        ca_file: CA certificates to trust instead of the system's.
        proxy: URL of an HTTP proxy, "" for none.
        user_agent: the User-Agent header.
        certificate: PEM files of a client certificate and its key, where the nerve center wants one.
    """

    def __init__(
        self,
        deadlines: Deadlines,
        ca_file: Path | None,
        proxy: str,
        user_agent: str,
        certificate: tuple[Path, Path] | None = None,
    ) -> None:
        self._deadlines = deadlines
        self._ca_file = ca_file
        self._certificate = certificate
        self._proxy = urlsplit(proxy) if proxy else None
        self._user_agent = user_agent
        self._lock = threading.Lock()
        self._line: _Line | None = None
        self._stopped = False

    def exchange(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes | None,
        connect_s: float,
        total_s: float,
    ) -> Answer:
        """One request and its whole answer.

        Raises:
            OSError: no connection, TLS; NotConnected and ProxyFailed among them.
            http.client.HTTPException: a broken answer.
            DeadlinePassed: `total_s` was over.
            Aborted: `abort` was called.
            AnswerTooLarge: more than `MAX_ANSWER_BYTES`.
        """
        line = _Line()
        with self._lock:
            if self._stopped:
                raise Aborted
            self._line = line
        deadline = self._deadlines.set(total_s, lambda: line.cut(DeadlinePassed))
        try:
            answer = self._send(line, method, url, headers, body, min(connect_s, total_s), total_s)
        except (http.client.HTTPException, OSError, ValueError) as error:
            cut = line.close()
            if cut is not None:
                raise cut from error
            raise
        finally:
            deadline.cancel()
            cut = line.close()
            with self._lock:
                self._line = None
        if cut is not None:  # the end of a body without a length looks like an answer
            raise cut
        return answer

    def abort(self) -> None:
        """Break off the exchange in hand and refuse those to come."""
        with self._lock:
            self._stopped = True
            if self._line is not None:
                self._line.cut(Aborted)

    def resume(self) -> None:
        """Allow exchanges again."""
        with self._lock:
            self._stopped = False

    def _send(
        self,
        line: _Line,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes | None,
        connect_s: float,
        total_s: float,
    ) -> Answer:
        parts = urlsplit(url)
        target = f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/"
        more = {"User-Agent": self._user_agent, "Connection": "close"}
        if self._proxy is not None and parts.scheme == "http":
            target = f"http://{parts.netloc}{target}"
        context = self._tls() if parts.scheme == "https" else None
        connection = _Connection(line, parts, self._proxy, context, (connect_s, total_s))
        try:
            connection.request(method, target, body, {**headers, **more})
            with connection.getresponse() as response:
                return _whole(response)
        finally:
            connection.close()

    def _tls(self) -> ssl.SSLContext:
        """Made for each exchange: certificates are renewed under a running agent."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if self._ca_file is not None:
            context.load_verify_locations(self._ca_file)
        else:
            context.set_default_verify_paths()
        if self._certificate is not None:
            context.load_cert_chain(*self._certificate)
        return context


class _Connection(http.client.HTTPConnection):
    """A connection that tells its socket, by way of a proxy or not.

    Args:
        line: told of the socket.
        url: where to.
        proxy: by way of whom.
        context: for TLS.
        limits: seconds to connect in, TLS included, and between two reads.
    """

    def __init__(
        self,
        line: _Line,
        url: SplitResult,
        proxy: SplitResult | None,
        context: ssl.SSLContext | None,
        limits: tuple[float, float],
    ) -> None:
        if context is not None:
            self.default_port = http.client.HTTPS_PORT
        super().__init__(url.hostname or "", url.port or self.default_port)
        self._line = line
        self._context = context
        self._limits = limits
        self._at = (self.host, self.port)
        if proxy is not None:
            self._at = (proxy.hostname or "", proxy.port or http.client.HTTP_PORT)

    def connect(self) -> None:
        connect_s, total_s = self._limits
        try:
            self.sock = socket.create_connection(self._at, connect_s)
            self._line.connected(self.sock)
            self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._context is not None:
                if self._at != (self.host, self.port):
                    self._through_proxy(self.sock)
                self.sock = self._context.wrap_socket(self.sock, server_hostname=self.host)
        except TimeoutError as error:
            raise NotConnected(*error.args) from error
        self.sock.settimeout(total_s)

    def _through_proxy(self, sock: socket.socket) -> None:
        host = f"[{self.host}]" if ":" in self.host else self.host
        try:
            sock.sendall(
                f"CONNECT {host}:{self.port} HTTP/1.1\r\nHost: {host}:{self.port}\r\n\r\n".encode("ascii")
            )
            with http.client.HTTPResponse(sock, method="CONNECT") as answer:
                answer.begin()
        except (http.client.HTTPException, ConnectionError) as error:
            raise ProxyFailed(str(error)) from error
        if not 200 <= answer.status < 300:
            raise ProxyFailed(f"HTTP {answer.status} {answer.reason}")


def _whole(response: http.client.HTTPResponse) -> Answer:
    """The answer with all of its body. Raises AnswerTooLarge, and IncompleteRead for one that was cut off."""
    content = bytearray()
    while piece := response.read(65536):
        content += piece
        if len(content) > MAX_ANSWER_BYTES:
            raise AnswerTooLarge
    # A head that was cut off looks like one without a length and with an empty body.
    cut_head = not content and response.length is None and not response.chunked
    if response.length or (cut_head and response.status not in (204, 304)):
        raise http.client.IncompleteRead(b"", response.length)
    return Answer(
        response.status, {name.title(): value for name, value in response.getheaders()}, bytes(content)
    )
