"""How hosts are watched: policies as admins set them, and as one agent is told them."""

from __future__ import annotations

import json

from flask import Blueprint, Response

from nerve_center import policy, rule_check
from nerve_center.api.body import checked
from nerve_center.api.context import actor, center, json_response, query, reader
from nerve_center.api.parameters import cursor, whole
from nerve_center.errors import Refused
from nerve_center.store import agents, policies
from nerve_center.store.engine import reading
from nerve_center.store.policies import Policy

blueprint = Blueprint("policies", __name__, url_prefix="/api/v1")

_CURSOR = cursor(r"([^=\x00]{0,256})=([^\x00]{0,256})")
"""The label of the last one of the page before; `=` is the fleet."""


@blueprint.get("/agents/<agent_id>/policy")
def get_agent_policy(agent_id: str) -> Response:
    """What holds for one agent."""
    here = center()
    reader(agent_id)
    query({})
    with reading(here.engine) as connection:
        row = agents.by_id(connection, agent_id)
        if row is None:
            raise Refused(404, "agent-unknown", "There is no agent of this id.")
        all_ = policy.held(connection, here.clock.now_us())
    found = policy.document(all_, row.key, json.loads(row.labels))
    return json_response(json.dumps(found, ensure_ascii=False))


@blueprint.get("/policies")
def list_policies() -> Response:
    """One page, in the order in which they apply."""
    reader()
    asked = query({"limit": whole(1, 1000), "after": _CURSOR})
    limit = asked.get("limit", 100)
    with reading(center().engine) as connection:
        found = policies.page(connection, limit + 1, asked.get("after"))
    last = found[limit - 1] if len(found) > limit else None
    following = None if last is None else f"{last.label_name}={last.label_value}"
    shown = [policy.policy_as_json(each) for each in found[:limit]]
    return json_response(json.dumps({"policies": shown, "next": following}))


@blueprint.put("/policies")
def save_policy() -> Response:
    """Set one, or remove it by saying nothing."""
    here = center()
    with here.admission:
        who = actor("admin", "admin")
    body = checked(here, "PolicyRequest")
    rule_check.refuse_mistakes(here.contract, body["rules"])
    label = body["label"] or {"name": "", "value": ""}
    new = Policy(label["name"], label["value"], body["interval_s"], body["rules"])
    now_us = here.clock.now_us()
    here.writer.submit(lambda connection: policies.save(connection, new, str(who), now_us))
    with reading(here.engine) as connection:
        found = policies.everyone(connection)
    return json_response(json.dumps({"policies": [policy.policy_as_json(each) for each in found]}))
