"""Does the database accept writes? Asked in the background, so that whoever asks gets an answer at once.

One probe a process. Every `EVERY_S` it commits something small through the writer, unless a report was
committed just before, and counts what `/health` shows. The same write is the center's pulse (`store.states`)
and is not left out for longer than `PULSE_S`. `health` answers from the last finding, also while the
database is stuck; a finding that has grown too old means that the database does not answer.
"""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass
from typing import Any

from sqlalchemy.engine import Connection, Engine

from nerve_center.clock import Clock, format_time
from nerve_center.errors import DatabaseUnavailable
from nerve_center.store import agents, states
from nerve_center.store.engine import reading
from nerve_center.store.steady import Steady
from nerve_center.store.writer import Writer

_log = logging.getLogger(__name__)

EVERY_S = 1.8
PATIENCE_S = 1.0
FRESH_COMMIT_S = 2.0
PULSE_S = 2.0
STALE_S = 6.0
_FIRST_ANSWER_S = 5.0


@dataclass(frozen=True)
class Finding:
    """What the probe last saw, when (monotonic), and since when it has been bad; `detail` is for the log."""

    at: float
    agents_connected: int | None = None
    threats_active: int | None = None
    reason: str | None = None
    bad_since: float | None = None
    detail: str = ""


class Probe:
    """See the module. `start` once in the process that uses it."""

    def __init__(self, engine: Engine, writer: Writer, clock: Clock, steady: Steady) -> None:
        self._engine = engine
        self._writer = writer
        self._clock = clock
        self._steady = steady
        self._finding: Finding | None = None
        self._pulse = float("-inf")
        self._first = threading.Event()
        self._stopping = threading.Event()

    def start(self) -> None:
        threading.Thread(target=self._run, name="probe", daemon=True).start()

    def stop(self) -> None:
        self._stopping.set()

    def step(self) -> None:
        """Probe once and keep the finding."""
        previous = self._finding
        try:
            self._write()
            with reading(self._engine) as connection:
                connected, threats = agents.counts(connection, self._steady.now_us())
            finding = Finding(self._clock.monotonic(), connected, threats)
        except DatabaseUnavailable as problem:
            finding = self._bad(problem.reason, previous, problem.detail)
        except Exception:  # noqa: BLE001 the probe must go on, and what it met is no healthy database
            _log.exception("the database probe met an unexpected error")
            finding = self._bad("the database probe failed; the log says more", previous)
        self._say(previous, finding)
        self._finding = finding
        self._first.set()

    def health(self) -> dict[str, Any]:
        """The body of `/health`."""
        if self._finding is None:
            self._clock.wait(self._first, _FIRST_ANSWER_S)
        finding, now = self._finding, self._clock.monotonic()
        body: dict[str, Any] = {
            "status": "healthy",
            "component": "nerve_center",
            "agents_connected": finding.agents_connected if finding else None,
            "threats_active": finding.threats_active if finding else None,
            "timestamp": format_time(self._clock.now_us() // 1_000_000 * 1_000_000),
        }
        reason = _reason(finding, now)
        if reason is not None:
            body.update(status="unhealthy", reason=reason)
        return body

    def _run(self) -> None:
        while not self._stopping.is_set():
            self.step()
            self._clock.wait(self._stopping, EVERY_S)

    def _write(self) -> None:
        last, now = self._writer.last_commit, self._clock.monotonic()
        if last is not None and now - last < FRESH_COMMIT_S and now - self._pulse < PULSE_S:
            return
        now_us, heard_us = self._clock.now_us(), self._steady.now_us()

        def work(connection: Connection) -> int:
            agents.touch(connection, now_us)
            return states.note_listening(connection, heard_us)

        self._steady.follow(self._writer.submit(work, patience_s=PATIENCE_S, first=True))
        self._pulse = now

    def _bad(self, reason: str, previous: Finding | None, detail: str = "") -> Finding:
        now = self._clock.monotonic()
        same = previous is not None and previous.reason == reason
        since = previous.bad_since if previous is not None and same else self._writer.blocked_since
        return Finding(now, None, None, reason, now if since is None else since, detail)

    def _say(self, previous: Finding | None, finding: Finding) -> None:
        before = previous.reason if previous else None
        if finding.reason is not None and finding.reason != before:
            detail = f" ({finding.detail})" if finding.detail else ""
            _log.warning("the nerve center takes no reports: %s%s", finding.reason, detail)
        elif finding.reason is None and before is not None:
            _log.info("the nerve center takes reports again")


def _reason(finding: Finding | None, now: float) -> str | None:
    if finding is None:
        return "the database has not answered yet"
    if now - finding.at > STALE_S:
        return f"the database has not answered for {now - finding.at:.0f} s"
    if finding.reason is None:
        return None
    since = finding.bad_since if finding.bad_since is not None else finding.at
    return f"{finding.reason} for {now - since:.0f} s"
