"""HTTP with one deadline over everything: connecting, TLS, header and body.

The timeout of requests bounds each read, so a server that drips a byte a second would hold the agent for hours.
Here the keeper of deadlines shuts the connection's socket down when the time is over, whatever the exchange is doing;
`abort` does the same when the agent has to stop. What that cannot end is getaddrinfo, which takes as long as
resolv.conf lets it.

No retries, no redirects, nothing from the environment (`~/.netrc` and proxy variables would override what the
configuration says), and no connection outlives its exchange: one that idled would break under the next report.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from dio_daemon.deadlines import Deadlines

SYSTEM_CERTIFICATES = Path("/etc/ssl/certs")
_HASHED = "????????.[0-9]"
"""How OpenSSL's `rehash` calls links to certificates, by which it finds the one that it needs."""
MAX_ANSWER_BYTES = 1 << 20
"""No answer of a nerve center is larger; what is larger comes from something else."""
MAX_FILE_CHARS = 4096
"""Enough to know that a file can be read, and more than a login."""


class DeadlinePassed(Exception):
    """The whole exchange did not end in time."""


class Aborted(Exception):
    """The exchange was broken off because the agent stops."""


class AnswerTooLarge(Exception):
    """More than `MAX_ANSWER_BYTES` came."""


class UnusableFile(OSError):
    """A file that the configuration names for the connection cannot be read, or does not hold what it should."""


@dataclass(frozen=True)
class Answer:
    """A whole answer."""

    status: int
    headers: Mapping[str, str]
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
        """One request and its whole answer. Raises requests.RequestException, DeadlinePassed, Aborted."""

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


class RequestsTransport:
    """The transport over requests.

    Args:
        deadlines: for the time that each exchange may take.
        ca_file: CA certificates to trust instead of the system's.
        proxy: URL of a proxy, "" for none.
        user_agent: the User-Agent header.
        certificate: PEM files of a client certificate and its key, where the nerve center wants one.
        proxy_login: file with USER:PASSWORD for a proxy that wants a login; read anew for each exchange.
    """

    def __init__(
        self,
        deadlines: Deadlines,
        ca_file: Path | None,
        proxy: str,
        user_agent: str,
        certificate: tuple[Path, Path] | None = None,
        proxy_login: Path | None = None,
    ) -> None:
        self._deadlines = deadlines
        shown, key = certificate or (None, None)
        self._files = {"ca_file": ca_file, "client_certificate": shown, "client_key": key}
        self._verify = str(ca_file) if ca_file else _system_authorities()
        self._certificate = (str(certificate[0]), str(certificate[1])) if certificate else None
        self._proxy, self._proxy_login = proxy, proxy_login
        self._user_agent = user_agent
        self._lock = threading.Lock()
        self._line: _Line | None = None
        self._pools = _pools(self._connected)
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
            requests.RequestException: no connection, TLS, a broken answer.
            UnusableFile: a file for TLS or the proxy cannot be read.
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
            answer = self._send(method, url, headers, body, min(connect_s, total_s), total_s)
        except (requests.RequestException, OSError, ValueError) as error:
            cut = line.close()
            if cut is not None:
                raise cut from error
            raise
        except (AttributeError, LookupError, TypeError) as error:
            # requests stumbles in its own ways over headers that nobody should send (`charset` without a value)
            raise requests.exceptions.InvalidHeader(f"an answer that cannot be read: {error}") from error
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

    def _connected(self, sock: socket.socket) -> None:
        line = self._line
        if line is not None:
            line.connected(sock)

    def _send(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes | None,
        connect_s: float,
        total_s: float,
    ) -> Answer:
        proxy = self._proxy_with_login()
        if url.startswith("https:"):
            for name, path in self._files.items():
                if path is not None:
                    _read(name, path)
        with requests.Session() as session:
            session.trust_env = False
            session.verify = self._verify
            session.cert = self._certificate
            session.proxies.update({"http": proxy, "https": proxy} if proxy else {})
            session.headers["User-Agent"] = self._user_agent
            session.mount(f"{url.partition(':')[0]}://", _Adapter(self._pools))
            with session.request(
                method,
                url,
                headers={**headers, "Connection": "close"},
                data=body,
                timeout=(connect_s, total_s),
                allow_redirects=False,
                stream=True,
            ) as response:
                content = b""
                for piece in response.iter_content(65536):
                    content += piece
                    if len(content) > MAX_ANSWER_BYTES:
                        raise AnswerTooLarge
                if _cut_off(response):
                    raise requests.ConnectionError("the answer ended before its end")
                return Answer(response.status_code, response.headers, content)

    def _proxy_with_login(self) -> str:
        if not self._proxy or self._proxy_login is None:
            return self._proxy
        user, colon, password = _read("proxy_login_file", self._proxy_login).strip().partition(":")
        if not (user and colon):
            raise UnusableFile(f"proxy_login_file {self._proxy_login} does not hold USER:PASSWORD")
        scheme, _, address = self._proxy.partition("://")
        return f"{scheme}://{quote(user, safe='')}:{quote(password, safe='')}@{address}"


def _system_authorities() -> str | bool:
    """For requests: the system's folder of certificates, or True for its file of all of them.

    The file holds 140. To read them takes 30 ms for each connection, ten times what all else of a report does.
    """
    folder = SYSTEM_CERTIFICATES
    return str(folder) if next(folder.glob(_HASHED), None) is not None else True


def _read(name: str, path: Path) -> str:
    """What a file of the configuration holds. requests would only say that something is invalid."""
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            return file.read(MAX_FILE_CHARS)
    except OSError as error:
        raise UnusableFile(f"{name} {path} cannot be read: {error.strerror}") from error


def _cut_off(response: requests.Response) -> bool:
    """Whether the connection ended in the middle of an answer: urllib3 1.26 lets a short body pass, and a head
    that was cut looks like one without a length and with an empty body."""
    if response.status_code in (204, 304):
        return False
    received = response.raw.tell()
    length = response.headers.get("Content-Length")
    if length is None:
        return "Transfer-Encoding" not in response.headers and received == 0
    return length.isascii() and length.isdigit() and received < int(length)


class _Adapter(HTTPAdapter):
    """requests' adapter with connections that tell their socket, and without retries of its own."""

    def __init__(self, pools: dict[str, type]) -> None:
        self._line_pools = pools
        super().__init__(max_retries=0, pool_connections=1, pool_maxsize=1)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)  # type: ignore[no-untyped-call]  # requests' stubs
        self.poolmanager.pool_classes_by_scheme = self._line_pools

    def build_response(self, req: requests.PreparedRequest, resp: Any) -> requests.Response:
        try:
            return super().build_response(req, resp)
        except (AttributeError, LookupError, TypeError):
            resp.close()  # nobody else has it in hand yet
            raise

    def proxy_manager_for(self, *args: Any, **kwargs: Any) -> Any:
        manager = super().proxy_manager_for(*args, **kwargs)  # type: ignore[no-untyped-call]  # requests' stubs
        manager.pool_classes_by_scheme = self._line_pools
        return manager


def _pools(connected: Callable[[socket.socket], None]) -> dict[str, type]:
    """urllib3's pools, their connections handing each new socket to `connected`."""

    class Plain(HTTPConnection):
        def _new_conn(self) -> socket.socket:
            sock = super()._new_conn()
            connected(sock)
            return sock

    class Tls(HTTPSConnection):
        def _new_conn(self) -> socket.socket:
            sock = super()._new_conn()
            connected(sock)
            return sock

        def connect(self) -> None:
            if self.ca_cert_dir:  # Debian's urllib3 would read the file of all as well
                self.ca_certs = None
            super().connect()

    class PlainPool(HTTPConnectionPool):
        ConnectionCls = Plain

    class TlsPool(HTTPSConnectionPool):
        ConnectionCls = Tls

    return {"http": PlainPool, "https": TlsPool}
