"""The spool's SQL: tables, transactions and the few questions that `spool.py` asks.

Data is kept compressed (a sample shrinks to a third). A commit writes each page that it changed whole, so pages are as
small as a sample: half as much goes to disk as with pages of 4 KiB, which files of earlier versions keep. `at_s` is
the age of a record on the spool's own clock, which counts seconds of sampling and is carried over restarts, since the
wall clock may step. Cursors are written with the next record, not by themselves.
"""

from __future__ import annotations

import json
import math
import os
import re
import sqlite3
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from dio_daemon.histories import (
    EPOCH,
    RESTORED,
    Reach,
    from_text,
    owed_from_text,
    owed_to_text,
    past_from_text,
    to_text,
)
from dio_daemon.spool_model import Cursor, SpoolState
from dio_daemon.wire import STREAMS, Record, to_json

SCHEMA_VERSION = 1
PAGE_BYTES = 1024
LOG_BYTES = 1 << 20
"""The log is copied into the database when it is longer."""
_SCHEMA = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE cursors (stream TEXT PRIMARY KEY, next_seq INTEGER NOT NULL, acknowledged INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE records (
  stream TEXT NOT NULL, seq INTEGER NOT NULL, from_seq INTEGER NOT NULL, tag TEXT NOT NULL, kind TEXT NOT NULL,
  time TEXT NOT NULL, at_s REAL NOT NULL, data BLOB NOT NULL, PRIMARY KEY (stream, seq));
CREATE INDEX gaps ON records (stream) WHERE kind = 'gap';
CREATE INDEX custom ON records (stream, seq) WHERE kind IN ('custom_event', 'custom_metrics');
CREATE TABLE dead_letters (
  id INTEGER PRIMARY KEY, stream TEXT NOT NULL, seq INTEGER NOT NULL, tag TEXT NOT NULL, kind TEXT NOT NULL,
  time TEXT NOT NULL, data BLOB NOT NULL, reason TEXT NOT NULL, set_aside_at TEXT NOT NULL);
"""
NO_TIME = "1970-01-01T00:00:00.000Z"
"""Of a gap where no record is left that could say when."""
_COLUMNS = "seq, from_seq, tag, kind, time, data"
_KIND = re.compile(r"[a-z][a-z0-9_.-]{0,63}")
_TIME = re.compile(r"[0-9T:.+-]{10,32}Z")


class NotASpool(Exception):
    """The file is a database, but not a spool of this agent."""


def new_tag() -> str:
    """64 random bits in hex."""
    return os.urandom(8).hex()


def connect(path: str) -> sqlite3.Connection:
    """Open the file durably, and alone; make the tables when it is new."""
    db = sqlite3.connect(path, timeout=5.0, isolation_level=None, check_same_thread=False)
    try:
        # First of all: then the index of the log is in our memory. In a file that is mapped (spool.db-shm, or the
        # database itself) whoever cuts it under us would end the process by SIGBUS.
        db.execute("PRAGMA locking_mode=EXCLUSIVE")
        db.execute("PRAGMA mmap_size=0")
        db.execute(f"PRAGMA page_size={PAGE_BYTES}")  # of a new file
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("PRAGMA synchronous=FULL")
        db.execute("PRAGMA cache_size=-128")  # a sample comes to few pages; what has more keeps it for good
        db.execute(f"PRAGMA wal_autocheckpoint={LOG_BYTES // page_bytes(db)}")
        db.execute("PRAGMA temp_store=MEMORY")  # numbering anew takes no file, which a full disk would refuse
        version = db.execute("PRAGMA user_version").fetchone()[0]
        if version == 0:
            with transaction(db):
                for statement in filter(str.strip, _SCHEMA.split(";")):
                    db.execute(statement)
                db.execute(f"PRAGMA user_version={SCHEMA_VERSION}")
        elif version != SCHEMA_VERSION:
            raise NotASpool(f"its version is {version}, this agent knows {SCHEMA_VERSION}")
    except BaseException:
        db.close()
        raise
    return db


@contextmanager
def transaction(db: sqlite3.Connection) -> Iterator[None]:
    """BEGIN IMMEDIATE … COMMIT, or ROLLBACK when anything fails."""
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise


def load(db: sqlite3.Connection) -> SpoolState:
    """The state as it was saved; a new epoch in a new file. Raises NotASpool where it cannot be what was saved."""
    meta = dict(db.execute("SELECT key, value FROM meta").fetchall())
    if "epoch" not in meta:
        state = SpoolState(new_tag(), 0.0, {stream: Cursor() for stream in STREAMS})
        with transaction(db):
            save(db, state)
        return state
    try:
        state = SpoolState(meta["epoch"], float(meta["sampling_s"]), {})
        ledger = json.loads(meta.get("ledger", "{}"))
        held = {stream: int(ledger.get("held", {}).get(stream, 0)) for stream in STREAMS}
        state.owed = [owed_from_text(item) for item in ledger.get("owed", [])]
        state.past = past_from_text(ledger.get("past", {}))
        state.delivered = from_text(ledger.get("delivered", {}))
        state.stamp = int(meta.get("stamp", "0"))
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise NotASpool(f"its state does not read: {error}") from error
    if not EPOCH.fullmatch(state.epoch) or not math.isfinite(state.sampling_s):
        raise NotASpool("its epoch or its clock is damaged")
    for stream, next_seq, acknowledged in db.execute("SELECT stream, next_seq, acknowledged FROM cursors"):
        if type(next_seq) is not int or type(acknowledged) is not int or not 0 <= acknowledged < next_seq:
            raise NotASpool(f"the cursor of {stream} is damaged")
        if next_seq > 1 and tag_of(db, stream, next_seq - 1) is None:
            raise NotASpool(f"the last record of {stream} is not there")
        state.streams[stream] = Cursor(
            next_seq, acknowledged, pending(db, stream, acknowledged), held.get(stream, 0)
        )
    if not state.streams.keys() >= set(STREAMS):
        raise NotASpool("a cursor is not there")
    return state


def save(db: sqlite3.Connection, state: SpoolState) -> None:
    """Write epoch, clock and cursors, and what is remembered of other epochs when that changed."""
    meta = [("epoch", state.epoch), ("sampling_s", repr(state.sampling_s)), ("stamp", str(state.stamp))]
    ledger = json.dumps(
        {
            "held": {name: cursor.held for name, cursor in state.streams.items()},
            "owed": [owed_to_text(item) for item in state.owed],
            "past": state.past,
            "delivered": to_text(state.delivered),
        }
    )
    if ledger != state.ledger:
        meta.append(("ledger", ledger))
        state.ledger = ledger
    db.executemany(
        "INSERT INTO meta VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value", meta
    )
    db.executemany(
        "INSERT INTO cursors VALUES (?, ?, ?) ON CONFLICT (stream) DO UPDATE"
        " SET next_seq = excluded.next_seq, acknowledged = excluded.acknowledged",
        [(name, cursor.next_seq, cursor.acknowledged) for name, cursor in state.streams.items()],
    )


def insert(db: sqlite3.Connection, stream: str, record: Record, at_s: float) -> None:
    """Add one record."""
    db.execute(
        "INSERT INTO records (stream, seq, from_seq, tag, kind, time, at_s, data) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (
            stream,
            record.seq,
            record.from_seq,
            record.tag,
            record.kind,
            record.time,
            at_s,
            zlib.compress(record.data, 1),
        ),
    )


def append(
    db: sqlite3.Connection,
    state: SpoolState,
    stream: str,
    kind: str,
    time: str,
    data: bytes,
    tag: str = "",
    width: int = 1,
) -> int:
    """Add a record behind the last one and return its seq; a gap takes `width` numbers."""
    cursor = state.streams[stream]
    seq = cursor.next_seq + width - 1
    insert(db, stream, Record(seq, cursor.next_seq, tag or new_tag(), kind, time, data), state.sampling_s)
    cursor.next_seq = seq + 1
    cursor.pending += 1
    return seq


def after(db: sqlite3.Connection, stream: str, seq: int, limit: int) -> Iterator[Record]:
    """Records after a seq, in order."""
    rows = db.execute(
        f"SELECT {_COLUMNS} FROM records WHERE stream = ? AND seq > ? ORDER BY seq LIMIT ?",  # noqa: S608 constants
        (stream, seq, limit),
    )
    for row in rows:
        yield _record(stream, *row)


def _record(stream: str, seq: Any, from_seq: Any, tag: Any, kind: Any, time: Any, data: Any) -> Record:
    """A row as a record. A page that is damaged in part reads as anything; raises NotASpool for that."""
    whole = (
        type(seq) is int
        and type(from_seq) is int
        and 1 <= from_seq <= seq
        and isinstance(tag, str)
        and EPOCH.fullmatch(tag)
        and isinstance(kind, str)
        and _KIND.fullmatch(kind)
        and isinstance(time, str)
        and _TIME.fullmatch(time)
        and isinstance(data, bytes)
    )
    if not whole:
        raise NotASpool(f"record {seq} of {stream} is damaged")
    try:
        return Record(seq, from_seq, tag, kind, time, zlib.decompress(data))
    except zlib.error as error:
        raise NotASpool(f"record {seq} of {stream} does not unpack: {error}") from error


def tags(db: sqlite3.Connection, stream: str) -> set[str]:
    """The tags of all records of a stream."""
    return {str(tag) for (tag,) in db.execute("SELECT tag FROM records WHERE stream = ?", (stream,))}


def tag_of(db: sqlite3.Connection, stream: str, seq: int) -> str | None:
    """The tag of a record; None when it is not here."""
    row = db.execute("SELECT tag FROM records WHERE stream = ? AND seq = ?", (stream, seq)).fetchone()
    return None if row is None else str(row[0])


def pending(db: sqlite3.Connection, stream: str, acknowledged: int) -> int:
    """How many records stand after the cursor."""
    row = db.execute(
        "SELECT count(*) FROM records WHERE stream = ? AND seq > ?", (stream, acknowledged)
    ).fetchone()
    return int(row[0])


def oldest_pending(db: sqlite3.Connection, stream: str, acknowledged: int) -> str | None:
    """When the oldest record that waits was sampled."""
    row = db.execute(
        "SELECT time FROM records WHERE stream = ? AND seq > ? ORDER BY seq LIMIT 1", (stream, acknowledged)
    ).fetchone()
    return None if row is None else str(row[0])


def dead_letters(db: sqlite3.Connection) -> int:
    """How many dead letters are kept."""
    return int(db.execute("SELECT count(*) FROM dead_letters").fetchone()[0])


def used_bytes(db: sqlite3.Connection) -> int:
    """Bytes of the file that hold something."""
    pages = db.execute("PRAGMA page_count").fetchone()[0] - db.execute("PRAGMA freelist_count").fetchone()[0]
    return int(pages) * page_bytes(db)


def page_bytes(db: sqlite3.Connection) -> int:
    """Bytes of a page of the file."""
    return int(db.execute("PRAGMA page_size").fetchone()[0])


IS_CUSTOM = "kind IN ('custom_event', 'custom_metrics')"
"""What other programs submitted; word for word the condition of the index `custom`."""


def custom_bytes(db: sqlite3.Connection, stream: str, acknowledged: int) -> int:
    """Bytes of submissions that wait."""
    row = db.execute(
        f"SELECT coalesce(sum(length(data)), 0) FROM records WHERE {IS_CUSTOM} AND stream = ? AND seq > ?",  # noqa: S608 a constant
        (stream, acknowledged),
    ).fetchone()
    return int(row[0])


def since(db: sqlite3.Connection, stream: str, kind: str, first_seq: int, at_s: float) -> Iterator[Record]:
    """Records of a kind from a seq on that are not older than a moment, in order."""
    rows = db.execute(
        f"SELECT {_COLUMNS} FROM records WHERE stream = ? AND seq >= ? AND kind = ? AND at_s >= ? ORDER BY seq",  # noqa: S608 constants
        (stream, first_seq, kind, at_s),
    )
    for row in rows:
        yield _record(stream, *row)


def delete_before(db: sqlite3.Connection, stream: str, seq: int) -> None:
    """Delete all records before a seq, delivered or not, and leave nothing in their place."""
    db.execute("DELETE FROM records WHERE stream = ? AND seq < ?", (stream, seq))


def gap_reasons(db: sqlite3.Connection, stream: str) -> dict[str, int]:
    """What the gap records of a stream count, by reason."""
    found: dict[str, int] = {}
    for (data,) in db.execute("SELECT data FROM records WHERE stream = ? AND kind = 'gap'", (stream,)):
        gap = json.loads(zlib.decompress(data))
        for reason, count in gap.get("reasons", {gap["reason"]: gap["count"]}).items():
            found[reason] = found.get(reason, 0) + count
    return found


def fill_holes(
    db: sqlite3.Connection, stream: str, after_seq: int, next_seq: int, reason: str, at_s: float
) -> None:
    """Gap records for whatever is no longer here after a seq, so that the stream has no hole again."""
    rows = db.execute(
        "SELECT seq, from_seq, time FROM records WHERE stream = ? AND seq > ? ORDER BY seq",
        (stream, after_seq),
    ).fetchall()
    holes: list[tuple[int, int, str]] = []
    expected = after_seq + 1
    for seq, from_seq, time in rows:
        if from_seq > expected:
            holes.append((expected, from_seq - 1, time))
        expected = seq + 1
    if expected < next_seq:
        holes.append((expected, next_seq - 1, rows[-1][2] if rows else NO_TIME))
    for first, last, time in holes:
        gap = Record(
            last, first, new_tag(), "gap", time, to_json({"count": last - first + 1, "reason": reason})
        )
        insert(db, stream, gap, at_s)


def last_time(db: sqlite3.Connection, stream: str) -> str:
    """When the newest record of a stream was sampled; 1970 when there is none."""
    row = db.execute(
        "SELECT time FROM records WHERE stream = ? ORDER BY seq DESC LIMIT 1", (stream,)
    ).fetchone()
    return NO_TIME if row is None else str(row[0])


def first_seq(db: sqlite3.Connection, stream: str) -> int:
    """The first seq that the oldest record here covers; that of the next record when there is none."""
    row = db.execute(
        "SELECT coalesce((SELECT from_seq FROM records WHERE stream = ? ORDER BY seq LIMIT 1),"
        " (SELECT next_seq FROM cursors WHERE stream = ?), 1)",
        (stream, stream),
    ).fetchone()
    return int(row[0])


def renumber(
    db: sqlite3.Connection, state: SpoolState, lost: Mapping[str, int], held: Mapping[str, int]
) -> None:
    """Open a new epoch: everything kept is numbered anew and waits again; tags stay, gaps keep their width.

    `lost` says for a stream how many records are neither here nor at the center: a gap that begins its epoch. `held`
    says up to which seq of the old epoch the center has them.
    """
    state.end(state.epoch, {name: cursor.next_seq for name, cursor in state.streams.items()})
    for stream, cursor in state.streams.items():
        kept = Reach(cursor.next_seq, cursor.held, first_seq(db, stream), cursor.next_seq)
        state.deliver(state.epoch, stream, kept.delivered(held.get(stream, 0)))
    db.execute(
        "CREATE TEMP TABLE renumbered AS SELECT stream, seq AS old_seq, seq - from_seq AS more,"
        " sum(seq - from_seq + 1) OVER (PARTITION BY stream ORDER BY seq) AS new_seq, tag, kind, time, at_s, data"
        " FROM records"
    )
    db.execute("DELETE FROM records")
    for stream, cursor in state.streams.items():
        shift = max(0, lost.get(stream, 0))
        db.execute(
            "INSERT INTO records (stream, seq, from_seq, tag, kind, time, at_s, data)"
            " SELECT stream, new_seq + ?, new_seq - more + ?, tag, kind, time, at_s, data"
            " FROM renumbered WHERE stream = ?",
            (shift, shift, stream),
        )
        if shift:
            time = oldest_pending(db, stream, 0) or NO_TIME
            data = to_json({"count": shift, "reason": RESTORED})
            insert(db, stream, Record(shift, 1, new_tag(), "gap", time, data), state.sampling_s)
        last, there = db.execute(
            "SELECT coalesce(max(new_seq), 0), coalesce(max(CASE WHEN old_seq <= ? THEN new_seq END), 0)"
            " FROM renumbered WHERE stream = ?",
            (held.get(stream, 0), stream),
        ).fetchone()
        cursor.next_seq, cursor.acknowledged = last + shift + 1, 0
        cursor.pending, cursor.held = pending(db, stream, 0), 0 if shift else there
    db.execute("DROP TABLE renumbered")
    state.epoch = new_tag()


def checkpoint(db: sqlite3.Connection) -> None:
    """Bring all of the write-ahead log into the file, as far as nobody else reads it."""
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
