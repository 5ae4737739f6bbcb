"""How long ago a worker lived is the same by gunicorn's clock, old or new, whatever was done to the time of day."""

import time
from collections.abc import Iterator

import pytest
from gunicorn.config import Config

from nerve_center.pulse import Pulse

HOUR_S = 3600.0


@pytest.fixture(params=[True, False], ids=["gunicorn 20", "gunicorn 23"])
def pulse(request: pytest.FixtureRequest) -> Iterator[Pulse]:
    made = Pulse(Config(), time_of_day=request.param)
    yield made
    made.close()


def silent_s(pulse: Pulse) -> float:
    """As gunicorn's master asks."""
    return (time.time() if pulse._time_of_day else time.monotonic()) - pulse.last_update()


@pytest.mark.parametrize("step_s", [0.0, HOUR_S, -HOUR_S])
def test_a_step_of_the_clock_is_no_silence(
    pulse: Pulse, monkeypatch: pytest.MonkeyPatch, step_s: float
) -> None:
    pulse.notify()
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + step_s)
    assert abs(silent_s(pulse)) < 60


@pytest.mark.parametrize("step_s", [0.0, HOUR_S, -HOUR_S])
def test_silence_is_seen(pulse: Pulse, monkeypatch: pytest.MonkeyPatch, step_s: float) -> None:
    pulse.notify()
    wall, steady = time.time, time.monotonic
    monkeypatch.setattr(time, "time", lambda: wall() + 600 + step_s)
    monkeypatch.setattr(time, "monotonic", lambda: steady() + 600)
    assert 590 < silent_s(pulse) < 660
