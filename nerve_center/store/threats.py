"""Threats: what the threat records of an agent, and the center's own findings, add up to.

One row an agent and fingerprint. A record opens it, changes it or clears it; a record that is older than what
the row already shows (a backlog delivered late) changes nothing.
"""

from __future__ import annotations

import json
import zlib
from typing import Any

from sqlalchemy import insert, select, update
from sqlalchemy.engine import Connection

from nerve_center.store.tables import threats


def apply(connection: Connection, agent_key: int, time_us: int, data: dict[str, Any]) -> None:
    """Take one threat record (`ThreatData` of the contract) into account."""
    row = connection.execute(
        select(threats.c.key, threats.c.state, threats.c.updated_us, threats.c.times_opened).where(
            threats.c.agent_key == agent_key, threats.c.fingerprint == data["fingerprint"]
        )
    ).first()
    if row is not None and time_us < row.updated_us:
        return
    opens = data["state"] == "open"
    values: dict[str, Any] = {
        "type": data["type"],
        "severity": data["severity"],
        "confidence": data.get("confidence"),
        "state": data["state"],
        "summary": data.get("summary", ""),
        "evidence": zlib.compress(json.dumps(data.get("evidence", {}), ensure_ascii=False).encode()),
        "updated_us": time_us,
        "cleared_us": None if opens else time_us,
    }
    if row is None:
        connection.execute(
            insert(threats).values(
                agent_key=agent_key,
                fingerprint=data["fingerprint"],
                opened_us=time_us,
                times_opened=1,
                **values,
            )
        )
        return
    if opens and row.state != "open":
        values.update(opened_us=time_us, times_opened=row.times_opened + 1)
    connection.execute(update(threats).where(threats.c.key == row.key).values(**values))
