"""The keeper of one process: its lease, and a thread for each task.

The main thread calls `tick`, which renews the lease; tasks do their steps while it is held. A step's error is
logged, once until it is another one, and the task has its next turn as usual: one that fails does not stop the
others.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence

from nerve_center.clock import Clock
from nerve_center.config import Config
from nerve_center.errors import DatabaseUnavailable
from nerve_center.keeper.lease import Lease
from nerve_center.keeper.task import Desk, NotNow, Task
from nerve_center.store.engine import reading_engine
from nerve_center.store.writer import Writer

_log = logging.getLogger(__name__)

_WAITING_S = 1.0
_STOP_S = 10.0


class Worker:
    """One task and its turns."""

    def __init__(self, task: Task, desk: Desk, lease: Lease, stopping: threading.Event) -> None:
        self.task = task
        self.desk = desk
        self._lease = lease
        self._stopping = stopping
        self._complaint: str | None = None

    @property
    def hung(self) -> bool:
        """Whether it has been silent for longer than it may."""
        return self.desk.clock.monotonic() - self.desk.beaten > self.task.allowed_s + self.task.every_s

    def turn(self) -> float:
        """Do one step if this keeper is the active one; returns the seconds until the next turn."""
        self.desk.beat()
        if not self._lease.held:
            return min(_WAITING_S, self.task.every_s)
        try:
            self.desk.follow()
            sentence = self.task.step(self.desk)
        except NotNow as exc:
            _log.debug("%s: %s", self.task.name, exc)
        except DatabaseUnavailable as exc:
            self._complain(exc.full)
        except Exception as exc:  # noqa: BLE001 a bug in one task must not end the others
            self._complain(repr(exc), trace=True)
        else:
            self._complaint = None
            if sentence:
                _log.debug("%s: %s", self.task.name, sentence)
        return self.task.every_s

    def run(self) -> None:
        """Turn after turn, until the keeper stops."""
        while not self._stopping.is_set():
            self.desk.clock.wait(self._stopping, self.turn())

    def _complain(self, text: str, trace: bool = False) -> None:
        if text != self._complaint:
            self._complaint = text
            _log.warning("%s failed and is tried again: %s", self.task.name, text, exc_info=trace)


class Keeper:
    """See the module. `start` once, `tick` again and again, `stop` at the end."""

    def __init__(self, settings: Config, tasks: Sequence[Task], clock: Clock, holder: str) -> None:
        place = settings.database.place
        self._clock = clock
        self._stopping = threading.Event()
        self._engine = reading_engine(place)
        self._writer = Writer(place, clock)
        self.lease = Lease(self._engine, self._writer, clock, holder, settings.keeper.lease_s)
        self.workers = [
            Worker(
                task,
                Desk(settings, self._engine, self._writer, self.lease, clock, self._stopping),
                self.lease,
                self._stopping,
            )
            for task in tasks
        ]
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """Open the database and begin; works only once `tick` has the lease."""
        self._writer.start()
        self._threads = [
            threading.Thread(target=worker.run, name=worker.task.name, daemon=True) for worker in self.workers
        ]
        for thread in self._threads:
            thread.start()

    def tick(self) -> str:
        """Renew the lease; how it stands, in a few words. To be called every `lease.every_s`."""
        return self.lease.step()

    def hung(self) -> list[str]:
        """The names of tasks that hang, or whose thread has ended."""
        dead = [thread.name for thread in self._threads if not thread.is_alive()]
        return dead + [worker.task.name for worker in self.workers if worker.hung]

    def stop(self) -> None:
        """End the steps where they are, hand the lease over, close the database."""
        self._stopping.set()
        until = self._clock.monotonic() + _STOP_S
        for thread in self._threads:
            thread.join(max(0.1, until - self._clock.monotonic()))
        self.lease.release()
        self._writer.stop()
        self._engine.dispose()
