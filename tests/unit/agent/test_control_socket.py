"""The control socket: its mode, whom it lets do what, and what bad callers cost."""

import json
import os
import socket
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from dio_daemon.clock import SystemClock
from dio_daemon.deadlines import Deadlines
from dio_daemon.feed import Feed
from dio_daemon.heartbeat import Heartbeat
from dio_daemon.ipc import callers
from dio_daemon.ipc import server as ipc
from dio_daemon.ipc.client import Client, NotRunning, Refused
from dio_daemon.ipc.routes import Route, Routes, change, read
from dio_daemon.ipc.server import ControlServer, Request, Response, SocketInUse


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "agent.sock"


@pytest.fixture
def running(path: Path) -> Iterator[ControlServer]:
    feed = Feed(SystemClock())
    routes = Routes(
        {
            "/v1/status": read(lambda: {"state": "active"}),
            "/v1/reload": change(lambda request: Response(200, {"reloaded": True})),
            "/v1/events": Route("GET", lambda request: Response(200, None, stream=feed.follow())),
        }
    )
    server = ControlServer(path, Heartbeat("control", SystemClock()), Deadlines(SystemClock()))
    server.handle = routes.handle
    thread = threading.Thread(target=lambda: [server.step() for _ in iter(lambda: server.stopping, True)])
    thread.start()
    yield server
    feed.close()
    server.stop()
    thread.join()
    server.close()
    assert not path.exists()


def raw(path: Path, data: bytes) -> bytes:
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(10)
        client.connect(str(path))
        client.sendall(data)
        client.shutdown(socket.SHUT_WR)
        answer = b""
        while piece := client.recv(65536):
            answer += piece
        return answer


def test_only_owner_and_group_from_the_first_moment(path: Path, running: ControlServer) -> None:
    mode = path.stat().st_mode
    assert stat.S_ISSOCK(mode)
    assert stat.S_IMODE(mode) == 0o660


def test_reads_and_changes(path: Path, running: ControlServer) -> None:
    client = Client(path, SystemClock())
    assert client.call("GET", "/v1/status") == {"state": "active"}
    assert client.call("POST", "/v1/reload") == {"reloaded": True}


@pytest.mark.parametrize(
    ("method", "path_", "status"),
    [
        ("POST", "/v1/status", 405),
        ("GET", "/v1/reload", 405),
        ("GET", "/", 404),
        ("DELETE", "/v1/status", 405),
    ],
)
def test_unknown_paths_and_methods(
    path: Path, running: ControlServer, method: str, path_: str, status: int
) -> None:
    with pytest.raises(Refused) as caught:
        Client(path, SystemClock()).call(method, path_)
    assert caught.value.status == status


def test_changes_are_for_root_and_the_agents_own_user() -> None:
    routes = Routes({"/v1/reload": change(lambda request: Response(200, {}))})
    assert routes.handle(Request("POST", "/v1/reload", b"", 0)).status == 200
    assert routes.handle(Request("POST", "/v1/reload", b"", os.geteuid())).status == 200
    assert routes.handle(Request("POST", "/v1/reload", b"", 4242)).status == 403


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GARBAGE\r\n\r\n", 400),
        (b"GET /v1/status HTTP/9.9\r\n\r\n", 505),
        (b"GET " + b"/" * 70000 + b" HTTP/1.1\r\n\r\n", 414),
        (b"POST /v1/reload HTTP/1.1\r\nContent-Length: 999999999\r\n\r\n", 413),
        (b"POST /v1/reload HTTP/1.1\r\nContent-Length: x\r\n\r\n", 400),
        (b"POST /v1/reload HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 411),
        (b"GET /v1/status HTTP/1.1\r\n" + b"X: y\r\n" * 200 + b"\r\n", 431),
    ],
)
def test_bad_requests_get_a_problem_document(
    path: Path, running: ControlServer, request_: bytes, status: int
) -> None:
    answer = raw(path, request_)
    body = answer.partition(b"\r\n\r\n")[2] if answer.startswith(b"HTTP/") else answer
    assert json.loads(body)["status"] == status


def test_head_sends_no_body(path: Path, running: ControlServer) -> None:
    answer = raw(path, b"HEAD /v1/status HTTP/1.1\r\nHost: dio\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200")
    assert answer.endswith(b"\r\n\r\n")


def test_silent_callers_beyond_the_most_are_told_to_come_again(path: Path, running: ControlServer) -> None:
    silent = []
    for _ in range(callers.MAX_CLIENTS + callers.ROOT_CLIENTS):
        client = socket.socket(socket.AF_UNIX)
        client.connect(str(path))
        silent.append(client)
    answer = b""
    with socket.socket(socket.AF_UNIX) as extra:
        extra.settimeout(10)
        extra.connect(str(path))
        while piece := extra.recv(4096):
            answer += piece
    assert answer.startswith(b"HTTP/1.1 503")
    for client in silent:
        client.close()


def test_root_finds_a_place_where_others_hold_all(
    path: Path, running: ControlServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ipc, "_peer_uid", lambda client: 4242)
    silent = []
    for _ in range(callers.MAX_CLIENTS + 3):
        client = socket.socket(socket.AF_UNIX)
        client.connect(str(path))
        silent.append(client)
    silent[-1].settimeout(10)
    assert silent[-1].recv(64).startswith(b"HTTP/1.1 503")
    monkeypatch.setattr(ipc, "_peer_uid", lambda client: 0)
    assert raw(path, b"GET /v1/status HTTP/1.1\r\nHost: dio\r\n\r\n").startswith(b"HTTP/1.1 200")
    for client in silent:
        client.close()


def test_no_room_for_a_thread_costs_that_caller_only(
    path: Path, running: ControlServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    for _ in range(callers.MAX_CLIENTS + 1):
        with monkeypatch.context() as no_room, socket.socket(socket.AF_UNIX) as client:
            no_room.setattr(ipc.threading.Thread, "start", refuse)
            client.settimeout(60)
            client.connect(str(path))
            assert client.recv(1) == b""
    assert raw(path, b"GET /v1/status HTTP/1.1\r\nHost: dio\r\n\r\n").startswith(b"HTTP/1.1 200")


def test_a_stale_socket_is_replaced_a_live_one_never(path: Path) -> None:
    def make() -> ControlServer:
        return ControlServer(path, Heartbeat("control", SystemClock()), Deadlines(SystemClock()))

    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    first = make()
    with pytest.raises(SocketInUse, match="another agent is running"):
        make()
    first.stop()
    first.step()
    first.close()
    path.write_text("not a socket")
    with pytest.raises(SocketInUse, match="is no socket"):
        make()
    path.unlink()


def test_nobody_there(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dio_daemon.unit.SOON_S", 0.0)
    with pytest.raises(NotRunning):
        Client(path, SystemClock()).call("GET", "/v1/status")


def test_something_else_on_the_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        other.listen()

        def serve() -> None:
            with other.accept()[0] as client:
                client.recv(4096)
                client.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")

        thread = threading.Thread(target=serve)
        thread.start()
        with pytest.raises(NotRunning, match="is no agent"):
            Client(path, SystemClock()).call("GET", "/v1/status")
        thread.join()


def test_answers_are_json(path: Path, running: ControlServer) -> None:
    body = raw(path, b"GET /v1/status?x=1 HTTP/1.1\r\nHost: dio\r\n\r\n").partition(b"\r\n\r\n")[2]
    assert json.loads(body) == {"state": "active"}
