"""Calls that may never return, made apart from the caller.

`statvfs` on a mount whose server is gone blocks in the kernel, and nothing can wake its thread. So such calls
are made in daemon threads, and the caller waits for a limited time:

- At first one thread makes all calls, one after the other: a healthy host pays for one thread.
- When that thread makes no progress for a while, every call not yet begun gets a thread of its own, so that
  all calls together take no longer than the limit, however many hang.
- What has not answered by then is `HungError`. Its target is not tried again until that thread has come back:
  at most one thread is stuck per target, and at most `most_stuck` in all.

The limit is real time, not the agent's clock: it is the kernel that is waited for.
"""

import _thread
import errno
import os
import threading
import time
from collections.abc import Callable, Mapping
from typing import Generic, TypeVar

T = TypeVar("T")

Target = bytes
"""What a call is made to, such as a path."""

MOST_STUCK = 64
"""Threads that may hang at once when nothing else is said; past it, nothing new is tried."""


class HungError(Exception):
    """The call has not returned within its time limit, or an earlier one to the same target has not."""


class _Batch(Generic[T]):
    """The calls of one `run` and what came of them so far."""

    def __init__(self, calls: Mapping[Target, Callable[[], T]]) -> None:
        self.waiting = list(reversed(list(calls.items())))
        self.begun: set[Target] = set()
        self.results: dict[Target, T | Exception] = {}
        self.expected = len(calls)
        self.changed = threading.Condition()


class Apart:
    """Makes calls in threads of its own. Used by one thread at a time."""

    def __init__(self, timeout_s: float, most_stuck: int = MOST_STUCK) -> None:
        self._timeout_s = timeout_s
        self._most_stuck = most_stuck
        self._stuck: set[Target] = set()
        self._lock = threading.Lock()

    def stuck(self) -> set[Target]:
        """Return the targets whose last call has not returned yet."""
        with self._lock:
            return set(self._stuck)

    def run(self, calls: Mapping[Target, Callable[[], T]]) -> dict[Target, T | Exception]:
        """Make the calls (target to call) and return each one's result or exception.

        Of exceptions, OSError and ValueError are handed on, MemoryError as an OSError; a call may raise no other.
        `HungError` stands for a call that did not return in time. Takes no longer than the time limit. Raises
        OSError when no thread can be had.
        """
        stuck = self.stuck()
        if len(stuck) >= self._most_stuck:
            stuck |= set(calls)
        batch = _Batch({target: call for target, call in calls.items() if target not in stuck})
        deadline = time.monotonic() + self._timeout_s
        if batch.expected:
            if not self._start(batch):
                raise OSError(errno.EAGAIN, "no thread could be started; is TasksMax= of the unit too small?")
            self._wait(batch, deadline)
        with batch.changed:
            batch.waiting.clear()
            with self._lock:
                self._stuck |= batch.begun - set(batch.results)
            results = dict(batch.results)
        return {target: results.get(target, HungError(target)) for target in calls}

    def _wait(self, batch: _Batch[T], deadline: float) -> None:
        """Wait for all results, spreading the calls over more threads when one hangs."""
        patience_s = self._timeout_s / 4
        with batch.changed:
            while len(batch.results) < batch.expected:
                done = len(batch.results)
                remaining_s = deadline - time.monotonic()
                if remaining_s <= 0:
                    return
                batch.changed.wait(min(patience_s, remaining_s) if batch.waiting else remaining_s)
                if len(batch.results) == done and batch.waiting:
                    for _ in range(len(batch.waiting)):
                        if not self._start(batch):
                            break
                    patience_s = self._timeout_s

    def _start(self, batch: _Batch[T]) -> bool:
        try:
            # threading.Thread.start() waits for a word of the new thread: for ever, when that ends before its first
            # line for want of memory.
            _thread.start_new_thread(self._work, (batch,))
        except (RuntimeError, MemoryError):  # the limit of threads is reached
            return False
        return True

    def _work(self, batch: _Batch[T]) -> None:
        while True:
            with batch.changed:
                if not batch.waiting:
                    return
                target, call = batch.waiting.pop()
                batch.begun.add(target)
            result: T | Exception
            try:
                result = call()
            except (OSError, ValueError) as error:
                result = error
            except MemoryError:
                result = OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))
            with batch.changed:
                batch.results[target] = result
                with self._lock:
                    self._stuck.discard(target)
                if len(batch.results) == batch.expected:  # whoever waits need not be woken for each
                    batch.changed.notify()
