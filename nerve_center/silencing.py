"""A silence, as programs and people read it."""

from __future__ import annotations

from typing import Any

from nerve_center.clock import format_time
from nerve_center.store.silences import EVERY_TYPE, Silence


def as_json(silence: Silence) -> dict[str, Any]:
    """A Silence of the contract."""
    return {
        "id": silence.key,
        "scope": silence.scope,
        "agent_id": silence.agent_id,
        "hostname": silence.hostname,
        "fingerprint": silence.fingerprint,
        "type": None if silence.type == EVERY_TYPE else silence.type,
        "label": None
        if silence.label_name is None
        else {"name": silence.label_name, "value": silence.label_value},
        "reason": silence.reason,
        "created_at": format_time(silence.created_us),
        "created_by": silence.created_by,
        "until": None if silence.until_us is None else format_time(silence.until_us),
        "until_cleared": silence.until_cleared,
        "ended_at": None if silence.ended_us is None else format_time(silence.ended_us),
    }


def about(silence: Silence) -> str:
    """What it is about: `everything on host db1`, `disk_full on label role=web`, `cpu_high on the fleet`."""
    what = "everything" if silence.type == EVERY_TYPE else silence.type
    if silence.scope == "host":
        where = f"host {silence.hostname or 'of the nerve center'}"
    elif silence.scope == "label":
        where = f"label {silence.label_name}={silence.label_value}"
    else:
        where = "the fleet"
    return f"{what} on {where}"
