"""The link to the nerve center: asks for its health, registers, delivers, and comes back after an outage.

It is the only writer of the agent's state. `step` does one thing (one health check, one registration, one
report), waits where waiting is due, and returns a sentence about it. Every retry of the agent happens here and
in the phases that this module calls. Until the first registration the link may give up; after it, it never
does, unless the nerve center refuses this agent.
"""

from __future__ import annotations

import logging
from dataclasses import replace

from dio_daemon import wire
from dio_daemon.clock import rfc3339
from dio_daemon.delivery import Delivery, Sent
from dio_daemon.errors import EX_TEMPFAIL, CenterError, GiveUp, Rejected
from dio_daemon.lifecycle import Event, State
from dio_daemon.link_state import IDLE_S, RESOLVER_S, Connection, LinkState, is_refusal
from dio_daemon.maintenance import Window
from dio_daemon.messages import Kind, about
from dio_daemon.outage import Outage
from dio_daemon.policy_keeper import PolicyKeeper
from dio_daemon.startup import Startup
from dio_daemon.text import counted

log = logging.getLogger(__name__)

MAX_RETRY_S = 10.0
"""A failed report is tried again one interval after it began, and after this long at most."""
GOODBYE_S = 3.0
POLICY_AGAIN_S = 2.0
"""Between two fetches of the policy, should the nerve center name one and give another."""
POLICY_RETRY_S = 30.0


class Link:
    """The link thread's work.

    Args:
        state: what the phases share.
        delivery: sends one report.
        policy: the policy in force; told of the version that each acknowledgement names.
    """

    def __init__(self, state: LinkState, delivery: Delivery, policy: PolicyKeeper) -> None:
        self._state = state
        self._delivery = delivery
        self._policy = policy
        self._policy_at = 0.0
        self._startup = Startup(state)
        self._outage = Outage(state)
        self._retry_at: float | None = None
        self._announced: Window | None = None

    def records_waiting(self) -> None:
        """A record was appended; called from another thread."""
        self._state.records_waiting()

    def stop(self) -> None:
        """Stop: whatever is being done is broken off, then comes the goodbye. Called from another thread."""
        self._state.stop()

    def reconfigure(self, connection: Connection) -> None:
        """Use another configuration from the next step on; called from another thread."""
        self._state.replace_connection(connection)

    def try_now(self) -> None:
        """Do not wait for the next attempt; called from another thread."""
        self._state.order("try now")

    def reregister(self) -> None:
        """Register again; called from another thread."""
        self._state.order("register")

    def maintenance_changed(self) -> None:
        """A maintenance window began or ended; called from another thread."""
        self._state.order("maintenance")

    @property
    def stopping(self) -> bool:
        """Whether `stop` was called."""
        return self._state.stopping

    def step(self) -> str:
        """Do the next thing.

        Raises:
            GiveUp: this process cannot go on.
        """
        state = self._state
        self._take_configuration()
        match state.life.state:
            case State.STARTING:
                state.board.update(center_url=state.center.url)
                state.transition(Event.OPENED)
                return "opened"
            case State.WAITING:
                return self._startup.check_center()
            case State.REGISTERING:
                self._delivery.ask_for_marks()
                return self._startup.register()
            case State.ACTIVE | State.WARNING:
                return self._report()
            case State.OFFLINE:
                self._retry_at = None
                self._delivery.ask_for_marks()
                return self._outage.come_back()
        return "stopping"

    def finish(self) -> None:
        """The last flush and the goodbye, within `flush_s` and a little; called when stopped."""
        state = self._state
        was_reporting = state.life.state in (State.ACTIVE, State.WARNING)
        state.transition(Event.STOP_REQUESTED)
        state.heartbeat.beat(state.config.delivery.flush_s + GOODBYE_S + RESOLVER_S)
        if was_reporting:
            state.connection.transport.resume()
            try:
                self._flush()
                self._say_goodbye()
            except CenterError as error:
                log.info("The nerve center did not take the goodbye: %s", error)
        pending = state.spool.pending
        log.info(
            "Stopped monitoring; %s on disk for the next start",
            counted(pending, "record waits", "records wait"),
            extra=about(Kind.STOPPED, records=pending),
        )

    def _flush(self) -> None:
        state = self._state
        deadline = state.clock.monotonic() + state.config.delivery.flush_s
        try:
            while (left := deadline - state.clock.monotonic()) > 0:
                if self._send(left) is Sent.NOTHING:
                    return
        except Rejected as error:  # it is there and may still take a goodbye
            log.info("The nerve center did not take the last records: %s", error)

    def _say_goodbye(self) -> None:
        state = self._state
        identity = state.registrar.identity
        body = wire.goodbye(state.registrar.sender(state.config), rfc3339(state.clock.now()), "stopped")
        state.center.goodbye(identity.agent_id, body, identity.credential, GOODBYE_S)

    def _send(self, total_s: float | None = None) -> Sent:
        state = self._state
        sender = replace(state.registrar.sender(state.config), policy=self._policy.said())
        records = state.config.delivery.batch_records
        streams = (wire.EVENTS,) if self._announced is not None else wire.STREAMS
        return self._delivery.send_next(
            state.center, state.registrar.identity, sender, records, total_s, streams
        )

    def _note_maintenance(self) -> None:
        """Tell the nerve center when a maintenance window begins and when it is over."""
        state = self._state
        state.ordered("maintenance")
        window = state.maintenance.window
        if window == self._announced:
            return
        self._announced = window
        if window is not None:
            data = {
                "type": "maintenance.begin",
                "for_s": round(state.maintenance.left_s(), 1),
                "until": window.until,
            }
            data["message"] = window.reason
            state.board.set_conditions(
                "maintenance", {"reporting_paused": f"Reporting is paused until {window.until}"}
            )
            log.info(
                "Reporting is paused until %s: %s",
                window.until,
                window.reason or "maintenance",
                extra=about(Kind.PAUSED, duration_s=state.maintenance.left_s()),
            )
        else:
            data = {"type": "maintenance.end"}
            state.board.set_conditions("maintenance", {})
            waiting = state.spool.pending
            log.info(
                "Maintenance is over, %d records to report",
                waiting,
                extra=about(Kind.PAUSE_ENDED, records=waiting),
            )
        state.spool.append(wire.EVENTS, "event", wire.to_json(data))

    def _report(self) -> str:
        state = self._state
        if state.ordered("register"):
            log.info("Registering again, as was asked for", extra=about(Kind.REREGISTERING))
            state.transition(Event.REREGISTER)
            self._outage.begin()
            return "registering again"
        self._note_maintenance()
        if state.ordered("try now"):
            self._retry_at = None
        if self._retry_at is not None and self._retry_at > state.clock.monotonic():
            state.pause(self._retry_at - state.clock.monotonic())
            return "waited to try again"
        if state.registrar.moved:
            sentence = "the machine id changed: starting again with an identity of its own"
            log.warning(
                "%s", sentence.capitalize(), extra=about(Kind.MACHINE_ID_CHANGED, exit_code=EX_TEMPFAIL)
            )
            raise GiveUp(EX_TEMPFAIL, sentence)
        state.expect_records()
        state.heartbeat.beat(state.config.delivery.total_timeout_s + RESOLVER_S)
        begun = state.clock.monotonic()
        try:
            sent = self._send()
        except CenterError as error:
            return "stopping" if state.stopping else self._report_failed(error, begun)
        if sent is Sent.ANSWERED:  # neither a failure nor the end of one
            return "answered"
        if sent is Sent.NOTHING:
            if self._announced is not None:
                state.pause(min(state.maintenance.left_s(), IDLE_S))
                return "paused"
            state.idle()
            return "nothing to send"
        if state.life.failures:
            log.info(
                "Reports are acknowledged again after %d failure%s",
                state.life.failures,
                "" if state.life.failures == 1 else "s",
                extra=about(Kind.ACKNOWLEDGED_AGAIN, state=State.ACTIVE.value, failures=state.life.failures),
            )
        self._retry_at = None
        state.connection.centers.acknowledged()
        state.board.update(
            last_acknowledged=state.clock.monotonic(),
            last_acknowledged_wall=rfc3339(state.clock.now()),
            failures=0,
            reason="",
            error_kind="",
            next_attempt=None,
        )
        state.transition(Event.REPORT_ACKNOWLEDGED)
        self._follow_policy()
        state.fall_back()
        return "acknowledged"

    def _follow_policy(self) -> None:
        """Fetch the policy that the last acknowledgement named, where it is another one than is in force."""
        state = self._state
        announced = state.center.policy
        if announced == "" or not self._policy.wants(announced) or announced is None:
            return
        if state.clock.monotonic() < self._policy_at:
            return
        self._policy_at = state.clock.monotonic() + POLICY_AGAIN_S
        state.heartbeat.beat(state.config.delivery.total_timeout_s + RESOLVER_S)
        identity = state.registrar.identity
        try:
            raw = state.center.fetch_policy(identity.agent_id, identity.credential)
        except CenterError as error:
            self._policy_at = state.clock.monotonic() + POLICY_RETRY_S
            log.info(
                "Cannot fetch the policy %s, trying again in %.0f s: %s", announced, POLICY_RETRY_S, error
            )
            return
        self._policy.take(raw, announced)

    def _report_failed(self, error: CenterError, begun: float) -> str:
        state = self._state
        reregister = is_refusal(error) or (
            isinstance(error, Rejected) and error.code in ("run-not-current", "instance-cloned")
        )
        throttled = isinstance(error, Rejected) and (error.status == 429 or error.code == "overloaded")
        most = state.config.delivery.failures_before_offline
        state.board.update(
            reason=str(error), error_kind=error.kind
        )  # before the state: both are told together
        if not (throttled and state.life.failures >= most - 1):  # a center that throttles is there
            state.transition(Event.REREGISTER if reregister else Event.REPORT_FAILED)
        log.warning(
            "Failed to send metrics (consecutive failures: %d): %s",
            state.life.failures,
            error,
            extra=about(
                Kind.REPORT_FAILED,
                failures=state.life.failures,
                error_kind=error.kind,
                http_status=error.status,
                records=state.spool.pending,
            ),
        )
        wait = state.fail_over(error)
        if wait is None:
            wait = state.backoff.spread(min(state.config.agent.interval_s, MAX_RETRY_S))
            wait = state.next_wait(wait, begun, error)
        self._retry_at = state.clock.monotonic() + wait
        state.board.update(
            failures=state.life.failures,
            reason=str(error),
            error_kind=error.kind,
            next_attempt=self._retry_at,
        )
        if state.life.state is State.OFFLINE:
            offline = about(
                Kind.OFFLINE,
                failures=state.life.failures,
                error_kind=error.kind,
                http_status=error.status,
                records=state.spool.pending,
            )
            if reregister:
                log.warning(
                    "The nerve center asks for another registration, attempting to re-register...",
                    extra=offline,
                )
            else:
                log.warning("Too many consecutive failures, attempting to re-register...", extra=offline)
            self._outage.begin()
        return f"report failed: {error}"

    def _take_configuration(self) -> None:
        state = self._state
        old = state.take_connection()
        if old is None:
            return
        new = state.config
        # The interval stands in every report; for it alone nobody has to register again.
        agent = replace(old.config.agent, interval_s=new.agent.interval_s)
        if old.config.nerve_center == new.nerve_center and agent == new.agent:
            return
        if state.life.state in (State.ACTIVE, State.WARNING):
            log.info("Registering again with the new configuration", extra=about(Kind.REREGISTERING))
            state.transition(Event.REREGISTER)
            self._outage.begin()
