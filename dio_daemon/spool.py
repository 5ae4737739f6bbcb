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

A stream has no holes: whatever is dropped leaves a gap record for its range, with count and reason. A gap takes as
many numbers as it counts, so that a lost history can be counted by how far it came (`spool_ledger`): the nerve center
is asked for its mark there by a report without records, and what it does not have becomes a gap here.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from dio_daemon import spool_ledger as ledger
from dio_daemon import spool_store as store
from dio_daemon import spool_trim as trim
from dio_daemon.errors import SpoolClosed, SpoolUnavailable
from dio_daemon.histories import RESTORED, Histories, Owed, Reach
from dio_daemon.spool_file import file_id, reserve_log, translated
from dio_daemon.spool_model import Budget, Settled, Stats
from dio_daemon.spool_stats import stats
from dio_daemon.wire import SAMPLES, STREAMS, Batch, Mark, Record

log = logging.getLogger(__name__)

MAX_BATCH_BYTES = 512 * 1024
"""JSON bytes of a report's records; a nerve center takes 8 MiB, and small reports come through bad lines."""

MAX_DEAD_LETTERS = 1000
MANY = 16  # records acknowledged at once
PAGE = 200
"""Records that are held in memory at once when a spool moves."""


class Spool:
    """A spool in one SQLite file. All methods may be called from any thread.

    Args:
        path: the file, or ":memory:".
        budget: what it may take.

    Raises:
        SpoolUnavailable: the disk refuses. SpoolCorrupt: the file is damaged. So does every method, and SpoolClosed
            after `close`.
    """

    def __init__(self, path: Path | str, budget: Budget) -> None:
        self._lock = threading.RLock()
        self._budget = budget
        self._in_flight = dict.fromkeys(STREAMS, 0)
        self._closed = False
        with translated(path):
            self._db = store.connect(str(path))
            try:
                self._state = store.load(self._db)
            except BaseException:
                self._db.close()  # else its lock would stay, and nobody could use the file
                raise
        reserve_log(path)
        self._opened_at = {stream: cursor.next_seq for stream, cursor in self._state.streams.items()}
        self.path, self._file = path, file_id(path)

    @property
    def detached(self) -> bool:
        """Whether the file under its path is another one by now, or none: what is written here would be lost."""
        if self._file is None:
            return False
        try:
            return file_id(self.path) != self._file
        except OSError:  # not allowed to look: nothing is known
            return False

    @property
    def epoch(self) -> str:
        """The id of this history."""
        return self._state.epoch

    def close(self) -> None:
        """Write the cursors down and close the file; it is closed whatever is raised."""
        with self._lock, translated(self.path):
            if self._closed:
                return
            self._closed = True
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
        with self._changing():
            self._state.sampling_s += max(0.0, sampling_s)
            seq = store.append(self._db, self._state, stream, kind, time, data, tag)
            if store.used_bytes(self._db) > self._budget.max_bytes or seq % 64 == 0:
                self._trim()
            return seq

    def batch(self, stream: str, max_records: int) -> Batch:
        """The next records of a stream after its cursor; none when all are acknowledged.

        As long as something is owed, it is the question for the nerve center's mark in that history.
        """
        with self._using():
            cursor = self._state.streams[stream]
            owed = next((item for item in self._state.owed if item.stream == stream), None)
            if owed is not None:
                return Batch(owed.epoch, stream, Mark(0, None), ())
            records: list[Record] = []
            size = 0
            for record in self._after(stream, cursor.acknowledged, max_records):
                size += len(record.data)
                if records and size > MAX_BATCH_BYTES:
                    break
                records.append(record)
            if records:
                self._in_flight[stream] = records[-1].seq
            tag = store.tag_of(self._db, stream, cursor.acknowledged)
            return Batch(self._state.epoch, stream, Mark(cursor.acknowledged, tag), tuple(records))

    def _after(self, stream: str, seq: int, limit: int) -> Iterator[Record]:
        """Records after a seq. Raises NotASpool for a hole: there is none in what was written here."""
        last = self._state.streams[stream].next_seq - 1
        for record in store.after(self._db, stream, seq, limit):
            if record.from_seq != seq + 1 or record.seq > last:
                raise store.NotASpool(f"{stream} does not go on with {seq + 1}, but with {record.from_seq}")
            seq, limit = record.seq, limit - 1
            yield record
        if limit > 0 and seq != last:
            raise store.NotASpool(f"{stream} ends with {seq}, not with {last}")

    def next_stream(self, streams: Sequence[str] = STREAMS) -> str | None:
        """The first of some streams in which something waits: events before samples; None when nothing does."""
        with self._lock:
            waiting = self.pending_by_stream()
            return next((stream for stream in streams if stream in waiting), None)

    @property
    def pending(self) -> int:
        """Records that wait."""
        return sum(self.pending_by_stream().values())

    def pending_by_stream(self) -> dict[str, int]:
        """Records that wait, of each stream in which any does; what is owed counts as one each."""
        with self._lock:
            waiting = {name: cursor.pending for name, cursor in self._state.streams.items()}
            for item in self._state.owed:
                waiting[item.stream] += 1
            return {name: count for name, count in waiting.items() if count}

    def histories(self) -> dict[str, dict[str, Reach]]:
        """How far this history came, and what is owed of others."""
        with self._lock:
            streams = self._state.streams.items()
            found = {self.epoch: {name: Reach(cursor.next_seq, cursor.held) for name, cursor in streams}}
            for item in self._state.owed:
                if item.reason != RESTORED:
                    found.setdefault(item.epoch, {})[item.stream] = item.reach
            return found

    def delivered(self) -> Histories:
        """What the nerve center has of histories that ended here, or had when it was asked last."""
        with self._lock:
            return ledger.delivered(self._state)

    @property
    def stamp(self) -> int:
        """How often it was changed, and the spools before whose knowledge it took over."""
        return self._state.stamp

    def remember(self, delivered: Histories, unsettled: Histories, stamp: int) -> None:
        """Take over what is known of that from the spool before, where it is not older than this one; it is written
        down with the next change.

        Args:
            delivered: as `delivered` tells it.
            unsettled: histories that are not put down as far as was known then.
            stamp: of that spool.
        """
        with self._lock:
            ledger.remember(self._state, delivered, unsettled, stamp)

    def owe(self, histories: Histories, reasons: Mapping[str, str], time: str) -> list[Owed]:
        """Write down what is gone with other histories, and with the end of this one where the file went back.

        Args:
            histories: how far those that were here once had come.
            reasons: of the gaps, by epoch; `spool_lost` where there is none.
            time: of the gaps.
        """
        with self._lock:
            if not ledger.news(self._state, histories):
                return []
            with self._changing():
                new = ledger.owe(self._db, self._state, histories, reasons, time)
            self._checkpoint()
            return new

    def take_over(self, source: Spool) -> int:
        """Append what waits in another spool, whose history ends here: all of it or, where this raises, none.

        Tags stay, and what is here already is not taken again, so that a move that was broken off, or whose commit
        was not heard of, can be made again. Returns how many records waited.
        """
        moved = 0
        with self._changing():
            for stream in STREAMS:
                new = self._state.streams[stream].next_seq == 1
                there = set() if new else store.tags(self._db, stream)
                for record in source.waiting(stream):
                    moved += 1
                    if record.tag not in there:
                        width = record.seq - record.from_seq + 1
                        fields = record.kind, record.time, record.data, record.tag
                        store.append(self._db, self._state, stream, *fields, width)
            self._state.owed += ledger.not_here(self._state, source._state)
            for epoch, reached in source._state.past.items():
                self._state.end(epoch, reached)
            for name, cursor in source._state.streams.items():
                self._state.end(source.epoch, {name: cursor.next_seq})
                had = Reach(cursor.acknowledged + 1, cursor.held)
                ledger.ask_about(self._db, self._state, source.epoch, name, had)
            if store.used_bytes(self._db) > self._budget.max_bytes:
                self._trim()
        return moved

    def settle(self, epoch: str, stream: str, mark: Mark) -> Settled:
        """Compare the center's mark with the spool and move the cursor accordingly.

        An answer about an epoch that is no longer ours changes nothing.
        """
        with self._lock:
            if epoch != self._state.epoch:
                return self._settle_owed(epoch, stream, mark.seq)
            cursor = self._state.streams[stream]
            seq, tag = mark.seq, mark.tag
            with self._using():
                ours = store.tag_of(self._db, stream, seq) if seq else None
            if seq >= cursor.next_seq or (ours is not None and ours != tag):
                return self._part(stream, seq)
            if seq == cursor.acknowledged:
                return Settled.SAME
            if seq and ours is None:  # merged or forgotten since: nothing to compare with
                return self._part(stream, seq)
            if seq > cursor.acknowledged:
                # Not written for a few: what a crash takes is found again by comparing, an fsync saved. Many would
                # be taken for lost if the spool went next; the first of an epoch tell whether the center went back.
                asks = cursor.acknowledged == 0 and bool(self._state.delivered)
                many = seq - cursor.acknowledged >= MANY
                with self._changing() if asks or many else self._using():
                    cursor.acknowledged = seq
                    cursor.pending = store.pending(self._db, stream, seq)
                    if asks:
                        ledger.owe_again(self._db, self._state)
                return Settled.ADVANCED
            with self._changing():
                store.fill_holes(self._db, stream, seq, cursor.next_seq, RESTORED, self._state.sampling_s)
                cursor.acknowledged = seq
                cursor.pending = store.pending(self._db, stream, seq)
                ledger.owe_again(self._db, self._state)
            return Settled.REWOUND

    def _settle_owed(self, epoch: str, stream: str, seq: int) -> Settled:
        owed = [item for item in self._state.owed if (item.epoch, item.stream) == (epoch, stream)]
        if owed:
            with self._changing():
                for item in owed:
                    ledger.put_down(self._db, self._state, item, seq)
        return Settled.SAME

    def set_aside(self, stream: str, seq: int, reason: str, time: str) -> bool:
        """Move a record that the center calls invalid to the dead letters; a gap takes its place."""
        with self._changing():
            if seq <= self._state.streams[stream].acknowledged:
                return False
            return trim.set_aside(self._db, stream, seq, reason, time, MAX_DEAD_LETTERS)

    def stats(self) -> Stats:
        """The spool in figures."""
        with self._using():
            return stats(self._db, self._state, self._budget)

    def fill_ratio(self) -> float:
        """Share of the budget in use, 0 to 1."""
        with self._using():
            return store.used_bytes(self._db) / self._budget.max_bytes

    def waiting(self, stream: str) -> Iterator[Record]:
        """All records of a stream that wait (to move them to another spool)."""
        seq, left = self._state.streams[stream].acknowledged, True
        while left:
            with self._using():
                page = list(self._after(stream, seq, PAGE))
            yield from page
            left = len(page) == PAGE
            seq = page[-1].seq if page else seq

    def recent(self, stream: str, kind: str, age_s: float, most: int) -> list[Record]:
        """The newest records of a kind, delivered or not, of the last `age_s` seconds of sampling; `most` at most."""
        with self._using():
            first = max(1, self._state.streams[stream].next_seq - most)
            return list(store.since(self._db, stream, kind, first, self._state.sampling_s - age_s))

    def custom_bytes(self) -> int:
        """Bytes of submissions of other programs that wait."""
        with self._using():
            return store.custom_bytes(self._db, SAMPLES, self._state.streams[SAMPLES].acknowledged)

    def reconfigure(self, budget: Budget) -> None:
        """Take a new budget; it is enforced with the next record."""
        with self._lock:
            self._budget = budget

    def _part(self, stream: str, center_seq: int) -> Settled:
        """Open a new epoch. What the center lacks of this one and is no longer here begins it as a gap."""
        with self._changing():
            lost = store.first_seq(self._db, stream) - 1 - center_seq
            held = {name: cursor.acknowledged for name, cursor in self._state.streams.items()}
            held[stream] = min(held[stream], center_seq)
            store.renumber(self._db, self._state, {stream: lost}, held)
            ledger.owe_again(self._db, self._state)
        self._checkpoint()
        return Settled.PARTED

    def _checkpoint(self) -> None:
        """Bring a new epoch into the file itself, so that with the log not the numbering is lost as well."""
        try:
            with self._using():
                store.checkpoint(self._db)
        except SpoolUnavailable as error:
            log.debug("The log of the spool stays for now: %s", error)

    def disown(self) -> None:
        """Forget every record from before this spool was opened and begin a new epoch.

        For a clone that was given an identity of its own: what it brought along belongs to the other host, which
        delivers it itself.
        """
        with self._changing():
            for stream, seq in self._opened_at.items():
                store.delete_before(self._db, stream, seq)
            self._state.owed, self._state.delivered = [], {}
            store.renumber(self._db, self._state, {}, {})
        self._checkpoint()

    def trim(self) -> None:
        """Hold the budget now: forget what was delivered, then thin samples, drop samples, drop events."""
        with self._changing():
            self._trim()

    def _trim(self) -> None:
        trim.hold(self._db, self._state, self._budget, self._in_flight)

    @contextmanager
    def _using(self) -> Iterator[None]:
        with self._lock, translated(self.path):
            if self._closed:
                raise SpoolClosed(f"The spool {self.path} is closed: the agent is ending")
            yield

    @contextmanager
    def _changing(self) -> Iterator[None]:
        """One transaction; what is held in memory goes back with it when it fails."""
        with self._using():
            before = self._state.copy()
            try:
                with store.transaction(self._db):
                    yield
                    self._state.stamp += 1
                    store.save(self._db, self._state)
            except BaseException:
                self._state = before
                raise
            if self._state.epoch != before.epoch:
                self._opened_at = dict.fromkeys(STREAMS, 1)
                self._in_flight = dict.fromkeys(STREAMS, 0)
