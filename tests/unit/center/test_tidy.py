"""What the keeper removes of people's traces, and what it leaves."""

from __future__ import annotations

import threading

from sqlalchemy import func, select
from sqlalchemy import table as named

from nerve_center.keeper import tidy
from nerve_center.keeper.lease import Lease
from nerve_center.keeper.task import Desk
from nerve_center.store import audit
from nerve_center.store.engine import reading
from tests.unit.center.browser import Browser, person
from tests.unit.center.harness import CenterUnderTest

DAY_US = 86_400_000_000


def count(center: CenterUnderTest, table: str) -> int:
    with reading(center.center.engine) as connection:
        return int(connection.execute(select(func.count()).select_from(named(table))).scalar_one())


def step(center: CenterUnderTest) -> str:
    here = center.center
    lease = Lease(here.engine, here.writer, center.clock, "test", 15.0)
    lease.step()
    assert lease.held
    return tidy.step(Desk(center.settings, here.engine, here.writer, lease, center.clock, threading.Event()))


def test_what_is_over_goes(center: CenterUnderTest) -> None:
    person(center)
    kept, idle = Browser(center), Browser(center)
    idle.login()
    Browser(center).login(password="wrong")
    center.clock.advance(12 * 3600 - 1)
    kept.login()
    assert step(center) == ""
    assert count(center, "web_sessions") == 2
    center.clock.advance(1)
    step(center)
    assert count(center, "web_sessions") == 1
    assert kept.get("/account").status_code == 200
    center.clock.advance(600)
    step(center)
    assert count(center, "login_attempts") == 0


def test_the_audit_log_is_bounded(center: CenterUnderTest) -> None:
    now_us = center.clock.now_us()
    for age in (1300, 366, 364, 0):
        for number in range(300):
            center.center.writer.submit(
                lambda connection, at=now_us - age * DAY_US, number=number: audit.note(
                    connection, at, "local:root", "user.add", str(number)
                )
            )
    assert step(center) == "600 old entries of the audit log removed"
    with reading(center.center.engine) as connection:
        left = audit.page(connection, None, 1000)
    assert len(left) == 600
    assert min(entry.time_us for entry in left) == now_us - 364 * DAY_US
    assert step(center) == ""
