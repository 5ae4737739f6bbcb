"""The audit log: who changed what. For admins, and for programs whose token has the scope admin."""

from __future__ import annotations

import json

from flask import Blueprint, Response

from nerve_center.api.context import actor, center, json_response, query
from nerve_center.api.parameters import whole
from nerve_center.clock import format_time
from nerve_center.store import audit
from nerve_center.store.engine import reading

blueprint = Blueprint("audit", __name__, url_prefix="/api/v1/audit")


@blueprint.get("")
def list_audit() -> Response:
    """One page of changes, the newest first."""
    here = center()
    actor("admin", "admin")
    asked = query({"limit": whole(1, 1000), "after": whole(1, 999_999_999)})
    limit = asked.get("limit", 100)
    with reading(here.engine) as connection:
        found = audit.page(connection, asked.get("after"), limit + 1)
    shown = [
        {
            "id": entry.key,
            "time": format_time(entry.time_us),
            "actor": entry.actor,
            "action": entry.action,
            "target": entry.target,
            "detail": entry.detail,
        }
        for entry in found[:limit]
    ]
    following = str(found[limit - 1].key) if len(found) > limit else None
    return json_response(json.dumps({"audit": shown, "next": following}))
