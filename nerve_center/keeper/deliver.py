"""The outbox is emptied: each message is claimed, sent to its address, and noted as sent or as to be tried again."""

from __future__ import annotations

import logging
from functools import partial

from nerve_center.alerts.message import Message
from nerve_center.alerts.plans import Plans
from nerve_center.alerts.routes import Plan, Target
from nerve_center.alerts.sender import Send, send
from nerve_center.keeper.task import Desk, Task
from nerve_center.store import outbox
from nerve_center.store.outbox import Letter

EVERY_S = 3.0
_AT_ONCE = 50
_log = logging.getLogger(__name__)


class Delivery:
    """Sends what is due. Remembers which addresses are in trouble, to say it once."""

    def __init__(self, plans: Plans, send_: Send) -> None:
        self._plans = plans
        self._send = send_
        self._troubled: set[str] = set()

    def step(self, desk: Desk) -> str:
        """Send what is due; how many messages were sent."""
        plan = self._plans.current()
        now_us = desk.steady.now_us()
        with desk.reading() as connection:
            letters = outbox.due(connection, now_us, _AT_ONCE)
        sent = 0
        for letter in letters:
            claimed_us = desk.steady.now_us()
            if desk.write(partial(outbox.claim, letter=letter, now_us=claimed_us)):
                sent += self._deliver(desk, plan, letter)
            desk.check()
        desk.write(partial(outbox.forget, now_us=now_us))
        return f"{sent} messages sent" if sent else ""

    def _deliver(self, desk: Desk, plan: Plan, letter: Letter) -> bool:
        target = _target(plan, letter)
        if target is None:
            why: str | None = "its address is no longer in the configuration"
        else:
            why = self._send(target, Message(letter.title, letter.body, letter.severity), letter.id)
        now_us = desk.steady.now_us()
        if why is None:
            desk.write(lambda connection: outbox.sent(connection, letter, now_us))
            if letter.target in self._troubled:
                self._troubled.discard(letter.target)
                _log.info("notifications to route %s are delivered again", letter.route)
            return True
        given_up = desk.write(lambda connection: outbox.not_sent(connection, letter, now_us, why))
        if letter.target not in self._troubled:
            self._troubled.add(letter.target)
            _log.warning(
                "a notification to route %s was not delivered and is tried again: %s", letter.route, why
            )
        if given_up:
            _log.error("a notification to route %s was given up after a day: %s", letter.route, letter.title)
        return False


def task(plans: Plans, send_: Send = send) -> Task:
    """The duty, by the plan in force."""
    return Task("deliver", EVERY_S, Delivery(plans, send_).step)


def _target(plan: Plan, letter: Letter) -> Target | None:
    for route in plan.routes:
        if route.name == letter.route:
            for target in route.targets:
                if target.id == letter.target:
                    return target
    return None
