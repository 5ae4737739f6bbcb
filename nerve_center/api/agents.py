"""What people and programs read: agents and their samples.

Records are answered with the JSON that is stored, word for word; it is not parsed again.
"""

from __future__ import annotations

import json
from typing import Any

from flask import Blueprint, Response
from sqlalchemy.engine import Row

from nerve_center import continuity, presence
from nerve_center.api.context import center, json_response, query, reader
from nerve_center.api.parameters import boolean, cursor, instant, short, whole
from nerve_center.clock import format_time
from nerve_center.errors import Refused
from nerve_center.store import agents, records
from nerve_center.store.continuity import stored as histories
from nerve_center.store.engine import reading
from nerve_center.store.records import Sample
from nerve_center.store.steady import Steady

blueprint = Blueprint("agents", __name__, url_prefix="/api/v1/agents")

_CURSOR = cursor(r"(-?[0-9]{1,18})\.([0-9a-f]{16})")


@blueprint.get("")
def list_agents() -> Response:
    """One page of agents, by id."""
    here = center()
    reader()
    asked = query({"limit": whole(1, 1000), "after": short})
    limit = asked.get("limit", 100)
    with reading(here.engine) as connection:
        rows = agents.page(connection, asked.get("after"), limit + 1)
    following = rows[limit - 1].id if len(rows) > limit else None
    return json_response(
        json.dumps({"agents": [_agent(row, here.steady) for row in rows[:limit]], "next": following})
    )


@blueprint.get("/<agent_id>")
def get_agent(agent_id: str) -> Response:
    """One agent, with its instances and its latest sample."""
    here = center()
    reader(agent_id)
    query({})
    with reading(here.engine) as connection:
        row = _known(agents.by_id(connection, agent_id))
        latest = records.latest_sample(connection, row.key)
        instances = agents.instances_of(connection, row.key)
    body = _agent(row, here.steady)
    body["instances"] = [
        {
            "instance_id": item.instance_id,
            "enrolled_at": _time(item.enrolled_us, here.steady),
            "last_report_at": _time(item.last_report_us, here.steady),
            "revoked": item.revoked,
        }
        for item in instances
    ]
    sample = "null" if latest is None else _stored(latest)
    return json_response(f'{json.dumps(body)[:-1]},"latest_sample":{sample}}}')


@blueprint.get("/<agent_id>/continuity")
def get_continuity(agent_id: str) -> Response:
    """Whether anything of an agent is unaccounted for."""
    here = center()
    reader(agent_id)
    asked = query({"since": instant})
    with reading(here.engine) as connection:
        row = _known(agents.by_id(connection, agent_id))
        stored = histories(connection, row.key)
    return json_response(json.dumps(continuity.report(row.id, stored, asked.get("since"))))


@blueprint.get("/<agent_id>/samples")
def list_samples(agent_id: str) -> Response:
    """One page of an agent's samples, oldest first."""
    here = center()
    reader(agent_id)
    asked = query(
        {
            "since": instant,
            "until": instant,
            "limit": whole(1, 5000),
            "after": _CURSOR,
            "newest": boolean,
        }
    )
    limit, newest, after = asked.get("limit", 360), asked.get("newest", False), asked.get("after")
    with reading(here.engine) as connection:
        row = _known(agents.by_id(connection, agent_id))
        found, more = records.sample_page(
            connection,
            row.key,
            limit,
            asked.get("since"),
            asked.get("until"),
            None if after is None else (int(after[0]), bytes.fromhex(after[1])),
            newest,
        )
    following = None
    if more and not newest:
        following = f"{found[-1].time_us}.{found[-1].tag.hex()}"
    samples = ",".join(_stored(item) for item in found)
    return json_response(f'{{"agent_id":"{row.id}","samples":[{samples}],"next":{json.dumps(following)}}}')


def _known(row: Row[Any] | None) -> Row[Any]:
    if row is None:
        raise Refused(404, "agent-unknown", "There is no agent of this id.")
    return row


def _agent(row: Row[Any], steady: Steady) -> dict[str, Any]:
    return {
        "id": row.id,
        "hostname": row.hostname,
        "state": presence.state(
            row.heard_us,
            row.goodbye_us,
            row.maintenance_until_us,
            row.interval_s,
            steady.now_us(),
        ),
        "agent_version": row.agent_version,
        "interval_s": row.interval_s,
        "host": json.loads(row.host),
        "labels": json.loads(row.labels),
        "registered_at": _time(row.registered_us, steady),
        "last_registered_at": _time(row.last_registered_us, steady),
        "last_report_at": _time(row.last_report_us, steady),
        "maintenance_until": _time(row.maintenance_until_us, steady),
        "clock_skew_s": row.clock_skew_s,
        "policy": None if row.policy is None else json.loads(row.policy),
        "records": {"samples": row.samples, "events": row.events, "gaps": row.gaps},
    }


def _stored(sample: Sample) -> str:
    """A StoredRecord, around the data as it is stored."""
    head = {
        "seq": sample.seq,
        "epoch": sample.epoch.hex(),
        "tag": sample.tag.hex(),
        "time": format_time(sample.time_us),
        "received_at": format_time(sample.received_us),
    }
    return f'{json.dumps(head)[:-1]},"data":{sample.json.decode()}}}'


def _time(stamp_us: int | None, steady: Steady) -> str | None:
    """A stamp of steady time as the time of day, to the millisecond: the two clocks drift below it."""
    return None if stamp_us is None else format_time(steady.shown(stamp_us) // 1000 * 1000)
