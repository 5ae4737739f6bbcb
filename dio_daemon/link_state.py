"""What the phases of the link share: its state, its waiting, and the ways out of the process.

`Startup`, `Outage` and `Link` are the phases; each does one step at a time with this object in hand. It belongs
to the link thread, but for `interrupt`, `wake`, `stop` and `replace_connection`, which others may use.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from dio_daemon.backoff import Backoff
from dio_daemon.board import Board
from dio_daemon.center import Center
from dio_daemon.centers import Centers
from dio_daemon.clock import Clock
from dio_daemon.config import Config
from dio_daemon.errors import EX_NOPERM, CenterError, GiveUp, IdentityError, Rejected
from dio_daemon.heartbeat import Heartbeat
from dio_daemon.lifecycle import Event, Lifecycle, State, next_state
from dio_daemon.maintenance import Maintenance
from dio_daemon.messages import Kind, about
from dio_daemon.registrar import Registrar, refusal
from dio_daemon.safe_spool import SafeSpool
from dio_daemon.starts import StartHistory, credentials_stamp
from dio_daemon.transport import Transport

log = logging.getLogger(__name__)

RESOLVER_S = 45.0
"""getaddrinfo cannot be broken off: resolv.conf(5) allows 3 servers x 2 attempts x 5 s, and some more."""
IDLE_S = 60.0
"""How long to sleep when nothing waits; a record wakes the link at once."""
LEAST_WAIT_S = 1.0
"""Between two attempts, however long the first one took."""
UNWRITABLE_S = 10.0
"""Before the state folder is tried again."""
DOUBT_S = 120.0
"""How long to wait while the nerve center finds out whether another live host uses this identity."""


@dataclass(frozen=True)
class Connection:
    """The nerve centers, the transport under them, and the configuration that both were made from."""

    config: Config
    centers: Centers
    transport: Transport


class LinkState:
    """The link's collaborators and what it has come to.

    Args:
        connection: where to report to.
        board: where the state is written.
        spool: what to deliver.
        registrar: registers and knows the identity.
        make_backoff: back-offs between attempts, for a configuration.
        history: of failed starts.
        heartbeat: the link thread's sign of life.
        clock: for all waiting.
        maintenance: when reporting is paused.
        config_path: watched, beside the token, while an agent that was refused holds back.
    """

    def __init__(
        self,
        connection: Connection,
        board: Board,
        spool: SafeSpool,
        registrar: Registrar,
        make_backoff: Callable[[Config], Backoff],
        history: StartHistory,
        heartbeat: Heartbeat,
        clock: Clock,
        config_path: Path,
        maintenance: Maintenance,
    ) -> None:
        self.maintenance = maintenance
        self.connection = connection
        self.board = board
        self.spool = spool
        self.registrar = registrar
        self.history = history
        self.heartbeat = heartbeat
        self.clock = clock
        self.backoff = make_backoff(connection.config)
        self.life = Lifecycle()
        self.stopping = False
        self._make_backoff = make_backoff
        self._config_path = config_path
        self._lock = threading.Lock()
        self._next_connection: Connection | None = None
        self._wake = threading.Event()
        self._interrupt = threading.Event()
        self._orders: set[str] = set()
        self._doubted_since: float | None = None

    # For other threads.

    def records_waiting(self) -> None:
        """A record was appended."""
        self._wake.set()

    def stop(self) -> None:
        """Break off whatever is being done."""
        with self._lock:
            self.stopping = True
            self.connection.transport.abort()
        self._interrupt.set()
        self._wake.set()

    def replace_connection(self, connection: Connection) -> None:
        """Use another configuration from the next step on."""
        with self._lock:
            self._next_connection = connection
        self._interrupt.set()
        self._wake.set()

    def order(self, what: str) -> None:
        """Something that the link is to do with its next step."""
        with self._lock:
            self._orders.add(what)
        self._interrupt.set()
        self._wake.set()

    # For the phases.

    def ordered(self, what: str) -> bool:
        """Whether something was ordered; asking takes the order."""
        with self._lock:
            found = what in self._orders
            self._orders.discard(what)
        return found

    @property
    def config(self) -> Config:
        """The configuration in force."""
        return self.connection.config

    @property
    def center(self) -> Center:
        """The nerve center in use."""
        return self.connection.centers.current

    def find_center(self) -> None:
        """Use the first nerve center that is healthy, the one in use before the others.

        Raises:
            CenterError: none is.
        """
        each_s = self.config.startup.health_timeout_s + RESOLVER_S
        self.heartbeat.beat(each_s * len(self.connection.centers))
        before = self.center
        self.connection.centers.find_healthy(self.clock.monotonic())
        self._tell_center(before)

    def fail_over(self, error: CenterError) -> float | None:
        """Leave a nerve center that failed for the next; seconds until that is to be tried, None for the usual wait."""
        before = self.center
        wait = self.connection.centers.fail_over(error, self.clock.monotonic())
        self._tell_center(before)
        return wait

    def fall_back(self) -> None:
        """Go back to the preferred nerve center once it is well again."""
        now, before = self.clock.monotonic(), self.center
        if self.connection.centers.fall_back_due(now):
            self.heartbeat.beat(self.config.startup.health_timeout_s + RESOLVER_S)
            self.connection.centers.fall_back(now)
            self._tell_center(before)

    def _tell_center(self, before: Center) -> None:
        if self.center is before:
            return
        self.board.update(center_url=self.center.url)
        log.info(
            "Reporting to %s now, not to %s", self.center.url, before.url, extra=about(Kind.CENTER_CHANGED)
        )

    def take_connection(self) -> Connection | None:
        """Put a new configuration in force; the one before, or None when there was no new one."""
        with self._lock:
            new, self._next_connection = self._next_connection, None
            if new is None:
                return None
            old, self.connection = self.connection, new
            if self.stopping:
                new.transport.abort()
        self.backoff = self._make_backoff(new.config)
        self.board.update(center_url=self.center.url)
        return old

    def transition(self, event: Event) -> State:
        """Enter the state that follows an event; this is the one place that does."""
        self.life = next_state(self.life, event, self.config.delivery.failures_before_offline)
        if self.life.state is not self.board.snapshot.state:
            self.board.update(state=self.life.state, failures=self.life.failures)
        return self.life.state

    def registered(self) -> None:
        """A registration was accepted."""
        identity = self.registrar.identity
        self._doubted_since = None
        self.ordered("register")  # done, if it was ordered while this was on its way
        self.backoff.reset()
        self.board.update(
            agent_id=identity.agent_id,
            instance_id=identity.instance_id,
            failures=0,
            reason="",
            error_kind="",
            attempt=0,
            next_attempt=None,
        )
        self.transition(Event.REGISTERED)

    def pause(self, seconds: float) -> None:
        """Wait; a stop or a new configuration ends it."""
        self.heartbeat.beat(seconds)
        if self.clock.wait(self._interrupt, seconds):
            self._interrupt.clear()

    def expect_records(self) -> None:
        """Records appended from now on end the next `idle`."""
        self._wake.clear()

    def idle(self) -> None:
        """Wait for the next record."""
        self.heartbeat.beat(IDLE_S)
        self.clock.wait(self._wake, IDLE_S)

    def next_wait(self, wait_s: float, begun: float, error: CenterError) -> float:
        """A wait before the next attempt, of `wait_s` since the one that failed had begun.

        One that timed out has waited already; were the whole wait to follow, a network that heals in the last moment
        of it would be noticed late.
        """
        left = wait_s - (self.clock.monotonic() - begun)
        return self.spread_wait(max(left, self.backoff.spread(LEAST_WAIT_S)), error)

    def spread_wait(self, wait_s: float, error: CenterError) -> float:
        """A wait before the next attempt: at least what the nerve center asked for, with jitter."""
        if isinstance(error, Rejected) and error.retry_after_s is not None:
            return max(wait_s, self.backoff.spread(error.retry_after_s))
        return wait_s

    def settle_identity(self, error: CenterError) -> bool:
        """Deal with a nerve center that sees two hosts claim one identity; False for any other error.

        In doubt: wait until the other one is heard again or is silent. Cloned: both are alive, and this one is
        asked to take an instance of its own.
        """
        if not isinstance(error, Rejected) or error.status != 409:
            return False
        if error.code == "instance-cloned":
            log.warning(
                "Another live host uses this agent's identity (a clone?): enrolling as an instance of its own. "
                "Give this host a machine id of its own: rm /etc/machine-id; systemd-machine-id-setup",
                extra=about(Kind.CLONE),
            )
            try:
                self.registrar.renew()
            except IdentityError as failure:
                log.warning("%s; trying again", failure)
                self.pause(self.backoff.spread(UNWRITABLE_S))
                return True
            self.spool.disown()
            self._doubted_since = None
            return True
        if error.code != "instance-in-doubt":
            return False
        now = self.clock.monotonic()
        if self._doubted_since is None:
            self._doubted_since = now
            log.info(
                "Nerve center heard this identity from elsewhere a moment ago and waits which one is alive",
                extra=about(Kind.IDENTITY_IN_DOUBT),
            )
        if now - self._doubted_since > DOUBT_S:
            return False
        wait = self.spread_wait(2.0, error)
        self.board.update(reason=str(error), error_kind="identity", next_attempt=now + wait)
        self.pause(wait)
        return True

    def credentials(self) -> str:
        """`credentials_stamp` of now."""
        return credentials_stamp(self.config.nerve_center.enrollment_token_file, self._config_path)

    def refused(self, error: Rejected) -> None:
        """Raises GiveUp (77): the nerve center refused this agent."""
        why = refusal(error, self.config.nerve_center.enrollment_token_file)
        self.give_up(EX_NOPERM, f"nerve center {self.center.url} refused this agent: {why}")

    def give_up(self, code: int, sentence: str) -> None:
        """Raises GiveUp, after the failed start was written down and logged as far as it is news."""
        self.board.update(reason=sentence, next_attempt=None)
        if self.history.may_speak():
            failed = self.history.failures.count
            again = f" ({failed + 1} starts in a row)" if failed else ""
            kind = Kind.REFUSED if code == EX_NOPERM else Kind.GAVE_UP
            log.error(
                "Giving up for now%s: %s",
                again,
                sentence,
                extra=about(
                    kind, exit_code=code, attempt=failed + 1, error_kind=self.board.snapshot.error_kind
                ),
            )
        self.history.failed(code == EX_NOPERM, self.credentials(), sentence)
        raise GiveUp(code, sentence)


def is_refusal(error: CenterError) -> bool:
    """Whether the nerve center does not accept this agent's token or credential."""
    return isinstance(error, Rejected) and error.status in (401, 403)
