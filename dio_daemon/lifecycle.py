"""The agent's life as a pure function: which state follows which, and nothing else.

    starting -> waiting -> registering -> active <-> warning -> offline -> active ...
       any state -- StopRequested --> stopping

`next_state` computes; the link is the only one that stores the result, everyone else reads a `Snapshot`.
Local problems (a failing collector, a full disk) are conditions beside the state, not states.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum


class State(Enum):
    """Where the agent is in its life."""

    STARTING = "starting"
    WAITING = "waiting"
    REGISTERING = "registering"
    ACTIVE = "active"
    WARNING = "warning"
    OFFLINE = "offline"
    STOPPING = "stopping"


class Event(Enum):
    """What can happen to the agent as far as its state is concerned."""

    OPENED = "opened"
    CENTER_HEALTHY = "center_healthy"
    REGISTERED = "registered"
    REPORT_ACKNOWLEDGED = "report_acknowledged"
    REPORT_FAILED = "report_failed"
    REREGISTER = "reregister"
    STOP_REQUESTED = "stop_requested"


@dataclass(frozen=True)
class Lifecycle:
    """A state and the number of reports in a row that failed on the way to it."""

    state: State = State.STARTING
    failures: int = 0


@dataclass(frozen=True)
class Snapshot:
    """What everyone but the link may know of it; replaced as a whole, never changed.

    `since` and `last_acknowledged` are seconds on the agent's monotonic clock.
    """

    state: State
    since: float
    since_wall: str
    failures: int = 0
    attempt: int = 0
    next_attempt: float | None = None
    reason: str = ""
    error_kind: str = ""
    agent_id: str = ""
    instance_id: str = ""
    center_url: str = ""
    last_acknowledged: float | None = None
    last_acknowledged_wall: str | None = None
    conditions: dict[str, str] = field(default_factory=dict)


def next_state(current: Lifecycle, event: Event, failures_before_offline: int) -> Lifecycle:
    """The state after an event.

    Args:
        current: where the agent is.
        event: what happened.
        failures_before_offline: how many reports in a row may fail until the agent registers again.

    An event that means nothing in a state leaves it as it is: a late answer never moves the agent backwards.
    """
    state = current.state
    if state is State.STOPPING or event is Event.STOP_REQUESTED:
        return Lifecycle(State.STOPPING, current.failures)
    match state, event:
        case State.STARTING, Event.OPENED:
            return Lifecycle(State.WAITING)
        case State.WAITING, Event.CENTER_HEALTHY:
            return Lifecycle(State.REGISTERING)
        case State.REGISTERING | State.OFFLINE, Event.REGISTERED:
            return Lifecycle(State.ACTIVE)
        case State.ACTIVE | State.WARNING, Event.REPORT_ACKNOWLEDGED:
            return Lifecycle(State.ACTIVE)
        case State.ACTIVE | State.WARNING, Event.REPORT_FAILED:
            failures = current.failures + 1
            worse = State.OFFLINE if failures >= failures_before_offline else State.WARNING
            return Lifecycle(worse, failures)
        case State.ACTIVE | State.WARNING, Event.REREGISTER:
            return Lifecycle(State.OFFLINE, current.failures + 1)
    return current
