"""Threats: what people and programs read of them and do about them.

Everything that an answer holds of a threat came from a host. It is JSON here, and only JSON.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from flask import Blueprint, Response
from sqlalchemy.engine import Connection

from nerve_center.api.body import checked
from nerve_center.api.context import actor, center, json_response, query, reader
from nerve_center.api.parameters import boolean, cursor, label, several, whole, words
from nerve_center.clock import format_time
from nerve_center.ingest import invalid_body
from nerve_center.jsontext import Mismatch
from nerve_center.silencing import as_json as silence_as_json
from nerve_center.store import silences, threat_log, threat_reading, triage
from nerve_center.store.engine import reading
from nerve_center.store.silences import Silence
from nerve_center.store.threat_log import Line
from nerve_center.store.threat_reading import Filter, Threat
from nerve_center.store.threats import SEVERITIES, STATUSES
from nerve_center.store.triage import Actor, Quiet

blueprint = Blueprint("threats", __name__, url_prefix="/api/v1/threats")

_CURSOR = cursor(r"([1-4])\.(-?[0-9]{1,18})\.([0-9]{1,9})")
_MOST_KEY_DIGITS = 9
_TOLD = ("subject", "why", "next", "technique", "first_seen", "last_seen", "count", "reason")
"""Fields of a record that have a place of their own in an answer; the rest is in `more`."""
_Act = Callable[[Connection, int, Actor, int, dict[str, Any]], None]


@blueprint.get("")
def list_threats() -> Response:
    """One page of threats, the newest or the worst first."""
    here = center()
    reader()
    asked = query(
        {
            "state": several(STATUSES),
            "severity": several(SEVERITIES),
            "type": words,
            "host": words,
            "label": label,
            "text": words,
            "worst_first": boolean,
            "limit": whole(1, 1000),
            "after": _CURSOR,
        }
    )
    wanted = Filter(
        statuses=asked.get("state", ()),
        severities=asked.get("severity", ()),
        type=asked.get("type"),
        host=asked.get("host"),
        label=asked.get("label"),
        text=asked.get("text"),
    )
    after = tuple(int(part) for part in asked["after"]) if "after" in asked else None
    with reading(here.engine) as connection:
        found, following = threat_reading.page(
            connection,
            wanted,
            asked.get("limit", 100),
            (after[0], after[1], after[2]) if after else None,
            asked.get("worst_first", False),
        )
        quiet = silences.in_force(connection, here.clock.now_us())
    return json_response(
        json.dumps(
            {
                "threats": [as_json(threat, quiet) for threat in found],
                "next": None if following is None else ".".join(map(str, following)),
            }
        )
    )


@blueprint.get("/<threat_id>")
def get_threat(threat_id: str) -> Response:
    """One threat with its evidence and what became of it."""
    reader()
    query({})
    return _whole_threat(_key(threat_id))


@blueprint.post("/<threat_id>/acknowledge")
def acknowledge(threat_id: str) -> Response:
    """Somebody takes it on."""
    return _act(threat_id, "Remark", _with_comment(triage.acknowledge))


@blueprint.post("/<threat_id>/resolve")
def resolve(threat_id: str) -> Response:
    """Somebody settled it; it comes back when it is seen again."""
    return _act(threat_id, "Remark", _with_comment(triage.resolve))


@blueprint.post("/<threat_id>/reopen")
def reopen(threat_id: str) -> Response:
    """Take back that it was taken on or settled."""
    return _act(threat_id, "Remark", _with_comment(triage.reopen))


@blueprint.post("/<threat_id>/comment")
def comment(threat_id: str) -> Response:
    """Say something about it."""
    return _act(threat_id, "Comment", _comment)


def _comment(connection: Connection, key: int, actor: Actor, now_us: int, body: dict[str, Any]) -> None:
    triage.comment(connection, key, actor, now_us, body["text"])


@blueprint.post("/<threat_id>/silence")
def silence(threat_id: str) -> Response:
    """Tell nobody for a while; 201 with the silence."""
    here = center()
    with here.admission:
        who = actor("threats", "operator")
    body = checked(here, "SilenceRequest")
    now_us = here.clock.now_us()
    quiet = _quiet(body, now_us)
    key = _key(threat_id)
    made = here.writer.submit(lambda connection: triage.silence(connection, key, who, now_us, quiet))
    return json_response(json.dumps(silence_as_json(made)), 201)


def _with_comment(act: Callable[[Connection, int, Actor, int, str], None]) -> _Act:
    return lambda connection, key, actor, now_us, body: act(
        connection, key, actor, now_us, body.get("comment", "")
    )


def _act(threat_id: str, schema: str, act: _Act) -> Response:
    """Do something about a threat and answer with it as it is then."""
    here = center()
    with here.admission:
        who = actor("threats", "operator")
    body = checked(here, schema)
    key, now_us = _key(threat_id), here.clock.now_us()
    here.writer.submit(lambda connection: act(connection, key, who, now_us, body))
    return _whole_threat(key)


def _quiet(body: dict[str, Any], now_us: int) -> Quiet:
    """What is to be silent. Raises Refused (422) for what does not go together."""
    scope, for_s, until_cleared = body["scope"], body.get("for_s"), body.get("until_cleared", False)
    if (for_s is None) != until_cleared:
        raise invalid_body(Mismatch(("for_s",), "give for_s, or until_cleared as true"))
    if until_cleared and scope != "host":
        raise invalid_body(Mismatch(("until_cleared",), "goes with the scope host only"))
    named = body.get("label")
    if (named is not None) != (scope == "label"):
        raise invalid_body(Mismatch(("label",), "goes with the scope label, and only with it"))
    return Quiet(
        scope=scope,
        until_us=None if for_s is None else now_us + round(for_s * 1_000_000),
        until_cleared=until_cleared,
        label=(named["name"], named["value"]) if named else None,
        reason=body.get("reason", ""),
    )


def _key(threat_id: str) -> int:
    """The row of an id. Raises Refused (404) where it cannot be one."""
    if not (threat_id.isascii() and threat_id.isdigit() and len(threat_id) <= _MOST_KEY_DIGITS):
        raise triage.unknown()
    return int(threat_id)


def _whole_threat(key: int) -> Response:
    here = center()
    with reading(here.engine) as connection:
        threat = threat_reading.get(connection, key)
        lines = threat_log.of_threat(connection, key)
        quiet = silences.in_force(connection, here.clock.now_us())
    if threat is None:
        raise triage.unknown()
    body = as_json(threat, quiet)
    body["evidence"] = threat.evidence
    body["history"] = [_line(line) for line in lines]
    body["silences"] = [silence_as_json(silence) for silence in _covering(threat, quiet)]
    return json_response(json.dumps(body))


def as_json(threat: Threat, quiet: Sequence[Silence]) -> dict[str, Any]:
    """A Threat of the contract; `quiet` are the silences in force."""
    more = dict(threat.more)
    return {
        "id": threat.key,
        "agent_id": threat.agent_id,
        "hostname": threat.hostname,
        "labels": threat.labels,
        "type": threat.type,
        "severity": threat.severity,
        "confidence": threat.confidence,
        "fingerprint": threat.fingerprint,
        "state": threat.status,
        "agent_state": threat.state,
        "triage": threat.triage,
        "triaged_by": threat.triaged_by,
        "triaged_at": _time(threat.triaged_us),
        "title": threat.title,
        "summary": threat.summary,
        "opened_at": format_time(threat.opened_us),
        "updated_at": format_time(threat.updated_us),
        "cleared_at": _time(threat.cleared_us),
        "times_opened": threat.times_opened,
        "silenced": bool(_covering(threat, quiet)),
        **{name: more.pop(name, None) for name in _TOLD},
        "more": more,
    }


def _covering(threat: Threat, quiet: Sequence[Silence]) -> list[Silence]:
    return silences.covering(quiet, threat.agent_key, threat.fingerprint, threat.type, threat.labels)


def _line(line: Line) -> dict[str, Any]:
    return {
        "time": format_time(line.time_us),
        "what": line.what,
        "severity": line.severity,
        "by": line.actor,
        "text": line.text,
    }


def _time(time_us: int | None) -> str | None:
    return None if time_us is None else format_time(time_us)
