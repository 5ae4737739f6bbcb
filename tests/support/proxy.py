"""A TCP proxy between agents and a nerve center that breaks exchanges in every way that networks know.

The agent makes one exchange a connection, so a fault is chosen when a connection comes and lasts for it. What is
not about whole exchanges (refusing, black holes) holds for as long as the fault is set.
"""

from __future__ import annotations

import json
import random
import socket
import struct
import threading
from collections.abc import Callable

from tests.support.place import Place
from tests.support.ports import free_port

PASS = "pass"
CANNED = {
    "redirect": b"HTTP/1.1 302 Found\r\nLocation: http://login.example/\r\nContent-Length: 0\r\n\r\n",
    "portal": b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 15\r\n\r\n<html>pay</html",
    "json_of_others": b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 12\r\n\r\n{"ok": true}',
}
for _status in (400, 401, 403, 404, 409, 413, 422, 429, 500, 502, 503):
    CANNED[f"status_{_status}"] = (
        f"HTTP/1.1 {_status} X\r\nContent-Type: text/plain\r\nRetry-After: 1\r\nContent-Length: 2\r\n\r\nno".encode()
    )
PROBLEMS = {
    "problem_400": "bad-request",
    "problem_401": "credential-unknown",
    "problem_403": "credential-revoked",
    "problem_404": "not-found",
    "problem_409": "run-not-current",
    "problem_413": "body-too-large",
    "problem_422": "invalid-body",
    "problem_429": "too-many-requests",
    "problem_500": "internal-error",
    "problem_502": "bad-gateway",
    "problem_503": "database-unavailable",
}
"""What a nerve center itself may answer to a POST; the value is the problem's code. `/health` is passed on."""
FAULTS = (
    "refuse",
    "deaf",
    "reset",
    "reset_mid_request",
    "black_hole",
    "half_open",
    "lose_response",
    "truncate_response",
    "delay_response",
    "slow_response",
    "garbage",
    *CANNED,
)
"""What `FaultProxy.fault` may be beside `PASS` and `PROBLEMS`."""


ANYWHERE = Place()


class FaultProxy:
    """Listens on a port of its own and forwards to another one on loopback.

    Args:
        target: port of the nerve center.
        rng: chooses where answers are cut.
        place: where it stands.
        port: where it listens; 0 for one that is free.
        delay_s: how late an answer is that is delayed.
    """

    def __init__(
        self,
        target: int,
        rng: random.Random,
        place: Place = ANYWHERE,
        port: int = 0,
        delay_s: float = 3.0,
    ) -> None:
        self.target = target
        self.port = port or free_port()
        self.exchanges = 0
        self._rng = rng
        self._place = place
        self._delay_s = delay_s
        self._filling: list[socket.socket] = []
        self._fault = PASS
        self._changed = threading.Event()
        self._closed = False
        self._listener: socket.socket | None = None
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()
        self._listen()

    @property
    def fault(self) -> str:
        """What happens to connections that come now."""
        return self._fault

    @fault.setter
    def fault(self, name: str) -> None:
        with self._lock:
            changed, self._changed = self._changed, threading.Event()
            self._fault = name
            changed.set()  # lets go of whoever is held in a black hole
            if self._listener is None or name in ("refuse", "deaf"):
                self._stop_listening()
                if name == "deaf":
                    self._be_deaf()
                elif name != "refuse":
                    self._listen()

    def close(self) -> None:
        """Stop and wait for every connection's end."""
        self._closed = True
        self.fault = "refuse"
        for thread in self._threads:
            thread.join(20)

    def _listen(self) -> None:
        self._listener = self._place.listen(self.port)
        self._spawn(self._accept, self._listener)

    def _be_deaf(self) -> None:
        """Let no connection come about, as a packet filter that drops does: the kernel's queue of one is full."""
        self._filling.append(self._place.listen(self.port, backlog=0))
        self._filling.append(self._place.connect(self.port, timeout_s=10))

    def _stop_listening(self) -> None:
        for filling in self._filling:
            filling.close()
        self._filling.clear()
        if self._listener is not None:
            self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
            self._listener = None

    def _spawn(self, work: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=work, args=arguments, daemon=True)
        thread.start()
        self._threads = [t for t in self._threads if t.is_alive()] + [thread]

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            self._spawn(self._serve, client, self._fault, self._changed)

    def _serve(self, client: socket.socket, fault: str, changed: threading.Event) -> None:
        self.exchanges += 1
        client.settimeout(60)
        try:
            self._exchange(client, fault, changed)
        except OSError:
            pass  # either side may go away at any moment
        finally:
            client.close()

    def _exchange(self, client: socket.socket, fault: str, changed: threading.Event) -> None:
        if fault == "reset":
            _reset(client)
            return
        if fault == "black_hole":
            changed.wait(60)
            return
        if fault == "reset_mid_request":
            client.recv(self._rng.randint(1, 400))
            _reset(client)
            return
        request = _read_request(client)
        if fault == "garbage":
            client.sendall(self._rng.randbytes(200))
            return
        if fault in CANNED:
            client.sendall(CANNED[fault])
            return
        if fault in PROBLEMS and request.startswith(b"POST"):
            client.sendall(_problem(fault))
            return
        if fault == "half_open":
            self._forward(request)
            changed.wait(60)
            return
        answer = self._forward(request)
        if fault == "lose_response":
            _reset(client)
        elif fault == "truncate_response":
            client.sendall(answer[: self._rng.randrange(len(answer)) if answer else 0])
        elif fault == "delay_response":
            changed.wait(self._delay_s)
            client.sendall(answer)
        elif fault == "slow_response":
            for byte in answer:
                client.sendall(bytes([byte]))
                if changed.wait(1):
                    return
        else:
            client.sendall(answer)

    def _forward(self, request: bytes) -> bytes:
        with self._place.connect(self.target, timeout_s=30) as server:
            server.sendall(request)
            answer = b""
            while piece := server.recv(65536):
                answer += piece
            return answer


def _problem(fault: str) -> bytes:
    status = fault.removeprefix("problem_")
    document = {
        "type": f"urn:dio:problem:{PROBLEMS[fault]}",
        "title": "A test broke this.",
        "status": int(status),
    }
    body = json.dumps(document).encode()
    head = f"HTTP/1.1 {status} X\r\nContent-Type: application/problem+json\r\nRetry-After: 1\r\n"
    return head.encode() + f"Content-Length: {len(body)}\r\n\r\n".encode() + body


def _read_request(client: socket.socket) -> bytes:
    data = b""
    while b"\r\n\r\n" not in data:
        piece = client.recv(65536)
        if not piece:
            raise OSError("the client went away")
        data += piece
    head, _, body = data.partition(b"\r\n\r\n")
    length = 0
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            length = int(value)
    while len(body) < length:
        piece = client.recv(65536)
        if not piece:
            raise OSError("the client went away")
        body += piece
    return head + b"\r\n\r\n" + body


def _reset(client: socket.socket) -> None:
    """Close with RST in place of FIN."""
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
