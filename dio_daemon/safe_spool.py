"""The spool that goes on when its disk does not.

A full or read-only disk: new records go to a bounded spool in memory, with an epoch of its own, and are delivered
from there; every half minute the disk is tried again, and what still waits moves over to it. A damaged file: set
aside for whoever wants to look, and a new epoch begins. A file that was deleted under the agent: what waits in it is
still there, and moves to a new one. Each such move is one transaction. What waited in a file that is damaged, gone or
back in an earlier state, or in the memory of a process that was killed, is known from the tally; as far as the nerve
center does not have it, it becomes a gap. The rest of the agent sees one spool throughout.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from dio_daemon.clock import Clock, rfc3339
from dio_daemon.errors import SpoolClosed, SpoolCorrupt, SpoolUnavailable
from dio_daemon.histories import CORRUPT, Histories, by_kept, let_go, merged
from dio_daemon.messages import Kind, about
from dio_daemon.spool import Spool
from dio_daemon.spool_model import Budget, Settled, Stats
from dio_daemon.spool_store import new_tag
from dio_daemon.tally import NO_TWIN, Known, Tally
from dio_daemon.wire import STREAMS, Batch, Mark, Record

log = logging.getLogger(__name__)

T = TypeVar("T")

MEMORY_BYTES = 8 << 20
"""What the spool in memory may take: three hours of samples at the default interval, within the unit's limit."""
RETURN_EVERY_S = 30.0


class SafeSpool:
    """One spool for the agent: on disk, or for a while in memory. All methods may be called from any thread.

    Args:
        path: `spool.db` in the state folder.
        budget: what it may take on disk.
        clock: for the times of gaps and between attempts to return to the disk.
    """

    def __init__(self, path: Path, budget: Budget, clock: Clock) -> None:
        self._path = path
        self._budget = budget
        self._clock = clock
        self._lock = threading.RLock()
        self._memory: Spool | None = None
        self._tried = clock.monotonic()
        self._problem = ""
        self._closed = False
        self._tally = Tally(path.with_name("waiting"))
        self._disk_epoch = self._tally.last.disk
        self._away: Histories = {}
        self._kept_away: Histories = {}
        self._disowned = False
        self._twin = self._tally.last.twin
        self._reasons: dict[str, str] = {}
        self._spool = self._open(self._tally.last.histories)
        self._count()

    def append(
        self, stream: str, kind: str, data: bytes, sampling_s: float = 0.0, time: str = "", tag: str = ""
    ) -> int:
        """Commit a record, sampled now unless `time` says otherwise, and return its seq."""
        moment = time or rfc3339(self._clock.now())
        mark = tag or new_tag()  # one for all attempts: a commit that was not heard of may have been made
        with self._lock:
            self._return_to_disk()
            self._follow_file()
            on_disk = self._memory is None
            seq = self._do(lambda spool: spool.append(stream, kind, moment, data, sampling_s, mark))
            if on_disk and self._memory is not None:  # the disk may have it as well
                self._twin = self._memory.epoch, stream
            self._count()
            return seq

    def batch(self, stream: str, max_records: int) -> Batch:
        """The next records of a stream."""
        return self._do(lambda spool: spool.batch(stream, max_records))

    def settle(self, epoch: str, stream: str, mark: Mark) -> Settled:
        """Compare the center's mark with the spool."""
        with self._lock:
            settled = self._do(lambda spool: spool.settle(epoch, stream, mark))
            self._count()
            return settled

    def set_aside(self, stream: str, seq: int, reason: str) -> bool:
        """Move a record that the center calls invalid to the dead letters."""
        moment = rfc3339(self._clock.now())
        return self._do(lambda spool: spool.set_aside(stream, seq, reason, moment))

    def disown(self) -> None:
        """Forget what was there before this process and begin a new epoch (see `Spool.disown`)."""
        with self._lock:
            self._do(lambda spool: spool.disown())
            self._away, self._kept_away = {}, {}
            self._disowned = self._memory is not None  # then also what is on the disk, once it can be had
            self._count()

    def recent(self, stream: str, kind: str, age_s: float, most: int) -> list[Record]:
        """The newest records of a kind, delivered or not."""
        return self._do(lambda spool: spool.recent(stream, kind, age_s, most))

    def has_room_for_custom(self, share: float) -> bool:
        """Whether submissions of other programs that wait fill less than a share of the budget."""
        with self._lock:
            most = MEMORY_BYTES if self._memory is not None else self._budget.max_bytes
            return self._do(lambda spool: spool.custom_bytes()) < share * min(most, self._budget.max_bytes)

    def next_stream(self, streams: Sequence[str] = STREAMS) -> str | None:
        """The first of some streams in which something waits."""
        with self._lock:
            return self._spool.next_stream(streams)

    def stats(self) -> Stats:
        """The spool in figures."""
        return self._do(lambda spool: spool.stats())

    @property
    def epoch(self) -> str:
        """The id of the history in use."""
        with self._lock:
            return self._spool.epoch

    @property
    def pending(self) -> int:
        """Records that wait in the spool in use."""
        with self._lock:
            return self._spool.pending

    def conditions(self) -> dict[str, str]:
        """What is wrong with it now: condition code and a sentence."""
        with self._lock:
            found = {}
            if self._memory is not None:
                found["spool_in_memory"] = (
                    f"{self._problem}; records are kept in memory until the disk takes them again"
                )
            ratio = self._do(lambda spool: spool.fill_ratio())
            if ratio > 0.8 and self._spool.pending > 0:
                found["spool_filling"] = (
                    f"The spool is {ratio:.0%} full; the oldest samples will be thinned, then dropped"
                )
            return found

    def reconfigure(self, budget: Budget) -> None:
        """Take a new budget for the disk."""
        with self._lock:
            self._budget = budget
            if self._memory is None:
                self._spool.reconfigure(budget)

    def close(self) -> None:
        """Close the file. What waits in memory is tried on the disk once more."""
        with self._lock:
            if self._closed:
                return
            self._tried = -RETURN_EVERY_S
            self._return_to_disk()
            self._follow_file()
            self._count()
            self._closed = True
            if self._memory is not None and self._memory.pending:
                log.error(
                    "%d records were kept in memory only and are lost: %s",
                    self._memory.pending,
                    self._problem,
                    extra=about(Kind.RECORDS_LOST, records=self._memory.pending),
                )
            try:
                self._spool.close()
            except (SpoolUnavailable, SpoolCorrupt) as error:
                log.warning(
                    "Cannot close the spool cleanly, the nerve center will skip what it has: %s", error
                )
            self._tally.close()

    def _do(self, operation: Callable[[Spool], T]) -> T:
        with self._lock:
            while True:
                if self._closed:
                    raise SpoolClosed(f"The spool {self._path} is closed: the agent is ending")
                try:
                    return operation(self._spool)
                except SpoolCorrupt as error:
                    self._replace_damaged(error)
                except SpoolUnavailable as error:
                    self._fall_back(error)

    def _open(self, known: Histories) -> Spool:
        """The spool on disk, or one in memory; `known` histories that it does not have are owed."""
        try:
            return self._on_disk(known)
        except SpoolCorrupt as error:
            if not self._move_away(error):
                return self._in_memory(error, known)
        except SpoolUnavailable as error:
            return self._in_memory(error, known)
        try:
            return self._on_disk(known)
        except (SpoolUnavailable, SpoolCorrupt) as error:
            return self._in_memory(error, known)

    def _on_disk(self, known: Histories) -> Spool:
        spool = Spool(self._path, self._budget)
        last = self._tally.last
        try:
            if last.disk:
                spool.remember(last.delivered_before(spool.epoch), last.histories, last.stamp)
            found = spool.histories().get(last.disk, {})
            self._owe(spool, last.without_twin(last.histories_before(spool.epoch, known), found))
        except (SpoolUnavailable, SpoolCorrupt):
            self._discard(spool)
            raise
        return spool

    def _owe(self, spool: Spool, known: Histories) -> None:
        for owed in spool.owe(known, self._reasons, rfc3339(self._clock.now())):
            log.warning(
                "The spool that held %s up to %d is gone: the nerve center is asked which of them it has",
                owed.stream,
                owed.reach.next_seq - 1,
            )

    def _count(self) -> None:
        """Write down how far each history came."""
        if self._memory is None:
            self._disk_epoch = self._spool.epoch
        histories = {**self._away, **self._spool.histories()}
        twin = self._twin if self._twin[0] in histories else NO_TWIN
        delivered = self._spool.delivered()
        if self._memory is not None:  # what it keeps dies with it, and what the disk keeps does not
            delivered = merged(let_go(delivered), self._kept_away)
        self._tally.write(Known(self._disk_epoch, histories, twin, delivered, self._spool.stamp))

    def _in_memory(self, error: Exception, away: Histories) -> Spool:
        """A spool in memory; `away` histories are on the disk or owed to it, as far as is known.

        The nerve center is not asked from here about histories of which the disk keeps something: only there is known
        what the answer means.
        """
        log.warning("%s; going on in memory", error, extra=about(Kind.SPOOL_IN_MEMORY))
        self._problem = str(error)
        self._tried = self._clock.monotonic()
        self._away = away
        bounds = Budget(min(MEMORY_BYTES, self._budget.max_bytes), self._budget.max_age_s, 0.0)
        self._memory = Spool(":memory:", bounds)
        self._kept_away, others = by_kept(self._tally.last.delivered_before(self._disk_epoch))
        self._memory.remember(others, {}, self._tally.last.stamp)
        return self._memory

    def _fall_back(self, error: SpoolUnavailable) -> None:
        if self._memory is not None:
            raise error
        self._discard(self._spool)
        self._spool = self._in_memory(error, self._tally.last.histories)
        self._count()

    def _replace_damaged(self, error: SpoolCorrupt) -> None:
        if self._memory is not None:
            raise error
        self._discard(self._spool)
        known = self._tally.last.histories
        self._spool = self._open(known) if self._move_away(error) else self._in_memory(error, known)
        self._count()

    def _move_away(self, error: Exception) -> bool:
        """Set a damaged file aside; whether it is out of the way."""
        self._reasons[self._disk_epoch] = CORRUPT
        log.error(
            "%s; set aside as %s.damaged, a new one is begun",
            error,
            self._path,
            extra=about(Kind.SPOOL_DAMAGED),
        )
        for suffix in ("", "-wal", "-shm"):
            source = self._path.with_name(self._path.name + suffix)
            try:
                source.replace(self._path.with_name(f"{self._path.name}.damaged{suffix}"))
            except FileNotFoundError:
                continue
            except OSError as failure:
                log.warning("Cannot set %s aside: %s", source, failure.strerror)
                return False
        return True

    def _return_to_disk(self) -> None:
        now = self._clock.monotonic()
        if self._closed or self._memory is None or now - self._tried < RETURN_EVERY_S:
            return
        self._tried = now
        disk: Spool | None = None
        try:
            disk = self._on_disk(self._away)
            if self._disowned:
                disk.disown()
            disk.trim()  # opening writes nothing, and a full disk would only refuse the next sample
            moved = disk.take_over(self._memory)
        except (SpoolUnavailable, SpoolCorrupt) as error:
            log.debug("The disk does not take the spool yet: %s", error)
            if disk is not None:
                self._discard(disk)
            if isinstance(error, SpoolCorrupt):
                self._move_away(error)
            return
        self._discard(self._memory)
        self._memory, self._away, self._kept_away, self._disowned = None, {}, {}, False
        self._spool = disk
        self._count()
        log.info(
            "The spool is on disk again (%d records moved there from memory)",
            moved,
            extra=about(Kind.SPOOL_ON_DISK, records=moved),
        )

    def _follow_file(self) -> None:
        """Move to a new file when the one in use was deleted or replaced under the agent."""
        if self._closed or self._memory is not None or not self._spool.detached:
            return
        log.warning(
            "The spool %s was deleted or replaced while in use: moving to a new one",
            self._path,
            extra=about(Kind.SPOOL_REPLACED),
        )
        old, ours = self._spool, self._spool.histories()
        self._spool = self._open(_without(self._tally.last.histories, ours))
        self._disk_epoch = self._spool.epoch
        try:
            try:
                self._spool.take_over(old)
            except SpoolUnavailable as error:
                if self._memory is None:
                    self._discard(self._spool)
                    self._spool = self._in_memory(error, self._spool.histories())
                self._spool.take_over(old)
        except (SpoolUnavailable, SpoolCorrupt) as error:
            log.error("The deleted spool does not read: %s", error, extra=about(Kind.SPOOL_DAMAGED))
            self._reasons[old.epoch] = CORRUPT
            self._do(lambda spool: self._owe(spool, ours))
        self._discard(old)
        self._count()

    @staticmethod
    def _discard(spool: Spool) -> None:
        try:
            spool.close()
        except (SpoolUnavailable, SpoolCorrupt) as error:
            log.debug("The old spool did not close cleanly: %s", error)


def _without(histories: Histories, others: Histories) -> Histories:
    return {epoch: streams for epoch, streams in histories.items() if epoch not in others}
