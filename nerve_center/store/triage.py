"""What people do about threats: take one on, settle it, take that back, say something, silence it.

Every act names who did it (`Actor`) and is written to the threat's log and to the audit log. An act that changes
nothing (settling what is settled) leaves a line only where something was said with it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.engine import Connection, Row

from nerve_center.errors import Refused
from nerve_center.store import agents, audit, silences, threat_log
from nerve_center.store.silences import Silence
from nerve_center.store.tables import threats
from nerve_center.store.threats import status_of


@dataclass(frozen=True)
class Actor:
    """Who acts: `kind` is `user` or `token`, or `center` for what it does by itself."""

    kind: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind}:{self.name}"[:128]


@dataclass(frozen=True)
class Quiet:
    """What a silence is to cover and how long: `scope` host, label or fleet; `until_us`, or until it clears."""

    scope: str
    until_us: int | None
    until_cleared: bool = False
    label: tuple[str, str] | None = None
    reason: str = ""


def acknowledge(connection: Connection, key: int, actor: Actor, now_us: int, comment: str = "") -> None:
    """Take a threat on. Raises Refused (404 `threat-unknown`)."""
    _set(connection, key, "acknowledged", "acknowledged", actor, now_us, comment)


def resolve(connection: Connection, key: int, actor: Actor, now_us: int, comment: str = "") -> None:
    """Settle a threat. Raises Refused (404 `threat-unknown`)."""
    _set(connection, key, "resolved", "resolved", actor, now_us, comment)


def reopen(connection: Connection, key: int, actor: Actor, now_us: int, comment: str = "") -> None:
    """Take back that it was taken on or settled. Raises Refused (404 `threat-unknown`)."""
    _set(connection, key, "none", "unresolved", actor, now_us, comment)


def comment(connection: Connection, key: int, actor: Actor, now_us: int, text: str) -> None:
    """Say something about a threat. Raises Refused (404 `threat-unknown`)."""
    row = _known(connection, key)
    _log(connection, key, now_us, "commented", row.severity, text, actor)


def silence(connection: Connection, key: int, actor: Actor, now_us: int, quiet: Quiet) -> Silence:
    """Tell nobody about this threat (or its type, on a label or everywhere) for a while.

    Raises Refused: 404 `threat-unknown`, 409 `too-many-silences`.
    """
    row = _known(connection, key)
    of_host = quiet.scope == "host"
    made = silences.add(
        connection,
        now_us,
        {
            "agent_key": row.agent_key if of_host else None,
            "fingerprint": row.fingerprint if of_host else None,
            "type": row.type,
            **_asked(quiet, actor),
        },
    )
    _log(connection, key, now_us, "silenced", row.severity, quiet.reason, actor)
    return made


def silence_all(
    connection: Connection, agent_id: str | None, actor: Actor, now_us: int, quiet: Quiet
) -> Silence:
    """Tell nobody of anything about a host (`agent_id`, with the scope host), a label or the fleet for a while.

    Raises Refused: 404 `agent-unknown`, 409 `too-many-silences`.
    """
    agent_key = None
    if agent_id is not None:
        agent_key = agents.agent_key(connection, agent_id)
        if agent_key is None:
            raise Refused(404, "agent-unknown", "There is no agent of this id.")
    values = {"agent_key": agent_key, "type": silences.EVERY_TYPE, **_asked(quiet, actor)}
    made = silences.add(connection, now_us, values)
    label = "=".join(quiet.label) if quiet.label else ""
    detail = {name: text for name, text in (("label", label), ("reason", quiet.reason[:200])) if text}
    audit.note(connection, now_us, str(actor), "silence.begin", agent_id or quiet.scope, detail)
    return made


def _asked(quiet: Quiet, actor: Actor) -> dict[str, Any]:
    name, value = quiet.label or (None, None)
    return {
        "label_name": name,
        "label_value": value,
        "reason": quiet.reason,
        "created_by": str(actor),
        "until_us": quiet.until_us,
        "until_cleared": int(quiet.until_cleared),
    }


def end_silence(connection: Connection, key: int, actor: Actor, now_us: int) -> Silence:
    """End a silence now; one that is over stays as it is. Raises Refused (404 `silence-unknown`)."""
    found = silences.get(connection, key)
    if found is None:
        raise Refused(404, "silence-unknown", "There is no silence of this id.")
    if found.ended_us is not None:
        return found
    silences.end(connection, key, now_us)
    audit.note(connection, now_us, str(actor), "silence.end", str(key))
    if found.fingerprint is not None:
        row = connection.execute(
            select(threats.c.key, threats.c.severity).where(
                threats.c.agent_key.is_(None)
                if found.agent_key is None
                else threats.c.agent_key == found.agent_key,
                threats.c.fingerprint == found.fingerprint,
            )
        ).first()
        if row is not None:
            threat_log.add(connection, row.key, now_us, "unsilenced", row.severity, "", str(actor))
    return silences.get(connection, key) or found


def _known(connection: Connection, key: int) -> Row[Any]:
    row: Row[Any] | None = connection.execute(select(threats).where(threats.c.key == key)).first()
    if row is None:
        raise unknown()
    return row


def unknown() -> Refused:
    return Refused(404, "threat-unknown", "There is no threat of this id.")


def _set(
    connection: Connection, key: int, triage: str, what: str, actor: Actor, now_us: int, text: str
) -> None:
    row = _known(connection, key)
    if row.triage == triage:
        if text:
            comment(connection, key, actor, now_us, text)
        return
    connection.execute(
        update(threats)
        .where(threats.c.key == key)
        .values(
            triage=triage,
            triaged_us=now_us,
            triaged_by=str(actor),
            status=status_of(row.state, triage),
        )
    )
    _log(connection, key, now_us, what, row.severity, text, actor)


def _log(
    connection: Connection, key: int, now_us: int, what: str, severity: str, text: str, actor: Actor
) -> None:
    """In the threat's own log with what was said, and in the audit log."""
    threat_log.add(connection, key, now_us, what, severity, text, str(actor))
    audit.note(connection, now_us, str(actor), f"threat.{what}", str(key))
