"""The spool that goes on when its disk does not.

A full or read-only disk: new records go to a bounded spool in memory, with an epoch of its own, and are
delivered from there; every half minute the disk is tried again, and what still waits moves over to it. A damaged
file: set aside for whoever wants to look, a new epoch begins, and what waited in it stands there as a gap. A file
that was deleted under the agent: what waits in it is still there, and moves to a new one. What waited in a file that
is found damaged or gone at the start, or in the memory of a process that was killed, is known from the tally and
becomes a gap as well. The rest of the agent sees one spool throughout.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from dio_daemon.clock import Clock, rfc3339
from dio_daemon.errors import SpoolCorrupt, SpoolUnavailable
from dio_daemon.messages import Kind, about
from dio_daemon.spool import Budget, Settled, Spool, Stats
from dio_daemon.tally import Tally, Waiting
from dio_daemon.wire import SAMPLES, STREAMS, Batch, Mark, Record, to_json

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
        self._tally = Tally(path.with_name("waiting"))
        self._died_in_memory = self._tally.last.memory
        self._damaged = False
        self._spool = self._open()
        if self._memory is None:
            self._own_up(self._spool.unused)
        self._count()

    def append(self, stream: str, kind: str, data: bytes, sampling_s: float = 0.0, time: str = "") -> int:
        """Commit a record, sampled now unless `time` says otherwise, and return its seq."""
        moment = time or rfc3339(self._clock.now())
        self._return_to_disk()
        self._follow_file()
        seq = self._do(lambda spool: spool.append(stream, kind, moment, data, sampling_s))
        self._count()
        return seq

    def batch(self, stream: str, max_records: int) -> Batch:
        """The next records of a stream."""
        return self._do(lambda spool: spool.batch(stream, max_records))

    def settle(self, epoch: str, stream: str, mark: Mark) -> Settled:
        """Compare the center's mark with the spool."""
        settled = self._do(lambda spool: spool.settle(epoch, stream, mark))
        self._count()
        return settled

    def set_aside(self, stream: str, seq: int, reason: str) -> bool:
        """Move a record that the center calls invalid to the dead letters."""
        moment = rfc3339(self._clock.now())
        return self._do(lambda spool: spool.set_aside(stream, seq, reason, moment))

    def disown(self) -> None:
        """Forget what was there before this process and begin a new epoch (see `Spool.disown`)."""
        self._do(lambda spool: spool.disown())

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
            self._tried = -RETURN_EVERY_S
            self._return_to_disk()
            self._count()
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

    def _do(self, operation: Callable[[Spool], T]) -> T:
        with self._lock:
            try:
                return operation(self._spool)
            except SpoolCorrupt as error:
                self._replace_damaged(error)
            except SpoolUnavailable as error:
                self._fall_back(error)
            return operation(self._spool)

    def _open(self) -> Spool:
        try:
            return Spool(self._path, self._budget)
        except SpoolCorrupt as error:
            self._move_away(error)
        except SpoolUnavailable as error:
            return self._in_memory(error)
        try:
            return Spool(self._path, self._budget)
        except (SpoolUnavailable, SpoolCorrupt) as error:
            return self._in_memory(error)

    def _own_up(self, begun_anew: bool) -> None:
        """Put down as gaps what is known to have waited and is nowhere now."""
        with self._lock:
            known = self._tally.last
            of_file = known.disk if begun_anew and known.epoch != self._spool.epoch else {}
            of_memory, self._died_in_memory = self._died_in_memory, {}
            for stream, count in of_file.items():
                self._put_down(stream, count, "spool_corrupt" if self._damaged else "spool_lost")
            for stream, count in of_memory.items():
                self._put_down(stream, count, "spool_lost")

    def _put_down(self, stream: str, count: int, reason: str) -> None:
        log.error(
            "%d %s that waited are lost with the spool that held them",
            count,
            stream,
            extra=about(Kind.RECORDS_LOST, records=count, stream=stream),
        )
        now = rfc3339(self._clock.now())
        gap = to_json({"count": count, "reason": reason})
        self._do(lambda spool: spool.append(stream, "gap", now, gap, 0.0))

    def _count(self) -> None:
        """Write down what waits, and where."""
        with self._lock:
            if self._memory is None:
                self._tally.write(Waiting(self._spool.epoch, self._spool.pending_by_stream()))
                return
            known, died = self._tally.last, self._died_in_memory
            waiting = self._memory.pending_by_stream()
            both = {name: waiting.get(name, 0) + died.get(name, 0) for name in {*waiting, *died}}
            self._tally.write(Waiting(known.epoch, known.disk, both))

    def _in_memory(self, error: Exception) -> Spool:
        log.warning("%s; going on in memory", error, extra=about(Kind.SPOOL_IN_MEMORY))
        self._problem = str(error)
        self._tried = self._clock.monotonic()
        bounds = Budget(min(MEMORY_BYTES, self._budget.max_bytes), self._budget.max_age_s, 0.0)
        self._memory = Spool(":memory:", bounds)
        return self._memory

    def _fall_back(self, error: SpoolUnavailable) -> None:
        if self._memory is not None:
            raise error
        self._discard(self._spool)
        self._spool = self._in_memory(error)

    def _replace_damaged(self, error: SpoolCorrupt) -> None:
        if self._memory is not None:
            raise error
        waited = self._spool.pending
        self._discard(self._spool)
        self._move_away(error)
        self._spool = self._open()
        if waited:
            now = rfc3339(self._clock.now())
            gap = to_json({"count": waited, "reason": "spool_corrupt"})
            self._spool.append(SAMPLES, "gap", now, gap, 0.0)

    def _move_away(self, error: Exception) -> None:
        self._damaged = True
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

    def _return_to_disk(self) -> None:
        with self._lock:
            now = self._clock.monotonic()
            if self._memory is None or now - self._tried < RETURN_EVERY_S:
                return
            self._tried = now
            disk: Spool | None = None
            try:
                disk = Spool(self._path, self._budget)
                begun_anew = disk.unused
                disk.trim()  # opening writes nothing, and a full disk would only refuse the next sample
                _move(self._memory, disk)
            except (SpoolUnavailable, SpoolCorrupt) as error:
                log.debug("The disk does not take the spool yet: %s", error)
                if disk is not None:
                    self._discard(disk)
                if isinstance(error, SpoolCorrupt):
                    self._move_away(error)
                return
            moved = self._memory.pending
            self._memory.close()
            self._memory = None
            self._spool = disk
            self._own_up(begun_anew)
            log.info(
                "The spool is on disk again (%d records moved there from memory)",
                moved,
                extra=about(Kind.SPOOL_ON_DISK, records=moved),
            )

    def _follow_file(self) -> None:
        """Move to a new file when the one in use was deleted or replaced under the agent."""
        with self._lock:
            if self._memory is not None or not self._spool.detached:
                return
            log.warning(
                "The spool %s was deleted or replaced while in use: moving to a new one",
                self._path,
                extra=about(Kind.SPOOL_REPLACED),
            )
            old = self._spool
            self._spool = self._open()
            try:
                _move(old, self._spool)
            except (SpoolUnavailable, SpoolCorrupt) as error:
                log.error(
                    "Not all that waited in the deleted spool could be moved: %s",
                    error,
                    extra=about(Kind.RECORDS_LOST),
                )
            self._discard(old)

    @staticmethod
    def _discard(spool: Spool) -> None:
        try:
            spool.close()
        except (SpoolUnavailable, SpoolCorrupt) as error:
            log.debug("The old spool did not close cleanly: %s", error)


def _move(source: Spool, target: Spool) -> None:
    """Append what waits in one spool to another; tags stay, so nothing is stored twice."""
    for stream, record in source.waiting():
        target.append(stream, record.kind, record.time, record.data, 0.0, record.tag)
