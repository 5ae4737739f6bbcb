"""The link to the nerve center: asks for its health, registers, delivers, and comes back after an outage.

It is the only writer of the agent's state. `step` does one thing (one health check, one registration, one
report), waits where waiting is due, and returns a sentence about it. Every retry of the agent happens here.

Until the first registration the link may give up: systemd then starts the agent again, so that boot is held up
for a bounded time. After it, it never does, unless the nerve center refuses this agent.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from dio_daemon import wire
from dio_daemon.backoff import Backoff
from dio_daemon.board import Board
from dio_daemon.center import Center
from dio_daemon.clock import Clock, rfc3339
from dio_daemon.config import Config
from dio_daemon.delivery import Delivery
from dio_daemon.errors import (
    EX_NOPERM,
    EX_TEMPFAIL,
    CenterError,
    GiveUp,
    NotANerveCenter,
    Rejected,
    TlsFailed,
)
from dio_daemon.heartbeat import Heartbeat
from dio_daemon.lifecycle import Event, Lifecycle, State, next_state
from dio_daemon.registrar import Registrar, hostname, refusal
from dio_daemon.safe_spool import SafeSpool
from dio_daemon.starts import QUIET_S, StartHistory, credentials_stamp
from dio_daemon.transport import Transport

log = logging.getLogger(__name__)

RESOLVER_S = 45.0
"""getaddrinfo cannot be broken off: resolv.conf(5) allows 3 servers x 2 attempts x 5 s, and some more."""
MAX_RETRY_S = 10.0
"""A failed report is tried again after one interval, and after this long at most."""
IDLE_S = 60.0
"""How long to sleep when nothing waits; a record wakes the link at once."""
GOODBYE_S = 3.0
DOUBT_S = 120.0
"""How long a start waits while the nerve center finds out whether another live host uses this identity."""


@dataclass(frozen=True)
class Connection:
    """A nerve center, the transport under it, and the configuration that both were made from."""

    config: Config
    center: Center
    transport: Transport


class Link:
    """The link thread's work.

    Args:
        connection: where to report to.
        board: where the state is written.
        spool: what to deliver.
        registrar: registers and knows the identity.
        delivery: sends one report.
        backoff: between health checks.
        history: of failed starts.
        heartbeat: this thread's sign of life.
        clock: for all waiting.
        config_path: watched, beside the token, while an agent that was refused holds back.
    """

    def __init__(
        self,
        connection: Connection,
        board: Board,
        spool: SafeSpool,
        registrar: Registrar,
        delivery: Delivery,
        make_backoff: Callable[[Config], Backoff],
        history: StartHistory,
        heartbeat: Heartbeat,
        clock: Clock,
        config_path: Path,
    ) -> None:
        self._connection = connection
        self._next_connection: Connection | None = None
        self._board = board
        self._spool = spool
        self._registrar = registrar
        self._delivery = delivery
        self._make_backoff = make_backoff
        self._backoff = make_backoff(connection.config)
        self._history = history
        self._heartbeat = heartbeat
        self._clock = clock
        self._config_path = config_path
        self._life = Lifecycle()
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._interrupt = threading.Event()
        self._stop = False
        self._ready_by: float | None = None
        self._register_attempt = 0
        self._retry_at: float | None = None
        self._last_kind = ""
        self._summed_up_at = clock.monotonic()
        self._offline_attempts = 0
        self._outage_since: float | None = None
        self._doubted_since: float | None = None
        self._quiet = history.quiet

    # Called from other threads.

    def records_waiting(self) -> None:
        """A record was appended."""
        self._wake.set()

    def stop(self) -> None:
        """Stop: whatever is being done is broken off, then comes the goodbye."""
        with self._lock:
            self._stop = True
            self._connection.transport.abort()
        self._interrupt.set()
        self._wake.set()

    def reconfigure(self, connection: Connection) -> None:
        """Use another configuration from the next step on."""
        with self._lock:
            self._next_connection = connection
        self._interrupt.set()
        self._wake.set()

    # The thread's own.

    @property
    def stopping(self) -> bool:
        """Whether `stop` was called."""
        return self._stop

    def step(self) -> str:
        """Do the next thing.

        Raises:
            GiveUp: this process cannot go on.
        """
        self._take_configuration()
        match self._life.state:
            case State.STARTING:
                self._board.update(center_url=self._connection.center.url)
                self._transition(Event.OPENED)
                return "opened"
            case State.WAITING:
                return self._wait_for_center()
            case State.REGISTERING:
                return self._register_first()
            case State.ACTIVE | State.WARNING:
                return self._report()
            case State.OFFLINE:
                return self._come_back()
        return "stopping"

    def finish(self) -> None:
        """The last flush and the goodbye, both within `flush_s` and a little; called when stopped."""
        was_reporting = self._life.state in (State.ACTIVE, State.WARNING)
        self._transition(Event.STOP_REQUESTED)
        config, center = self._connection.config, self._connection.center
        self._heartbeat.beat(config.delivery.flush_s + GOODBYE_S + RESOLVER_S)
        if was_reporting:
            self._connection.transport.resume()
            try:
                self._flush(center, config)
                identity = self._registrar.identity
                body = wire.goodbye(self._registrar.sender(config), rfc3339(self._clock.now()), "stopped")
                center.goodbye(identity.agent_id, body, identity.credential, GOODBYE_S)
            except CenterError as error:
                log.info("The nerve center did not take the goodbye: %s", error)
        log.info("Stopped monitoring; %d records wait on disk for the next start", self._spool.pending)

    def _flush(self, center: Center, config: Config) -> None:
        deadline = self._clock.monotonic() + config.delivery.flush_s
        while (left := deadline - self._clock.monotonic()) > 0:
            sender = self._registrar.sender(config)
            identity = self._registrar.identity
            if not self._delivery.send_next(center, identity, sender, config.delivery.batch_records, left):
                return

    def _wait_for_center(self) -> str:
        config, center = self._connection.config, self._connection.center
        now = self._clock.monotonic()
        if self._ready_by is None:
            self._hold_back_after_refusals()
            now = self._clock.monotonic()
            self._ready_by = now + config.startup.ready_within_s
            self._board.update(reason="", attempt=0)
        self._heartbeat.beat(config.startup.health_timeout_s + RESOLVER_S)
        try:
            center.check_health()
        except CenterError as error:
            if self._stop:
                return "stopping"
            return self._not_ready(error)
        self._say("Nerve center is ready, proceeding with registration", always=True)
        self._backoff.reset()
        self._board.update(reason="", error_kind="", attempt=0, next_attempt=None)
        self._transition(Event.CENTER_HEALTHY)
        return "ready"

    def _not_ready(self, error: CenterError) -> str:
        config, center = self._connection.config, self._connection.center
        assert self._ready_by is not None  # noqa: S101  set before the first health check
        left = self._ready_by - self._clock.monotonic()
        nominal, wait = self._backoff.next()
        attempt = self._backoff.attempt
        if error.kind != self._last_kind:
            self._last_kind = error.kind
            wrong = isinstance(error, (NotANerveCenter, TlsFailed))
            self._say(f"Health check failed: {error}", logging.WARNING if wrong else logging.INFO)
        if left <= 0:
            self._give_up(
                EX_TEMPFAIL,
                f"nerve center {center.url} not ready after {config.startup.ready_within_s:g} s: {error}",
            )
        if wait > left:
            nominal = wait = left
        self._say(f"Nerve center not ready yet, waiting {max(1.0, nominal):.0f}s... (attempt {attempt})")
        self._board.update(
            reason=str(error),
            error_kind=error.kind,
            attempt=attempt,
            next_attempt=self._clock.monotonic() + wait,
        )
        self._pause(wait)
        return f"not ready: {error}"

    def _register_first(self) -> str:
        config, center = self._connection.config, self._connection.center
        self._register_attempt += 1
        attempt = self._register_attempt
        self._board.update(attempt=attempt, next_attempt=None)
        self._heartbeat.beat(2 * (config.delivery.total_timeout_s + RESOLVER_S))
        try:
            answer = self._registrar.register(center, config)
        except CenterError as error:
            if self._stop:
                return "stopping"
            if isinstance(error, Rejected) and error.status in (401, 403):
                self._refused(error)
            if self._identity_settled(error):
                self._register_attempt -= 1
                return "the identity is being settled"
            if attempt >= config.startup.register_attempts:
                self._give_up(EX_TEMPFAIL, f"registration with {center.url} failed {attempt} times: {error}")
            wait = self._backoff.spread(config.startup.register_wait_s * attempt)
            if isinstance(error, Rejected) and error.retry_after_s is not None:
                wait = max(wait, min(error.retry_after_s, config.startup.ready_within_s))
            self._say(f"Registration failed (attempt {attempt}): {error}", logging.WARNING)
            self._board.update(
                reason=str(error), error_kind=error.kind, next_attempt=self._clock.monotonic() + wait
            )
            self._pause(wait)
            return f"registration failed: {error}"
        self._say(f"Successfully registered agent: {answer.agent_id}", always=True)
        self._history.succeeded()
        self._quiet = False
        self._registered()
        self._say(f"Starting system monitoring for DIO-Agent-{hostname(config)}", always=True)
        return "registered"

    def _identity_settled(self, error: CenterError) -> bool:
        """Deal with a nerve center that sees two hosts claim one identity; False for any other error.

        In doubt: wait until the other one is heard again or is silent. Cloned: both are alive, and this one is
        asked to take an instance of its own.
        """
        if not isinstance(error, Rejected) or error.status != 409:
            return False
        if error.code == "instance-cloned":
            log.warning(
                "Another live host uses this agent's identity (a clone?): enrolling as an instance of its own. "
                "Give this host a machine id of its own: rm /etc/machine-id; systemd-machine-id-setup"
            )
            self._spool.disown()
            self._registrar.renew()
            self._doubted_since = None
            return True
        if error.code != "instance-in-doubt":
            return False
        now = self._clock.monotonic()
        if self._doubted_since is None:
            self._doubted_since = now
            log.info(
                "Nerve center heard this identity from elsewhere a moment ago and waits which one is alive"
            )
        if now - self._doubted_since > DOUBT_S:
            return False
        wait = self._backoff.spread(error.retry_after_s if error.retry_after_s is not None else 2.0)
        self._board.update(reason=str(error), error_kind="identity", next_attempt=now + wait)
        self._pause(wait)
        return True

    def _registered(self) -> None:
        identity = self._registrar.identity
        self._retry_at = None
        self._doubted_since = None
        self._last_kind = ""
        self._backoff.reset()
        self._board.update(
            agent_id=identity.agent_id,
            instance_id=identity.instance_id,
            reason="",
            error_kind="",
            attempt=0,
            next_attempt=None,
        )
        self._transition(Event.REGISTERED)

    def _report(self) -> str:
        config, center = self._connection.config, self._connection.center
        if self._retry_at is not None and self._retry_at > self._clock.monotonic():
            self._pause(self._retry_at - self._clock.monotonic())
            return "waited to try again"
        if self._registrar.moved:
            raise GiveUp(EX_TEMPFAIL, "the machine id changed: starting again with an identity of its own")
        self._wake.clear()
        identity = self._registrar.identity
        self._heartbeat.beat(config.delivery.total_timeout_s + RESOLVER_S)
        try:
            sent = self._delivery.send_next(
                center, identity, self._registrar.sender(config), config.delivery.batch_records
            )
        except CenterError as error:
            return "stopping" if self._stop else self._report_failed(error)
        if not sent:
            self._idle()
            return "nothing to send"
        if self._life.failures:
            log.info("Reports are acknowledged again after %d failures", self._life.failures)
        self._retry_at = None
        self._board.update(
            last_acknowledged=self._clock.monotonic(),
            last_acknowledged_wall=rfc3339(self._clock.now()),
            failures=0,
            reason="",
            error_kind="",
            next_attempt=None,
        )
        self._transition(Event.REPORT_ACKNOWLEDGED)
        return "acknowledged"

    def _report_failed(self, error: CenterError) -> str:
        config = self._connection.config
        refused = isinstance(error, Rejected) and (
            error.status in (401, 403) or error.code in ("run-not-current", "instance-cloned")
        )
        throttled = isinstance(error, Rejected) and error.status == 429
        most = config.delivery.failures_before_offline
        if not (throttled and self._life.failures >= most - 1):  # a center that throttles is there
            self._transition(Event.REREGISTER if refused else Event.REPORT_FAILED)
        log.warning("Failed to send metrics (consecutive failures: %d): %s", self._life.failures, error)
        wait = self._backoff.spread(min(config.agent.interval_s, MAX_RETRY_S))
        if isinstance(error, Rejected) and error.retry_after_s is not None:
            wait = max(wait, self._backoff.spread(error.retry_after_s))
        self._retry_at = self._clock.monotonic() + wait
        self._board.update(
            failures=self._life.failures,
            reason=str(error),
            error_kind=error.kind,
            next_attempt=self._retry_at,
        )
        if self._life.state is State.OFFLINE:
            log.warning("Too many consecutive failures, attempting to re-register...")
            self._go_offline()
        return f"report failed: {error}"

    def _go_offline(self) -> None:
        self._backoff.reset()
        self._offline_attempts = 0
        self._last_kind = ""
        self._outage_since = self._summed_up_at = self._clock.monotonic()

    def _come_back(self) -> str:
        config, center = self._connection.config, self._connection.center
        self._offline_attempts += 1
        self._heartbeat.beat(
            config.startup.health_timeout_s + 2 * config.delivery.total_timeout_s + 3 * RESOLVER_S
        )
        try:
            center.check_health()
            self._registrar.register(center, config)
        except CenterError as error:
            if self._stop:
                return "stopping"
            if isinstance(error, Rejected) and error.status in (401, 403):
                self._refused(error)
            if self._identity_settled(error):
                return "the identity is being settled"
            return self._still_offline(error)
        log.info("Successfully re-registered with nerve center")
        self._registered()
        self._board.update(failures=0)
        log.info("Resumed monitoring after re-registration")
        return "re-registered"

    def _still_offline(self, error: CenterError) -> str:
        now = self._clock.monotonic()
        since = self._outage_since if self._outage_since is not None else now
        if error.kind != self._last_kind:
            self._last_kind = error.kind
            log.warning("Cannot re-register yet, trying again until it succeeds: %s", error)
        elif now - self._summed_up_at >= QUIET_S:
            self._summed_up_at = now
            log.warning(
                "Still offline after %.0f min and %d attempts, %d records wait: %s",
                (now - since) / 60,
                self._offline_attempts,
                self._spool.pending,
                error,
            )
        _, wait = self._backoff.next()
        if isinstance(error, Rejected) and error.retry_after_s is not None:
            wait = max(wait, self._backoff.spread(error.retry_after_s))
        self._board.update(
            reason=str(error), error_kind=error.kind, attempt=self._offline_attempts, next_attempt=now + wait
        )
        self._pause(wait)
        return f"offline: {error}"

    def _hold_back_after_refusals(self) -> None:
        """An agent that was refused waits, sampling, until a moment passes or its credentials change."""
        wait = self._history.refused_wait_s(self._credentials())
        until = self._clock.monotonic() + wait
        if wait:
            self._board.update(
                reason=f"refused {self._history.failures.refusals} times",
                error_kind="refused",
                next_attempt=until,
            )
        while not self._stop and (left := until - self._clock.monotonic()) > 0:
            self._pause(min(1.0, left))
            if self._history.refused_wait_s(self._credentials()) == 0.0:
                return

    def _credentials(self) -> str:
        folder = self._config_path.with_name(self._config_path.name + ".d")
        return credentials_stamp(
            self._connection.config.nerve_center.enrollment_token_file, self._config_path, folder
        )

    def _refused(self, error: Rejected) -> None:
        token_file = self._connection.config.nerve_center.enrollment_token_file
        sentence = (
            f"nerve center {self._connection.center.url} refused this agent: {refusal(error, token_file)}"
        )
        self._give_up(EX_NOPERM, sentence)

    def _give_up(self, code: int, sentence: str) -> None:
        self._board.update(reason=sentence, next_attempt=None)
        if self._history.may_speak():
            failed = self._history.failures.count
            again = f" ({failed + 1} starts in a row)" if failed else ""
            log.error("Giving up for now%s: %s", again, sentence)
        self._history.failed(code == EX_NOPERM, self._credentials())
        raise GiveUp(code, sentence)

    def _say(self, message: str, level: int = logging.INFO, always: bool = False) -> None:
        """A line of the start-up; below notice when the cycles before this one said it already."""
        log.log(logging.DEBUG if self._quiet and not always else level, "%s", message)

    def _transition(self, event: Event) -> None:
        most = self._connection.config.delivery.failures_before_offline
        self._life = next_state(self._life, event, most)
        if self._life.state is not self._board.snapshot.state:
            self._board.update(state=self._life.state, failures=self._life.failures)

    def _take_configuration(self) -> None:
        with self._lock:
            new, self._next_connection = self._next_connection, None
            if new is None:
                return
            old, self._connection = self._connection, new
            if self._stop:
                new.transport.abort()
        self._backoff = self._make_backoff(new.config)
        self._board.update(center_url=new.center.url)
        if old.config.nerve_center == new.config.nerve_center and old.config.agent == new.config.agent:
            return
        if self._life.state in (State.ACTIVE, State.WARNING):
            log.info("Registering again with the new configuration")
            self._transition(Event.REREGISTER)
            self._go_offline()

    def _pause(self, seconds: float) -> None:
        """Wait; a stop or a new configuration ends it."""
        self._heartbeat.beat(seconds)
        if self._clock.wait(self._interrupt, seconds):
            self._interrupt.clear()

    def _idle(self) -> None:
        """Wait for the next record."""
        self._heartbeat.beat(IDLE_S)
        self._clock.wait(self._wake, IDLE_S)
