"""Clients of every kind against the real server: slow, broken, hostile, and many at once."""

import gzip
import http.client
import json
import os
import secrets
import signal
import socket
import statistics
import threading
import time
import urllib.error
import urllib.request
from typing import Any

import pytest

from nerve_center.clock import SystemClock, format_time
from tests.integration.center.conftest import CenterProcess, read_answer
from tests.support.processes import wait_for


class Agent:
    """A client of the real server that knows the protocol."""

    def __init__(self, center: CenterProcess) -> None:
        self.center = center
        self.agent_id = "agent-" + secrets.token_hex(8)
        self.credential = secrets.token_hex(32)
        self.instance_id, self.run_id, self.epoch = (secrets.token_hex(n) for n in (16, 16, 8))
        self.mark: dict[str, Any] = {"seq": 0, "tag": None}

    def post(self, what: str, body: dict[str, Any], **headers: str) -> tuple[int, dict[str, Any]]:
        path = "/api/v1/agents/register" if what == "register" else f"/api/v1/agents/{self.agent_id}/{what}"
        sent = {
            "Authorization": f"Bearer {self.credential}",
            "Content-Type": "application/json",
            "Content-Encoding": "gzip",
            **{name.replace("_", "-"): value for name, value in headers.items()},
        }
        request = urllib.request.Request(
            self.center.url + path, gzip.compress(json.dumps(body).encode()), sent
        )
        try:
            with urllib.request.urlopen(request, timeout=15) as answer:
                return answer.status, json.loads(answer.read() or b"{}")
        except urllib.error.HTTPError as answer:
            return answer.code, json.load(answer)

    def register(self) -> None:
        status, _ = self.post(
            "register",
            {
                "protocol": 1,
                "agent_id": self.agent_id,
                "instance_id": self.instance_id,
                "run_id": self.run_id,
                "boot_id": None,
                "agent_version": "0.1.0",
                "interval_s": 10,
                "sent_at": now(),
                "host": {"hostname": "h"},
            },
            DIO_Enrollment_Token=self.center.token_file.read_text(),
        )
        assert status == 201

    def report(self, count: int = 1) -> tuple[dict[str, Any], dict[str, Any]]:
        first = self.mark["seq"] + 1
        records = [
            {
                "seq": seq,
                "from_seq": seq,
                "tag": secrets.token_hex(8),
                "kind": "sample",
                "time": now(),
                "data": {},
            }
            for seq in range(first, first + count)
        ]
        body = {
            "instance_id": self.instance_id,
            "run_id": self.run_id,
            "boot_id": None,
            "sent_at": now(),
            "interval_s": 10,
            "epoch": self.epoch,
            "stream": "samples",
            "after": self.mark,
            "records": records,
        }
        return body, {"seq": records[-1]["seq"], "tag": records[-1]["tag"]}

    def deliver(self, count: int = 1) -> None:
        """Deliver records, and again where the answer is lost, as the protocol has it."""
        body, mark = self.report(count)

        def sent() -> bool:
            try:
                status, answer = self.post("reports", body)
            except (OSError, ValueError, http.client.HTTPException):
                return False
            assert status == 200, answer
            assert answer["mark"] == mark
            return True

        wait_for(sent, "delivered", within_s=60)
        self.mark = mark


def now() -> str:
    return format_time(SystemClock().now_us())


def head(agent: Agent, length: int, path: str = "reports") -> bytes:
    return (
        f"POST /api/v1/agents/{agent.agent_id}/{path} HTTP/1.1\r\nHost: x\r\n"
        f"Authorization: Bearer {agent.credential}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {length}\r\n\r\n"
    ).encode()


def closed_by_server(connection: socket.socket) -> bool:
    connection.setblocking(False)
    try:
        while connection.recv(65536):
            pass
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


def test_half_sent_requests_harm_nobody_and_are_closed(center: CenterProcess) -> None:
    center.configure("[server]\nrequest_timeout_s = 4\n")
    center.start()
    center.wait_ready()
    agent = Agent(center)
    agent.register()
    began = time.monotonic()
    halves = [center.connect() for _ in range(320)]
    for index, connection in enumerate(halves):
        if index % 4 == 0:
            connection.sendall(b"GET /health HTTP/1.1\r\nHost:")
        elif index % 4 == 1:
            connection.sendall(head(agent, 1000) + b'{"half": ')
        elif index % 4 == 2:
            connection.sendall(head(agent, 1000))
    slow: list[float] = []
    while time.monotonic() - began < 3.5:
        asked = time.monotonic()
        assert center.health()[0] == 200
        slow.append(time.monotonic() - asked)
        agent.deliver()
        for connection in halves[::8]:
            connection.send(b"x")  # a byte now and then buys no time
    assert statistics.median(slow) < 4, "others are answered while these are still open"
    wait_for(
        lambda: all(closed_by_server(connection) for connection in halves), "all are closed", within_s=60
    )
    for connection in halves:
        connection.close()
    assert center.complaints() == []


def test_a_connection_carries_many_requests(running: CenterProcess) -> None:
    with running.connect() as connection:
        for _ in range(50):
            connection.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
            assert read_answer(connection).startswith(b"HTTP/1.1 200")


def test_where_connections_run_out_the_one_that_idled_longest_makes_room(center: CenterProcess) -> None:
    center.configure("[server]\nworkers = 1\nworker_connections = 20\n")
    center.start()
    center.wait_ready()
    held: list[socket.socket] = []
    for _ in range(60):
        held.append(center.connect())
        held[-1].sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
        assert read_answer(held[-1]).startswith(b"HTTP/1.1 200")
    held[-1].sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
    assert read_answer(held[-1]).startswith(b"HTTP/1.1 200"), "the newest is kept"
    assert held[0].recv(1) == b"", "the oldest was closed"
    for connection in held:
        connection.close()


@pytest.mark.parametrize("length", [2 * 1024 * 1024, 12 * 1024 * 1024])
def test_the_answer_to_a_body_that_is_too_large_arrives(running: CenterProcess, length: int) -> None:
    agent = Agent(running)
    agent.register()
    with running.connect() as connection:
        connection.sendall(head(agent, length))
        for _ in range(length // 65536):
            connection.sendall(b" " * 65536)
        answer = read_answer(connection)
    assert answer.startswith(b"HTTP/1.1 413")
    assert b"Connection: close" in answer
    assert b"urn:dio:problem:too-large" in answer


def test_endless_chunks_are_cut_off(running: CenterProcess) -> None:
    agent = Agent(running)
    agent.register()
    opening = head(agent, 0).replace(b"Content-Length: 0", b"Transfer-Encoding: chunked")
    with running.connect() as connection:
        connection.sendall(opening)
        try:
            for _ in range(1000):
                connection.sendall(b"10000\r\n" + b" " * 65536 + b"\r\n")
        except OSError:
            pass
        else:
            raise AssertionError("64 MiB were taken")


REQUESTS = [
    b"\r\n\r\n",
    b"\0\0\0\0\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    b"GET\r\n\r\n",
    b"GET /\r\n\r\n",
    b"GET / HTTP/9.9\r\nConnection: close\r\n\r\n",
    b"GET / HTTP/1.1\r\nbad header\r\n\r\n",
    b"GET / HTTP/1.1\r\n: x\r\n\r\n",
    b"GET / HTTP/1.1\r\nA: \xff\xfe\r\nConnection: close\r\n\r\n",
    b"GET /%ff%fe%00 HTTP/1.1\r\nConnection: close\r\n\r\n",
    b"GET /\xff\xfe HTTP/1.1\r\nConnection: close\r\n\r\n",
    b"GET /health?%ff=%00 HTTP/1.1\r\nConnection: close\r\n\r\n",
    b"GET http://[::1/health HTTP/1.1\r\nConnection: close\r\n\r\n",
    b"GET /health HTTP/1.1\r\nHost: a b:x:y\r\nConnection: close\r\n\r\n",
    b"GET /health HTTP/1.1\r\nHost: \xe2\x98\x83\r\nConnection: close\r\n\r\n",
    b"GET /" + b"a" * 5000 + b" HTTP/1.1\r\n\r\n",
    b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 100 + b"\r\n",
    b"GET / HTTP/1.1\r\nX: " + b"y" * 9000 + b"\r\n\r\n",
    b"POST /api/v1/agents/register HTTP/1.1\r\nContent-Length: x\r\n\r\n",
    b"POST /api/v1/agents/register HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
    b"POST /api/v1/agents/register HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
    b"POST /api/v1/agents/register HTTP/1.1\r\nTransfer-Encoding: x\r\nConnection: close\r\n\r\n",
    b"POST /api/v1/agents/register HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n",
    b"POST /api/v1/agents/register HTTP/1.1\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n",
    b"POST /health HTTP/1.1\r\nConnection: close\r\n\r\n",
    b"BREW /health HTTP/1.1\r\nConnection: close\r\n\r\n",
    b"OPTIONS * HTTP/1.1\r\nConnection: close\r\n\r\n",
    b"CONNECT a:1 HTTP/1.1\r\nConnection: close\r\n\r\n",
    b"GET /api/v1/agents HTTP/1.1\r\nAuthorization: Bearer \xff\xff\xff\xff"
    + b"\xff" * 40
    + b"\r\nConnection: close\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
]


def test_malformed_requests_leave_no_word_in_the_log(running: CenterProcess) -> None:
    for request in REQUESTS:
        try:
            answer = running.raw(request)
        except TimeoutError:
            raise AssertionError(request) from None
        except ConnectionError:
            continue
        assert b"Traceback" not in answer
        assert b" 500 " not in answer.split(b"\r\n")[0], (request, answer)
        if not answer.startswith((b"HTTP/1.1 2", b"HTTP/1.1 100", b"HTTP/1.1 303")) and answer:
            assert b"urn:dio:problem:" in answer, (request, answer)
    assert running.health()[0] == 200
    assert running.complaints() == []


@pytest.mark.parametrize(
    "chunks",
    [b"zz\r\n", b"5\r\nab", b"1\r\naXX", b"0\r\nbad trailer\r\n\r\n", b"-1\r\n", b"1" * 5000 + b"\r\n", b""],
)
def test_malformed_chunks(running: CenterProcess, chunks: bytes) -> None:
    agent = Agent(running)
    agent.register()
    opening = head(agent, 0).replace(b"Content-Length: 0", b"Transfer-Encoding: chunked")
    with running.connect() as connection:
        connection.sendall(opening + chunks)
        connection.shutdown(socket.SHUT_WR)
        answer = b""
        try:
            while data := connection.recv(65536):
                answer += data
        except ConnectionError:
            pass
    assert not answer or answer.startswith(b"HTTP/1.1 400"), answer
    assert running.complaints() == []
    assert running.health()[0] == 200


def test_what_was_acknowledged_is_stored_when_workers_are_killed(running: CenterProcess) -> None:
    agents = [Agent(running) for _ in range(6)]
    for agent in agents:
        agent.register()
    stop = threading.Event()
    failures: list[BaseException] = []

    def deliver(agent: Agent) -> None:
        try:
            while not stop.is_set():
                agent.deliver(3)
        except BaseException as exc:  # noqa: BLE001 told by the test's own thread
            failures.append(exc)

    threads = [threading.Thread(target=deliver, args=(agent,)) for agent in agents]
    for thread in threads:
        thread.start()
    for _ in range(3):
        threading.Event().wait(0.7)
        os.kill(running.workers()[0], signal.SIGKILL)
    threading.Event().wait(0.5)
    stop.set()
    for thread in threads:
        thread.join()
    assert failures == []
    for agent in agents:
        stored = running.samples(agent.agent_id)
        assert len(stored) == agent.mark["seq"] > 0
        assert sorted(item["seq"] for item in stored) == list(range(1, agent.mark["seq"] + 1))


def test_reports_wait_out_a_short_lock_and_are_sent_away_by_a_long_one(running: CenterProcess) -> None:
    agent = Agent(running)
    agent.register()
    running.get(f"/api/v1/agents/{agent.agent_id}")
    with running.store.locked():
        body, _ = agent.report()
        asked = time.monotonic()
        status, answer = agent.post("reports", body)
        assert (status, answer["type"]) == (503, "urn:dio:problem:database-unavailable")
        assert time.monotonic() - asked > 4
        assert len(running.get(f"/api/v1/agents/{agent.agent_id}/samples")["samples"]) == 0
    agent.deliver()
