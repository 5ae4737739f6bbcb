"""A keeper of deadlines for tests that have no control thread."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from dio_daemon.clock import SystemClock
from dio_daemon.deadlines import Deadlines


@contextmanager
def keeping(deadlines: Deadlines) -> Iterator[None]:
    """A thread that keeps them, in real time, until the context ends."""
    woken, over = threading.Event(), threading.Event()
    deadlines.wake = woken.set

    def keep() -> None:
        while not over.is_set():
            woken.wait(deadlines.keep())
            woken.clear()

    keeper = threading.Thread(target=keep)
    keeper.start()
    try:
        yield
    finally:
        over.set()
        woken.set()
        keeper.join()


@contextmanager
def kept() -> Iterator[Deadlines]:
    """Deadlines with a keeper."""
    deadlines = Deadlines(SystemClock())
    with keeping(deadlines):
        yield deadlines
