"""What people leave behind: sessions, links and counted attempts that are over, and old entries of the audit log."""

from __future__ import annotations

from sqlalchemy.engine import Connection

from nerve_center.keeper.task import Desk, Task
from nerve_center.people import idle_us
from nerve_center.store import attempts, audit, users

EVERY_S = 600.0
_BATCH = 500
_DAY_US = 86_400_000_000


def step(desk: Desk) -> str:
    """Remove them, a few at a time; what there was to remove."""
    now_us = desk.steady.now_us()

    def over(connection: Connection) -> None:
        users.forget_old(connection, now_us, idle_us(desk.settings.login))
        attempts.forget_old(connection, now_us)

    desk.write(over)
    before_us = desk.clock.now_us() - round(desk.settings.keeper.audit_days * _DAY_US)
    gone = 0
    while removed := desk.write(lambda connection: audit.forget(connection, before_us, _BATCH)):
        gone += removed
        desk.pause(0.05)
    return f"{gone} old entries of the audit log removed" if gone else ""


TASK = Task("tidy", EVERY_S, step)
