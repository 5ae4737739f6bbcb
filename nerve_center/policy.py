"""What an agent is told: the policies and tolerances that hold for it, as one document with a version.

The version is a hash of what the document says, so it is the same for the same content, at every worker and after a
restored database. An agent that nothing holds for is told so by the version None.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy.engine import Connection

from nerve_center.clock import Clock, format_time
from nerve_center.store import policies, tolerances
from nerve_center.store.policies import Policy
from nerve_center.store.tolerances import Tolerance

REFRESH_S = 1.0
_MOST_KNOWN = 50_000
_SHOWN = 120
"""Characters of a subject or a reason: they are there for people, the fingerprint for the agent."""


@dataclass(frozen=True)
class Held:
    """All that holds at a moment, and until when (microseconds of the time of day; None: until it is changed)."""

    policies: Sequence[Policy]
    tolerances: Sequence[Tolerance]
    until_us: int | None

    @property
    def empty(self) -> bool:
        return not self.policies and not self.tolerances


def held(connection: Connection, now_us: int) -> Held:
    """What holds now."""
    found = tolerances.in_force(connection, now_us)
    ends = [each.until_us for each in found if each.until_us is not None]
    return Held(policies.everyone(connection), found, min(ends, default=None))


def document(all_: Held, agent_key: int, labels: Mapping[str, str]) -> dict[str, Any]:
    """What an agent is told (`AgentPolicy` of the contract)."""
    told = [each for each in all_.policies if each.covers(labels)]
    normal = sorted(
        (each for each in all_.tolerances if each.covers(agent_key, labels)), key=lambda each: each.key
    )
    intervals = [each.interval_s for each in told if each.interval_s is not None]
    content = {
        "interval_s": intervals[-1] if intervals else None,
        "rules": [{"of": each.of, "toml": each.rules} for each in told if each.rules.strip()],
        "tolerated": [_told(each) for each in normal],
    }
    if not told and not normal:
        return {"version": None, **content}
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return {"version": hashlib.sha256(text.encode()).hexdigest()[:16], **content}


def _told(item: Tolerance) -> dict[str, Any]:
    return {
        "type": item.type,
        "subject": item.subject[:_SHOWN],
        "fingerprint": item.fingerprint,
        "reason": item.reason[:_SHOWN],
        "until": None if item.until_us is None else format_time(item.until_us),
    }


class Versions:
    """The version that holds for each agent, for the answers to reports.

    It belongs to the one thread that writes. What holds is looked at anew once a second: a report costs nothing
    more, and an agent hears of a change with the first report after it.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._looked_s: float | None = None
        self._revision: str | None = None
        self._held = Held((), (), None)
        self._known: dict[tuple[int, str], str | None] = {}

    def of(self, connection: Connection, agent_key: int, labels_json: str) -> str | None:
        """The version for an agent, given its labels as they are stored."""
        self._refresh(connection)
        if self._held.empty:
            return None
        key = (agent_key, labels_json)
        if len(self._known) > _MOST_KNOWN:
            self._known.clear()
        if key not in self._known:
            self._known[key] = document(self._held, agent_key, json.loads(labels_json))["version"]
        return self._known[key]

    def _refresh(self, connection: Connection) -> None:
        now_s = self._clock.monotonic()
        if self._looked_s is not None and now_s - self._looked_s < REFRESH_S:
            return
        self._looked_s = now_s
        now_us, revision = self._clock.now_us(), policies.revision(connection)
        over = self._held.until_us is not None and self._held.until_us <= now_us
        if revision != self._revision or over:
            self._revision, self._held = revision, held(connection, now_us)
            self._known.clear()


def policy_as_json(item: Policy) -> dict[str, Any]:
    """A Policy of the contract."""
    return {
        "label": {"name": item.label_name, "value": item.label_value} if item.label_name else None,
        "interval_s": item.interval_s,
        "rules": item.rules,
        "updated_at": format_time(item.updated_us),
        "updated_by": item.updated_by,
    }


def tolerance_as_json(item: Tolerance) -> dict[str, Any]:
    """A Tolerance of the contract."""
    return {
        "id": item.key,
        "scope": item.scope,
        "agent_id": item.agent_id,
        "hostname": item.hostname,
        "label": None if item.label_name is None else {"name": item.label_name, "value": item.label_value},
        "type": item.type,
        "subject": item.subject,
        "fingerprint": item.fingerprint,
        "reason": item.reason,
        "created_at": format_time(item.created_us),
        "created_by": item.created_by,
        "until": None if item.until_us is None else format_time(item.until_us),
        "ended_at": None if item.ended_us is None else format_time(item.ended_us),
        "ended_by": item.ended_by,
    }
