"""What a spool tells of itself."""

from __future__ import annotations

import sqlite3

from dio_daemon import spool_store as store
from dio_daemon.spool_model import Budget, SpoolState, Stats, StreamStats


def stats(db: sqlite3.Connection, state: SpoolState, budget: Budget) -> Stats:
    """A spool in figures."""
    return Stats(
        state.epoch,
        store.used_bytes(db),
        budget.max_bytes,
        store.dead_letters(db),
        {
            stream: StreamStats(
                cursor.next_seq,
                cursor.acknowledged,
                cursor.pending,
                store.pending(db, stream, 0),
                store.gap_reasons(db, stream),
                store.oldest_pending(db, stream, cursor.acknowledged),
            )
            for stream, cursor in state.streams.items()
        },
    )
