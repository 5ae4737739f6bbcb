import _thread
import threading
import time

import pytest

from dio_daemon.collect.apart import MOST_STUCK, Apart, HungError
from tests.support.threads import inside

LIMIT_S = 0.2


def wait_until(condition: object, within_s: float = 5) -> None:
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, "did not happen in time"
        threading.Event().wait(0.005)


def threads() -> int:
    return inside(Apart._work)


def fail(error: Exception) -> object:
    raise error


def test_results_and_errors_come_back() -> None:
    results = Apart(5).run(
        {b"a": lambda: 1, b"b": lambda: fail(PermissionError()), b"c": lambda: fail(ValueError())}
    )
    assert results[b"a"] == 1
    assert isinstance(results[b"b"], PermissionError)
    assert isinstance(results[b"c"], ValueError)
    assert Apart(5).run({}) == {}


def test_a_healthy_host_pays_for_one_thread() -> None:
    idents = Apart(5).run({b"%d" % number: threading.get_ident for number in range(50)})
    assert len(set(idents.values())) == 1


def test_one_that_hangs_harms_no_other_and_is_tried_again_when_it_came_back() -> None:
    release = threading.Event()
    begun: list[int] = []

    def hang() -> str:
        begun.append(1)
        release.wait()
        return "back"

    apart = Apart(LIMIT_S)
    calls = {b"good before": lambda: 1, b"hung": hang, b"good after": lambda: 2}
    started = time.monotonic()
    first = apart.run(calls)
    assert time.monotonic() - started < LIMIT_S + 60
    assert (first[b"good before"], first[b"good after"]) == (1, 2)
    assert isinstance(first[b"hung"], HungError)

    started = time.monotonic()
    for _ in range(20):
        assert isinstance(apart.run(calls)[b"hung"], HungError)
    assert time.monotonic() - started < 10 * LIMIT_S, "a target known to hang is not waited for again"
    assert len(begun) == 1, "at most one thread is stuck per target"
    assert threads() == 1
    assert apart.stuck() == {b"hung"}

    release.set()
    wait_until(lambda: not apart.stuck())
    assert apart.run(calls)[b"hung"] == "back"
    wait_until(lambda: threads() == 0)


def test_however_many_hang_the_time_limit_holds() -> None:
    release = threading.Event()
    limit_s = 5 * LIMIT_S  # the calls that do not hang take their time on a busy machine
    apart = Apart(limit_s)
    calls = {b"%d" % number: (lambda: 1) if number % 2 else release.wait for number in range(MOST_STUCK * 2)}
    started = time.monotonic()
    results = apart.run(calls)
    assert time.monotonic() - started < limit_s + 5, "not one limit for each"
    assert sum(result == 1 for result in results.values()) == MOST_STUCK
    assert threads() == MOST_STUCK

    try:
        more = apart.run({b"new": lambda: 1})
        assert isinstance(more[b"new"], HungError), "with so many threads stuck nothing new is tried"
        assert threads() == MOST_STUCK
    finally:
        release.set()
    wait_until(lambda: threads() == 0)
    assert apart.run({b"new": lambda: 1}) == {b"new": 1}


@pytest.mark.parametrize("error", [RuntimeError("can't start new thread"), MemoryError()])
def test_no_thread_to_be_had_is_an_error_of_the_system(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    monkeypatch.setattr(_thread, "start_new_thread", lambda function, arguments: fail(error))
    with pytest.raises(OSError, match="no thread could be started"):
        Apart(1).run({b"a": lambda: 1})


def test_a_thread_that_ends_before_it_begins_holds_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """As one does that finds no memory left."""
    apart = Apart(LIMIT_S)
    with monkeypatch.context() as patched:
        patched.setattr(_thread, "start_new_thread", lambda function, arguments: 1)
        assert isinstance(apart.run({b"a": lambda: 1})[b"a"], HungError)
    assert apart.stuck() == set()
    assert apart.run({b"a": lambda: 1}) == {b"a": 1}


def test_a_call_that_finds_no_memory_is_tried_again() -> None:
    apart = Apart(5)
    found = apart.run({b"a": lambda: fail(MemoryError()), b"b": lambda: 1})
    assert isinstance(found[b"a"], OSError)
    assert found[b"b"] == 1
    assert apart.run({b"a": lambda: 1}) == {b"a": 1}
