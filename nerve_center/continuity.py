"""Is anything of an agent unaccounted for? Computed from what is stored, seq by seq, never from counters.

Every seq of a history from 1 to its mark must be exactly one of: a record, part of a gap that counts what is missing
and says why, a record that was skipped because it is there from an earlier epoch, or one that retention has removed
since (and has written down). What is none of these is
`missing`; what is more than one is `overlapping`. Both would be faults of the delivery protocol.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from nerve_center.clock import format_time
from nerve_center.store.continuity import Stored

MOST_RANGES = 20
"""How many missing ranges the report names; the count is always whole."""


def report(agent_id: str, histories: Sequence[Stored], since_us: int | None = None) -> dict[str, Any]:
    """The continuity report of an agent; with `since_us` only of histories that grew after it."""
    streams = [history(item) for item in histories if since_us is None or item.updated_us >= since_us]
    return {
        "agent_id": agent_id,
        "complete": all(item["complete"] for item in streams),
        "unaccounted": sum(item["missing_count"] + item["overlapping_count"] for item in streams),
        "records": sum(item["records"] for item in streams),
        "in_gaps": sum(gap["count"] for item in streams for gap in item["gaps"]),
        "streams": streams,
    }


def history(stored: Stored) -> dict[str, Any]:
    """One history's part of the report."""
    reasons: dict[str, int] = {}
    for _, _, count, reason in stored.gaps:
        reasons[reason] = reasons.get(reason, 0) + count
    ranges = [
        *stored.records,
        *((first, last) for first, last, _, _ in stored.gaps),
        *stored.skipped,
        *stored.removed,
    ]
    missing, overlapping = holes(ranges, stored.mark)
    missing_count = sum(last - first + 1 for first, last in missing)
    return {
        "epoch": stored.epoch.hex(),
        "stream": stored.stream,
        "first_seq": min((first for first, _ in ranges), default=None),
        "last_seq": stored.mark,
        "records": len(stored.records),
        "gaps": [{"reason": reason, "count": count} for reason, count in sorted(reasons.items())],
        "duplicates_skipped": sum(last - first + 1 for first, last in stored.skipped),
        "removed_by_retention": sum(last - first + 1 for first, last in stored.removed),
        "missing": [{"from_seq": first, "seq": last} for first, last in missing[:MOST_RANGES]],
        "missing_count": missing_count,
        "overlapping_count": overlapping,
        "complete": missing_count == 0 and overlapping == 0,
        "updated_at": format_time(stored.updated_us),
    }


def holes(ranges: Iterable[tuple[int, int]], last: int) -> tuple[list[tuple[int, int]], int]:
    """Which of the seqs 1 to `last` no range covers, and how many seqs are covered twice or lie beyond."""
    missing: list[tuple[int, int]] = []
    overlapping, expected = 0, 1
    for first, end in sorted(ranges):
        if first > expected:
            missing.append((expected, first - 1))
        elif first < expected:
            overlapping += min(end, expected - 1) - first + 1
        expected = max(expected, end + 1)
    if expected <= last:
        missing.append((expected, last))
    return missing, overlapping + max(0, expected - 1 - last)
