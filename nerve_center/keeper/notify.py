"""Who is to be told what: compared, again and again, with what each route knows, and put in the outbox.

Nothing is derived from single changes, so nothing is lost in a restart, and what opened and cleared in between
bothers nobody. For each route, of the threats that are active:

    one that it does not know, or that opened again      it opened
    one that has become worse than it knows              it is worse
    one that nobody has acknowledged for so long         a reminder
    one that it knows and that is active no more         it is over

Nobody is told of what is silenced, in a maintenance window, a part of an outbreak, or on a host that is offline
(that itself is told); what of it is still there afterwards is told then. News wait for `group_s`, so that what
belongs together comes as one message. It is put in the outbox in the transaction that notes that it is known.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from sqlalchemy.engine import Connection

from nerve_center.alerts.letters import put
from nerve_center.alerts.message import Message, News, compose
from nerve_center.alerts.plans import Plans
from nerve_center.alerts.routes import Plan, Route
from nerve_center.keeper.task import Desk, Task
from nerve_center.store import outbox, silences, threat_reading
from nerve_center.store.outbox import Told
from nerve_center.store.threat_reading import Filter, Threat
from nerve_center.store.threats import ACTIVE, OFFLINE, OUTBREAK

EVERY_S = 5.0
_MOST = 5000
_HOUR_US = 3600 * 1_000_000
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Turn:
    """What one look found for one route."""

    route: Route
    news: News
    forget: Sequence[int]

    def known(self, now_us: int) -> list[Told]:
        told = (*self.news.opened, *self.news.worse, *self.news.still)
        return [Told(threat.key, threat.rank, threat.times_opened, now_us) for threat in told]


class Notifier:
    """Keeps, while it lives, since when each piece of news has waited, and the threats as it saw them last."""

    def __init__(self, plans: Plans) -> None:
        self._plans = plans
        self._waiting: dict[tuple[str, int, int], float] = {}
        self._active = threat_reading.Remembered()

    def step(self, desk: Desk) -> str:
        """Look once; how many messages were written."""
        plan = self._plans.current()
        now_us = desk.steady.now_us()
        with desk.reading() as connection:
            quiet = silences.in_force(connection, desk.clock.now_us())
            active, _ = threat_reading.page(
                connection, Filter(statuses=ACTIVE), _MOST, worst_first=True, remembered=self._active
            )
            free = _untroubled(plan, active, quiet, desk.clock.now_us())
            turns = [_look(connection, route, active, free, now_us) for route in plan.routes]
        written = 0
        for turn in self._ripe(turns, plan.group_s, desk.clock.monotonic()):
            message = compose(turn.news, plan.center_url) if turn.news else None
            desk.write(partial(_store, turn=turn, message=message, now_us=now_us))
            written += message is not None
            if message is not None:
                _log.info("telling route %s: %s", turn.route.name, message.title)
        names = [route.name for route in plan.routes]
        desk.write(partial(outbox.forget_other_routes, names=names))
        return f"{written} messages" if written else ""

    def _ripe(self, turns: Sequence[_Turn], group_s: float, now: float) -> list[_Turn]:
        """Those with something to tell that has waited long enough; with it goes all that the route has to hear."""
        waiting: dict[tuple[str, int, int], float] = {}
        ripe: list[_Turn] = []
        for turn in turns:
            name = turn.route.name
            fresh = [
                (name, threat.key, threat.rank)
                for threat in (*turn.news.opened, *turn.news.worse, *turn.news.over)
            ]
            since = {item: self._waiting.get(item, now) for item in fresh}
            waited = any(now - began >= group_s for began in since.values())
            if waited or turn.news.still or (turn.forget and not fresh):
                ripe.append(turn)
            else:
                waiting.update(since)
        self._waiting = waiting
        return ripe


def task(plans: Plans) -> Task:
    """The duty, by the plan in force."""
    return Task("notify", EVERY_S, Notifier(plans).step)


def _untroubled(
    plan: Plan, active: Sequence[Threat], quiet: Sequence[silences.Silence], now_us: int
) -> list[Threat]:
    """Those that neither a silence nor a window nor a host that is offline keeps from being told."""
    offline = {threat.agent_key for threat in active if threat.type == OFFLINE}
    return [
        threat
        for threat in active
        if not (threat.type != OFFLINE and threat.agent_key is not None and threat.agent_key in offline)
        and not any(window.covers(threat.labels, now_us) for window in plan.windows)
        and not silences.covering(quiet, threat.agent_key, threat.fingerprint, threat.type, threat.labels)
    ]


def _look(
    connection: Connection, route: Route, active: Sequence[Threat], free: Sequence[Threat], now_us: int
) -> _Turn:
    told = outbox.told_of(connection, route.name)
    wanted = [threat for threat in free if _wants(route, threat)]
    outbreaks = {
        (threat.more.get("of_type"), threat.more.get("of_subject"))
        for threat in wanted
        if threat.type == OUTBREAK
    }
    wanted = [threat for threat in wanted if (threat.type, threat.subject) not in outbreaks]
    opened, worse, still = [], [], []
    for threat in wanted:
        known = told.get(threat.key)
        if known is None or known.times_opened != threat.times_opened:
            opened.append(threat)
        elif threat.rank > known.rank:
            worse.append(threat)
        elif threat.status == "open" and 0 < route.remind_every_h * _HOUR_US <= now_us - known.told_us:
            still.append(threat)
    ended = _ended(connection, told, {threat.key for threat in active})
    over = [threat for threat in ended if route.cleared and threat.status == "cleared"]
    return _Turn(route, News(opened, worse, still, over), [threat.key for threat in ended])


def _ended(connection: Connection, told: Mapping[int, Told], active: set[int]) -> list[Threat]:
    keys = [key for key in told if key not in active]
    return [threat for threat in threat_reading.of_keys(connection, keys) if threat.status not in ACTIVE]


def _wants(route: Route, threat: Threat) -> bool:
    """What is the center's own, about many hosts, goes by severity and type alone."""
    labels = threat.labels if threat.agent_key is not None else route.labels
    return route.wants(threat.rank, threat.type, labels)


def _store(connection: Connection, turn: _Turn, message: Message | None, now_us: int) -> None:
    if message is not None:
        put(connection, turn.route, message, now_us)
    outbox.forget_told(connection, turn.route.name, turn.forget)
    outbox.note_told(connection, turn.route.name, turn.known(now_us))
