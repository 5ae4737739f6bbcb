"""Under pressure writers are refused at once, spread out, and nobody who asks for health is."""

import random

import pytest

from nerve_center.admission import RETRY_AFTER_S, Admission, spread
from nerve_center.errors import DatabaseUnavailable

from .harness import CenterUnderTest, problem


def test_beyond_the_most_it_is_refused_and_a_place_comes_free() -> None:
    admission = Admission(most=1)
    with admission, pytest.raises(DatabaseUnavailable), admission:
        pass
    assert admission.refused == 1
    with admission:
        pass


def test_a_full_center_answers_503_spread_and_health_still_answers(center: CenterUnderTest) -> None:
    agent = center.agent()
    center.center.admission = Admission(most=0)
    waits = set()
    for _ in range(60):
        answer = agent.send(agent.report([agent.record(1)]))
        assert answer.status_code == 503
        assert problem(answer) == "overloaded"
        waits.add(int(answer.headers["Retry-After"]))
    assert waits == set(range(RETRY_AFTER_S, 3 * RETRY_AFTER_S + 1))
    assert problem(agent.register()) == "overloaded"
    assert problem(agent.goodbye()) == "overloaded"
    center.center.probe.step()
    assert center.get("/health", token=None).status_code == 200


def test_the_spread_is_whole_seconds_from_once_to_three_times() -> None:
    rng = random.Random(1)
    assert {spread(2, rng) for _ in range(200)} == {2, 3, 4, 5, 6}
