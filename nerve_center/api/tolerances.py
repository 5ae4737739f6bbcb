"""What people marked as normal: made from a threat or by type and subject, listed, ended."""

from __future__ import annotations

import json
from typing import Any

from flask import Blueprint, Response
from sqlalchemy.engine import Connection

from nerve_center.api.body import checked
from nerve_center.api.context import actor, center, json_response, query, reader
from nerve_center.api.parameters import whole
from nerve_center.clock import parse_time
from nerve_center.errors import Refused
from nerve_center.ingest import invalid_body
from nerve_center.jsontext import Mismatch
from nerve_center.policy import tolerance_as_json
from nerve_center.store import agents, tolerances, triage
from nerve_center.store.engine import reading
from nerve_center.store.tolerances import Scope, Tolerance

blueprint = Blueprint("tolerances", __name__, url_prefix="/api/v1")


@blueprint.get("/tolerances")
def list_tolerances() -> Response:
    """One page of those that hold now, the newest first."""
    here = center()
    reader()
    asked = query({"limit": whole(1, 1000), "after": whole(1, 999_999_999)})
    limit = asked.get("limit", 100)
    with reading(here.engine) as connection:
        found = tolerances.in_force(connection, here.clock.now_us(), limit + 1, asked.get("after"))
    following = str(found[limit - 1].key) if len(found) > limit else None
    shown = [tolerance_as_json(each) for each in found[:limit]]
    return json_response(json.dumps({"tolerances": shown, "next": following}))


@blueprint.post("/tolerances")
def add_tolerance() -> Response:
    """Mark a finding as normal; 201 with the tolerance."""
    here = center()
    with here.admission:
        who = actor("threats", "operator")
    body = checked(here, "ToleranceRequest")
    now_us = here.clock.now_us()
    until_us, label = _until(body, now_us), _label(body)
    if ("agent_id" in body) != (body["scope"] == "host"):
        raise invalid_body(Mismatch(("agent_id",), "goes with the scope host, and only with it"))
    what = tolerances.finding(body["type"], body["subject"])

    def work(connection: Connection) -> Tolerance:
        agent_key = None
        if body["scope"] == "host":
            agent_key = agents.agent_key(connection, body["agent_id"])
            if agent_key is None:
                raise Refused(404, "agent-unknown", "There is no agent of this id.")
        where = Scope(agent_key, label)
        return tolerances.add(connection, what, where, body.get("reason", ""), until_us, str(who), now_us)

    return json_response(json.dumps(tolerance_as_json(here.writer.submit(work))), 201)


@blueprint.post("/threats/<threat_id>/tolerate")
def tolerate_threat(threat_id: str) -> Response:
    """Mark what a threat is about as normal; 201 with the tolerance."""
    here = center()
    with here.admission:
        who = actor("threats", "operator")
    body = checked(here, "ThreatTolerance")
    key, now_us = _key(threat_id, triage.unknown()), here.clock.now_us()
    until_us, label, scope = _until(body, now_us), _label(body), body["scope"]
    made = here.writer.submit(
        lambda connection: tolerances.add_for_threat(
            connection, key, scope, label, body.get("reason", ""), until_us, str(who), now_us
        )
    )
    return json_response(json.dumps(tolerance_as_json(made)), 201)


@blueprint.post("/tolerances/<tolerance_id>/end")
def end_tolerance(tolerance_id: str) -> Response:
    """End one now."""
    here = center()
    with here.admission:
        who = actor("threats", "operator")
    unknown = Refused(404, "tolerance-unknown", "There is no tolerance of this id.")
    key, now_us = _key(tolerance_id, unknown), here.clock.now_us()
    ended = here.writer.submit(lambda connection: tolerances.end(connection, key, str(who), now_us))
    return json_response(json.dumps(tolerance_as_json(ended)))


def _key(text: str, unknown: Refused) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 9):
        raise unknown
    return int(text)


def _until(body: dict[str, Any], now_us: int) -> int | None:
    if "until" not in body:
        return None
    try:
        until_us = parse_time(body["until"])
    except ValueError:
        until_us = 0
    if until_us <= now_us:
        raise invalid_body(Mismatch(("until",), "must be a time that is still to come"))
    return until_us


def _label(body: dict[str, Any]) -> tuple[str, str] | None:
    named = body.get("label")
    if (named is not None) != (body["scope"] == "label"):
        raise invalid_body(Mismatch(("label",), "goes with the scope label, and only with it"))
    return (named["name"], named["value"]) if named else None
