"""The page on which an admin sees who is notified of what, whether it arrives, and tries a route."""

from __future__ import annotations

from typing import Any

from flask import redirect, render_template, url_for
from sqlalchemy.engine import Connection, Row
from werkzeug.wrappers import Response as AnyResponse

from nerve_center import web
from nerve_center.alerts import letters, routes
from nerve_center.alerts.routes import Plan
from nerve_center.alerts.windows import DAYS
from nerve_center.dashboard.site import blueprint, me, requires
from nerve_center.errors import ConfigError, Refused
from nerve_center.store import audit, outbox
from nerve_center.store.engine import reading
from nerve_center.store.threats import SEVERITIES

_NEWEST = 50
_PATIENCE_US = 90_000_000
"""How long the keeper may take to a message that is due: a claim of a sender that died lasts a minute."""


@blueprint.get("/notifications")
@requires("admin")
def notifications() -> str:
    """Routes, windows, and the messages of the last week."""
    here = web.center()
    plan, wrong = _plan()
    now_us, steady_us = here.clock.now_us(), here.steady.now_us()
    with reading(here.engine) as connection:
        messages = outbox.newest(connection, _NEWEST)
        since_us = outbox.waits_since(connection)
    return render_template(
        "notifications.html",
        file=here.config.notify.file,
        wrong=wrong,
        routes=[(route, SEVERITIES[route.rank - 1]) for route in plan.routes],
        windows=[
            (window, [day for day in DAYS if day in window.days], window.covers(window.labels, now_us))
            for window in plan.windows
        ],
        messages=[(row, here.steady.shown(row.created_us), _state(row)) for row in messages],
        stuck=since_us is not None and steady_us - since_us > _PATIENCE_US,
    )


@blueprint.post("/notifications/<name>/test")
@requires("admin")
def try_route(name: str) -> AnyResponse:
    """Put a test message to every address of a route on its way; the keeper sends it, as any other."""
    here, person = web.center(), me()
    plan, _ = _plan()
    route = next((route for route in plan.routes if route.name == name), None)
    if route is None:
        raise Refused(404, "not-found", "There is no such route.", "Load the page of notifications again.")
    time_us, now_us = here.clock.now_us(), here.steady.now_us()

    def work(connection: Connection) -> None:
        letters.put_trial(connection, route, time_us, now_us, plan.center_url)
        audit.note(connection, time_us, person.actor, "notify.test", route.name, {})

    here.writer.submit(work)
    return redirect(url_for("dashboard.notifications"), 303)


def _plan() -> tuple[Plan, list[str]]:
    """The file as it is now, and what is wrong with it."""
    try:
        return routes.load(web.center().config.notify.file), []
    except ConfigError as exc:
        return Plan(), list(exc.errors)


def _state(row: Row[Any]) -> str:
    """`sent`, `failed` (given up), `waiting`, or `retrying` after an attempt that failed."""
    if row.done_us is not None:
        return "failed" if row.failed else "sent"
    return "retrying" if row.error else "waiting"
