"""What leaves the spool, and what stands in its place.

Delivered records leave nothing behind. Whatever else goes is replaced by a gap for its range, with count and reason,
so that a stream never has a hole.
"""

from __future__ import annotations

import json
import sqlite3
import zlib
from collections.abc import Mapping

from dio_daemon import spool_store as store
from dio_daemon.spool_model import Budget, SpoolState
from dio_daemon.wire import EVENTS, SAMPLES, Record, to_json

THIN_TO_S = 60.0
"""What thinning leaves: one sample a minute."""


def hold(db: sqlite3.Connection, state: SpoolState, budget: Budget, in_flight: Mapping[str, int]) -> None:
    """Hold the budget: forget what was delivered, then thin samples, drop samples, drop events.

    Args:
        db, state: the spool.
        budget: what it may take.
        in_flight: by stream, up to which record the nerve center may have them already; these stay.
    """
    now = state.sampling_s

    def kept(stream: str) -> int:
        return max(state.streams[stream].acknowledged, in_flight[stream])

    for stream, cursor in state.streams.items():
        forget(db, stream, cursor.acknowledged, now - budget.keep_acknowledged_s)
        drop_older(db, stream, kept(stream), now - budget.max_age_s, "too_old", now)
    if store.used_bytes(db) > budget.max_bytes:
        # Whole tenths at a time: a full spool must not be trimmed again at every record.
        target = int(budget.max_bytes * 0.9)
        drop_custom(db, SAMPLES, kept(SAMPLES), now)
        for stream, cursor in state.streams.items():
            forget_until(db, stream, cursor.acknowledged, target)
        if store.used_bytes(db) > target:
            thin(db, SAMPLES, kept(SAMPLES), now, target)
        for stream in (SAMPLES, EVENTS):
            drop_until(db, stream, kept(stream), target, "spool_full", now)
    for stream, cursor in state.streams.items():
        cursor.pending = store.pending(db, stream, cursor.acknowledged)


def forget(db: sqlite3.Connection, stream: str, acknowledged: int, before_s: float) -> None:
    """Delete delivered records older than a moment; the one at the cursor stays, to be compared with."""
    db.execute(
        "DELETE FROM records WHERE stream = ? AND seq < ? AND at_s < ?", (stream, acknowledged, before_s)
    )


def forget_until(db: sqlite3.Connection, stream: str, acknowledged: int, target_bytes: int) -> None:
    """Delete delivered records, oldest first, until the file is small enough or none is left."""
    while store.used_bytes(db) > target_bytes:
        deleted = db.execute(
            "DELETE FROM records WHERE stream = ? AND seq IN"
            " (SELECT seq FROM records WHERE stream = ? AND seq < ? ORDER BY seq LIMIT 200)",
            (stream, stream, acknowledged),
        ).rowcount
        if not deleted:
            return


def drop_custom(db: sqlite3.Connection, stream: str, kept: int, at_s: float) -> None:
    """Put gaps in the place of submissions that wait."""
    rows = db.execute(
        f"SELECT seq FROM records WHERE {store.IS_CUSTOM} AND stream = ? AND seq > ? ORDER BY seq",  # noqa: S608 a constant
        (stream, kept),
    ).fetchall()
    run: list[int] = []
    for (seq,) in rows:
        if run and seq != run[-1] + 1:
            merge(db, stream, run[0], run[-1], "spool_full", at_s)
            run = []
        run.append(int(seq))
    if run:
        merge(db, stream, run[0], run[-1], "spool_full", at_s)


def drop_older(
    db: sqlite3.Connection, stream: str, kept: int, before_s: float, reason: str, at_s: float
) -> None:
    """Put a gap in the place of records after `kept` that are older than a moment."""
    row = db.execute(
        "SELECT max(seq) FROM records WHERE stream = ? AND seq > ? AND at_s < ? AND kind != 'gap'",
        (stream, kept, before_s),
    ).fetchone()
    if row[0] is not None:
        merge(db, stream, kept + 1, int(row[0]), reason, at_s)


def drop_until(
    db: sqlite3.Connection, stream: str, kept: int, target_bytes: int, reason: str, at_s: float
) -> None:
    """Put gaps in the place of the oldest records after `kept` until the file is small enough."""
    while store.used_bytes(db) > target_bytes:
        rows = db.execute(
            "SELECT seq, kind FROM records WHERE stream = ? AND seq > ? ORDER BY seq LIMIT 201",
            (stream, kept),
        ).fetchall()
        if len(rows) < 3:  # the newest stays, and a gap alone gains nothing
            return
        merge(db, stream, kept + 1, rows[-2][0], reason, at_s)


def thin(db: sqlite3.Connection, stream: str, kept: int, now_s: float, target_bytes: int) -> None:
    """Leave one record a minute of those after `kept`, oldest first; newer than ten minutes stay whole."""
    rows = db.execute(
        "SELECT seq, at_s, kind FROM records WHERE stream = ? AND seq > ? AND at_s < ? ORDER BY seq",
        (stream, kept, now_s - 600),
    ).fetchall()
    run: list[int] = []
    minute = None
    for number, (seq, at_s, kind) in enumerate(rows):
        if kind != "gap" and int(at_s // THIN_TO_S) != minute:
            minute = int(at_s // THIN_TO_S)
            if len(run) > 1:
                merge(db, stream, run[0], run[-1], "thinned", now_s)
            run = []
            if number % 256 < 6 and store.used_bytes(db) <= target_bytes:
                return
        else:
            run.append(seq)
    if len(run) > 1:
        merge(db, stream, run[0], run[-1], "thinned", now_s)


def merge(db: sqlite3.Connection, stream: str, first: int, last: int, reason: str, at_s: float) -> None:
    """One gap in the place of the records from `first` to `last`; gaps among them add their counts."""
    rows = db.execute(
        "SELECT seq, from_seq, kind, time, data FROM records WHERE stream = ? AND seq BETWEEN ? AND ? ORDER BY seq",
        (stream, first, last),
    ).fetchall()
    if not rows or (len(rows) == 1 and rows[0][2] == "gap"):
        return
    reasons: dict[str, int] = {}
    for row in rows:
        if row[2] == "gap":
            inner = json.loads(zlib.decompress(row[4]))
            for name, count in inner.get("reasons", {inner["reason"]: inner["count"]}).items():
                reasons[name] = reasons.get(name, 0) + count
        else:
            reasons[reason] = reasons.get(reason, 0) + 1
    db.execute("DELETE FROM records WHERE stream = ? AND seq BETWEEN ? AND ?", (stream, first, last))
    data: dict[str, object] = {"count": sum(reasons.values()), "reason": reason}
    if len(reasons) > 1:
        data["reasons"] = reasons
    elif reasons:
        data["reason"] = next(iter(reasons))
    data |= {"first_time": rows[0][3], "last_time": rows[-1][3]}
    gap = Record(rows[-1][0], rows[0][1], store.new_tag(), "gap", rows[-1][3], to_json(data))
    store.insert(db, stream, gap, at_s)


def set_aside(db: sqlite3.Connection, stream: str, seq: int, reason: str, time: str, keep: int) -> bool:
    """Move one record to the dead letters, the newest `keep` of which stay; a gap takes its place."""
    moved = db.execute(
        "INSERT INTO dead_letters (stream, seq, tag, kind, time, data, reason, set_aside_at)"
        " SELECT stream, seq, tag, kind, time, data, ?, ? FROM records WHERE stream = ? AND seq = ? AND kind != 'gap'",
        (reason, time, stream, seq),
    ).rowcount
    if not moved:
        return False
    db.execute("DELETE FROM dead_letters WHERE id <= (SELECT max(id) FROM dead_letters) - ?", (keep,))
    row = db.execute("SELECT at_s FROM records WHERE stream = ? AND seq = ?", (stream, seq)).fetchone()
    merge(db, stream, seq, seq, "dead_letter", float(row[0]))
    return True
