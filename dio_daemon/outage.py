"""The way back after an outage: health and registration are tried again, without end, and said sparingly."""

from __future__ import annotations

import logging

from dio_daemon.errors import CenterError, Rejected
from dio_daemon.lifecycle import State
from dio_daemon.link_state import RESOLVER_S, LinkState, is_refusal
from dio_daemon.messages import Kind, about
from dio_daemon.starts import QUIET_S

log = logging.getLogger(__name__)


class Outage:
    """The phase `offline`, from `begin` to the registration that ends it."""

    def __init__(self, state: LinkState) -> None:
        self._state = state
        self._since = self._summed_up_at = state.clock.monotonic()
        self._attempts = 0
        self._told: set[str] = set()

    def begin(self) -> None:
        """The agent has just become offline."""
        self._state.backoff.reset()
        self._attempts = 0
        self._told.clear()
        self._since = self._summed_up_at = self._state.clock.monotonic()

    def come_back(self) -> str:
        """One attempt. Raises GiveUp when the nerve center refuses this agent."""
        state = self._state
        self._attempts += 1
        config = state.config
        begun = state.clock.monotonic()
        try:
            state.find_center()
            state.heartbeat.beat(2 * (config.delivery.total_timeout_s + RESOLVER_S))
            state.registrar.register(state.center, config)
        except CenterError as error:
            if state.stopping:
                return "stopping"
            if isinstance(error, Rejected) and is_refusal(error):
                state.refused(error)
            if state.settle_identity(error):
                return "the identity is being settled"
            return self._still_offline(error, begun)
        log.info(
            "Successfully re-registered with nerve center",
            extra=about(
                Kind.REREGISTERED,
                state=State.ACTIVE.value,
                attempt=self._attempts,
                duration_s=state.clock.monotonic() - self._since,
            ),
        )
        state.registered()
        log.info(
            "Resumed monitoring after re-registration",
            extra=about(Kind.RESUMED, records=state.spool.pending),
        )
        return "re-registered"

    def _still_offline(self, error: CenterError, begun: float) -> str:
        state = self._state
        now = state.clock.monotonic()
        offline = about(
            Kind.STILL_OFFLINE,
            attempt=self._attempts,
            error_kind=error.kind,
            http_status=error.status,
            records=state.spool.pending,
            duration_s=now - self._since,
        )
        if error.kind not in self._told:
            self._told.add(error.kind)
            log.warning("Cannot re-register yet, trying again until it succeeds: %s", error, extra=offline)
        elif now - self._summed_up_at >= QUIET_S:
            self._summed_up_at = now
            log.warning(
                "Still offline after %.0f min and %d attempts, %d records wait: %s",
                (now - self._since) / 60,
                self._attempts,
                state.spool.pending,
                error,
                extra=offline,
            )
        _, wait = state.backoff.next()
        wait = state.next_wait(wait, begun, error)
        state.board.update(
            reason=str(error), error_kind=error.kind, attempt=self._attempts, next_attempt=now + wait
        )
        state.pause(wait)
        return f"offline: {error}"
