"""Every path of the control socket, over a real socket, with the agent's real parts behind it."""

import json
import logging
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dio_daemon import journal
from dio_daemon.clock import SystemClock
from dio_daemon.detect.finding import Finding
from dio_daemon.feed import MAX_FOLLOWERS
from dio_daemon.ipc import callers, server
from dio_daemon.ipc import client as clients
from dio_daemon.ipc.client import NotRunning, Refused
from dio_daemon.ipc.server import Request, Response
from dio_daemon.lifecycle import State
from tests.support.control import SAMPLE, Socket, wait_for
from tests.support.link import REFUSED


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Socket]:
    made = Socket(tmp_path)
    yield made
    made.close()


def refused(running: Socket, method: str, path: str, body: Any = None) -> Refused:
    with pytest.raises(Refused) as caught:
        running.client.call(method, path, body)
    return caught.value


def test_status_tells_the_story(running: Socket) -> None:
    running.agent.transport.health = lambda: REFUSED
    running.agent.link.step()
    running.agent.link.step()
    document = running.client.call("GET", "/v1/status")
    assert document["state"] == "waiting"
    assert document["reason"] == "connection refused by c:1"
    assert document["error_kind"] == "refused"
    assert document["attempt"] == 1
    assert document["pid"] == os.getpid()
    assert document["last_acknowledged_at"] is None
    assert document["maintenance"] is None
    running.agent.transport.health = lambda: running.agent.transport.accept({})
    assert running.client.call("GET", "/v1/spool") == document["spool"]
    assert running.client.call("GET", "/v1/threads").keys() == {"control", "sampler", "link"}


def test_samples(running: Socket) -> None:
    assert running.client.call("GET", "/v1/sample") is None
    assert running.client.call("GET", "/v1/samples") == {"samples": []}
    running.active()
    for _ in range(120):  # two minutes more than the quarter of an hour
        running.sample()
    assert running.client.call("GET", "/v1/sample") == json.loads(json.dumps(SAMPLE))
    samples = running.client.call("GET", "/v1/samples")["samples"]
    assert [sample["seq"] for sample in samples] == list(range(samples[0]["seq"], 122))
    assert 89 <= len(samples) <= 91
    assert samples[-1]["data"] == json.loads(json.dumps(SAMPLE))


def test_threats_that_are_open(running: Socket) -> None:
    full = Finding("disk_space", "high", 1.0, "/", "/ is full")
    running.book.step([full, Finding("swap", "low", 1.0, "swap", "swapping")], 0.0)
    running.book.step([full], 100.0)
    threats = running.client.call("GET", "/v1/threats")["threats"]
    assert [threat["data"]["fingerprint"] for threat in threats] == [full.fingerprint]
    assert threats[0]["data"]["state"] == "open"


def test_configuration_names_files_and_no_secrets(running: Socket) -> None:
    (running.agent.folder / "token").write_text("a-secret-token")
    settings = running.client.call("GET", "/v1/config")["settings"]
    assert {
        "section": "agent",
        "key": "interval_s",
        "value": 10.0,
        "source": "default",
        "line": None,
    } in settings
    assert "a-secret-token" not in json.dumps(settings)


def test_metrics_are_text(running: Socket) -> None:
    running.active()
    answer = running.raw(b"GET /v1/metrics HTTP/1.1\r\n\r\n").decode()
    assert "\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n" in answer
    assert 'dio_agent_state{state="active"} 1' in answer


def test_following(running: Socket) -> None:
    lines = running.client.lines("/v1/events")
    found: list[dict[str, Any]] = []
    thread = threading.Thread(target=lambda: found.extend(json.loads(line) for line in lines))
    thread.start()
    wait_for(lambda: running.feed._followers)
    running.active()
    running.agent.transport.report = lambda body: REFUSED
    running.sample()
    running.agent.link.step()
    running.feed.close()
    thread.join(10)
    kinds = [event["kind"] for event in found]
    assert kinds == ["state", "state", "state", "sample", "delivery", "sample", "state", "delivery"]
    assert [event["data"]["to"] for event in found if event["kind"] == "state"] == [
        "waiting",
        "registering",
        "active",
        "warning",
    ]
    assert found[4]["data"] == {"acknowledged_at": found[4]["time"]}
    assert found[-1]["data"] == {"failures": 1, "reason": "connection refused by c:1"}


def test_followers_that_come_and_go_leave_their_places(running: Socket) -> None:
    for _ in range(3 * MAX_FOLLOWERS):
        assert b"HTTP/1.1 200" in running.raw(b"HEAD /v1/events HTTP/1.1\r\n\r\n")
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(running.path))
            client.sendall(b"GET /v1/events HTTP/1.1\r\n\r\n")
        running.feed.publish("state", {})
        wait_for(lambda: running.server._callers._places._value == callers.MAX_CLIENTS)
    assert running.feed._followers == []


def test_one_follower_too_many_is_told_to_come_again(running: Socket) -> None:
    open_ = []
    for _ in range(MAX_FOLLOWERS):
        client = socket.socket(socket.AF_UNIX)
        client.connect(str(running.path))
        client.sendall(b"GET /v1/events HTTP/1.1\r\n\r\n")
        open_.append(client)
    wait_for(lambda: len(running.feed._followers) == MAX_FOLLOWERS)
    error = refused(running, "GET", "/v1/events")
    assert (error.status, error.code) == (503, "busy")
    assert running.client.call("GET", "/v1/status")["state"] == "starting"  # others are served
    running.feed.close()
    for client in open_:
        client.close()


def test_submitting(running: Socket) -> None:
    answer = running.client.call("POST", "/v1/report/event", {"type": "backup.finished", "message": "m"})
    assert answer == {"accepted": True, "seq": 1}
    assert running.client.call("POST", "/v1/report/metrics", {"metrics": {"q": 1}})["seq"] == 2
    record = running.agent.spool.recent("samples", "custom_event", 1e9, 10)[0]
    assert json.loads(record.data)["uid"] == os.getuid()
    assert refused(running, "POST", "/v1/report/event", {"type": "threat"}).code == "bad-submission"
    assert refused(running, "POST", "/v1/report/event", [1]).status == 422
    for _ in range(18):
        running.client.call("POST", "/v1/report/event", {"type": "x"})
    error = refused(running, "POST", "/v1/report/event", {"type": "x"})
    assert (error.status, error.code) == (429, "too-many")


def test_reloading(running: Socket) -> None:
    assert running.client.call("POST", "/v1/reload") == {"reloaded": True}
    running.findings = ["agent.toml:2: bad", "agent.toml:3: worse"]
    error = refused(running, "POST", "/v1/reload")
    assert (error.status, error.code, str(error)) == (
        422,
        "bad-configuration",
        "agent.toml:2: bad\nagent.toml:3: worse",
    )
    running.findings = None
    assert refused(running, "POST", "/v1/reload").code == "timeout"


def test_a_flush_that_says_why_it_fails(running: Socket) -> None:
    running.active()
    assert running.client.call("POST", "/v1/flush") == {"pending": 0}
    running.agent.transport.report = lambda body: REFUSED
    running.sample()
    running.agent.link.step()
    error = refused(running, "POST", "/v1/flush")
    assert (error.status, error.code) == (503, "not-delivered")
    assert str(error) == "1 records still wait: connection refused by c:1"


def test_a_flush_does_not_wait_for_the_next_attempt(running: Socket) -> None:
    running.active()
    running.agent.transport.report = lambda body: REFUSED
    running.sample()
    running.agent.link.step()
    assert running.agent.state is State.WARNING
    running.agent.transport.report = running.agent.transport.acknowledge
    before = running.agent.clock.time_s
    running.agent.link.try_now()
    running.agent.link.step()
    assert running.agent.state is State.ACTIVE
    assert running.agent.clock.time_s == before


def test_registering_again(running: Socket) -> None:
    running.active()
    assert running.client.call("POST", "/v1/reregister") == {"accepted": True}
    assert running.agent.link.step() == "registering again"
    running.agent.run_until(State.ACTIVE)
    assert running.agent.transport.log.count("register") == 2
    assert running.agent.link.step() != "registering again"


def test_registering_again_while_that_is_on_its_way_is_done_once(running: Socket) -> None:
    running.client.call("POST", "/v1/reregister")
    running.active()
    running.agent.link.step()
    assert running.agent.transport.log.count("register") == 1


def maintenance_events(running: Socket) -> list[dict[str, Any]]:
    return [json.loads(record.data) for record in running.agent.spool.recent("events", "event", 1e9, 100)]


def test_a_pause_holds_samples_back_and_tells_the_center(running: Socket) -> None:
    agent = running.agent
    running.active()
    until = running.client.call("POST", "/v1/pause", {"for_s": 600, "reason": "disk\nswap"})["until"]
    reported = len(agent.transport.reports)
    agent.link.step()
    (event,) = maintenance_events(running)
    assert event == {"type": "maintenance.begin", "for_s": 600.0, "until": until, "message": "disk\\x0aswap"}
    assert agent.spool.stats().streams["events"].pending == 0
    assert len(agent.transport.reports) == reported + 1
    running.sample()
    left = agent.maintenance.left_s()
    assert agent.link.step() == "paused"
    assert agent.spool.pending == 1
    document = running.client.call("GET", "/v1/status")
    assert document["maintenance"] == {"until": until, "reason": "disk\\x0aswap"}
    assert document["conditions"] == {"reporting_paused": f"Reporting is paused until {until}"}
    error = refused(running, "POST", "/v1/flush")
    assert (error.status, error.code) == (409, "paused")
    for _ in range(int(left / 60) + 2):
        agent.link.step()
    assert maintenance_events(running)[1:] == [{"type": "maintenance.end"}]
    while agent.spool.pending:
        agent.link.step()
    assert running.client.call("GET", "/v1/status")["conditions"] == {}


def test_a_pause_is_made_longer_and_ended(running: Socket) -> None:
    running.active()
    running.client.call("POST", "/v1/pause", {"for_s": 600})
    running.agent.link.step()
    until = running.client.call("POST", "/v1/pause", {"for_s": 7200})["until"]
    running.agent.link.step()
    assert [event["for_s"] for event in maintenance_events(running)] == [600.0, 7200.0]
    assert until in running.client.call("GET", "/v1/status")["conditions"]["reporting_paused"]
    assert running.client.call("POST", "/v1/resume") == {"was_paused": True}
    running.agent.link.step()
    assert maintenance_events(running)[-1] == {"type": "maintenance.end"}
    assert running.client.call("POST", "/v1/resume") == {"was_paused": False}


def test_a_pause_is_announced_again_after_a_restart(running: Socket) -> None:
    running.active()
    running.client.call("POST", "/v1/pause", {"for_s": 600})
    running.agent.link.step()
    running.agent.clock.advance(100)
    again = running.agent.make_link()
    for _ in range(8):
        again.step()
    assert maintenance_events(running)[1]["for_s"] == pytest.approx(500, abs=1)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"for_s": "600"},
        {"for_s": True},
        {"for_s": 0.5},
        {"for_s": 604801},
        {"for_s": 10**400},
        {"for_s": float("nan")},
        {"for_s": 60, "reason": 5},
        {"for_s": 60, "reason": "x" * 201},
        [],
        "text",
    ],
)
def test_what_is_no_pause(running: Socket, body: Any) -> None:
    assert refused(running, "POST", "/v1/pause", body).status == 422
    assert running.agent.maintenance.window is None


def test_log_level(running: Socket) -> None:
    before = logging.getLogger().level
    try:
        assert running.client.call("POST", "/v1/log-level", {"level": "debug"}) == {"level": "debug"}
        assert logging.getLogger().isEnabledFor(logging.DEBUG)
        assert refused(running, "POST", "/v1/log-level", {"level": "loud"}).status == 422
        assert refused(running, "POST", "/v1/log-level", "debug").status == 422
    finally:
        journal.set_level("info")
        logging.getLogger().setLevel(before)


def test_every_change_is_roots_and_every_read_is_not(running: Socket) -> None:
    for path, route in running.control.routes().items():
        reading = route.method == "GET" or path.startswith("/v1/report/")
        assert route.root_only is not reading, path
        if not reading:
            answer = running.server.handle(Request("POST", path, b"", 4242))
            assert answer.status == 403


def test_a_question_that_fails_is_an_internal_error_and_nothing_more(
    running: Socket, caplog: pytest.LogCaptureFixture
) -> None:
    handle = running.server.handle

    def fail(request: Request) -> Response:
        raise RuntimeError("a bug")

    running.server.handle = fail
    assert refused(running, "GET", "/v1/status").code == "internal"
    assert "a bug" in caplog.text
    running.server.handle = handle
    assert running.client.call("GET", "/v1/status")


def test_an_agent_that_is_being_put_together_is_waited_for(running: Socket) -> None:
    handle, asked = running.server.handle, []

    def soon(request: Request) -> Response:
        asked.append(request)
        return handle(request) if len(asked) > 2 else server._nobody_yet(request)

    running.server.handle = soon
    assert running.client.call("GET", "/v1/status")
    assert len(asked) == 3


def test_headers_are_bounded_in_all(running: Socket) -> None:
    line = b"X: " + b"y" * 60_000 + b"\r\n"
    assert running.raw(b"GET /v1/status HTTP/1.1\r\n" + line + b"\r\n").startswith(b"HTTP/1.1 200")
    answer = running.raw(b"GET /v1/status HTTP/1.1\r\n" + 2 * line + b"\r\n", shut=False)
    assert answer.startswith(b"HTTP/1.1 431")


@pytest.mark.parametrize(
    "request_", [b"GET /v1/status\r\n\r\n", b"\x00\xff\r\n\r\n", b"GET  HTTP/1.1 x y\r\n\r\n"]
)
def test_an_answer_has_a_head_whatever_was_asked(running: Socket, request_: bytes) -> None:
    assert running.raw(request_).startswith(b"HTTP/1.1 ")


def test_a_report_is_never_sent_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An agent that goes away in the middle of an exchange is asked again, but not for this."""
    path, asked = tmp_path / "agent.sock", []
    with socket.socket(socket.AF_UNIX) as dying:
        dying.bind(str(path))
        dying.listen()
        ended = threading.Event()

        def serve() -> None:
            while True:
                with dying.accept()[0] as client:
                    asked.append(client.recv(4096).split()[1])
                    if ended.is_set():
                        return

        thread = threading.Thread(target=serve)
        thread.start()
        monkeypatch.setattr(clients, "BRIDGE_S", 0.3)
        client = clients.Client(path, SystemClock())
        with pytest.raises(NotRunning, match="went away"):
            client.call("POST", "/v1/report/event", {"type": "x"})
        assert asked == [b"/v1/report/event"]
        with pytest.raises(NotRunning):
            client.call("GET", "/v1/status")
        assert asked.count(b"/v1/status") > 1
        ended.set()
        with pytest.raises(NotRunning):
            client.call("POST", "/v1/report/event", {"type": "x"})
        thread.join(10)
