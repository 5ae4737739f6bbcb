"""Memory that was freed goes back to the system while the agent runs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from dio_daemon import daemon
from dio_daemon.board import Board
from dio_daemon.heartbeat import Heartbeat
from dio_daemon.memory import GIVE_BACK_S
from dio_daemon.safe_spool import SafeSpool
from dio_daemon.service_manager import Systemd
from dio_daemon.spool_model import Budget
from tests.support.clock import FakeClock
from tests.support.loop import Idle, QuietInbox

_HOLES = """
import psutil
from dio_daemon.memory import give_back
rss = psutil.Process().memory_info
made = [bytes(2000) for _ in range(20_000)]
last = bytes(2000)  # behind them: the heap does not end before it
full = rss().rss
del made
give_back()
print(full - rss().rss > 30_000_000)
"""


def test_holes_in_the_heap_are_given_back() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", _HOLES], capture_output=True, text=True, check=False, timeout=90
    )
    assert (done.stdout, done.stderr) == ("True\n", "")


def test_it_is_done_once_a_minute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock, given = FakeClock(), []
    monkeypatch.setattr(daemon, "give_back", lambda: given.append(clock.monotonic()))
    spool = SafeSpool(tmp_path / "spool.db", Budget(1 << 24, 1e9, 1e9), clock)
    board = Board(clock, lambda: None, lambda *_: None)
    parts = [daemon.Part(Idle(), Heartbeat("idle", clock))]
    daemon.Daemon(parts, board, spool, Systemd({}, clock), QuietInbox(clock, 1601), lambda: None, clock).run()
    spool.close()
    assert given == [1000.0 + GIVE_BACK_S * number for number in range(1, 11)]
