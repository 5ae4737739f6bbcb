"""The client of the nerve center against real servers on loopback, each wrong in its own way."""

import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from dio_daemon.center import Center, Limits, mark_in
from dio_daemon.clock import SystemClock
from dio_daemon.deadlines import Deadlines
from dio_daemon.errors import (
    CenterError,
    NameNotResolved,
    NotANerveCenter,
    Rejected,
    TimedOut,
    TlsFailed,
    Unhealthy,
    Unreachable,
)
from dio_daemon.transport import RequestsTransport
from dio_daemon.wire import Mark
from tests.support.deadlines import keeping

Answer = tuple[int, str, bytes, dict[str, str]]
DEADLINES = Deadlines(SystemClock())
HEALTHY = json.dumps({"status": "healthy", "component": "nerve_center"}).encode()


@contextmanager
def http_server(answer: Answer) -> Iterator[str]:
    """A server that answers everything alike; its URL."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, kind, body, headers = answer
            self.rfile.read(int(self.headers.get("Content-Length", "0")))
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET  # noqa: N815  the name that http.server calls

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = False
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def raw_server(serve: Callable[[socket.socket], None]) -> Iterator[str]:
    """A TCP server for one connection."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(10)

        def run() -> None:
            with listener.accept()[0] as client:
                serve(client)

        thread = threading.Thread(target=run)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        thread.join()


@pytest.fixture(scope="module", autouse=True)
def keeper() -> Iterator[None]:
    with keeping(DEADLINES):
        yield


def center(url: str, seconds: float = 5.0, ca_file: Path | None = None) -> Center:
    return Center(url, RequestsTransport(DEADLINES, ca_file, "", "test"), Limits(seconds, seconds, seconds))


def error_of(url: str, seconds: float = 5.0) -> CenterError:
    with pytest.raises(CenterError) as caught:
        center(url, seconds).check_health()
    return caught.value


def test_a_healthy_center() -> None:
    with http_server((200, "application/json", HEALTHY, {})) as url:
        center(url).check_health()


@pytest.mark.parametrize(
    ("answer", "part"),
    [
        ((200, "text/html", b"<html>It works!</html>", {}), "HTTP 200 with text/html"),
        ((200, "application/json", b'{"status": "healthy"}', {}), "JSON that is not a nerve center's"),
        ((200, "application/json", b"[" * 100_000, {}), "HTTP 200 with application/json"),
        (
            (302, "text/html", b"", {"Location": "http://login.example/"}),
            "a redirect to http://login.example/",
        ),
        ((404, "text/plain", b"no", {}), "HTTP 404"),
        ((200, "text/plain", b"x" * (2 << 20), {}), "more than a nerve center ever would"),
    ],
)
def test_something_else_on_the_port(answer: Answer, part: str) -> None:
    with http_server(answer) as url:
        error = error_of(url)
    assert isinstance(error, NotANerveCenter)
    assert part in str(error)


def test_an_unhealthy_center_says_why() -> None:
    body = json.dumps(
        {"status": "unhealthy", "component": "nerve_center", "reason": "disk is full\n\x1b[31m"}
    ).encode()
    for status in (200, 503):
        with http_server((status, "application/json", body, {})) as url:
            error = error_of(url)
        assert isinstance(error, Unhealthy)
        assert str(error).endswith("disk is full\\x0a\\x1b[31m")


def test_a_proxy_before_a_center_that_is_away() -> None:
    with http_server((502, "text/html", b"Bad Gateway", {"Retry-After": "7"})) as url:
        error = error_of(url)
    assert isinstance(error, Rejected)
    assert (error.status, error.code, error.retry_after_s) == (502, "", 7.0)


def test_refused_names_the_address() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    error = error_of(f"http://127.0.0.1:{port}")
    assert isinstance(error, Unreachable)
    assert str(error) == f"connection refused by 127.0.0.1:{port}"


def test_a_name_without_address() -> None:
    error = error_of("http://no-such-host.invalid:8000")
    assert isinstance(error, NameNotResolved)
    assert "no-such-host.invalid" in str(error)


def test_no_connection_names_its_own_time() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        port = listener.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)):  # the queue is full: nobody else comes in
            asked = Center(
                f"http://127.0.0.1:{port}",
                RequestsTransport(DEADLINES, None, "", "test"),
                Limits(health_s=30, connect_s=0.2, total_s=30),
            )
            with pytest.raises(TimedOut) as caught:
                asked.check_health()
    assert str(caught.value) == f"timeout: no connection to 127.0.0.1:{port} within 0.2 s"


def test_silence_ends_at_the_deadline() -> None:
    done = threading.Event()
    with raw_server(lambda client: (done.wait(10), None)[1]) as url:
        error = error_of(url, 0.2)
        done.set()
    assert isinstance(error, TimedOut)


@pytest.mark.parametrize("opening", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"])
def test_a_byte_now_and_then_does_not_reset_the_deadline(opening: bytes) -> None:
    done = threading.Event()

    def drip(client: socket.socket) -> None:
        client.sendall(opening)
        while not done.wait(0.02):
            try:
                client.send(b"H")
            except OSError:
                return

    with raw_server(drip) as url:
        error = error_of(url, 0.3)
        done.set()
    assert isinstance(error, TimedOut)


def test_an_answer_that_breaks_off() -> None:
    def truncated(client: socket.socket) -> None:
        client.recv(4096)
        client.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{")

    with raw_server(truncated) as url:
        assert isinstance(error_of(url), Unreachable)


def test_garbage_instead_of_http() -> None:
    def garbage(client: socket.socket) -> None:
        client.recv(4096)
        client.sendall(b"SSH-2.0-OpenSSH_9.2\r\n")

    with raw_server(garbage) as url:
        assert isinstance(error_of(url), Unreachable)


def test_a_reset_is_told() -> None:
    def reset(client: socket.socket) -> None:
        client.recv(4096)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")

    with raw_server(reset) as url:
        error = error_of(url)
    assert isinstance(error, Unreachable)
    assert error.kind == "reset"


def test_tls_against_a_plain_server() -> None:
    with http_server((200, "text/plain", b"", {})) as url:
        error = error_of(url.replace("http:", "https:"))
    assert isinstance(error, TlsFailed)


def test_an_untrusted_certificate(tls_server: tuple[str, Path]) -> None:
    url, _ = tls_server
    error = error_of(url)
    assert isinstance(error, TlsFailed)
    assert "certificate" in str(error) or "self" in str(error)


def test_a_ca_file_of_ones_own(tls_server: tuple[str, Path]) -> None:
    url, certificate = tls_server
    center(url, ca_file=certificate).check_health()


@pytest.fixture(scope="module")
def tls_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    import subprocess

    folder = tmp_path_factory.mktemp("tls")
    key, certificate = folder / "key.pem", folder / "cert.pem"
    subprocess.run(
        [
            "openssl",
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-days",
            "2",
            "-subj",
            "/CN=127.0.0.1",
            "-addext",
            "subjectAltName=IP:127.0.0.1",
            "-keyout",
            key,
            "-out",
            certificate,
        ],
        check=True,
        capture_output=True,
    )

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(HEALTHY)))
            self.end_headers()
            self.wfile.write(HEALTHY)

        def log_message(self, format: str, *args: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = False

        def handle_error(self, request: object, client_address: object) -> None:
            pass  # clients that do not trust us break off

    server = Server(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield f"https://127.0.0.1:{server.server_address[1]}", certificate
    server.shutdown()
    thread.join()
    server.server_close()


def test_abort_breaks_off_what_is_under_way() -> None:
    done = threading.Event()
    transport = RequestsTransport(DEADLINES, None, "", "test")
    connected = threading.Event()

    def hold(client: socket.socket) -> None:
        connected.set()
        done.wait(10)

    with raw_server(hold) as url:
        threading.Thread(target=lambda: (connected.wait(5), transport.abort())).start()
        with pytest.raises(Unreachable, match="agent stops"):
            Center(url, transport, Limits(9, 9, 9)).check_health()
        done.set()
    with pytest.raises(Unreachable, match="agent stops"):
        Center("http://127.0.0.1:1", transport, Limits(1, 1, 1)).check_health()


def test_nothing_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    with http_server((200, "application/json", HEALTHY, {})) as url:
        center(url).check_health()


def test_a_problem_document_becomes_a_rejection() -> None:
    body = json.dumps(
        {"type": "urn:dio:problem:mark-mismatch", "detail": "no", "mark": {"seq": 3, "tag": "a"}}
    ).encode()
    answer = (409, "application/problem+json", body, {"Retry-After": "99999"})
    with http_server(answer) as url, pytest.raises(Rejected) as caught:
        center(url).report("agent-" + "0" * 16, b"{}", "c")
    assert (caught.value.code, caught.value.retry_after_s, mark_in(caught.value.body)) == (
        "mark-mismatch",
        3600.0,
        Mark(3, "a"),
    )


def test_a_captive_portal_does_not_acknowledge() -> None:
    with http_server((200, "application/json", b'{"ok": true}', {})) as url:
        with pytest.raises(NotANerveCenter):
            center(url).report("agent-" + "0" * 16, b"{}", "c")
        with pytest.raises(NotANerveCenter):
            center(url).register(b"{}", "c", None)


@pytest.mark.parametrize(
    "mark", [None, {}, {"seq": -1, "tag": None}, {"seq": True, "tag": None}, {"seq": 1, "tag": 2}]
)
def test_what_is_no_mark(mark: object) -> None:
    assert mark_in({"mark": mark}) is None
