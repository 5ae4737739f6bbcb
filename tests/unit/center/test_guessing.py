"""Guessing names and passwords: bounded, slow, and told nothing."""

from __future__ import annotations

from typing import Any

import pytest
from werkzeug.test import TestResponse

from nerve_center import people
from nerve_center.passwords import Cost, Passwords
from nerve_center.store import users
from tests.unit.center.browser import Browser, audited, person, write
from tests.unit.center.harness import CenterUnderTest


def test_guessing(center: CenterUnderTest) -> None:
    """One account from one place: five attempts, then the right password does not help either, for ten minutes."""
    person(center)
    browser = Browser(center)
    for _ in range(people.PER_BOTH):
        assert browser.login(password="guess").status_code == 401
    answer = browser.login()
    assert answer.status_code == 429
    assert 0 < int(answer.headers["Retry-After"]) <= people.WINDOW_S
    assert audited(center) == [("center", "login.refused", "ann")]
    assert Browser(center, "192.0.2.2").login().status_code == 303
    center.clock.advance(people.WINDOW_S)
    assert browser.login().status_code == 303


def test_logging_in_often_is_no_guessing(center: CenterUnderTest) -> None:
    person(center)
    for _ in range(people.PER_ADDRESS + 2):
        assert Browser(center).login().status_code == 303


def test_guessing_names_from_one_place(center: CenterUnderTest) -> None:
    """Every address of a household's IPv6 network counts as one place."""
    person(center)
    for number in range(people.PER_ADDRESS):
        assert Browser(center, f"2001:db8::{number + 1:x}").login(f"name{number}").status_code == 401
    assert Browser(center, "2001:db8::ffff").login().status_code == 429
    assert Browser(center, "2001:db8:0:1::1").login().status_code == 303


def test_guessing_from_many_places(center: CenterUnderTest) -> None:
    person(center)
    for number in range(people.PER_ACCOUNT):
        assert Browser(center, f"198.51.100.{number}").login(password="guess").status_code == 401
    assert Browser(center, "203.0.113.1").login().status_code == 429


def test_two_workers_count_together(
    center: CenterUnderTest, tmp_path_factory: pytest.TempPathFactory
) -> None:
    person(center)
    folder = center.settings.database.path.parent
    other = CenterUnderTest(folder, center.clock)
    try:
        for number in range(people.PER_BOTH):
            worker = (center, other)[number % 2]
            assert Browser(worker).login(password="guess").status_code == 401
        assert [Browser(worker).login().status_code for worker in (center, other)] == [429, 429]
    finally:
        other.close()


class Counting(Passwords):
    """Passwords that say how often, and how dear, they were asked."""

    def __init__(self) -> None:
        super().__init__(Cost(16, 8, 1))
        self.costs: list[Cost] = []

    def _key(self, password: str, salt: bytes, cost: Cost) -> bytes:
        self.costs.append(cost)
        return super()._key(password, salt, cost)


@pytest.mark.parametrize("name", ["ann", "nobody", "gone", "", "x" * 200, "'; --", "\0"])
def test_an_unknown_name_costs_what_a_wrong_password_costs(center: CenterUnderTest, name: str) -> None:
    person(center)
    person(center, "gone")
    write(center, lambda connection: users.change(connection, "gone", disabled_us=1))
    counting = center.center.people.passwords = Counting()
    answer = Browser(center).login(name, "wrong")
    assert (answer.status_code, counting.costs) == (401, [Cost(16, 8, 1)])
    assert "Name or password is not right." in answer.text


def test_no_more_than_a_few_passwords_at_once(center: CenterUnderTest) -> None:
    person(center)
    inside = Passwords(Cost(16, 8, 1))
    depth = 0

    def apart(work: Any) -> Any:
        nonlocal depth
        depth += 1
        if depth < 20:
            answers.append(Browser(center, f"198.51.100.{depth}").login())
        return work()

    answers: list[TestResponse] = []
    inside.apart = apart
    center.center.people.passwords = inside
    answers.append(Browser(center).login())
    assert sorted({answer.status_code for answer in answers}) == [303, 503]
