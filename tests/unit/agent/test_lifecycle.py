"""The agent's life as a table, and the promises that hold for every walk through it."""

from hypothesis import given
from hypothesis import strategies as st

from dio_daemon.lifecycle import Event, Lifecycle, State, next_state

LIMIT = 5


def walk(*events: Event) -> Lifecycle:
    life = Lifecycle()
    for event in events:
        life = next_state(life, event, LIMIT)
    return life


TO_ACTIVE = (Event.OPENED, Event.CENTER_HEALTHY, Event.REGISTERED)


def test_the_way_to_active() -> None:
    assert walk(Event.OPENED).state is State.WAITING
    assert walk(Event.OPENED, Event.CENTER_HEALTHY).state is State.REGISTERING
    assert walk(*TO_ACTIVE) == Lifecycle(State.ACTIVE, 0)


def test_one_to_four_failures_warn_and_the_fifth_is_offline() -> None:
    for failures in range(1, LIMIT):
        assert walk(*TO_ACTIVE, *[Event.REPORT_FAILED] * failures) == Lifecycle(State.WARNING, failures)
    assert walk(*TO_ACTIVE, *[Event.REPORT_FAILED] * LIMIT) == Lifecycle(State.OFFLINE, LIMIT)


def test_an_acknowledgement_ends_the_warning() -> None:
    assert walk(*TO_ACTIVE, Event.REPORT_FAILED, Event.REPORT_ACKNOWLEDGED) == Lifecycle(State.ACTIVE, 0)


def test_offline_ends_only_with_a_registration() -> None:
    offline = walk(*TO_ACTIVE, *[Event.REPORT_FAILED] * LIMIT)
    for event in (Event.REPORT_ACKNOWLEDGED, Event.REPORT_FAILED, Event.CENTER_HEALTHY, Event.OPENED):
        assert next_state(offline, event, LIMIT) == offline
    assert next_state(offline, Event.REGISTERED, LIMIT) == Lifecycle(State.ACTIVE, 0)


def test_a_refused_credential_registers_again_at_once() -> None:
    assert walk(*TO_ACTIVE, Event.REREGISTER).state is State.OFFLINE


@given(st.lists(st.sampled_from(Event), max_size=60), st.integers(1, 9))
def test_every_walk(events: list[Event], limit: int) -> None:
    life, registered = Lifecycle(), False
    for event in events:
        before, life = life, next_state(life, event, limit)
        registered = registered or event is Event.REGISTERED
        if life.state in (State.ACTIVE, State.WARNING, State.OFFLINE):
            assert registered, "nothing is ever active before a registration was accepted"
        if life.state is State.ACTIVE:
            assert life.failures == 0
        if life.state is State.WARNING:
            assert 1 <= life.failures < limit
        if before.state is State.STOPPING:
            assert life.state is State.STOPPING
        if event is Event.STOP_REQUESTED:
            assert life.state is State.STOPPING
