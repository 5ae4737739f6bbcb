"""A nerve center that speaks TLS itself: ready, bounded, renewed at a reload, and with certificates of agents."""

from __future__ import annotations

import contextlib
import signal
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from dio_daemon.transport import RequestsTransport
from tests.integration.center.conftest import CenterProcess, children
from tests.support.deadlines import kept
from tests.support.processes import wait_for
from tests.support.tls import Authority

LONG_S = 60


class TlsCenter:
    """The center's process, its authority, and ways to ask it."""

    def __init__(self, center: CenterProcess, authority: Authority) -> None:
        self.process = center
        self.authority = authority
        self.url = f"https://localhost:{center.port}"
        self.certificate, self.key = authority.certify("first")

    def configure(self, more: str = "") -> None:
        self.process.configure(
            f'[tls]\ncertificate = "{self.certificate}"\nkey = "{self.key}"\n{more}[server]\nrequest_timeout_s = 5\n'
        )

    def start(self, more: str = "") -> None:
        self.configure(more)
        self.process.start()
        self.process.wait_ready()

    def get(self, path: str) -> requests.Response:
        with requests.Session() as session:
            session.trust_env = False
            return session.get(self.url + path, verify=str(self.authority.certificate), timeout=LONG_S)

    def connect(self, context: ssl.SSLContext) -> ssl.SSLSocket:
        plain = socket.create_connection(("127.0.0.1", self.process.port), timeout=LONG_S)
        return context.wrap_socket(plain, server_hostname="localhost")

    def serial(self) -> str:
        """Which certificate is served now."""
        with self.connect(ssl.create_default_context(cafile=self.authority.certificate)) as connection:
            found = connection.getpeercert()
        assert found is not None
        return str(found["serialNumber"])


@pytest.fixture
def center(center: CenterProcess, tmp_path: Path) -> Iterator[TlsCenter]:
    yield TlsCenter(center, Authority(tmp_path / "ca"))


def test_ready_and_asked_by_tls(center: TlsCenter) -> None:
    center.start()
    answer = center.get("/health")
    assert (answer.status_code, answer.json()["component"]) == (200, "nerve_center")
    page = center.get("/login")
    assert "__Host-dio-form=" in page.headers["Set-Cookie"]
    assert "Secure" in page.headers["Set-Cookie"]
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    old.load_verify_locations(center.authority.certificate)
    with contextlib.suppress(ValueError):
        old.maximum_version = ssl.TLSVersion.TLSv1_2
        old.minimum_version = ssl.TLSVersion.TLSv1_2
    with center.connect(old) as connection:
        assert connection.version() == "TLSv1.2"
    with socket.create_connection(("127.0.0.1", center.process.port), timeout=LONG_S) as plain:
        plain.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            assert b"HTTP/1.1 200" not in plain.recv(65536)
    assert center.process.complaints() == []


def test_those_who_never_finish_are_let_go(center: TlsCenter) -> None:
    """Nothing, half a greeting, half a record after the handshake: each is closed when its time is over."""
    center.start()
    idle = [socket.create_connection(("127.0.0.1", center.process.port), timeout=LONG_S) for _ in range(20)]
    for connection in idle[:10]:
        connection.sendall(b"\x16\x03\x01\x02\x00")
    agreed = center.connect(ssl.create_default_context(cafile=center.authority.certificate))
    raw = socket.socket(fileno=agreed.detach())
    raw.settimeout(LONG_S)
    raw.sendall(b"\x17\x03\x03\x10\x00half a record")
    assert center.get("/health").status_code == 200
    for connection in (*idle, raw):
        with connection, contextlib.suppress(ConnectionError):
            while connection.recv(65536):
                pass
    assert center.get("/health").status_code == 200


def test_a_body_that_is_not_read_still_gets_its_answer(center: TlsCenter) -> None:
    center.start()
    with requests.Session() as session:
        session.trust_env = False
        answer = session.post(
            center.url + "/api/v1/agents/register",
            data=b"x" * 500_000,
            verify=str(center.authority.certificate),
            timeout=LONG_S,
        )
    assert answer.status_code == 401
    assert center.process.complaints() == []


def test_a_reload_takes_the_renewed_certificate_and_keeps_the_old_one_where_it_is_bad(
    center: TlsCenter,
) -> None:
    center.start()
    before = center.serial()
    renewed, _ = center.authority.certify("second")
    bad = center.certificate.read_bytes()
    center.certificate.write_bytes(renewed.read_bytes())
    process = center.process.process
    assert process is not None
    old = set(center.process.workers())
    process.send_signal(signal.SIGHUP)
    wait_for(lambda: old.isdisjoint(children(center.process.master)), "the old workers are gone")
    now = center.serial()
    assert now != before
    center.certificate.write_bytes(bad[: len(bad) // 2])
    process.send_signal(signal.SIGHUP)
    wait_for(lambda: "is kept as it was" in center.process.log(), "the bad certificate is told")
    assert center.serial() == now
    assert center.get("/health").status_code == 200


def test_a_bad_certificate_is_a_bad_configuration(center: TlsCenter) -> None:
    center.certificate.write_text("no certificate")
    center.configure()
    center.process.start()
    assert center.process.process is not None
    assert center.process.process.wait(LONG_S) == 78
    assert "not a PEM file" in center.process.log()


def test_agents_need_a_certificate_where_there_is_an_authority_for_them(center: TlsCenter) -> None:
    center.start(f'client_ca = "{center.authority.certificate}"\n')
    assert center.get("/login").status_code == 200
    statuses = []
    url = center.url + "/api/v1/agents/register"
    stranger = Authority(center.certificate.parent.parent / "strangers").certify("stranger")
    with kept() as deadlines:
        for certificate in (None, (center.certificate, center.key)):
            agent = RequestsTransport(deadlines, center.authority.certificate, "", "test", certificate)
            headers = {"Authorization": "Bearer " + "x" * 40}
            answer = agent.exchange("POST", url, headers, b"{}", LONG_S, LONG_S)
            statuses.append((answer.status, b"client-certificate-required" in answer.body))
        agent = RequestsTransport(deadlines, center.authority.certificate, "", "test", stranger)
        with pytest.raises((requests.RequestException, OSError)):
            agent.exchange("POST", url, {}, b"{}", LONG_S, LONG_S)
    assert statuses == [(403, True), (401, False)]
