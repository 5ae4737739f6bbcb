"""The sampler: looks at the host once an interval and puts what it saw on disk.

It starts with the process, before any nerve center is known to be there, and never touches the network. The
schedule is kept on the monotonic clock, so a slow step does not shift the ones after it.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from dio_daemon.board import Board
from dio_daemon.clock import Clock
from dio_daemon.detect.watch import Watch
from dio_daemon.heartbeat import Heartbeat
from dio_daemon.safe_spool import SafeSpool
from dio_daemon.wire import SAMPLES, to_json

log = logging.getLogger(__name__)

FIRST_AFTER_S = 1.0
"""Rates need two looks: the first sample comes a second after the first look."""
STEP_S = 60.0
"""What one step may take on a host that is out of breath before the sampler counts as hung."""


class Collector(Protocol):
    """What looks at the host."""

    @property
    def problems(self) -> Mapping[str, str]:
        """What could not be had the last time: condition code to sentence."""

    def prime(self) -> None:
        """Take the first counters."""

    def sample(self) -> dict[str, Any]:
        """One sample, as the contract's SampleData."""


class Sampler:
    """The sampler thread's work.

    Args:
        collector: looks at the host.
        spool: where samples go.
        board: where conditions go.
        appended: called after each sample is on disk.
        heartbeat: this thread's sign of life.
        clock: for the schedule.
        interval_s: seconds between samples.
        publish: told of every sample; must not block.
        watch: asked after every sample what is wrong.
    """

    def __init__(
        self,
        collector: Collector,
        spool: SafeSpool,
        board: Board,
        appended: Callable[[], None],
        heartbeat: Heartbeat,
        clock: Clock,
        interval_s: float,
        publish: Callable[[str, dict[str, Any]], None],
        watch: Watch,
    ) -> None:
        self._watch = watch
        self._look_soon = False
        self._publish = publish
        self._collector = collector
        self._spool = spool
        self._board = board
        self._appended = appended
        self._heartbeat = heartbeat
        self._clock = clock
        self._interval_s = interval_s
        self._interrupt = threading.Event()
        self._next: tuple[Collector, float] | None = None
        self._due: float | None = None
        self._last: float | None = None
        self.stopping = False
        self.latest: Mapping[str, Any] | None = None

    def stop(self) -> None:
        """End the waiting; called from another thread."""
        self.stopping = True
        self._interrupt.set()

    def reconfigure(self, collector: Collector, interval_s: float) -> None:
        """Another collector and interval from the next step on; called from another thread."""
        self._next = (collector, interval_s)
        self._interrupt.set()

    def look_soon(self) -> None:
        """Ask the detectors before the next sample is due; called from another thread."""
        self._look_soon = True
        self._interrupt.set()

    def step(self) -> str:
        """Take the first look, wait for the next sample's time, or take a sample."""
        self._take_configuration()
        now = self._clock.monotonic()
        if self._due is None:
            self._heartbeat.beat(STEP_S)
            self._collector.prime()
            self._due = now + min(FIRST_AFTER_S, self._interval_s)
            return "primed"
        if now < self._due:
            self._heartbeat.beat(self._due - now)
            if self._clock.wait(self._interrupt, self._due - now):
                self._interrupt.clear()
            if self._look_soon and self.latest is not None and not self.stopping:
                self._heartbeat.beat(STEP_S)
                self._detect(self.latest)
                self._appended()
            return "waited"
        self._heartbeat.beat(STEP_S)
        sample = self._collector.sample()
        since = now - self._last if self._last is not None else 0.0
        self._last = now
        seq = self._spool.append(SAMPLES, "sample", to_json(sample), since)
        self.latest = sample
        self._publish("sample", {"seq": seq, **sample})
        self._board.set_conditions("collect", dict(self._collector.problems))
        self._detect(sample)
        self._board.set_conditions("spool", self._spool.conditions())
        self._appended()
        missed = int(max(0.0, self._clock.monotonic() - self._due) // self._interval_s)
        self._due += (missed + 1) * self._interval_s
        return f"sampled {seq}"

    def _detect(self, sample: Mapping[str, Any]) -> None:
        self._look_soon = False
        self._watch.look(sample, self._clock.monotonic())
        self._board.set_conditions("detect", self._watch.conditions)

    def _take_configuration(self) -> None:
        new, self._next = self._next, None
        if new is None:
            return
        self._collector, self._interval_s = new
        if self._last is not None:  # the next sample comes one new interval after the last
            self._heartbeat.beat(STEP_S)
            self._collector.prime()
            self._due = self._last + self._interval_s
