"""How the live view of `make run` shows samples: full ones, and such as know nothing."""

import io
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import live_view
import pytest

AGENT = {"id": "agent-0123456789abcdef", "hostname": "alpha", "state": "active"}
FULL: dict[str, Any] = {
    "uptime_s": 12.5,
    "cpu": {"percent": 50.0, "user_percent": 30.0, "system_percent": 20.0, "iowait_percent": 0.0},
    "memory": {"percent": 25.0, "used_bytes": 1 << 30, "total_bytes": 4 << 30},
    "swap": {"percent": None, "used_bytes": 0, "total_bytes": 0},
    "load": {"load_1m": 0.5, "load_5m": 0.25, "load_15m": 0.1},
    "pressure": None,
    "disks": [
        {"mount": "/", "status": "ok", "percent": 40.0, "free_bytes": 3 << 40},
        {"mount": "/n", "status": "unreachable"},
    ],
    "disk_io": [
        {"device": "sda", "read_bytes_per_s": 1023.0, "write_bytes_per_s": 2048.0, "busy_percent": 1.0}
    ],
    "network": {"rx_bytes_per_s": 5000.0, "tx_bytes_per_s": None, "interfaces": []},
    "processes": {
        "count": 3,
        "running": 1,
        "top": [{"pid": 1, "name": "init", "cpu_percent": None, "rss_bytes": 4096}],
    },
}


class Center(ThreadingHTTPServer):
    """Answers as a nerve center does."""

    agents: list[dict[str, Any]]
    samples: list[dict[str, Any]]


class Answer(BaseHTTPRequestHandler):
    server: Center

    def do_GET(self) -> None:
        if self.headers["Authorization"] != "Bearer secret":
            self.send_error(401)
            return
        if self.path.startswith("/api/v1/agents?"):
            body: Any = {"agents": self.server.agents, "next": None}
        elif self.path.endswith("/samples?limit=1&newest=true"):
            body = {"agent_id": AGENT["id"], "samples": self.server.samples[-1:], "next": None}
        else:
            body = AGENT
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def center() -> Iterator[Center]:
    with Center(("127.0.0.1", 0), Answer) as server:
        server.agents, server.samples = [AGENT], []
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def sample(seq: int, data: dict[str, Any]) -> dict[str, Any]:
    return {
        "seq": seq,
        "epoch": "0" * 16,
        "tag": "1" * 16,
        "time": f"2026-01-01T00:00:{seq:02}Z",
        "data": data,
    }


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_line_for_each_new_sample_where_nobody_watches(center: Center) -> None:
    out = io.StringIO()
    view = live_view.LiveView(f"http://127.0.0.1:{center.server_port}", "secret", out, [])
    view.show([])
    assert out.getvalue() == ""
    center.samples.append(sample(1, FULL))
    view.show([])
    view.show([])
    center.samples.append(sample(2, {}))
    view.show([])
    first, second = out.getvalue().splitlines()
    assert first == (
        "2026-01-01T00:00:01Z alpha seq 1: cpu 50.0%, memory 25.0%, load 0.5, / 40.0%, "
        "in 4.9 KiB/s, out ?/s, 3 processes"
    )
    assert "cpu ?, memory ?, load ?" in second


def test_a_screen_that_is_redrawn_on_a_terminal(center: Center, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("LINES", "50")
    out = Terminal()
    view = live_view.LiveView(f"http://127.0.0.1:{center.server_port}", "secret", out, [])
    view.show(["agent: fine"])
    assert "No sample has arrived yet." in out.getvalue()
    center.samples.append(sample(1, FULL))
    view.show(["agent: fine"])
    screen = out.getvalue().rpartition(live_view.CLEAR)[2]
    for expected in (
        "alpha",
        "init",
        "sda",
        "/: 3.0 TiB free",
        "/n: ? free (unreachable)",
        "agent: fine",
        "Ctrl-C",
    ):
        assert expected in screen
    assert all(len(line) < 100 for line in screen.splitlines())


def test_a_center_that_is_away_is_told_and_not_fatal(center: Center) -> None:
    out = Terminal()
    live_view.LiveView(f"http://127.0.0.1:{center.server_port}", "wrong", out, []).show([])
    assert "The nerve center did not answer: HTTP Error 401" in out.getvalue()


@pytest.mark.parametrize(
    ("value", "expected"),
    [(None, "?"), (0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (5 << 50, "5120.0 TiB")],
)
def test_sizes(value: float | None, expected: str) -> None:
    assert live_view.size(value) == expected


def test_bars_stay_within_their_frame() -> None:
    assert live_view.bar(None).startswith("[..............................]")
    assert live_view.bar(1000).count("#") == live_view.BAR
    assert live_view.bar(-5).count("#") == 0
