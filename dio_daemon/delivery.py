"""One report at a time from the spool to the nerve center, and what each answer asks for.

Acknowledged: the cursor moves. 409: the marks are compared. 413: the next batch is half as large. 422 with a
record's seq: that record becomes a dead letter, unless several in a row are refused, for then it is the
center that is broken and everything is kept. All else is the caller's: the one place that waits and retries.

A stream with nothing to send would not notice that the nerve center lost some of it. So after each registration,
and whenever one stream's marks did not fit, both are asked for theirs by a report without records.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import datetime
from enum import Enum

from dio_daemon import wire
from dio_daemon.center import Center, mark_in
from dio_daemon.clock import Clock, rfc3339
from dio_daemon.errors import NotANerveCenter, Rejected
from dio_daemon.identity import Identity
from dio_daemon.messages import Kind, about
from dio_daemon.safe_spool import SafeSpool
from dio_daemon.spool_model import Settled

log = logging.getLogger(__name__)

MAX_INVALID_IN_A_ROW = 3
MAX_MISMATCHES_IN_A_ROW = 5


class Sent(Enum):
    """What became of a report."""

    NOTHING = "nothing waited"
    ANSWERED = "refused in a way that says what to send at once in its place"
    ACKNOWLEDGED = "acknowledged"


class Delivery:
    """Sends the spool's records.

    Args:
        spool: where they are.
        clock: for `sent_at`.
    """

    def __init__(self, spool: SafeSpool, clock: Clock) -> None:
        self._spool = spool
        self._clock = clock
        self._limit: int | None = None
        self._invalid = 0
        self._mismatches = 0
        self._unsure: set[str] = set()
        self.skew_s: float | None = None
        """Seconds by which this host's clock was ahead of the nerve center's at the last acknowledgement."""

    def ask_for_marks(self) -> None:
        """Compare the marks of both streams with the nerve center's, also where nothing waits."""
        self._unsure = set(wire.STREAMS)

    def send_next(
        self,
        center: Center,
        identity: Identity,
        sender: wire.Sender,
        batch_records: int,
        total_s: float | None = None,
        streams: Sequence[str] = wire.STREAMS,
    ) -> Sent:
        """Send one report of the stream whose turn it is.

        Args:
            center: where to.
            identity: whose credential to use.
            sender: who sends.
            batch_records: the most records in one report.
            total_s: less time than the configured, when the agent is stopping.
            streams: which may be sent now.

        Raises:
            CenterError: the report failed.
        """
        stream = self._spool.next_stream(streams) or min(self._unsure.intersection(streams), default=None)
        if stream is None:
            return Sent.NOTHING
        batch = self._spool.batch(stream, min(self._limit or batch_records, batch_records))
        body = wire.report(sender, rfc3339(self._clock.now()), batch)
        try:
            mark = center.report(identity.agent_id, body, identity.credential, total_s)
        except Rejected as error:
            self._rejected(batch, error)
            return Sent.ANSWERED
        self.skew_s = _ahead_s(self._clock.now(), center.server_time)
        self._acknowledged(batch, mark, center)
        return Sent.ACKNOWLEDGED

    def _acknowledged(self, batch: wire.Batch, mark: wire.Mark, center: Center) -> None:
        if batch.records and mark == batch.after:
            raise NotANerveCenter(f"{center.address} acknowledged a report without taking any of it")
        self._settle(batch, mark)
        self._invalid = self._mismatches = 0
        if self._limit is not None:  # after a 413, feel the way back up
            self._limit = self._limit * 2 if self._limit < len(batch.records) * 4 else None

    def _rejected(self, batch: wire.Batch, error: Rejected) -> None:
        mark = mark_in(error.body)
        seq = error.body.get("seq")
        if error.status == 409 and error.code == "mark-mismatch" and mark is not None:
            self._mismatches += 1 if batch.records else 0  # a report that only asks fits by chance
            if self._mismatches > MAX_MISMATCHES_IN_A_ROW:
                raise error
            self._settle(batch, mark)
        elif error.status == 413 and len(batch.records) > 1:
            self._limit = len(batch.records) // 2
            log.info(
                "Nerve center finds a report of %d records too large: sending half",
                len(batch.records),
                extra=about(Kind.REPORT_TOO_LARGE, stream=batch.stream, records=len(batch.records)),
            )
        elif error.status == 413 and error.code:
            self._set_aside(batch, batch.records[0].seq, error)
        elif error.status == 422 and error.code == "invalid-record" and isinstance(seq, int):
            self._set_aside(batch, seq, error)
        else:
            raise error

    def _set_aside(self, batch: wire.Batch, seq: int, error: Rejected) -> None:
        self._invalid += 1
        if self._invalid > MAX_INVALID_IN_A_ROW or not any(r.seq == seq for r in batch.records):
            raise error
        if not self._spool.set_aside(batch.stream, seq, str(error)):
            raise error
        log.warning(
            "Nerve center calls record %d of %s invalid, set aside: %s",
            seq,
            batch.stream,
            error,
            extra=about(Kind.DEAD_LETTER, stream=batch.stream, seq=seq, error_kind=error.kind),
        )

    def _settle(self, batch: wire.Batch, mark: wire.Mark) -> None:
        about_now = batch.epoch == self._spool.epoch  # or about another history, of which something is owed
        settled = self._spool.settle(batch.epoch, batch.stream, mark)
        if settled in (Settled.REWOUND, Settled.PARTED):
            self.ask_for_marks()
        if about_now:
            self._unsure.discard(batch.stream)
        match settled:
            case Settled.REWOUND:
                log.warning(
                    "Nerve center has %s only up to %d (restored, or new?): sending them again from there",
                    batch.stream,
                    mark.seq,
                    extra=about(Kind.CENTER_LOST_RECORDS, stream=batch.stream, seq=mark.seq),
                )
            case Settled.PARTED:
                log.warning(
                    "This spool and the nerve center have different histories of %s (a restored snapshot, "
                    "or a clone?): opened a new epoch, what is there already will be skipped",
                    batch.stream,
                    extra=about(Kind.HISTORIES_PARTED, stream=batch.stream),
                )
            case Settled.SAME | Settled.ADVANCED:
                pass


def _ahead_s(here: datetime, there: str) -> float | None:
    """Seconds by which one clock is ahead of another; None when the other is not known."""
    try:
        return (here - datetime.fromisoformat(there)).total_seconds()
    except (ValueError, TypeError):  # no time, or one without a zone
        return None
