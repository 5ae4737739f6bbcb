"""The durable queue between sampling and the wire, and the only way to it.

The protocol as a story. Every history of records has an `epoch`, a random id. Within it each of two streams
(events, samples) counts its records up by one; each record also gets a random `tag`. A record is committed here
before anybody sends it and stays until the nerve center has committed it, and a while longer.

The nerve center keeps a mark per epoch and stream: seq and tag of the last record that it has. Whatever it
answers, `settle` compares its mark with the record here:

- same tag, in front of the cursor: those were delivered and only the answer was lost; the cursor moves up;
- same tag, behind the cursor: the center lost something (restored from a backup); the cursor moves back, and
  what is no longer here is put down as a gap;
- another tag, or a mark beyond all that is here: the histories parted (a disk was rolled back, a clone); a new
  epoch is opened and all that is kept is numbered anew. Tags stay, so that nothing is stored twice.

A stream has no holes: whatever is dropped leaves a gap record for its range, with count and reason.
`tests/property` runs these rules against random faults.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from dio_daemon import spool_store as store
from dio_daemon import spool_trim as trim
from dio_daemon.errors import SpoolCorrupt, SpoolUnavailable
from dio_daemon.wire import EVENTS, SAMPLES, STREAMS, Batch, Mark, Record

MAX_BATCH_BYTES = 512 * 1024
"""JSON bytes of a report's records; a nerve center takes 8 MiB, and small reports come through bad lines."""

MAX_DEAD_LETTERS = 1000


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


class Spool:
    """A spool in one SQLite file. All methods may be called from any thread.

    Args:
        path: the file, or ":memory:".
        budget: what it may take.

    Raises:
        SpoolUnavailable: the disk refuses. SpoolCorrupt: the file is damaged. So does every method.
    """

    def __init__(self, path: Path | str, budget: Budget) -> None:
        self._lock = threading.RLock()
        self._budget = budget
        self._in_flight = dict.fromkeys(STREAMS, 0)
        with _translated(path):
            self._db = store.connect(str(path))
            self._state = store.load(self._db)
        self._opened_at = {stream: cursor.next_seq for stream, cursor in self._state.streams.items()}
        self.path = path
        self._file = _file_id(path)

    @property
    def detached(self) -> bool:
        """Whether the file under its path is another one by now, or none: what is written here would be lost."""
        return self._file is not None and _file_id(self.path) != self._file

    @property
    def epoch(self) -> str:
        """The id of this history."""
        return self._state.epoch

    def close(self) -> None:
        """Write the cursors down and close the file."""
        with self._lock, _translated(self.path):
            try:
                with store.transaction(self._db):
                    store.save(self._db, self._state)
            finally:
                self._db.close()

    def append(self, stream: str, kind: str, time: str, data: bytes, sampling_s: float, tag: str = "") -> int:
        """Commit a record and return its seq.

        Args:
            stream: `events` or `samples`.
            kind: what the record is.
            time: RFC 3339, when it was sampled.
            data: its data as JSON.
            sampling_s: seconds of sampling since the record before, for the age of records.
            tag: that of a record that comes from another spool; a new one when empty.
        """
        with self._lock, self._changing():
            cursor = self._state.streams[stream]
            seq = cursor.next_seq
            self._state.sampling_s += max(0.0, sampling_s)
            row = Record(seq, seq, tag or store.new_tag(), kind, time, data)
            store.insert(self._db, stream, row, self._state.sampling_s)
            cursor.next_seq = seq + 1
            cursor.pending += 1
            if store.used_bytes(self._db) > self._budget.max_bytes or seq % 64 == 0:
                self._trim()
            return seq

    def batch(self, stream: str, max_records: int) -> Batch:
        """The next records of a stream after its cursor; none when all are acknowledged."""
        with self._lock, _translated(self.path):
            cursor = self._state.streams[stream]
            records: list[Record] = []
            size = 0
            for record in store.after(self._db, stream, cursor.acknowledged, max_records):
                size += len(record.data)
                if records and size > MAX_BATCH_BYTES:
                    break
                records.append(record)
            if records:
                self._in_flight[stream] = records[-1].seq
            tag = store.tag_of(self._db, stream, cursor.acknowledged)
            return Batch(self._state.epoch, stream, Mark(cursor.acknowledged, tag), tuple(records))

    def next_stream(self, streams: Sequence[str] = STREAMS) -> str | None:
        """The first of some streams in which something waits: events before samples; None when nothing does."""
        with self._lock:
            return next((s for s in streams if self._state.streams[s].pending > 0), None)

    @property
    def pending(self) -> int:
        """Records that wait."""
        return sum(self.pending_by_stream().values())

    def pending_by_stream(self) -> dict[str, int]:
        """Records that wait, of each stream in which any does."""
        with self._lock:
            return {name: cursor.pending for name, cursor in self._state.streams.items() if cursor.pending}

    @property
    def unused(self) -> bool:
        """Whether this history has no record yet."""
        with self._lock:
            return all(cursor.next_seq == 1 for cursor in self._state.streams.values())

    def settle(self, epoch: str, stream: str, mark: Mark) -> Settled:
        """Compare the center's mark with the spool and move the cursor accordingly.

        An answer about an epoch that is no longer ours changes nothing.
        """
        with self._lock:
            if epoch != self._state.epoch:
                return Settled.SAME
            cursor = self._state.streams[stream]
            seq, tag = mark.seq, mark.tag
            with _translated(self.path):
                ours = store.tag_of(self._db, stream, seq) if seq else None
            if seq >= cursor.next_seq or (ours is not None and ours != tag):
                return self._part(stream, seq)
            if seq == cursor.acknowledged:
                return Settled.SAME
            if seq and ours is None:  # merged or forgotten since: nothing to compare with
                return self._part(stream, seq)
            if seq > cursor.acknowledged:
                # Not written now: a cursor lost in a crash is found again by this comparison, an fsync saved.
                with _translated(self.path):
                    cursor.acknowledged = seq
                    cursor.pending = store.pending(self._db, stream, seq)
                return Settled.ADVANCED
            with self._changing():
                store.fill_holes(
                    self._db, stream, seq, cursor.next_seq, "center_restored", self._state.sampling_s
                )
                cursor.acknowledged = seq
                cursor.pending = store.pending(self._db, stream, seq)
            return Settled.REWOUND

    def set_aside(self, stream: str, seq: int, reason: str, time: str) -> bool:
        """Move a record that the center calls invalid to the dead letters; a gap takes its place."""
        with self._lock, self._changing():
            if seq <= self._state.streams[stream].acknowledged:
                return False
            return trim.set_aside(self._db, stream, seq, reason, time, MAX_DEAD_LETTERS)

    def stats(self) -> Stats:
        """The spool in figures."""
        with self._lock, _translated(self.path):
            return Stats(
                self._state.epoch,
                store.used_bytes(self._db),
                self._budget.max_bytes,
                store.dead_letters(self._db),
                {
                    stream: StreamStats(
                        cursor.next_seq,
                        cursor.acknowledged,
                        cursor.pending,
                        store.pending(self._db, stream, 0),
                        store.gap_reasons(self._db, stream),
                        store.oldest_pending(self._db, stream, cursor.acknowledged),
                    )
                    for stream, cursor in self._state.streams.items()
                },
            )

    def fill_ratio(self) -> float:
        """Share of the budget in use, 0 to 1."""
        with self._lock, _translated(self.path):
            return store.used_bytes(self._db) / self._budget.max_bytes

    def waiting(self) -> Iterator[tuple[str, Record]]:
        """All records that wait, events first (to move them to another spool)."""
        for stream in STREAMS:
            with self._lock, _translated(self.path):
                rows = list(store.after(self._db, stream, self._state.streams[stream].acknowledged, 1 << 30))
            for row in rows:
                yield stream, row

    def recent(self, stream: str, kind: str, age_s: float, most: int) -> list[Record]:
        """The newest records of a kind, delivered or not, of the last `age_s` seconds of sampling; `most` at most."""
        with self._lock, _translated(self.path):
            first = max(1, self._state.streams[stream].next_seq - most)
            return list(store.since(self._db, stream, kind, first, self._state.sampling_s - age_s))

    def custom_bytes(self) -> int:
        """Bytes of submissions of other programs that wait."""
        with self._lock, _translated(self.path):
            return store.custom_bytes(self._db, SAMPLES, self._state.streams[SAMPLES].acknowledged)

    def reconfigure(self, budget: Budget) -> None:
        """Take a new budget; it is enforced with the next record."""
        with self._lock:
            self._budget = budget

    def _part(self, stream: str, center_seq: int) -> Settled:
        """Open a new epoch. What the center lacks of this one and is no longer here begins it as a gap."""
        with self._changing():
            lost = store.first_seq(self._db, stream) - 1 - center_seq
            store.renumber(self._db, self._state, {stream: lost} if lost > 0 else {})
            self._opened_at = dict.fromkeys(STREAMS, 1)
            self._in_flight = dict.fromkeys(STREAMS, 0)
        return Settled.PARTED

    def disown(self) -> None:
        """Forget every record from before this spool was opened and begin a new epoch.

        For a clone that was given an identity of its own: what it brought along belongs to the other host, which
        delivers it itself.
        """
        with self._lock, self._changing():
            for stream, seq in self._opened_at.items():
                store.delete_before(self._db, stream, seq)
            store.renumber(self._db, self._state, {})
            self._opened_at = dict.fromkeys(STREAMS, 1)
            self._in_flight = dict.fromkeys(STREAMS, 0)

    def trim(self) -> None:
        """Hold the budget now: forget what was delivered, then thin samples, drop samples, drop events."""
        with self._lock, self._changing():
            self._trim()

    def _trim(self) -> None:
        now = self._state.sampling_s
        for stream, cursor in self._state.streams.items():
            trim.forget(self._db, stream, cursor.acknowledged, now - self._budget.keep_acknowledged_s)
            kept = max(cursor.acknowledged, self._in_flight[stream])
            trim.drop_older(self._db, stream, kept, now - self._budget.max_age_s, "too_old", now)
        # Whole tenths at a time: a full spool must not be trimmed again at every record.
        target = int(self._budget.max_bytes * 0.9)
        if store.used_bytes(self._db) > self._budget.max_bytes:
            kept = max(self._state.streams[SAMPLES].acknowledged, self._in_flight[SAMPLES])
            trim.drop_custom(self._db, SAMPLES, kept, now)
            for stream, cursor in self._state.streams.items():
                trim.forget_until(self._db, stream, cursor.acknowledged, target)
            kept = max(self._state.streams[SAMPLES].acknowledged, self._in_flight[SAMPLES])
            if store.used_bytes(self._db) > target:
                trim.thin(self._db, SAMPLES, kept, now, target)
            for stream in (SAMPLES, EVENTS):
                kept = max(self._state.streams[stream].acknowledged, self._in_flight[stream])
                trim.drop_until(self._db, stream, kept, target, "spool_full", now)
        for stream, cursor in self._state.streams.items():
            cursor.pending = store.pending(self._db, stream, cursor.acknowledged)

    @contextmanager
    def _changing(self) -> Iterator[None]:
        """One transaction; what is held in memory goes back with it when it fails."""
        before = self._state.copy()
        try:
            with _translated(self.path), store.transaction(self._db):
                yield
                store.save(self._db, self._state)
        except BaseException:
            self._state = before
            raise


def _file_id(path: Path | str) -> tuple[int, int] | None:
    try:
        found = Path(path).stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


@contextmanager
def _translated(path: Path | str) -> Iterator[None]:
    """SQLite's errors as ours, here and nowhere else."""
    try:
        yield
    except sqlite3.OperationalError as error:
        if "malformed" in str(error):
            raise SpoolCorrupt(f"The spool {path} is damaged: {error}") from error
        raise SpoolUnavailable(f"The spool {path} cannot be used: {error}") from error
    except sqlite3.DatabaseError as error:
        raise SpoolCorrupt(f"The spool {path} is damaged: {error}") from error
    except (store.NotASpool, OverflowError) as error:
        raise SpoolCorrupt(f"The spool {path} is damaged: {error}") from error
    except OSError as error:
        raise SpoolUnavailable(f"The spool {path} cannot be used: {error.strerror}") from error
