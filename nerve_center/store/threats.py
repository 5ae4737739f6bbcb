"""Threats: what the threat records of an agent, and the center's own findings, add up to.

One row an agent and fingerprint. Two things are said of it, by two sides that never overwrite each other:

    state    what the agent says: `open` or `cleared`
    triage   what a person says: `none`, `acknowledged` or `resolved`
    status   both together, and what is shown and filtered by:
             resolved      a person settled it
             cleared       its cause is gone
             acknowledged  open, and somebody has taken it on
             open          open, and nobody has

A record opens it, changes it or clears it; one that is older than what the row already shows (a backlog
delivered late) changes nothing. A threat that opens again is a new one to people: its triage is taken back. So
it is for a resolved one that becomes worse, or that the agent counts once more.

What changed is written to the threat's log.
"""

from __future__ import annotations

import json
import re
import zlib
from typing import Any

from sqlalchemy import insert, select, update
from sqlalchemy.engine import Connection, Row

from nerve_center.store import silences, threat_log
from nerve_center.store.tables import threats

SEVERITIES = ("low", "medium", "high", "critical")
STATUSES = ("open", "acknowledged", "resolved", "cleared")
ACTIVE = ("open", "acknowledged")
OFFLINE = "offline"
OUTBREAK = "outbreak"
"""Types of the center's own findings."""
_COLUMNS = frozenset(
    ("type", "severity", "confidence", "fingerprint", "state", "title", "summary", "evidence")
)
# What makes the same finding look different on two hosts: ids, addresses of memory, process ids, counters.
_PARTICULAR = re.compile(r"[0-9a-f]{8,}|[0-9]+")


def status_of(state: str, triage: str) -> str:
    """What a threat is shown as, from what its agent and what people say."""
    if triage == "resolved":
        return "resolved"
    if state == "cleared":
        return "cleared"
    return "acknowledged" if triage == "acknowledged" else "open"


def apply(connection: Connection, agent_key: int | None, time_us: int, data: dict[str, Any]) -> None:
    """Take one threat record (`ThreatData` of the contract) into account; without an agent it is the center's own."""
    row = connection.execute(
        select(threats).where(
            threats.c.agent_key.is_(None) if agent_key is None else threats.c.agent_key == agent_key,
            threats.c.fingerprint == data["fingerprint"],
        )
    ).first()
    if row is not None and time_us < row.updated_us:
        return
    values = _values(time_us, data)
    if row is None:
        _add(connection, agent_key, data["fingerprint"], values)
        return
    if data["state"] == "cleared":
        _keep(row, data, values)
    what = _what_changed(row, data, values["rank"])
    if what in ("reopened", "recurred"):
        values.update(triage="none", triaged_us=None, triaged_by=None)
        if row.state != "open":
            values.update(opened_us=time_us, times_opened=row.times_opened + 1)
    values["status"] = status_of(data["state"], values.get("triage", row.triage))
    connection.execute(update(threats).where(threats.c.key == row.key).values(**values))
    if what == "cleared":
        silences.threat_cleared(connection, row.agent_key, row.fingerprint, time_us)
    if what is not None:
        threat_log.add(connection, row.key, time_us, what, data["severity"], values["summary"])


def apply_own(connection: Connection, agent_key: int | None, now_us: int, data: dict[str, Any]) -> None:
    """Take a finding of the center's own into account, also where its clock has gone back since the last one."""
    before = connection.execute(
        select(threats.c.updated_us).where(
            threats.c.agent_key.is_(None) if agent_key is None else threats.c.agent_key == agent_key,
            threats.c.fingerprint == data["fingerprint"],
        )
    ).scalar()
    apply(connection, agent_key, max(now_us, before or 0), data)


def _values(time_us: int, data: dict[str, Any]) -> dict[str, Any]:
    """The columns that a record sets."""
    more = {name: value for name, value in data.items() if name not in _COLUMNS}
    title = data.get("title")
    subject = data.get("subject")
    return {
        "type": data["type"],
        "subject": normalised(subject if isinstance(subject, str) and subject else data["fingerprint"]),
        "severity": data["severity"],
        "rank": SEVERITIES.index(data["severity"]) + 1,
        "confidence": data.get("confidence"),
        "state": data["state"],
        "title": title if isinstance(title, str) and title else data["type"],
        "summary": data.get("summary", ""),
        "evidence": _pack(data.get("evidence", {})),
        "more": _pack(more) if more else None,
        "updated_us": time_us,
        "cleared_us": None if data["state"] == "open" else time_us,
    }


def _add(connection: Connection, agent_key: int | None, fingerprint: str, values: dict[str, Any]) -> None:
    result = connection.execute(
        insert(threats).values(
            agent_key=agent_key,
            fingerprint=fingerprint,
            opened_us=values["updated_us"],
            times_opened=1,
            triage="none",
            status=status_of(values["state"], "none"),
            **values,
        )
    )
    what = "opened" if values["state"] == "open" else "cleared"
    threat_log.add(
        connection,
        int(result.inserted_primary_key[0]),
        values["updated_us"],
        what,
        values["severity"],
        values["summary"],
    )


def _keep(row: Row[Any], data: dict[str, Any], values: dict[str, Any]) -> None:
    """Who says that it is over need not say again what was known of it."""
    values["more"] = _pack({**unpack(row.more), **unpack(values["more"])})
    for name in ("evidence", "confidence"):
        if name not in data:
            values[name] = getattr(row, name)


def _what_changed(row: Row[Any], data: dict[str, Any], rank: int) -> str | None:
    """What a record means for a threat that is known; None where it only brings newer figures."""
    if data["state"] == "cleared":
        return "cleared" if row.state == "open" else None
    if row.state != "open":
        return "reopened"
    if row.triage == "resolved" and (rank > row.rank or _counted(data) > _counted(unpack(row.more))):
        return "recurred"
    if rank != row.rank:
        return "escalated" if rank > row.rank else "lowered"
    return None


def _counted(data: dict[str, Any]) -> int:
    count = data.get("count")
    return count if isinstance(count, int) else 0


def normalised(subject: str) -> str:
    """A finding's subject without what differs from host to host, so that the same one is known on another."""
    return _PARTICULAR.sub("#", subject.lower())[:128]


def _pack(value: Any) -> bytes:
    return zlib.compress(json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode())


def unpack(packed: bytes | None) -> dict[str, Any]:
    """What was stored of evidence, or of the fields that have no column."""
    if packed is None:
        return {}
    value: dict[str, Any] = json.loads(zlib.decompress(packed))
    return value
