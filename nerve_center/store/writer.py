"""The one writer of a process: commits what has gathered, then releases the answers.

    submit(work)  from any thread: puts `work` in the queue and waits until it is committed
    writer        takes all that waits, begins, does each piece, COMMIT

So a fsync is shared by everybody who waits for one, and threads do not contend for SQLite's lock. A piece of
work that raises is rolled back alone, to its SAVEPOINT, and its exception goes to its caller. When the database itself
fails, nothing of the group is stored and every caller gets DatabaseUnavailable.

Work that names the one `agent` that it is about, and locks that agent's row first, may run beside other such work of
other processes where the database can do that; a group of such work goes by agent, so that no two groups wait for each
other. It may be done twice: such a group goes without savepoints at first, and again with them where a piece raised, or
alone where it met other work all the same. All other work is done alone, and once; a group of it ends after a moment,
so that whoever else wants to write has his turn, and goes on as another one.

While another process holds the lock the writer tries again, with pauses in which others run; work that has
waited for longer than its patience is answered with DatabaseUnavailable and dropped, never done later.

The primitives are those of `threading`: threads in a test, greenlets under gevent.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import DBAPIError

from nerve_center.clock import Clock
from nerve_center.errors import CenterError, DatabaseUnavailable
from nerve_center.store import engine as engines
from nerve_center.store.place import Place

T = TypeVar("T")
_log = logging.getLogger(__name__)

PATIENCE_S = 5.0
MOST_WAITING = 4000
_MOST_IN_A_GROUP = 200
_MOST_ALONE_S = 0.2
_PAUSES_S = (0.002, 0.005, 0.01, 0.02, 0.05)


class WriterFailed(CenterError):
    """The writer failed for a reason that is a bug; its log has the traceback, nothing was stored."""


class _Job:
    """One piece of work, its deadline, and what became of it."""

    __slots__ = ("agent", "deadline", "done", "error", "result", "work")

    def __init__(self, work: Callable[[Connection], Any], deadline: float, agent: int | None) -> None:
        self.work = work
        self.agent = agent
        self.deadline = deadline
        self.done = threading.Event()
        self.result: Any = None
        self.error: BaseException | None = None

    def fail(self, error: BaseException) -> None:
        self.error = error
        self.done.set()


class _Again(Exception):
    """The group has to be done again, with savepoints; `alone` where it met other work."""

    def __init__(self, alone: bool) -> None:
        super().__init__()
        self.alone = alone


class Writer:
    """See the module. `start` once in the process that uses it, `stop` at its end."""

    def __init__(self, place: Place, clock: Clock) -> None:
        self._place = place
        self._clock = clock
        self._queue: deque[_Job] = deque()
        self._arrived = threading.Event()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._engine: Engine | None = None
        self._connection: Connection | None = None
        self._blocked_since: float | None = None
        self._last_commit: float | None = None

    @property
    def blocked_since(self) -> float | None:
        """Since when (monotonic) another process has kept the lock; None when it does not."""
        return self._blocked_since

    @property
    def last_commit(self) -> float | None:
        """When (monotonic) something was last committed."""
        return self._last_commit

    def start(self) -> None:
        """Open nothing yet, but begin to take work."""
        self._engine = engines.writing_engine(self._place)
        self._thread = threading.Thread(target=self._run, name="writer", daemon=True)
        self._thread.start()

    def stop(self, timeout_s: float = 5.0) -> None:
        """Finish what has gathered, refuse the rest, close the connection."""
        self._stopping.set()
        self._arrived.set()
        if self._thread is not None:
            self._thread.join(timeout_s)

    def submit(
        self,
        work: Callable[[Connection], T],
        patience_s: float = PATIENCE_S,
        agent: int | None = None,
        first: bool = False,
    ) -> T:
        """Run `work(connection)` in a transaction and return its result once that is committed.

        `work` may be run in the middle of a group: it must neither commit nor wait. With `agent`, the key of the
        agent whose row it locks first and whose rows alone it changes, it may also be run twice. `first` goes before
        whatever waits. Raises whatever `work` raised, and DatabaseUnavailable when the database took nothing for
        `patience_s` seconds.
        """
        if self._stopping.is_set():
            raise DatabaseUnavailable("closed", "the nerve center is stopping", retry_after_s=2)
        if len(self._queue) >= MOST_WAITING:
            raise DatabaseUnavailable(
                "busy", "too many requests are waiting for the database", retry_after_s=2
            )
        job = _Job(work, self._clock.monotonic() + patience_s, agent)
        if first:
            self._queue.appendleft(job)
        else:
            self._queue.append(job)
        self._arrived.set()
        if not self._clock.wait(job.done, patience_s + 10.0):
            raise DatabaseUnavailable("io", f"the database has not answered for {patience_s + 10.0:.0f} s")
        if job.error is not None:
            raise job.error
        result: T = job.result
        return result

    def step(self) -> None:
        """Wait for work, then commit one group of it."""
        self._clock.wait(self._arrived, None)
        self._arrived.clear()
        jobs = self._take()
        while jobs:
            try:
                for group in self._groups(jobs):
                    self._commit(group)
            except BaseException:
                for job in jobs:
                    if not job.done.is_set():
                        job.fail(WriterFailed("the database writer met an unexpected error"))
                raise
            jobs = self._take()

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self.step()
            except Exception:  # noqa: BLE001 the callers have it; the writer itself must go on
                _log.exception("the database writer met an unexpected error and goes on")
                self._drop_connection()
        for job in self._take(len(self._queue)):
            job.fail(DatabaseUnavailable("closed", "the nerve center is stopping", retry_after_s=2))
        self._drop_connection()

    def _groups(self, jobs: list[_Job]) -> list[list[_Job]]:
        """What is committed as one: everything on SQLite; elsewhere what may run beside others holds up nobody."""
        if isinstance(self._place, Path):
            return [jobs]
        beside, alone = ([job for job in jobs if (job.agent is None) == wanted] for wanted in (False, True))
        return [group for group in (beside, alone) if group]

    def _take(self, most: int = _MOST_IN_A_GROUP) -> list[_Job]:
        jobs: list[_Job] = []
        while len(jobs) < most:
            try:
                jobs.append(self._queue.popleft())
            except IndexError:
                break
        return jobs

    def _commit(self, jobs: list[_Job], alone: bool = False, again: bool = False) -> None:
        connection = self._begin(jobs, alone)
        if connection is None:
            return
        alone = alone or _must_be_alone(jobs)
        careful = again or _must_be_alone(jobs)
        until = self._clock.monotonic() + _MOST_ALONE_S
        try:
            for number, job in enumerate(jobs, 1):
                self._run_one(connection, job, alone, careful)
                if alone and self._clock.monotonic() > until:
                    self._queue.extendleft(reversed(jobs[number:]))
                    del jobs[number:]
            connection.commit()
        except _Again as found:
            connection.rollback()
            self._commit(jobs, alone=found.alone, again=True)
            return
        except Exception as exc:
            self._drop_connection()
            problem = engines.unavailable(exc)
            if problem is None:
                raise
            for job in jobs:
                job.fail(_copy(problem))
            return
        self._last_commit = self._clock.monotonic()
        for job in jobs:
            job.done.set()

    def _run_one(self, connection: Connection, job: _Job, alone: bool, careful: bool) -> None:
        """Do one piece of work, `careful` in its savepoint. Raises only what spoils the whole transaction."""
        if careful:
            connection.exec_driver_sql("SAVEPOINT job")
        job.error = None
        try:
            job.result = job.work(connection)
        except Exception as exc:
            if not alone and engines.is_conflict(exc):
                raise _Again(alone=True) from exc
            if engines.unavailable(exc) is not None:
                raise
            if not careful:
                raise _Again(alone) from exc
            connection.exec_driver_sql("ROLLBACK TO job")
            job.error = exc
        if careful:
            connection.exec_driver_sql("RELEASE job")

    def _begin(self, jobs: list[_Job], alone: bool) -> Connection | None:
        """A connection inside a new transaction, or None when no job is left that would wait for it."""
        attempt = 0
        while True:
            kept = self._connection is not None
            try:
                with engines.translated():
                    if self._connection is None:
                        self._connection = self._open()
                    jobs.sort(key=lambda job: job.agent or 0)
                    engines.begin_writing(self._connection, alone or _must_be_alone(jobs))
            except DatabaseUnavailable as problem:
                if kept and problem.kind == "away":  # it may have been restarted since the last group
                    self._drop_connection()
                    continue
                self._after_failure(problem, jobs)
                if not jobs:
                    return None
                self._clock.wait(self._stopping, _PAUSES_S[min(attempt, len(_PAUSES_S) - 1)])
                jobs.extend(self._take(_MOST_IN_A_GROUP - len(jobs)))
                attempt += 1
            else:
                self._blocked_since = None
                return self._connection

    def _after_failure(self, problem: DatabaseUnavailable, jobs: list[_Job]) -> None:
        """Answer those whose patience ended; all of them when waiting will not help."""
        now = self._clock.monotonic()
        hopeless = problem.kind != "locked" or self._stopping.is_set()
        if problem.kind == "locked":
            self._blocked_since = now if self._blocked_since is None else self._blocked_since
        else:
            self._blocked_since = None
        if hopeless:
            self._drop_connection()
        for job in [job for job in jobs if hopeless or job.deadline <= now]:
            jobs.remove(job)
            job.fail(_copy(problem))

    def _open(self) -> Connection:
        if self._engine is None:
            raise RuntimeError("the writer was not started")
        return self._engine.connect()

    def _drop_connection(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            try:
                connection.close()
            except DBAPIError:
                _log.debug("closing a broken connection failed", exc_info=True)


def _must_be_alone(jobs: list[_Job]) -> bool:
    return any(job.agent is None for job in jobs)


def _copy(problem: DatabaseUnavailable) -> DatabaseUnavailable:
    """An exception of its own for each caller: raising writes into it."""
    return DatabaseUnavailable(problem.kind, problem.reason, problem.retry_after_s, problem.detail)
