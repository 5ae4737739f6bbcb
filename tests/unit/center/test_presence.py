import pytest

from nerve_center import presence

S = 1_000_000


@pytest.mark.parametrize(
    ("age_s", "state"),
    [(0, "active"), (22, "active"), (22.1, "warning"), (32, "warning"), (32.1, "offline"), (-3600, "active")],
)
def test_the_state_follows_from_the_agents_own_interval(age_s: float, state: str) -> None:
    now = 10_000 * S
    assert presence.state(round(now - age_s * S), None, None, 10.0, now) == state


def test_a_goodbye_and_no_report_yet() -> None:
    assert presence.state(0, 5, None, 10.0, 10**15) == "stopped"
    assert presence.state(None, None, None, 10.0, 10**15) == "never_reported"


def test_an_announced_silence_is_maintenance_until_its_end() -> None:
    now = 10_000 * S
    heard = now - 100 * S
    assert presence.state(heard, None, now + 1, 10.0, now) == "maintenance"
    assert presence.state(heard, None, now, 10.0, now) == "offline"
    assert presence.state(now, None, now + 1, 10.0, now) == "active"
