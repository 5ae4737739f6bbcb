"""A thread that hangs costs the host nothing until the agent is killed for it."""

import os
from pathlib import Path

from dio_daemon import daemon
from dio_daemon.board import Board
from dio_daemon.heartbeat import Heartbeat
from dio_daemon.safe_spool import SafeSpool
from dio_daemon.service_manager import Systemd
from dio_daemon.spool_model import Budget
from tests.support.clock import FakeClock
from tests.support.loop import Idle, QuietInbox


class Manager(Systemd):
    """Notes when the agent said that it lives."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__({"WATCHDOG_USEC": "60000000", "WATCHDOG_PID": str(os.getpid())}, clock)
        self.clock = clock
        self.pings: list[float] = []
        self.said: list[str] = []

    def alive(self) -> None:
        self.pings.append(self.clock.monotonic())

    def status(self, text: str) -> None:
        self.said.append(text)


def test_main_rests_while_a_thread_hangs(tmp_path: Path) -> None:
    clock = FakeClock()
    spool = SafeSpool(tmp_path / "spool.db", Budget(1 << 24, 1e9, 1e9), clock)
    board, manager, inbox = (
        Board(clock, lambda: None, lambda *_: None),
        Manager(clock),
        QuietInbox(clock, 1120),
    )
    parts = [daemon.Part(Idle(), Heartbeat("link", clock))]
    parts[0].heartbeat.beat(25.0)
    daemon.Daemon(parts, board, spool, manager, inbox, lambda: None, clock).run()
    spool.close()
    assert manager.pings == [1020.0], "none once it overstays its step"
    assert inbox.asked <= 120 / daemon.TICK_S + len(manager.pings)
    assert [text for text in manager.said if "thread link overstays" in text]
