"""A message to a route becomes letters in the outbox, one to each of its addresses."""

from __future__ import annotations

import secrets

from sqlalchemy.engine import Connection

from nerve_center.alerts.message import Message, trial
from nerve_center.alerts.routes import Route
from nerve_center.store import outbox


def put(connection: Connection, route: Route, message: Message, now_us: int) -> None:
    """Put a message to every address of a route on its way; `now_us` is steady time."""
    for target in route.targets:
        outbox.put(
            connection,
            secrets.token_hex(16),
            route.name,
            target.id,
            message.severity,
            message.title,
            message.body,
            now_us,
        )


def put_trial(connection: Connection, route: Route, time_us: int, now_us: int, center_url: str = "") -> None:
    """Put a test of a route on its way: what a button on a page does. `time_us` is the time of day."""
    put(connection, route, trial(route.name, time_us, center_url), now_us)
