"""What the agent knows of itself, for everybody to read: one immutable snapshot, replaced as a whole.

The link alone writes the state; the sampler and the spool put conditions beside it. Whoever reads gets a
snapshot that is consistent in itself and never waits for anybody.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from dio_daemon.clock import Clock, rfc3339
from dio_daemon.lifecycle import Snapshot, State


class Board:
    """The agent's snapshot.

    Args:
        clock: for the moments of changes.
        changed: called after every change but one more acknowledgement, from the thread that made it; must not block.
        publish: told of every new state, acknowledgement and set of conditions; must not block.
    """

    def __init__(
        self, clock: Clock, changed: Callable[[], None], publish: Callable[[str, dict[str, Any]], None]
    ) -> None:
        self._clock = clock
        self._publish = publish
        self._changed = changed
        self._lock = threading.Lock()
        self._conditions: dict[str, Mapping[str, str]] = {}
        self._snapshot = Snapshot(State.STARTING, clock.monotonic(), rfc3339(clock.now()))

    @property
    def snapshot(self) -> Snapshot:
        """The newest snapshot."""
        return self._snapshot

    def update(self, **fields: Any) -> None:
        """Replace some fields of the snapshot; a new state also gets its moment."""
        with self._lock:
            if "state" in fields and fields["state"] is not self._snapshot.state:
                fields |= {"since": self._clock.monotonic(), "since_wall": rfc3339(self._clock.now())}
            before, self._snapshot = self._snapshot, replace(self._snapshot, **fields)
        if not _only_acknowledged(before, self._snapshot):
            self._changed()
        self._tell(before, self._snapshot)

    def set_conditions(self, source: str, conditions: Mapping[str, str]) -> None:
        """Replace all conditions of one source (code to sentence)."""
        with self._lock:
            if self._conditions.get(source, {}) == conditions:
                return
            self._conditions[source] = dict(conditions)
            merged = {code: text for group in self._conditions.values() for code, text in group.items()}
            before, self._snapshot = self._snapshot, replace(self._snapshot, conditions=merged)
        self._changed()
        self._tell(before, self._snapshot)

    def _tell(self, before: Snapshot, after: Snapshot) -> None:
        if after.state is not before.state:
            change = {"from": before.state.value, "to": after.state.value, "reason": after.reason or None}
            self._publish("state", change)
        if after.last_acknowledged != before.last_acknowledged:
            self._publish("delivery", {"acknowledged_at": after.last_acknowledged_wall})
        elif after.failures > before.failures:
            self._publish("delivery", {"failures": after.failures, "reason": after.reason or None})
        if after.conditions != before.conditions:
            self._publish("conditions", dict(after.conditions))


def _only_acknowledged(before: Snapshot, after: Snapshot) -> bool:
    """Whether nothing is new but the moment of an acknowledgement, and it is not the first: that waits for a look."""
    if before.last_acknowledged is None:
        return False
    moment, wall = before.last_acknowledged, before.last_acknowledged_wall
    return replace(after, last_acknowledged=moment, last_acknowledged_wall=wall) == before
