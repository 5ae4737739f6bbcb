"""A worker without descriptors says so once a minute, and nothing else is hidden."""

import errno
import logging
import os
from typing import Any

import pytest

from nerve_center.accepting import QUIET_S, Refusals
from tests.support.clock import FakeClock


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
