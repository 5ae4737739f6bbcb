"""Places on the control socket, and how long each caller may stay."""

import socket
from collections.abc import Iterator

import pytest

from dio_daemon.deadlines import LOOK_S, Deadlines
from dio_daemon.ipc.callers import CLIENT_S, MAX_CLIENTS, ROOT_CLIENTS, Caller, Callers
from tests.support.clock import FakeClock

USER = 4242
ENDS: list[socket.socket] = []


class Line:
    """One connection: the caller's end, and what the agent has of it."""

    def __init__(self, callers: Callers, uid: int = USER) -> None:
        self.end, client = socket.socketpair()
        ENDS.append(self.end)
        self.caller: Caller | None = callers.admit(client, uid)
        if self.caller is None:
            client.close()

    @property
    def open(self) -> bool:
        self.end.setblocking(False)
        try:
            return self.end.recv(1) != b""
        except BlockingIOError:
            return True

    def leave(self) -> None:
        assert self.caller is not None
        self.caller.leave()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def deadlines(clock: FakeClock) -> Deadlines:
    return Deadlines(clock)


@pytest.fixture
def callers(deadlines: Deadlines) -> Callers:
    return Callers(deadlines)


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    yield
    while ENDS:
        ENDS.pop().close()


def test_whose_time_is_over_has_to_go(callers: Callers, deadlines: Deadlines, clock: FakeClock) -> None:
    first = Line(callers)
    clock.advance(10)
    second = Line(callers)
    assert deadlines.keep() == pytest.approx(CLIENT_S - 10)
    clock.advance(CLIENT_S - 10)
    assert deadlines.keep() == pytest.approx(10)
    assert (first.open, second.open) == (False, True)
    first.leave()
    second.leave()
    assert (second.open, deadlines.keep()) == (False, LOOK_S)


def test_a_follower_stays_and_one_that_left_is_not_touched(
    callers: Callers, deadlines: Deadlines, clock: FakeClock
) -> None:
    follower, gone = Line(callers), Line(callers)
    assert follower.caller is not None
    follower.caller.untimed()
    gone.leave()
    clock.advance(10 * CLIENT_S)
    assert deadlines.keep() == LOOK_S
    assert follower.open
    follower.leave()


def test_places_are_given_back(callers: Callers) -> None:
    for _ in range(3):
        lines = [Line(callers) for _ in range(MAX_CLIENTS)]
        assert Line(callers).caller is None
        roots = [Line(callers, 0) for _ in range(ROOT_CLIENTS)]
        assert Line(callers, 0).caller is None
        for line in lines + roots:
            line.leave()
