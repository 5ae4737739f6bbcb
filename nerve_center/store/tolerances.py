"""Findings that people marked as normal: agents are told, and open no threat for them.

    host     on one host
    label    on every host with a label
    fleet    on every host

A finding is known by its fingerprint, which is the same on every host: it is made of its type and of what it is about.
A tolerance ends at its time, or when somebody ends it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, insert, or_, select, update
from sqlalchemy.engine import Connection, Row

from nerve_center.errors import Refused
from nerve_center.store import audit, policies, threat_log
from nerve_center.store.policy_tables import tolerances
from nerve_center.store.tables import agents, threats
from nerve_center.store.threats import OFFLINE, OUTBREAK, unpack

MOST = 400
"""That may be in force at once: all of them may be told to one agent."""
SPANS = (
    ("for good", 0),
    ("1 day", 86400),
    ("1 week", 7 * 86400),
    ("30 days", 30 * 86400),
    ("1 year", 366 * 86400),
)
"""How long something may be normal, as pages offer it: in seconds, 0 without an end."""
OWN_TYPES = (OFFLINE, OUTBREAK, "center_isolated", "duplicate_identity")
"""What the nerve center finds itself; no agent can leave it out."""


@dataclass(frozen=True)
class Tolerance:
    """One tolerance. `until_us` None: until somebody ends it. `ended_us` is set when somebody did."""

    key: int
    agent_key: int | None
    agent_id: str | None
    hostname: str | None
    label_name: str | None
    label_value: str | None
    type: str
    subject: str
    fingerprint: str
    reason: str
    created_us: int
    created_by: str
    until_us: int | None
    ended_us: int | None
    ended_by: str | None

    @property
    def scope(self) -> str:
        if self.agent_key is not None:
            return "host"
        return "fleet" if self.label_name is None else "label"

    def covers(self, agent_key: int, labels: Mapping[str, str]) -> bool:
        """Whether it is for such a host; whether it is in force is another question."""
        if self.agent_key is not None:
            return self.agent_key == agent_key
        return self.label_name is None or labels.get(self.label_name) == self.label_value


@dataclass(frozen=True)
class Scope:
    """Where something is normal: on one agent, on a label, or (neither) on the fleet."""

    agent_key: int | None = None
    label: tuple[str, str] | None = None


@dataclass(frozen=True)
class Finding:
    """What is normal: a type, what it is about, and the fingerprint of both."""

    type: str
    subject: str
    fingerprint: str


def finding(type_: str, subject: str) -> Finding:
    """A finding as an agent fingerprints it."""
    text = f"{type_}\0{subject}".encode("utf-8", "surrogateescape")
    return Finding(type_, subject, hashlib.sha256(text).hexdigest()[:32])


def of_threat(connection: Connection, key: int) -> tuple[Finding, int | None]:
    """The finding that a threat is about, and its agent. Raises Refused (404 `threat-unknown`)."""
    row = connection.execute(
        select(threats.c.type, threats.c.fingerprint, threats.c.agent_key, threats.c.more).where(
            threats.c.key == key
        )
    ).first()
    if row is None:
        raise Refused(404, "threat-unknown", "There is no threat of this id.")
    subject = unpack(row.more).get("subject")
    return Finding(row.type, subject if isinstance(subject, str) else "", row.fingerprint), row.agent_key


_TOLERANCE = select(tolerances, agents.c.id, agents.c.hostname).select_from(
    tolerances.outerjoin(agents, agents.c.key == tolerances.c.agent_key)
)


def _tolerance(row: Row[Any]) -> Tolerance:
    return Tolerance(
        key=row.key,
        agent_key=row.agent_key,
        agent_id=row.id,
        hostname=row.hostname,
        label_name=row.label_name,
        label_value=row.label_value,
        type=row.type,
        subject=row.subject,
        fingerprint=row.fingerprint,
        reason=row.reason,
        created_us=row.created_us,
        created_by=row.created_by,
        until_us=row.until_us,
        ended_us=row.ended_us,
        ended_by=row.ended_by,
    )


def _holds(now_us: int) -> Any:
    until = tolerances.c.until_us
    return tolerances.c.ended_us.is_(None), or_(until.is_(None), until > now_us)


def in_force(
    connection: Connection, now_us: int, limit: int = MOST, before: int | None = None
) -> list[Tolerance]:
    """Those that hold now, the newest first; `before` is the key of the last one of the page before."""
    wanted = _TOLERANCE.where(*_holds(now_us))
    if before is not None:
        wanted = wanted.where(tolerances.c.key < before)
    return [
        _tolerance(row) for row in connection.execute(wanted.order_by(tolerances.c.key.desc()).limit(limit))
    ]


def get(connection: Connection, key: int) -> Tolerance:
    """Raises Refused (404 `tolerance-unknown`)."""
    row = connection.execute(_TOLERANCE.where(tolerances.c.key == key)).first()
    if row is None:
        raise Refused(404, "tolerance-unknown", "There is no tolerance of this id.")
    return _tolerance(row)


def add(
    connection: Connection,
    what: Finding,
    where: Scope,
    reason: str,
    until_us: int | None,
    actor: str,
    now_us: int,
    threat_key: int | None = None,
) -> Tolerance:
    """Mark a finding as normal. The same again, with the same scope, takes the place of the one before.

    Raises Refused: 409 `not-tolerable`, 409 `too-many-tolerances`.
    """
    if what.type in OWN_TYPES:
        raise _not_tolerable()
    name, value = where.label or (None, None)
    same = (
        tolerances.c.fingerprint == what.fingerprint,
        tolerances.c.agent_key.is_(None)
        if where.agent_key is None
        else tolerances.c.agent_key == where.agent_key,
        tolerances.c.label_name.is_(None) if name is None else tolerances.c.label_name == name,
        tolerances.c.label_value.is_(None) if value is None else tolerances.c.label_value == value,
    )
    connection.execute(
        update(tolerances)
        .where(*same, tolerances.c.ended_us.is_(None))
        .values(ended_us=now_us, ended_by=actor[:128])
    )
    used = connection.execute(select(func.count()).select_from(tolerances).where(*_holds(now_us))).scalar()
    if int(used or 0) >= MOST:
        raise Refused(
            409,
            "too-many-tolerances",
            "Too much is marked as normal.",
            f"At most {MOST} can be in force; end some of them, or change the rule that finds them.",
        )
    result = connection.execute(
        insert(tolerances).values(
            agent_key=where.agent_key,
            label_name=name,
            label_value=value,
            type=what.type,
            subject=what.subject,
            fingerprint=what.fingerprint,
            reason=reason,
            created_us=now_us,
            created_by=actor[:128],
            until_us=until_us,
        )
    )
    key = int(result.inserted_primary_key[0])
    policies.touch(connection)
    made = get(connection, key)
    detail = {
        "type": what.type,
        "subject": what.subject[:200],
        "scope": scope_text(made),
        "reason": reason[:200],
    }
    audit.note(connection, now_us, actor, "tolerance.add", str(key), detail)
    if threat_key is not None:
        severity = connection.execute(
            select(threats.c.severity).where(threats.c.key == threat_key)
        ).scalar_one()
        threat_log.add(connection, threat_key, now_us, "tolerated", severity, reason, actor)
    return made


def add_for_threat(
    connection: Connection,
    threat_key: int,
    scope: str,
    label: tuple[str, str] | None,
    reason: str,
    until_us: int | None,
    actor: str,
    now_us: int,
) -> Tolerance:
    """Mark what a threat is about as normal: `scope` host, label (with `label`) or fleet.

    Raises Refused: 404 `threat-unknown`, and as `add` does.
    """
    what, agent_key = of_threat(connection, threat_key)
    where = Scope(agent_key if scope == "host" else None, label)
    if scope == "host" and agent_key is None:
        raise _not_tolerable()
    return add(connection, what, where, reason, until_us, actor, now_us, threat_key)


def _not_tolerable() -> Refused:
    return Refused(
        409,
        "not-tolerable",
        "The nerve center itself finds this, no agent.",
        "Silence it instead: then nobody is told.",
    )


def end(connection: Connection, key: int, actor: str, now_us: int) -> Tolerance:
    """End one now; one that is over stays as it is. Raises Refused (404 `tolerance-unknown`)."""
    found = get(connection, key)
    if found.ended_us is not None or (found.until_us is not None and found.until_us <= now_us):
        return found
    connection.execute(
        update(tolerances).where(tolerances.c.key == key).values(ended_us=now_us, ended_by=actor[:128])
    )
    policies.touch(connection)
    audit.note(connection, now_us, actor, "tolerance.end", str(key), {"type": found.type})
    return get(connection, key)


def scope_text(item: Tolerance) -> str:
    """Where it holds, for people."""
    if item.agent_key is not None:
        return f"host {item.agent_id}"
    return "fleet" if item.label_name is None else f"label {item.label_name}={item.label_value}"
