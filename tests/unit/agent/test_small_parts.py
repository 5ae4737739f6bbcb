"""Back-off, failed starts, heartbeats, systemd's socket, texts of the status."""

import random
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dio_daemon.backoff import Backoff
from dio_daemon.heartbeat import SLACK_S, Heartbeat
from dio_daemon.lifecycle import Snapshot, State
from dio_daemon.service_manager import Systemd
from dio_daemon.starts import MAX_REFUSED_WAIT_S, QUIET_S, StartHistory, credentials_stamp
from dio_daemon.status import status_line
from tests.support.clock import FakeClock


@given(st.lists(st.floats(0.1, 100), min_size=1, max_size=6), st.floats(0, 1), st.integers(0, 2**32))
def test_backoff_follows_its_list_and_stays_within_its_jitter(
    waits: list[float], jitter: float, seed: int
) -> None:
    backoff = Backoff(waits, jitter, random.Random(seed))
    for expected in [*waits, waits[-1], waits[-1]]:
        nominal, real = backoff.next()
        assert nominal == expected
        assert nominal <= real <= nominal * (1 + jitter) * (1 + 1e-9)
    backoff.reset()
    assert backoff.next()[0] == waits[0]


def test_a_row_of_failed_starts_is_quiet_but_for_one_line_in_five_minutes(tmp_path: Path) -> None:
    clock, path, lines = FakeClock(), tmp_path / "starts.json", 0
    for _ in range(20):
        history = StartHistory(path, clock, "boot", "x")
        clock.advance(60)
        lines += history.may_speak()
        history.failed(refused=False, credentials="x", reason="r")
        clock.advance(1)
    assert lines == 1 + int(19 * 61 // QUIET_S)
    assert StartHistory(path, clock, "boot", "x").failures.count == 20


def test_a_reboot_a_pause_or_a_success_begins_anew(tmp_path: Path) -> None:
    clock, path = FakeClock(), tmp_path / "starts.json"
    StartHistory(path, clock, "boot", "x").failed(refused=True, credentials="x", reason="r")
    assert StartHistory(path, clock, "boot", "x").quiet
    assert not StartHistory(path, clock, "another boot", "x").quiet
    assert not StartHistory(path, clock, "boot", "another token or configuration").quiet
    clock.advance(601)
    assert not StartHistory(path, clock, "boot", "x").quiet
    StartHistory(path, clock, "boot", "x").failed(refused=True, credentials="x", reason="r")
    StartHistory(path, clock, "boot", "x").succeeded()
    assert not path.exists()


def test_refusals_wait_longer_until_the_credentials_change(tmp_path: Path) -> None:
    clock, path, waits = FakeClock(), tmp_path / "starts.json", []
    for _ in range(8):
        history = StartHistory(path, clock, "boot", "old")
        waits.append(history.refused_wait_s("old"))
        history.failed(refused=True, credentials="old", reason="r")
    assert waits == [0, 2, 4, 8, 16, MAX_REFUSED_WAIT_S, MAX_REFUSED_WAIT_S, MAX_REFUSED_WAIT_S]
    assert StartHistory(path, clock, "boot", "old").refused_wait_s("new") == 0


def test_a_lost_or_damaged_history_is_an_empty_one(tmp_path: Path) -> None:
    path = tmp_path / "starts.json"
    for content in ("", "[]", '{"count": 3, "unknown": 1}'):
        path.write_text(content)
        assert not StartHistory(path, FakeClock(), "boot", "x").quiet
    StartHistory(tmp_path / "missing" / "starts.json", FakeClock(), "boot", "x").failed(False, "x", "r")


def test_the_stamp_changes_with_each_of_the_files(tmp_path: Path) -> None:
    token, configuration, folder = (tmp_path / name for name in ("token", "agent.toml", "agent.toml.d"))
    folder.mkdir()
    found = [credentials_stamp(token, configuration)]
    for path in (token, configuration, folder / "10.toml", folder / "10.toml"):
        path.write_text("a" * len(found))
        found.append(credentials_stamp(token, configuration))
    assert len(set(found)) == 5


def test_a_heartbeat_is_fresh_as_long_as_it_announced() -> None:
    clock = FakeClock()
    beat = Heartbeat("link", clock)
    beat.beat(30)
    clock.advance(30 + SLACK_S)
    assert beat.fresh
    clock.advance(0.1)
    assert not beat.fresh
    assert beat.left_s() < 0


@pytest.fixture
def notify_socket(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind(str(tmp_path / "notify"))
        server.settimeout(5)
        yield server


def test_what_systemd_is_told(notify_socket: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    path = notify_socket.getsockname()
    monkeypatch.setenv("NOTIFY_SOCKET", path)
    clock = FakeClock()
    manager = Systemd({"NOTIFY_SOCKET": path, "WATCHDOG_USEC": "30000000"}, clock)
    assert manager.watchdog_s == 30
    manager.status("grün\nline")
    manager.status("grün\nline")
    manager.extend_timeout(1.5)
    manager.reloading()
    manager.ready()
    manager.alive()
    manager.stopping()
    manager.close()
    got = [notify_socket.recv(4096).decode() for _ in range(6)]
    assert got == [
        "STATUS=gr?n line",
        "EXTEND_TIMEOUT_USEC=1500000",
        "RELOADING=1\nMONOTONIC_USEC=1000000000",
        "READY=1",
        "WATCHDOG=1",
        "STOPPING=1",
    ]


def test_systemd_that_went_away_is_complained_of_once(
    notify_socket: socket.socket, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    path = notify_socket.getsockname()
    monkeypatch.setenv("NOTIFY_SOCKET", path)
    manager = Systemd({"NOTIFY_SOCKET": path}, FakeClock())
    notify_socket.close()
    Path(path).unlink()
    manager.ready()
    manager.alive()
    manager.close()
    assert len(caplog.records) == 1


def test_outside_systemd_nothing_is_said() -> None:
    manager = Systemd({}, FakeClock())
    manager.ready()
    assert manager.watchdog_s is None


@pytest.mark.parametrize(("usec", "pid"), [("abc", None), ("0", None), ("1000000", "1")])
def test_no_watchdog(usec: str, pid: str | None) -> None:
    environ = {"WATCHDOG_USEC": usec} | ({"WATCHDOG_PID": pid} if pid else {})
    assert Systemd(environ, FakeClock()).watchdog_s is None


def test_status_lines() -> None:
    clock = FakeClock()
    at = clock.monotonic()
    base = Snapshot(
        State.WAITING, at, "2026-01-01T00:00:00.000Z", center_url="http://c:8000", agent_id="agent-x"
    )

    def line(state: State, pending: int = 0, **fields: object) -> str:
        from dataclasses import replace

        return status_line(replace(base, state=state, **fields), pending, clock)

    assert line(State.STARTING) == "starting"
    assert line(State.WAITING, reason="connection refused by c:8000", attempt=3, next_attempt=at + 4) == (
        "waiting for nerve center http://c:8000: connection refused by c:8000 (attempt 3, next try in 4 s)"
    )
    assert line(State.REGISTERING, attempt=1) == "registering with http://c:8000 (attempt 1)"
    assert line(State.ACTIVE, last_acknowledged_wall="2026-01-01T12:34:56.789Z") == (
        "active: agent-x reporting to http://c:8000, last acknowledged at 12:34:56 UTC, spool 0"
    )
    assert "spool 7" in line(State.WARNING, 7, failures=2, reason="r")
    assert line(State.OFFLINE, 9, reason="r", attempt=4, next_attempt=at + 8) == (
        "offline since 2026-01-01T00:00:00Z: r (attempt 4, next try in 8 s), 9 records wait"
    )
    assert line(State.STOPPING, 1) == "stopping, 1 record waits"
    assert line(State.ACTIVE, conditions={"spool_filling": "x"}).endswith("[spool_filling]")
