"""Deadlines: each is cut once, in its time, and the keeper is woken only when it would come too late."""

import pytest

from dio_daemon.deadlines import LOOK_S, Deadlines
from tests.support.clock import FakeClock


class Keeper:
    """A keeper, and what happened."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.deadlines = Deadlines(self.clock)
        self.deadlines.wake = lambda: self.happened.append("woken")
        self.happened: list[str] = []
        assert self.deadlines.keep() == LOOK_S

    def set(self, seconds: float, name: str) -> None:
        self.deadlines.set(seconds, lambda: self.happened.append(name))


@pytest.fixture
def keeper() -> Keeper:
    return Keeper()


def test_each_is_cut_once_in_its_order(keeper: Keeper) -> None:
    for seconds, name in ((50, "late"), (35, "soon"), (40, "then")):
        keeper.set(seconds, name)
    assert keeper.deadlines.keep() == LOOK_S
    keeper.clock.advance(LOOK_S)
    assert keeper.deadlines.keep() == pytest.approx(5)
    keeper.clock.advance(15)
    assert keeper.deadlines.keep() == pytest.approx(5)
    keeper.clock.advance(100)
    assert keeper.deadlines.keep() == LOOK_S
    assert keeper.happened == ["soon", "then", "late"]


def test_what_is_cancelled_is_not_cut(keeper: Keeper) -> None:
    deadline = keeper.deadlines.set(40, lambda: keeper.happened.append("cut"))
    deadline.cancel()
    deadline.cancel()
    keeper.clock.advance(100)
    assert keeper.deadlines.keep() == LOOK_S
    assert keeper.happened == []


def test_the_keeper_is_woken_only_for_what_it_would_miss(keeper: Keeper) -> None:
    keeper.set(LOOK_S, "in time")
    assert keeper.happened == []
    keeper.set(2, "sooner")
    assert keeper.happened == ["woken"]
    assert keeper.deadlines.keep() == pytest.approx(2)
    keeper.set(3, "after the next look")
    assert keeper.happened == ["woken"]


def test_before_the_first_look_nobody_is_woken() -> None:
    deadlines = Deadlines(FakeClock())
    deadlines.wake = lambda: pytest.fail("nobody waits yet")
    deadlines.set(1, lambda: None)
    assert deadlines.keep() == pytest.approx(1)
