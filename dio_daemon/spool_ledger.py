"""What is owed: records that are gone with another history, until the nerve center has said which of them it has.

A history is lost when its file is deleted or damaged, when the memory that held it died, or in part when its file went
back to an earlier state. Nothing is owed for what of a history ended in this spool, because its records went on here,
nor twice for one: writing down what is owed may be done over and over.

What the nerve center has of a history that is gone here is remembered, and owed once more when it went back itself.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import replace

from dio_daemon import spool_store as store
from dio_daemon.histories import LOST, RESTORED, Histories, Owed, Reach, merged
from dio_daemon.messages import Kind, about
from dio_daemon.spool_model import SpoolState
from dio_daemon.wire import to_json

log = logging.getLogger(__name__)

MOST_OWED = 160
"""Stretches that wait for the nerve center's word; of more, the oldest becomes a gap as far as is known here. More than
two streams of all that may be remembered as delivered."""
_LOST = "%d %s that waited are lost with the spool that held them"
_LOST_THERE = "%d %s are lost with what the nerve center lost: the spool that held them is gone"


def news(state: SpoolState, histories: Histories) -> bool:
    """Whether anything of these histories is to be written down."""
    return _went_back(state, histories) or any(True for _ in _others(state, histories))


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
        own, old = histories[state.epoch], state.epoch
        for name, cursor in state.streams.items():
            kept = store.first_seq(db, name), cursor.next_seq
            it = own.get(name, Reach(cursor.next_seq))
            gone.append((state.epoch, name, Reach(it.next_seq, it.held, *kept)))
        # What a file that went back says is owed may have become a gap since: one of the numbers that are gone.
        state.owed = [
            item
            for item in state.owed
            if item.reason == RESTORED or item.stream in histories.get(item.epoch, {})
        ]
        acknowledged = {name: cursor.acknowledged for name, cursor in state.streams.items()}
        store.renumber(db, state, {}, acknowledged)
        state.end(old, {name: it.next_seq for name, it in own.items()})
    gone += _others(state, histories)
    for epoch, name, it in gone:
        state.end(epoch, {name: it.next_seq})
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
    state.deliver(owed.epoch, owed.stream, owed.reach.delivered(mark))
    _hold_anew(state, owed, mark)
    count = owed.reach.lost(mark)
    if not count:
        return
    data = to_json({"count": count, "reason": owed.reason})
    store.append(db, state, owed.stream, "gap", owed.time, data, width=count)
    log.error(
        _LOST_THERE if owed.reason == RESTORED else _LOST,
        count,
        owed.stream,
        extra=about(Kind.RECORDS_LOST, records=count, stream=owed.stream),
    )


def owe_again(db: sqlite3.Connection, state: SpoolState) -> None:
    """The nerve center went back: what it had of histories that ended may be gone there now as well.

    What it is asked about anyway stays remembered until it has answered.
    """
    for epoch, streams in state.delivered.items():
        for name, it in streams.items():
            ask_about(db, state, epoch, name, it)
    lost = {(item.epoch, item.stream) for item in state.owed if item.reason != RESTORED}
    left = {
        epoch: {name: it for name, it in streams.items() if (epoch, name) in lost}
        for epoch, streams in state.delivered.items()
    }
    state.delivered = {epoch: streams for epoch, streams in left.items() if streams}


def ask_about(db: sqlite3.Connection, state: SpoolState, epoch: str, stream: str, had: Reach) -> None:
    """Owe what the nerve center had of a history that ended: it may have gone back since it said so."""
    item = Owed(epoch, stream, had, RESTORED, store.last_time(db, stream))
    known = any((one.epoch, one.stream) == (epoch, stream) for one in state.owed)
    if had.let_go().lost(0) and stream in state.streams and not known:
        state.owed.append(item)


def delivered(state: SpoolState) -> dict[str, dict[str, Reach]]:
    """What the nerve center has of histories that ended, and what it had of those that it is asked about."""
    found = {epoch: dict(streams) for epoch, streams in state.delivered.items()}
    for item in state.owed:
        if item.reason == RESTORED:
            found.setdefault(item.epoch, {})[item.stream] = item.reach
    return found


def remember(state: SpoolState, known: Histories, unsettled: Histories, stamp: int) -> None:
    """Take over what is known of delivered histories, unless it is older than this state.

    What is being asked about stays so; of what is not known any more the gap was put down in a spool in memory. Of
    what is `unsettled` as far as was known, it was put down here, by a commit that was not heard of.
    """
    if stamp < state.stamp:
        return
    unheard = {
        epoch: {name: had for name, had in streams.items() if name in unsettled.get(epoch, {})}
        for epoch, streams in state.delivered.items()
    }
    left = {epoch: dict(streams) for epoch, streams in merged(unheard, known).items() if epoch != state.epoch}
    owed, state.owed = state.owed, []
    for item in owed:
        if item.reason != RESTORED:
            state.owed.append(item)
        elif item.stream in left.get(item.epoch, {}):
            state.owed.append(replace(item, reach=left[item.epoch].pop(item.stream)))
        elif item.stream in unsettled.get(item.epoch, {}):
            state.owed.append(item)
    state.delivered = {epoch: streams for epoch, streams in left.items() if streams}
    state.stamp = stamp


def not_here(state: SpoolState, source: SpoolState) -> list[Owed]:
    """What another spool owes, of which what waits went on here, and this one neither owes already nor has put down."""
    known = {(item.epoch, item.stream) for item in state.owed}
    return [
        replace(item, reach=item.reach.moved(source.streams[item.stream].acknowledged))
        for item in source.owed
        if (item.epoch, item.stream) not in known
        and (item.reason == RESTORED or item.epoch not in state.past)
    ]


def _hold_anew(state: SpoolState, owed: Owed, mark: int) -> None:
    """Write down how many of the first numbers of the epochs that followed the nerve center has under this one.

    Of that which followed at once, if it is asked about as well, and of the one in use: by all that was said last.
    """
    stream = owed.stream
    after = (
        number
        for number, item in enumerate(state.owed)
        if item.stream == stream and item.reason == RESTORED and item.reach.keeps()
    )
    number = next(after, None)
    if owed.reach.keeps() and number is not None:
        reach = state.owed[number].reach
        held = min(reach.held, owed.reach.delivered(mark).kept_there())
        state.owed[number] = replace(state.owed[number], reach=replace(reach, held=held))
    said = [streams[stream] for streams in state.delivered.values() if stream in streams]
    said += [item.reach for item in state.owed if item.stream == stream and item.reason == RESTORED]
    state.streams[stream].held = max((reach.kept_there() for reach in said), default=0)


def _went_back(state: SpoolState, histories: Histories) -> bool:
    own = histories.get(state.epoch, {})
    return any(
        it.next_seq > state.streams[name].next_seq for name, it in own.items() if name in state.streams
    )


def _others(state: SpoolState, histories: Histories) -> Iterator[tuple[str, str, Reach]]:
    """What other histories came to beyond that which ended here: all of one that did not end here.

    One may have gone on after its records were taken over, when the commit of that was made and not heard of.
    """
    for epoch, streams in histories.items():
        if epoch == state.epoch:
            continue
        ended = state.past.get(epoch)
        for name, it in streams.items():
            if ended is None:
                yield epoch, name, it
            elif name in ended and it.next_seq > ended[name]:
                yield epoch, name, replace(it, kept_from=1, kept_next=ended[name])
