"""What failed on the way is told by who did not answer, the proxy or the nerve center, and with what helps."""

from __future__ import annotations

import base64
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests

from dio_daemon.center import Center, Limits
from dio_daemon.errors import CenterError
from dio_daemon.failures import Way, translate
from dio_daemon.transport import RequestsTransport
from tests.support.deadlines import kept
from tests.support.tls import Authority, TlsFront

FAR = "https://center.invalid:8443"


def failed(
    url: str, *, proxy: str = "", ca: Path | None = None, client: tuple[Path, Path] | None = None
) -> CenterError:
    """How asking for health fails."""
    with kept() as deadlines:
        transport = RequestsTransport(deadlines, ca, proxy, "test", client)
        with pytest.raises(CenterError) as caught:
            Center(url, transport, Limits(5, 5, 5), proxy).check_health()
    return caught.value


@contextmanager
def proxy_that_answers(status: str, heads: list[bytes]) -> Iterator[str]:
    """A proxy that answers one request so, and notes its head."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(60)

        def serve() -> None:
            with listener.accept()[0] as client:
                heads.append(client.recv(65536))
                client.sendall(f"HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n".encode())

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        thread.join()


def test_a_proxy_that_is_not_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"127.0.0.1:{listener.getsockname()[1]}"
    for url in (FAR, "http://center.invalid:8000"):
        error = failed(url, proxy=f"http://{address}")
        assert (error.kind, str(error)) == ("proxy", f"connection refused by the proxy {address}")


def test_a_proxy_whose_name_is_unknown() -> None:
    error = failed(FAR, proxy="http://proxy.invalid:3128")
    assert error.kind == "dns"
    assert "the name proxy.invalid of the proxy cannot be resolved" in str(error)


@pytest.mark.parametrize("status", ["407 Proxy Authentication Required", "403 Forbidden", "503 No"])
def test_a_proxy_that_lets_nobody_through(status: str) -> None:
    with proxy_that_answers(status, []) as proxy:
        error = failed(FAR, proxy=proxy)
        said = f"the proxy {proxy[7:]} did not connect to center.invalid:8443: {status}"
        hint = "; it wants a login (proxy_login_file)" if status.startswith("407") else ""
        assert (error.kind, str(error)) == ("proxy", said + hint)


def test_a_proxy_that_wants_a_login_for_plain_http() -> None:
    with proxy_that_answers("407 Who are you?", []) as proxy:
        error = failed("http://center.invalid:8000", proxy=proxy)
    assert error.kind == "proxy" and "wants a login" in str(error)


def test_the_login_goes_to_the_proxy_and_is_never_told(tmp_path: Path) -> None:
    login = tmp_path / "login"
    heads: list[bytes] = []
    for text, sent in (("dio:se:sa me@\n", "dio:se:sa me@"), ("nothing\n", None)):
        login.write_text(text)
        with kept() as deadlines, proxy_that_answers("403 No", heads) as proxy:
            transport = RequestsTransport(deadlines, None, proxy, "test", None, login)
            with pytest.raises(CenterError) as caught:
                Center(FAR, transport, Limits(5, 5, 5), proxy).check_health()
            assert "me@" not in str(caught.value)
            if sent is None:
                assert str(caught.value) == f"proxy_login_file {login} does not hold USER:PASSWORD"
                with socket.create_connection(("127.0.0.1", int(proxy.rpartition(":")[2]))) as client:
                    client.sendall(b"done")
            else:
                expected = b"Proxy-Authorization: Basic " + base64.b64encode(sent.encode())
                assert expected in heads[-1]


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("failures") / "ca")


def test_files_that_cannot_be_used(tmp_path: Path, authority: Authority) -> None:
    missing, (shown, key) = tmp_path / "missing.pem", authority.certify("client")
    other = authority.certificate.with_name("ca.key")
    empty = tmp_path / "empty.pem"
    empty.touch()
    gone = "cannot be read: No such file or directory"
    # Port 1: the files are looked at before anybody is connected to.
    assert str(failed("https://127.0.0.1:1", ca=missing)) == f"ca_file {missing} {gone}"
    assert str(failed("https://127.0.0.1:1", client=(missing, key))) == f"client_certificate {missing} {gone}"
    assert str(failed("https://127.0.0.1:1", client=(shown, missing))) == f"client_key {missing} {gone}"
    assert "refused" in str(failed("http://127.0.0.1:1", ca=missing)), "http needs none"
    front = TlsFront(1, authority.issue("server", ("20200101000000Z", "20991231000000Z")))
    try:
        url = f"https://localhost:{front.port}"
        wrong = failed(url, ca=authority.certificate, client=(shown, other))
        assert "client_key is not the key of client_certificate" in str(wrong)
        assert "ca_file must name the authority" in str(failed(url))
        assert failed(url, ca=empty).kind == "tls"
        named = failed(url.replace("localhost", "127.0.0.1"), ca=authority.certificate)
        assert "url must use" in str(named)
    finally:
        front.close()


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        (
            "TLSV1_ALERT_UNKNOWN_CA",
            "TLSV1_ALERT_UNKNOWN_CA; it does not accept this host's client_certificate",
        ),
        ("SSLV3_ALERT_CERTIFICATE_EXPIRED", "this host's client_certificate has expired"),
        ("TLSV13_ALERT_CERTIFICATE_REQUIRED", "it wants client_certificate and client_key"),
        ("SOMETHING_ELSE", "failed: SOMETHING_ELSE"),
    ],
)
def test_what_the_other_side_says_of_the_handshake(reason: str, words: str) -> None:
    error = ssl.SSLError(1, f"[SSL: {reason}]")
    error.reason = reason
    told = translate(requests.exceptions.SSLError(error), Way("center.invalid:8443", "", 5, 5))
    assert told.kind == "tls" and words in str(told)


def test_a_handshake_that_the_other_side_ends() -> None:
    error = requests.exceptions.SSLError(ssl.SSLEOFError(8, "EOF occurred in violation of protocol"))
    assert "it may not be accepted" in str(translate(error, Way("center.invalid:8443", "", 5, 5)))
