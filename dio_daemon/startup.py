"""The way to READY: ask for the nerve center's health, then register, for a bounded time.

Not ready or not registered in time: the process gives up, and systemd starts it again. So boot is held up no
longer than that, and the agent still comes up by itself whenever the nerve center does.
"""

from __future__ import annotations

import logging

from dio_daemon.errors import EX_TEMPFAIL, CenterError, NotANerveCenter, Rejected, TlsFailed
from dio_daemon.lifecycle import Event, State
from dio_daemon.link_state import RESOLVER_S, LinkState, is_refusal
from dio_daemon.messages import About, Kind, about
from dio_daemon.registrar import hostname

log = logging.getLogger(__name__)


class Startup:
    """The phase from `starting` to the first registration."""

    def __init__(self, state: LinkState) -> None:
        self._state = state
        self._ready_by: float | None = None
        self._attempt = 0
        self._told: set[str] = set()
        self._quiet = state.history.quiet

    def check_center(self) -> str:
        """One health check. Raises GiveUp when the time is over."""
        state = self._state
        if self._ready_by is None:
            self._hold_back_after_refusals()
            self._ready_by = state.clock.monotonic() + state.config.startup.ready_within_s
            state.board.update(reason="", attempt=0)
        try:
            state.find_center()
        except CenterError as error:
            return "stopping" if state.stopping else self._not_ready(error, self._ready_by)
        ready = about(Kind.CENTER_READY, state=State.REGISTERING.value)
        self._say("Nerve center is ready, proceeding with registration", ready, always=True)
        state.backoff.reset()
        state.board.update(reason="", error_kind="", attempt=0, next_attempt=None)
        state.transition(Event.CENTER_HEALTHY)
        return "ready"

    def register(self) -> str:
        """One registration. Raises GiveUp when it was the last or was refused."""
        state = self._state
        startup, url = state.config.startup, state.center.url
        self._attempt += 1
        state.board.update(attempt=self._attempt, next_attempt=None)
        state.heartbeat.beat(2 * (state.config.delivery.total_timeout_s + RESOLVER_S))
        try:
            answer = state.registrar.register(state.center, state.config)
        except CenterError as error:
            if state.stopping:
                return "stopping"
            if isinstance(error, Rejected) and is_refusal(error):
                state.refused(error)
            if state.settle_identity(error):
                self._attempt -= 1
                return "the identity is being settled"
            if self._attempt >= startup.register_attempts:
                state.give_up(EX_TEMPFAIL, f"registration with {url} failed {self._attempt} times: {error}")
            wait = state.backoff.spread(startup.register_wait_s * self._attempt)
            wait = min(state.spread_wait(wait, error), max(wait, startup.ready_within_s))
            self._say(
                f"Registration failed (attempt {self._attempt}): {error}",
                about(
                    Kind.REGISTRATION_FAILED,
                    attempt=self._attempt,
                    error_kind=error.kind,
                    http_status=error.status,
                    wait_s=wait,
                ),
                logging.WARNING,
            )
            state.board.update(
                reason=str(error), error_kind=error.kind, next_attempt=state.clock.monotonic() + wait
            )
            state.pause(wait)
            return f"registration failed: {error}"
        self._say(
            f"Successfully registered agent: {answer.agent_id}",
            about(Kind.REGISTERED, state=State.ACTIVE.value, attempt=self._attempt),
            always=True,
        )
        state.history.succeeded()
        state.registered()
        self._say(
            f"Starting system monitoring for DIO-Agent-{hostname(state.config)}",
            about(Kind.MONITORING),
            always=True,
        )
        return "registered"

    def _not_ready(self, error: CenterError, ready_by: float) -> str:
        state = self._state
        left = ready_by - state.clock.monotonic()
        nominal, wait = state.backoff.next()
        attempt = state.backoff.attempt
        if error.kind not in self._told:
            self._told.add(error.kind)
            wrong = isinstance(error, (NotANerveCenter, TlsFailed))
            self._say(
                f"Health check failed: {error}",
                about(
                    Kind.HEALTH_CHECK_FAILED,
                    attempt=attempt,
                    error_kind=error.kind,
                    http_status=error.status,
                ),
                logging.WARNING if wrong else logging.INFO,
            )
        if left <= 0:
            within = state.config.startup.ready_within_s
            state.give_up(
                EX_TEMPFAIL, f"nerve center {state.center.url} not ready after {within:g} s: {error}"
            )
        if wait > left:
            nominal = wait = left
        self._say(
            f"Nerve center not ready yet, waiting {max(1.0, nominal):.0f}s... (attempt {attempt})",
            about(Kind.WAITING, attempt=attempt, error_kind=error.kind, wait_s=wait),
        )
        state.board.update(
            reason=str(error),
            error_kind=error.kind,
            attempt=attempt,
            next_attempt=state.clock.monotonic() + wait,
        )
        state.pause(wait)
        return f"not ready: {error}"

    def _hold_back_after_refusals(self) -> None:
        """An agent that was refused waits, sampling, until a moment passes or its credentials change."""
        state = self._state
        wait = state.history.refused_wait_s(state.credentials())
        until = state.clock.monotonic() + wait
        if wait:
            failures = state.history.failures
            reason = f"{failures.reason} (refused {failures.refusals} times in a row)"
            state.board.update(reason=reason, error_kind="refused", next_attempt=until)
        while not state.stopping and (left := until - state.clock.monotonic()) > 0:
            state.pause(min(1.0, left))
            if state.history.refused_wait_s(state.credentials()) == 0.0:
                return

    def _say(self, message: str, what: About, level: int = logging.INFO, always: bool = False) -> None:
        """A line of the start-up; only for debugging when the cycles before this one said it already."""
        log.log(logging.DEBUG if self._quiet and not always else level, "%s", message, extra=what)
