"""The order in which the agent's threads end: the last flush takes the last sample along."""

import os
import signal
import threading
from pathlib import Path
from typing import cast

from dio_daemon import config, daemon
from dio_daemon.agent import Agent, Parts
from dio_daemon.board import Board
from dio_daemon.clock import SystemClock
from dio_daemon.heartbeat import Heartbeat
from dio_daemon.safe_spool import SafeSpool
from dio_daemon.service_manager import Systemd
from dio_daemon.spool_model import Budget
from tests.support.clock import FakeClock


class Worker:
    """Works until it is told to stop, and says what it did."""

    def __init__(self, name: str, said: list[str]) -> None:
        self.name = name
        self.said = said
        self.stopping = False
        self._event = threading.Event()

    def step(self) -> str:
        self._event.wait()
        self.said.append(f"{self.name} ends its step")
        return ""

    def stop(self) -> None:
        self.stopping = True
        self._event.set()

    def finish(self) -> None:
        self.said.append(f"{self.name} finishes")


def test_parts_stop_one_after_the_other_in_the_opposite_order(tmp_path: Path) -> None:
    said: list[str] = []
    workers = [Worker(name, said) for name in ("control", "link", "sampler")]
    spool = SafeSpool(tmp_path / "spool.db", Budget(1 << 24, 1e9, 1e9), FakeClock())
    clock = SystemClock()
    inbox = daemon.Inbox()
    inbox.put(signal.SIGTERM)
    parts = [daemon.Part(worker, Heartbeat(worker.name, clock), worker.finish) for worker in workers]
    board = Board(clock, lambda: None, lambda *_: None)
    done = daemon.Daemon(parts, board, spool, Systemd({}, clock), inbox, lambda: None, clock).run()
    spool.close()
    assert done == 0
    assert said == [
        f"{name} {what}" for name in ("sampler", "link", "control") for what in ("ends its step", "finishes")
    ]


def test_the_agents_sampler_stops_before_its_link(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("t" * 40)
    (tmp_path / "agent.toml").write_text(
        f'[nerve_center]\nurl = "http://127.0.0.1:9"\nenrollment_token_file = "{tmp_path}/token"\n'
        f'[paths]\nstate_dir = "{tmp_path}/state"\nsocket = "{tmp_path}/run/agent.sock"\n'
    )
    clock = SystemClock()
    path = tmp_path / "agent.toml"
    agent = Agent(config.load(path), path, clock, Systemd(dict(os.environ, NOTIFY_SOCKET=""), clock), Parts())
    try:
        names = [part.heartbeat.name for part in cast(daemon.Daemon, agent._daemon)._parts]
        assert names.index("control") < names.index("link") < names.index("sampler")
    finally:
        agent._feed.close()
        agent._control.close()
        agent._spool.close()
