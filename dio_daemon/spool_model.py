"""What a spool may take, what it keeps in memory, what it tells of itself, and what comparing marks may show."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum

from dio_daemon.histories import Histories, Owed, Reach

MOST_PAST = 64
"""Epochs that ended here and are remembered: far more than the tally may still name."""
MOST_DELIVERED = 64
"""Histories that are remembered for a nerve center that may be restored; each loss of a spool makes one."""


class Settled(Enum):
    """What comparing the center's mark with the spool showed."""

    SAME = "same"
    ADVANCED = "advanced"
    REWOUND = "rewound"
    PARTED = "parted"


@dataclass(frozen=True)
class Budget:
    """What a spool may take.

    Attributes: `max_bytes` on disk; `max_age_s` of records not yet delivered and `keep_acknowledged_s` of those
    delivered, both in seconds of sampling (the wall clock may step; a host that is off samples nothing).
    """

    max_bytes: int
    max_age_s: float
    keep_acknowledged_s: float


@dataclass(frozen=True)
class StreamStats:
    """One stream: its next seq, the cursor, how many records wait and how many are kept, and what the gaps that
    are kept count, by reason."""

    next_seq: int
    acknowledged_seq: int
    pending: int
    kept: int
    gaps: dict[str, int]
    oldest_pending: str | None


@dataclass(frozen=True)
class Stats:
    """The spool in figures; `bytes` are those in use on disk."""

    epoch: str
    bytes: int
    max_bytes: int
    dead_letters: int
    streams: dict[str, StreamStats]

    @property
    def pending(self) -> int:
        """Records of both streams that wait."""
        return sum(stream.pending for stream in self.streams.values())


@dataclass
class Cursor:
    """A stream's counters. `pending` counts records after the cursor; it is derived, never stored. `held` are the
    first numbers of this epoch that the nerve center had before, under another."""

    next_seq: int = 1
    acknowledged: int = 0
    pending: int = 0
    held: int = 0


@dataclass
class SpoolState:
    """What is held in memory beside the file and saved with each transaction.

    `owed` is what was lost with other histories and is not put down as gaps yet; `past` are epochs whose records
    went on under another one here, or whose loss was put down, and by stream up to which number (excluded): nothing
    before it is lost with them. `delivered` is what the nerve center has of histories that ended: should it be
    restored from before, those are gone of which nothing is kept here. `stamp` counts the changes, also over a spool in
    memory in between: of two states the newer one has the higher. `ledger` is how the first three were last written.
    """

    epoch: str
    sampling_s: float
    streams: dict[str, Cursor]
    owed: list[Owed] = field(default_factory=list)
    past: dict[str, dict[str, int]] = field(default_factory=dict)
    delivered: Histories = field(default_factory=dict)
    stamp: int = 0
    ledger: str = ""

    def copy(self) -> SpoolState:
        """A copy that later changes do not reach."""
        streams = {name: replace(cursor) for name, cursor in self.streams.items()}
        return replace(self, streams=streams, owed=list(self.owed), past=dict(self.past))

    def end(self, epoch: str, reached: Mapping[str, int]) -> None:
        """Remember that nothing before these numbers (by stream) can be lost with an epoch any more."""
        before = self.past.pop(epoch, {})
        known = {name: max(number, before.get(name, 0)) for name, number in reached.items()}
        self.past[epoch] = {**before, **known}
        for oldest in list(self.past)[:-MOST_PAST]:
            del self.past[oldest]

    def deliver(self, epoch: str, stream: str, reach: Reach) -> None:
        """Remember what the nerve center has of a history that ended, if anything; what is kept of it may go later."""
        streams = dict(self.delivered.get(epoch, {}))
        streams.pop(stream, None)
        if reach.let_go().lost(0):
            streams[stream] = reach
        others = [(known, had) for known, had in self.delivered.items() if known != epoch]
        self.delivered = dict(others[-(MOST_DELIVERED - 1) :]) | ({epoch: streams} if streams else {})
