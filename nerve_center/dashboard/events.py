"""Events of the whole fleet, and for admins what people changed."""

from __future__ import annotations

import json
import re
from typing import Any

from flask import request, url_for

from nerve_center import web
from nerve_center.dashboard import timeline
from nerve_center.dashboard.site import blueprint, render, requires
from nerve_center.store import agents, audit, event_reading, states
from nerve_center.store.engine import reading

PAGE = 100
_CURSOR = re.compile(r"(-?[0-9]{1,18})\.([0-9]{1,9})\.([0-9a-f]{16})")
_KINDS = ("event", "threat")


@blueprint.get("/events")
@requires("viewer")
def events() -> str:
    """A page of events, the newest first."""
    here = web.center()
    host, kind = request.args.get("host", "").strip()[:255], request.args.get("kind", "")
    found = _CURSOR.fullmatch(request.args.get("after", ""))
    after = (int(found[1]), int(found[2]), bytes.fromhex(found[3])) if found else None
    with reading(here.engine) as connection:
        keys = agents.keys_of(connection, host) if host else None
        wanted = event_reading.Filter(
            agent_keys=keys,
            kind=kind if kind in _KINDS else None,
        )
        rows, following = event_reading.page(connection, wanted, PAGE, after)
    return render(
        "events.html",
        events=[(row, *timeline.told(row.kind, json.loads(row.json))) for row in rows],
        following=None if following is None else f"{following[0]}.{following[1]}.{following[2].hex()}",
        first_page=after is None,
        host=host,
        kind=kind if kind in _KINDS else "",
        kinds=_KINDS,
        link=_link,
    )


@blueprint.get("/events/states")
@requires("viewer")
def state_history() -> str:
    """Which host came, went and came back, the newest first."""
    before = _before()
    with reading(web.center().engine) as connection:
        rows = states.newest(connection, before, PAGE + 1)
    return render(
        "states.html",
        changes=rows[:PAGE],
        told=timeline.TOLD,
        following=rows[PAGE - 1].key if len(rows) > PAGE else None,
        first_page=before is None,
    )


@blueprint.get("/events/audit")
@requires("admin")
def audit_log() -> str:
    """What people changed, the newest first."""
    before = _before()
    with reading(web.center().engine) as connection:
        entries = audit.page(connection, before, PAGE + 1)
    return render(
        "audit.html",
        entries=entries[:PAGE],
        following=entries[PAGE - 1].key if len(entries) > PAGE else None,
        first_page=before is None,
    )


def _before() -> int | None:
    text = request.args.get("before", "")
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 18 else None


def _link(**changes: Any) -> str:
    words: dict[str, Any] = {name: request.args.get(name) for name in ("host", "kind")}
    words.update(changes)
    return url_for("dashboard.events", **{name: value for name, value in words.items() if value})
