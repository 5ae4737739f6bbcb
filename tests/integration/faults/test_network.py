"""Faults of the network: noticed, told apart, survived; nothing lost and nothing stored twice.

One agent lives through all of them, so that each one also finds what the one before has left.
"""

import random
from collections.abc import Iterator

import pytest

from tests.integration.faults.conftest import QUICK
from tests.support.hosts import Host
from tests.support.oracle import settled
from tests.support.processes import RealCenter
from tests.support.proxy import CANNED, FAULTS, PASS, PROBLEMS

KINDS: dict[str, set[str]] = {
    "refuse": {"refused"},
    "reset": {"reset", "broken"},
    "reset_mid_request": {"reset", "broken"},
    "deaf": {"timeout"},
    "black_hole": {"timeout"},
    "half_open": {"timeout"},
    "lose_response": {"reset", "broken"},
    "truncate_response": {"broken"},
    "delay_response": {"timeout"},
    "slow_response": {"timeout"},
    "garbage": {"broken"},
    **{name: {"not_a_nerve_center"} for name in CANNED},
    **{f"status_{status}": {"status"} for status in (413, 429, 502, 503)},
}


@pytest.fixture(scope="module")
def host(calm_center: RealCenter, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    made = Host(tmp_path_factory.mktemp("network") / "host", calm_center, random.Random(1), QUICK)
    made.started()
    yield made
    made.close()


def test_every_fault_is_known() -> None:
    assert set(KINDS) == set(FAULTS)


@pytest.mark.parametrize("fault", FAULTS)
def test_exchanges_that_fail(calm_center: RealCenter, host: Host, fault: str) -> None:
    host.active()
    host.proxy.fault = fault
    try:
        status = host.failing()
        assert status["error_kind"] in KINDS[fault], status
        assert status["reason"] and status["reason"] in status["status_line"]
    finally:
        host.proxy.fault = PASS
    assert host.active()["error_kind"] is None
    settled(calm_center, host)


@pytest.mark.parametrize("fault", PROBLEMS)
def test_answers_of_a_nerve_center_in_trouble(calm_center: RealCenter, host: Host, fault: str) -> None:
    host.active()
    known = host.id
    before = len(host.exits)
    host.proxy.fault = fault
    try:
        if fault == "problem_413":  # a record that is too large alone is set aside
            host.wait(lambda status: status["spool"]["dead_letters"] > 0, "a dead letter")
        elif fault in ("problem_401", "problem_403"):
            host.wait(lambda status: len(host.exits) > before, "an end")
            assert host.exits[before] == 77
        else:
            assert host.failing()["error_kind"] == "status"
    finally:
        host.proxy.fault = PASS
    host.active()
    settled(calm_center, host, gaps=True)
    assert host.id == known
