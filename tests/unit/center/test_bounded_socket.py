"""What a client's socket does beyond the socket: one packet an answer, and who is idle."""

from __future__ import annotations

from typing import Any

from nerve_center.worker import BoundedSocket

HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"


class Wire:
    """A socket that keeps what it sent, and gives what is said."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.received = [b"GET / HTTP/1.1\r\n\r\n"]

    def settimeout(self, _seconds: float) -> None:
        """It does not wait."""

    def sendall(self, data: bytes) -> None:
        self.sent.append(data)

    def recv(self, _size: int) -> bytes:
        return self.received.pop(0)

    def sendfile(self, file: Any) -> None:
        self.sent.append(file)


def bounded() -> tuple[Wire, BoundedSocket]:
    wire = Wire()
    return wire, BoundedSocket(wire, 30.0, 75.0, 1000)


def test_head_and_body_are_one_packet() -> None:
    wire, sock = bounded()
    sock.sendall(HEAD)
    assert wire.sent == []
    sock.sendall(b"{}")
    sock.flush()
    assert wire.sent == [HEAD + b"{}"]


def test_a_head_by_itself_goes_at_the_end() -> None:
    wire, sock = bounded()
    sock.sendall(HEAD)
    sock.flush()
    sock.flush()
    assert wire.sent == [HEAD]


def test_a_file_comes_behind_its_head() -> None:
    wire, sock = bounded()
    sock.sendall(HEAD)
    sock.sendfile(b"the file")
    assert wire.sent == [HEAD, b"the file"]


def test_idle_is_who_waits_between_two_requests() -> None:
    _, sock = bounded()
    assert not sock.idle, "it has not asked yet, which has a bound of its own"
    sock.handling = True
    sock.request_done()
    assert sock.idle
    sock.recv(100)
    assert not sock.idle, "the next request has begun"
