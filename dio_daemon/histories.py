"""How far histories of records came, so that what is lost with one can be counted to the record.

A stream of a history numbers its records from 1 without a hole, and a gap takes as many numbers as it counts. So
epoch, last number and the nerve center's mark say how many records are lost when everything else is gone, also
where the answer to the last report never arrived.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, astuple, dataclass, replace
from typing import Any

LOST = "spool_lost"
CORRUPT = "spool_corrupt"
RESTORED = "center_restored"
REASONS = (LOST, CORRUPT, RESTORED)
"""Of gaps: lost with a history here, or there after it was delivered and let go here."""
EPOCH = re.compile(r"[0-9a-f]{16}")
_MOST_SEQ = 1 << 53


@dataclass(frozen=True)
class Reach:
    """How far one stream of a history came.

    Attributes: `next_seq`; `held`, how many of its first numbers the nerve center had before this history began
    (records keep their tags when they are numbered anew); and from `kept_from` to before `kept_next` those that
    went on under another epoch, none where both are equal.
    """

    next_seq: int
    held: int = 0
    kept_from: int = 0
    kept_next: int = 0

    def lost(self, mark: int) -> int:
        """How many records are neither kept nor at a nerve center that has come to `mark`."""
        have = max(mark, self.held)
        missing = max(0, self.next_seq - 1 - have)
        kept = max(0, min(self.kept_next, self.next_seq) - max(self.kept_from, have + 1))
        return max(0, missing - kept)

    def delivered(self, mark: int) -> Reach:
        """What of it the nerve center has that has come to `mark`, and nobody else; `held` are counted elsewhere."""
        return replace(self, next_seq=min(mark + 1, self.next_seq))

    def kept_there(self) -> int:
        """How many of the records that are kept are also at the nerve center; 0 where none are kept."""
        return max(0, min(self.next_seq, self.kept_next) - self.kept_from)

    def without_held(self, had: Reach) -> Reach:
        """The same, once the spool is gone that kept some of it and counted those the nerve center had as not lost."""
        return replace(self, kept_from=min(max(self.kept_from, had.next_seq), self.kept_next))

    def moved(self, acknowledged: int) -> Reach:
        """The same, once what is kept went to another spool, but for its first so many numbers."""
        return replace(self, kept_from=min(self.kept_from + acknowledged, self.kept_next))

    def keeps(self) -> bool:
        """Whether any of its records went on under another epoch and are still there."""
        return self.kept_next > self.kept_from

    def let_go(self) -> Reach:
        """The same, once what was kept of it is gone as well."""
        return replace(self, kept_from=0, kept_next=0)


Histories = Mapping[str, Mapping[str, Reach]]
"""By epoch and stream."""


def let_go(histories: Histories) -> Histories:
    """The same, once what was kept of them is gone as well."""
    return {
        epoch: {name: reach.let_go() for name, reach in streams.items()}
        for epoch, streams in histories.items()
    }


def by_kept(histories: Histories) -> tuple[Histories, Histories]:
    """Those of which something is kept, and the others."""
    kept: dict[str, dict[str, Reach]] = {}
    others: dict[str, dict[str, Reach]] = {}
    for epoch, streams in histories.items():
        for name, reach in streams.items():
            part = kept if reach.keeps() else others
            part.setdefault(epoch, {})[name] = reach
    return kept, others


def merged(one: Histories, other: Histories) -> Histories:
    """Both; where a stream is in both, `other`."""
    return {epoch: {**one.get(epoch, {}), **other.get(epoch, {})} for epoch in {**one, **other}}


@dataclass(frozen=True)
class Owed:
    """A stretch of a history that is gone, until the nerve center has said which of it is there; then a gap."""

    epoch: str
    stream: str
    reach: Reach
    reason: str
    time: str


def to_text(histories: Histories) -> dict[str, Any]:
    """As it is written down."""
    return {
        epoch: {name: list(astuple(reach)) for name, reach in streams.items()}
        for epoch, streams in histories.items()
    }


def from_text(found: Any) -> dict[str, dict[str, Reach]]:
    """The same, read. Raises ValueError, TypeError, AttributeError where it is something else."""
    return {
        _epoch(epoch): {str(name): _reach(reach) for name, reach in streams.items()}
        for epoch, streams in found.items()
    }


def owed_to_text(owed: Owed) -> dict[str, Any]:
    """As it is written down."""
    return {**asdict(owed), "reach": list(astuple(owed.reach))}


def owed_from_text(found: Any) -> Owed:
    """The same, read. Raises ValueError, TypeError, KeyError where it is something else."""
    texts = [found[name] for name in ("stream", "reason", "time")]
    if not all(isinstance(text, str) for text in texts):
        raise ValueError(f"no texts: {json.dumps(texts)}")
    return Owed(_epoch(found["epoch"]), texts[0], _reach(found["reach"]), texts[1], texts[2])


def past_from_text(found: Any) -> dict[str, dict[str, int]]:
    """Epochs that ended and how far, read. Raises ValueError, TypeError, AttributeError where it is something else."""
    if isinstance(found, list):  # as it was written at first: they ended, whatever is known of them
        return {_epoch(epoch): {} for epoch in found}
    return {
        _epoch(epoch): {str(name): int(number) for name, number in reached.items()}
        for epoch, reached in found.items()
    }


def _epoch(found: Any) -> str:
    if not isinstance(found, str) or not EPOCH.fullmatch(found):
        raise ValueError(f"no epoch: {found!r}")
    return found


def _reach(found: Any) -> Reach:
    numbers = [number for number in found if type(number) is int and 0 <= number < _MOST_SEQ]
    if len(numbers) != 4 or len(found) != 4 or numbers[0] < 1:
        raise ValueError(f"no reach: {found!r}")
    return Reach(*numbers)
