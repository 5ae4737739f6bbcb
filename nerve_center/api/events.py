"""Events of the fleet: what agents told, what the center noted of them, and their threats' records."""

from __future__ import annotations

import json

from flask import Blueprint, Response

from nerve_center.api.context import center, json_response, query, reader
from nerve_center.api.parameters import cursor, instant, short, whole
from nerve_center.clock import format_time
from nerve_center.errors import Refused
from nerve_center.store import agents, event_reading
from nerve_center.store.engine import reading
from nerve_center.store.event_reading import Event, Filter

blueprint = Blueprint("events", __name__, url_prefix="/api/v1/events")

_CURSOR = cursor(r"(-?[0-9]{1,18})\.([0-9]{1,9})\.([0-9a-f]{16})")


@blueprint.get("")
def list_events() -> Response:
    """One page of events, the newest first. An agent reads its own."""
    here = center()
    asked = query(
        {
            "agent": short,
            "kind": short,
            "since": instant,
            "until": instant,
            "limit": whole(1, 1000),
            "after": _CURSOR,
        }
    )
    reader(asked.get("agent"))
    after = asked.get("after")
    with reading(here.engine) as connection:
        agent_keys = None
        if "agent" in asked:
            agent_key = agents.agent_key(connection, asked["agent"])
            if agent_key is None:
                raise Refused(404, "agent-unknown", "There is no agent of this id.")
            agent_keys = (agent_key,)
        found, following = event_reading.page(
            connection,
            Filter(agent_keys, asked.get("kind"), asked.get("since"), asked.get("until")),
            asked.get("limit", 100),
            None if after is None else (int(after[0]), int(after[1]), bytes.fromhex(after[2])),
        )
    at = None if following is None else f"{following[0]}.{following[1]}.{following[2].hex()}"
    return json_response(f'{{"events":[{",".join(map(_as_json, found))}],"next":{json.dumps(at)}}}')


def _as_json(event: Event) -> str:
    """An Event of the contract, around the data as it is stored."""
    head = {
        "agent_id": event.agent_id,
        "hostname": event.hostname,
        "source": "center" if event.by_center else "agent",
        "kind": event.kind,
        "tag": event.tag.hex(),
        "time": format_time(event.time_us),
        "received_at": format_time(event.received_us),
    }
    return f'{json.dumps(head)[:-1]},"data":{event.json.decode()}}}'
