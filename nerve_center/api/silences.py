"""Silences: those in force, one about all there is about a host, a label or the fleet, and the end of one."""

from __future__ import annotations

import json

from flask import Blueprint, Response

from nerve_center.api.body import checked
from nerve_center.api.context import actor, center, json_response, query, reader
from nerve_center.api.parameters import whole
from nerve_center.errors import Refused
from nerve_center.ingest import invalid_body
from nerve_center.jsontext import Mismatch
from nerve_center.silencing import as_json
from nerve_center.store import silences, triage
from nerve_center.store.engine import reading
from nerve_center.store.triage import Quiet

blueprint = Blueprint("silences", __name__, url_prefix="/api/v1/silences")


@blueprint.get("")
def list_silences() -> Response:
    """One page of those that hold now, the newest first."""
    here = center()
    reader()
    asked = query({"limit": whole(1, 1000), "after": whole(1, 999_999_999)})
    limit = asked.get("limit", 100)
    with reading(here.engine) as connection:
        found = silences.in_force(connection, here.clock.now_us(), limit + 1, asked.get("after"))
    following = str(found[limit - 1].key) if len(found) > limit else None
    return json_response(
        json.dumps({"silences": [as_json(each) for each in found[:limit]], "next": following})
    )


@blueprint.post("")
def silence_all() -> Response:
    """Tell nobody of anything about a host, a label or the fleet for a while; 201 with the silence."""
    here = center()
    with here.admission:
        who = actor("threats", "operator")
    body = checked(here, "WideSilenceRequest")
    agent_id, named, scope = body.get("agent_id"), body.get("label"), body["scope"]
    for name, given, goes_with in (("agent_id", agent_id, "host"), ("label", named, "label")):
        if (given is not None) != (scope == goes_with):
            raise invalid_body(Mismatch((name,), f"goes with the scope {goes_with}, and only with it"))
    now_us = here.clock.now_us()
    quiet = Quiet(
        scope=scope,
        until_us=now_us + round(body["for_s"] * 1_000_000),
        label=(named["name"], named["value"]) if named else None,
        reason=body.get("reason", ""),
    )
    made = here.writer.submit(lambda connection: triage.silence_all(connection, agent_id, who, now_us, quiet))
    return json_response(json.dumps(as_json(made)), 201)


@blueprint.post("/<silence_id>/end")
def end_silence(silence_id: str) -> Response:
    """End one now."""
    here = center()
    with here.admission:
        who = actor("threats", "operator")
    if not (silence_id.isascii() and silence_id.isdigit() and len(silence_id) <= 9):
        raise Refused(404, "silence-unknown", "There is no silence of this id.")
    key, now_us = int(silence_id), here.clock.now_us()
    ended = here.writer.submit(lambda connection: triage.end_silence(connection, key, who, now_us))
    return json_response(json.dumps(as_json(ended)))
