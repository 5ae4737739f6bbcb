"""The main thread: signals, systemd, the watchdog, and the order of starting and stopping.

It blocks on nothing but its inbox. Signal handlers and other threads only put a word there; what it means is
decided here. READY goes out when the link has become active for the first time, and never before. While the
start lasts, systemd is told again and again how long the step in hand may take; a hung thread ends that, and
later it ends the watchdog's sign of life, so that systemd kills a hung agent in either phase.
"""

from __future__ import annotations

import logging
import queue
import signal
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from dio_daemon import journal
from dio_daemon.board import Board
from dio_daemon.clock import Clock
from dio_daemon.errors import ConfigError, GiveUp
from dio_daemon.heartbeat import Heartbeat
from dio_daemon.lifecycle import State
from dio_daemon.memory import GIVE_BACK_S, give_back
from dio_daemon.messages import Kind, about
from dio_daemon.safe_spool import SafeSpool
from dio_daemon.service_manager import ServiceManager
from dio_daemon.status import status_line

log = logging.getLogger(__name__)

TICK_S = 2.0
"""How often the Status line is brought up to date while something in it counts down."""
REST_S = 10.0
"""The same while all is well, where systemd wants no sign of life sooner."""
SIGNS_OF_LIFE = 3
"""In the time after which systemd takes silence for death."""
MAX_EXTENSION_S = 120.0
JOIN_S = 12.0
"""The flush (5 s), the goodbye (3 s) and some more; TimeoutStopSec= of the unit is larger."""
RELOAD_S = 15.0


class Worker(Protocol):
    """What runs in a thread of its own."""

    @property
    def stopping(self) -> bool:
        """Whether it was asked to stop."""

    def step(self) -> str:
        """Do the next thing."""

    def stop(self) -> None:
        """Ask it to stop."""


@dataclass(frozen=True)
class Part:
    """A worker, its sign of life, what comes after its last step, and how many seconds its end may take."""

    worker: Worker
    heartbeat: Heartbeat
    finish: Callable[[], None] | None = None
    join_s: float = JOIN_S


@dataclass
class Reload:
    """A request to read the configuration again, and its outcome."""

    done: threading.Event
    errors: list[str]


@dataclass(frozen=True)
class Do:
    """Something that the main thread is to do; it must not block, and raises nothing."""

    work: Callable[[], None]


class Inbox:
    """What the main thread is told. `put` may be called from signal handlers: SimpleQueue's is reentrant."""

    def __init__(self) -> None:
        self._queue: queue.SimpleQueue[object] = queue.SimpleQueue()
        self._changed = False

    def put(self, message: object) -> None:
        """A message for the main thread."""
        self._queue.put(message)

    def changed(self) -> None:
        """The snapshot changed; any number of these are one message."""
        if not self._changed:
            self._changed = True
            self._queue.put(None)

    def get(self, timeout_s: float) -> object | None:
        """The next message; None after the timeout or for a changed snapshot."""
        try:
            message = self._queue.get(timeout=timeout_s)
        except queue.Empty:
            return None
        if message is None:
            self._changed = False
        return message


class Daemon:
    """Runs the parts until a signal, a refusal or a crash ends it.

    Args:
        parts: in the order in which they start; they stop in the opposite order.
        board: the agent's snapshot.
        spool: for the number of records that wait.
        manager: systemd.
        inbox: messages of signals and threads.
        reload: reads the configuration again and applies it; raises ConfigError.
        clock: for the status line.
    """

    def __init__(
        self,
        parts: list[Part],
        board: Board,
        spool: SafeSpool,
        manager: ServiceManager,
        inbox: Inbox,
        reload: Callable[[], None],
        clock: Clock,
    ) -> None:
        self._parts = parts
        self._board = board
        self._spool = spool
        self._manager = manager
        self._inbox = inbox
        self._reload = reload
        self._clock = clock
        self._ready = False
        self._last_ping = self._gave_back = clock.monotonic()
        self._threads: list[tuple[Part, threading.Thread]] = []

    def catch_signals(self) -> None:
        """SIGTERM and SIGINT stop, SIGHUP reloads."""
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, lambda received, frame: self._inbox.put(signal.Signals(received)))

    def run(self) -> int:
        """Run until the end; the exit code."""
        for part in self._parts:
            thread = threading.Thread(target=self._work, args=(part,), name=part.heartbeat.name, daemon=True)
            thread.start()
            self._threads.append((part, thread))
        code: int | None = None
        while code is None:
            self.tell_manager()
            journal.sum_up()
            self._give_back()
            code = self._obey(self._inbox.get(self._tick_s()))
        if code:
            self._manager.status(self._board.snapshot.reason or "failed; see the journal")
        self._stop_parts(say=code == 0)
        return code

    def tell_manager(self) -> None:
        """Bring systemd up to date: status, readiness, time for the step in hand, sign of life."""
        snapshot = self._board.snapshot
        hung = [part.heartbeat for part in self._parts if not part.heartbeat.fresh]
        if hung:
            names = ", ".join(beat.name for beat in hung)
            self._manager.status(
                f"hung: thread {names} overstays its step; waiting to be killed and restarted"
            )
            return
        self._manager.status(status_line(snapshot, self._spool.pending, self._clock))
        if not self._ready:
            if snapshot.state is State.ACTIVE:
                self._ready = True
                self._manager.ready()
            else:
                left = min(part.heartbeat.left_s() for part in self._parts)
                self._manager.extend_timeout(min(left, MAX_EXTENSION_S))
        now = self._clock.monotonic()
        if (
            self._manager.watchdog_s is not None
            and now - self._last_ping >= self._manager.watchdog_s / SIGNS_OF_LIFE
        ):
            self._last_ping = now
            self._manager.alive()

    def _give_back(self) -> None:
        now = self._clock.monotonic()
        if now - self._gave_back >= GIVE_BACK_S:
            self._gave_back = now
            give_back()

    def _tick_s(self) -> float:
        tick_s = REST_S if self._ready and self._board.snapshot.state is State.ACTIVE else TICK_S
        if self._manager.watchdog_s is None:
            return tick_s
        until_ping_s = self._last_ping + self._manager.watchdog_s / SIGNS_OF_LIFE - self._clock.monotonic()
        # One that is overdue is withheld, for a thread hangs: to go round until the kill would only take its processor.
        return min(tick_s, until_ping_s) if until_ping_s > 0 else TICK_S

    def _obey(self, message: object | None) -> int | None:
        match message:
            case signal.SIGTERM | signal.SIGINT:
                return 0
            case signal.SIGHUP:
                self._do_reload(Reload(threading.Event(), []))
            case Reload():
                self._do_reload(message)
            case Do():
                message.work()
            case GiveUp():
                return message.code
            case BaseException():
                return 1
        return None

    def _do_reload(self, request: Reload) -> None:
        if self._ready:  # before READY these two would forge it
            self._manager.reloading()
        try:
            self._reload()
        except ConfigError as error:
            failed = about(Kind.RELOAD_FAILED)
            for finding in error.findings:
                log.error("%s", finding, extra=failed)
            log.error("The configuration was not reloaded, the old one stays in force", extra=failed)
            request.errors += [str(finding) for finding in error.findings]
        else:
            log.info("Configuration reloaded", extra=about(Kind.RELOADED))
        finally:
            if self._ready:
                self._manager.ready()
            request.done.set()

    def _work(self, part: Part) -> None:
        try:
            while not part.worker.stopping:
                part.worker.step()
            if part.finish is not None:
                part.finish()
        except GiveUp as end:
            self._inbox.put(end)
        except BaseException as error:
            crashed = about(Kind.THREAD_CRASHED, thread=part.heartbeat.name)
            log.critical("Thread %s ended unexpectedly", part.heartbeat.name, exc_info=True, extra=crashed)
            self._board.update(reason=f"thread {part.heartbeat.name} crashed: {type(error).__name__}")
            self._inbox.put(error)

    def _stop_parts(self, say: bool) -> None:
        self._manager.stopping()
        if say:
            self._manager.status(f"stopping, {self._spool.pending} records to deliver")
        for part, thread in reversed(self._threads):
            part.worker.stop()
            thread.join(part.join_s)
            if thread.is_alive():
                log.warning(
                    "Thread %s did not end within %.0f s",
                    part.heartbeat.name,
                    part.join_s,
                    extra=about(Kind.THREAD_STUCK, thread=part.heartbeat.name, duration_s=part.join_s),
                )
