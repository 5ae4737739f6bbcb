"""A worker without descriptors says so once a minute, and nothing else is hidden."""

import errno
import json
import logging
import os
import subprocess
import sys
from typing import Any

import pytest

from nerve_center.accepting import QUIET_S, Refusals
from tests.support.clock import FakeClock

_TOGETHER = """
from gevent import monkey

monkey.patch_all()
import json, socket
import gevent
from nerve_center.worker import Listener

turn, taken_in = 0, []
def next_turn():
    global turn
    turn += 1
counter = gevent.get_hub().loop.prepare()
counter.start(next_turn)
server = Listener(("127.0.0.1", 0), lambda *_: taken_in.append(turn))
server.max_accept = 1  # gunicorn says so
server.init_socket()
clients = [socket.create_connection(server.address) for _ in range(12)]
server.start_accepting()
while len(taken_in) < len(clients):
    gevent.sleep(0.01)
print(json.dumps(taken_in))
"""
"""Prints in which turn of the loop each of twelve connections was taken."""


class Server:
    """What gevent's hub is told as the context: something that accepts."""

    def do_read(self) -> None: ...


def fail(handler: Refusals, context: object, code: int) -> None:
    error = OSError(code, os.strerror(code))
    handler(context, OSError, error, None)


def test_one_line_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    clock, others = FakeClock(), []
    handler = Refusals(lambda *error: others.append(error), clock)
    with caplog.at_level(logging.WARNING):
        for _ in range(100):
            fail(handler, Server(), errno.EMFILE)
        assert [record.getMessage().partition(":")[0] for record in caplog.records] == [
            "This worker cannot take more connections for now"
        ]
        clock.advance(QUIET_S)
        fail(handler, Server(), errno.EMFILE)
    assert len(caplog.records) == 2
    assert "99 more times" in caplog.records[1].getMessage()
    assert others == []


def test_other_errors_are_the_hub_s(caplog: pytest.LogCaptureFixture) -> None:
    others: list[Any] = []
    handler = Refusals(lambda *error: others.append(error), FakeClock())
    fail(handler, Server(), errno.EPERM)
    fail(handler, None, errno.EMFILE)
    handler(Server(), ValueError, ValueError("x"), None)
    assert len(others) == 3
    assert caplog.records == []


def test_connections_that_wait_together_are_taken_together() -> None:
    """What comes in one turn of the loop is committed as one; gunicorn itself takes a connection a turn."""
    done = subprocess.run(
        [sys.executable, "-c", _TOGETHER], capture_output=True, text=True, timeout=60, check=True
    )
    assert len(set(json.loads(done.stdout))) <= 2, done.stdout
