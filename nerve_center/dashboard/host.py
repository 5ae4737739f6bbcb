"""One host: what it is, how it is and was, what is wrong, and what happened when."""

from __future__ import annotations

import json
from typing import Any

from flask import Response, render_template, request
from sqlalchemy.engine import Connection, Row

from nerve_center import continuity, presence, web
from nerve_center.dashboard import chart_library, series, timeline
from nerve_center.dashboard.site import blueprint, requires
from nerve_center.errors import Refused
from nerve_center.store import agents, records, silences, threat_reading
from nerve_center.store.continuity import stored as histories
from nerve_center.store.engine import reading
from nerve_center.store.series import kept
from nerve_center.store.threats import ACTIVE

RANGES = (
    ("1h", "1 hour", 3600),
    ("6h", "6 hours", 6 * 3600),
    ("24h", "1 day", 86400),
    ("7d", "1 week", 7 * 86400),
    ("30d", "30 days", 30 * 86400),
    ("1y", "1 year", 366 * 86400),
)
_LEAST_S, _MOST_S = 60, 367 * 86400
_MOST_THREATS = 20


@blueprint.get("/hosts/<agent_id>")
@requires("viewer")
def host(agent_id: str) -> str:
    """The page of a host."""
    here = web.center()
    now_us = here.steady.now_us()
    with reading(here.engine) as connection:
        row = _known(connection, agent_id)
        latest = records.latest_sample(connection, row.key)
        instances = agents.instances_of(connection, row.key)
        lines = timeline.of_host(connection, row.key)
        wanted = threat_reading.Filter(statuses=ACTIVE, host=row.id)
        threats, _ = threat_reading.page(connection, wanted, _MOST_THREATS, worst_first=True)
        quiet = silences.in_force(connection, here.clock.now_us())
    shown = here.steady.shown
    labels = json.loads(row.labels)
    return render_template(
        "host.html",
        host=row,
        facts=json.loads(row.host),
        labels=sorted(labels.items()),
        state=presence.state(row.heard_us, row.goodbye_us, row.maintenance_until_us, row.interval_s, now_us),
        seen_us=_shown(row.last_report_us),
        registered_us=_shown(row.registered_us),
        maintenance_us=_shown(row.maintenance_until_us),
        sample=None if latest is None else json.loads(latest.json),
        sampled_us=None if latest is None else latest.time_us,
        instances=[
            (item, shown(item.enrolled_us), _shown(item.last_report_us), item.live(now_us))
            for item in instances[:20]
        ],
        lines=lines,
        threats=threats,
        silences=silences.of_whole_host(quiet, row.key, labels),
        spans=silences.SPANS,
        policy=None if row.policy is None else json.loads(row.policy),
        ranges=RANGES,
        groups=series.GROUPS,
        has_charts=chart_library.path() is not None,
    )


@blueprint.get("/hosts/<agent_id>/series")
@requires("viewer")
def host_series(agent_id: str) -> Response:
    """What the charts draw between `since` and `until` (milliseconds since 1970)."""
    here = web.center()
    until_us = _milliseconds("until", here.clock.now_us())
    since_us = _milliseconds("since", until_us - 3600 * 1_000_000)
    if not _LEAST_S * 1_000_000 <= until_us - since_us <= _MOST_S * 1_000_000:
        raise Refused(400, "bad-parameter", "The span must be a minute to a year.")
    with reading(here.engine) as connection:
        row = _known(connection, agent_id)
        course = series.between(
            connection, row, since_us, until_us, here.clock.now_us(), kept(here.config.retention)
        )
        found = series.document(course.points, course.step_us, since_us, until_us)
        found["late"] = course.late
        found["marks"] = timeline.marks(connection, row.key, since_us, until_us)
        found["away"] = timeline.away(connection, row.key, since_us, until_us)
    return Response(series.dumped(found), mimetype="application/json")


@blueprint.get("/hosts/<agent_id>/moment")
@requires("viewer")
def host_moment(agent_id: str) -> str:
    """The processes and disks at a moment, `at` in milliseconds since 1970 (else the newest): a part of the page."""
    here = web.center()
    at_us = _milliseconds("at", 0)
    with reading(here.engine) as connection:
        row = _known(connection, agent_id)
        found, _ = records.sample_page(
            connection, row.key, 1, until_us=at_us + 1 if at_us else None, newest=True
        )
    sample = found[0] if found else None
    return render_template(
        "_moment.html",
        sample=None if sample is None else json.loads(sample.json),
        sampled_us=None if sample is None else sample.time_us,
    )


@blueprint.get("/hosts/<agent_id>/continuity")
@requires("viewer")
def host_continuity(agent_id: str) -> str:
    """Whether anything is unaccounted for: a part of the page."""
    here = web.center()
    with reading(here.engine) as connection:
        row = _known(connection, agent_id)
        found = continuity.report(row.id, histories(connection, row.key), None)
    return render_template("_continuity.html", report=found)


def _known(connection: Connection, agent_id: str) -> Row[Any]:
    row = agents.by_id(connection, agent_id[:64])
    if row is None:
        raise Refused(404, "agent-unknown", "There is no host of this id.")
    return row


def _shown(stamp_us: int | None) -> int | None:
    return None if stamp_us is None else web.center().steady.shown(stamp_us)


def _milliseconds(name: str, default_us: int) -> int:
    text = request.args.get(name, "")
    if not text:
        return default_us
    if not (text.isascii() and text.isdigit() and len(text) <= 14):
        raise Refused(400, "bad-parameter", f"{name} must be milliseconds since 1970.")
    return int(text) * 1000
