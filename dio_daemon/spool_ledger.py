"""What is owed: records that are gone with another history, until the nerve center has said which of them it has.

A history is lost when its file is deleted or damaged, when the memory that held it died, or in part when its file went
back to an earlier state. Nothing is owed for a history that ended in this spool, because its records went on here, nor
twice for one: writing down what is owed may be done over and over.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Mapping

from dio_daemon import spool_store as store
from dio_daemon.histories import LOST, Histories, Owed, Reach
from dio_daemon.messages import Kind, about
from dio_daemon.spool_model import SpoolState
from dio_daemon.wire import to_json

log = logging.getLogger(__name__)

MOST_OWED = 16
"""Stretches that wait for the nerve center's word; of more, the oldest becomes a gap as far as is known here."""


def news(state: SpoolState, histories: Histories) -> bool:
    """Whether anything of these histories is to be written down."""
    return _went_back(state, histories) or any(_is_other(state, epoch) for epoch in histories)


def owe(
    db: sqlite3.Connection,
    state: SpoolState,
    histories: Histories,
    reasons: Mapping[str, str],
    time: str,
) -> list[Owed]:
    """Write down what is gone of these histories; what is new among it.

    Where the spool itself went back, its next numbers may be taken already: it gets a new epoch, and the end of the
    old one is owed.
    """
    gone: list[tuple[str, str, Reach]] = []
    if _went_back(state, histories):
        own = histories[state.epoch]
        for name, cursor in state.streams.items():
            kept = store.first_seq(db, name), cursor.next_seq
            it = own.get(name, Reach(cursor.next_seq))
            gone.append((state.epoch, name, Reach(it.next_seq, it.held, *kept)))
        # What a file that went back says is owed may have become a gap since: one of the numbers that are gone.
        state.owed = [item for item in state.owed if item.stream in histories.get(item.epoch, {})]
        acknowledged = {name: cursor.acknowledged for name, cursor in state.streams.items()}
        store.renumber(db, state, {}, acknowledged)
    others = [epoch for epoch in histories if _is_other(state, epoch)]
    gone += [(epoch, name, it) for epoch in others for name, it in histories[epoch].items()]
    state.end(*others)
    new = [
        Owed(epoch, name, it, reasons.get(epoch, LOST), time)
        for epoch, name, it in gone
        if name in state.streams and it.lost(0)
    ]
    state.owed += new
    while len(state.owed) > MOST_OWED:
        put_down(db, state, state.owed[0], 0)
    return new


def put_down(db: sqlite3.Connection, state: SpoolState, owed: Owed, mark: int) -> None:
    """What a history lost, and a nerve center that has it up to `mark` does not have, becomes a gap."""
    state.owed.remove(owed)
    count = owed.reach.lost(mark)
    if not count:
        return
    data = to_json({"count": count, "reason": owed.reason})
    store.append(db, state, owed.stream, "gap", owed.time, data, width=count)
    log.error(
        "%d %s that waited are lost with the spool that held them",
        count,
        owed.stream,
        extra=about(Kind.RECORDS_LOST, records=count, stream=owed.stream),
    )


def _went_back(state: SpoolState, histories: Histories) -> bool:
    own = histories.get(state.epoch, {})
    return any(
        it.next_seq > state.streams[name].next_seq for name, it in own.items() if name in state.streams
    )


def _is_other(state: SpoolState, epoch: str) -> bool:
    return epoch != state.epoch and epoch not in state.past
