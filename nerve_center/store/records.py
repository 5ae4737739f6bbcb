"""Records and marks: what the reports of an agent leave behind.

`mark` reads a stream's mark, `append` stores records behind it and moves it, in the caller's transaction. A
record's key is agent, time and tag: one that is there already, from another epoch, is left alone and counted
in the stream's `duplicates`.
"""

from __future__ import annotations

import json
import secrets
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy import bindparam, insert, literal, select, tuple_, update
from sqlalchemy.engine import Connection

from nerve_center.store.deflation import Deflation
from nerve_center.store.insertion import insert_new
from nerve_center.store.prepared import Prepared, Values, run_all
from nerve_center.store.tables import events, gaps, samples, skipped, streams

PAGE_BYTES = 8 * 1024 * 1024


@dataclass(frozen=True)
class Mark:
    """A stream's mark; `key` is its row, None before anything was stored."""

    key: int | None
    seq: int
    tag: bytes | None


class Record(NamedTuple):
    """One record as it is stored. `json` is its data; `value` the same, parsed."""

    seq: int
    from_seq: int
    tag: bytes
    kind: str
    time_us: int
    json: bytes
    value: dict[str, Any]


@dataclass(frozen=True)
class Sample:
    """A stored sample; `json` is its data."""

    time_us: int
    tag: bytes
    seq: int
    epoch: bytes
    received_us: int
    json: bytes


@dataclass(frozen=True)
class Added:
    """What an append did: records stored by table, those skipped, and the new events among them.

    `move` is what is left to write: the mark.
    """

    samples: int
    events: int
    gaps: int
    duplicates: int
    threats: Sequence[Record]
    move: tuple[Prepared, Values]

    @property
    def stored(self) -> int:
        return self.samples + self.events + self.gaps


_MARK = Prepared(
    select(streams.c.key, streams.c.seq, streams.c.tag).where(
        streams.c.agent_key == bindparam("of_agent"),
        streams.c.epoch == bindparam("of_epoch"),
        streams.c.stream == bindparam("of_stream"),
    )
)
_MOVE_MARK = Prepared(
    update(streams)
    .where(streams.c.key == bindparam("of_key"))
    .values(
        seq=bindparam("new_seq"),
        tag=bindparam("new_tag"),
        duplicates=streams.c.duplicates + bindparam("more_duplicates"),
        updated_us=bindparam("now_us"),
    )
)


def mark(connection: Connection, agent_key: int, epoch: bytes, stream: str) -> Mark:
    row = _MARK.first(connection, {"of_agent": agent_key, "of_epoch": epoch, "of_stream": stream})
    return Mark(None, 0, None) if row is None else Mark(*row)


def append(
    connection: Connection,
    agent_key: int,
    epoch: bytes,
    stream: str,
    at: Mark,
    records: Sequence[Record],
    now_us: int,
    deflation: Deflation | None = None,
) -> Added:
    """Store `records`, which continue the mark `at`; the caller writes what moves the mark to the last of them."""
    last = records[-1]
    key = at.key if at.key is not None else _new_stream(connection, agent_key, epoch, stream, last, now_us)
    common = {"agent_key": agent_key, "stream_key": key, "received_us": now_us}
    deflation = deflation or Deflation(connection, agent_key)
    of_samples: list[dict[str, Any]] = []
    of_gaps: list[dict[str, Any]] = []
    of_events: list[dict[str, Any]] = []
    of_threats: list[tuple[dict[str, Any], Record]] = []
    for record in records:
        row: dict[str, Any] = {"time_us": record.time_us, "tag": record.tag, "seq": record.seq, **common}
        if record.kind == "gap":
            row.update(from_seq=record.from_seq, count=record.value["count"], reason=record.value["reason"])
            of_gaps.append(row)
            continue
        if record.kind == "sample":
            row["data"] = deflation.deflate(record.time_us, record.json)
            of_samples.append(row)
            continue
        row.update(data=zlib.compress(record.json, 6), kind=record.kind)
        if record.kind == "threat":
            of_threats.append((row, record))
        else:
            of_events.append(row)
    new_threats = [record for row, record in of_threats if insert_new(connection, events, [row])]
    of_samples_new = insert_new(connection, samples, of_samples)
    of_events_new = insert_new(connection, events, of_events) + len(new_threats)
    of_gaps_new = insert_new(connection, gaps, of_gaps)
    duplicates = len(records) - of_samples_new - of_events_new - of_gaps_new
    if duplicates:
        _note_skipped(
            connection, key, records, of_samples, of_gaps, of_events + [row for row, _ in of_threats]
        )
    move = {
        "of_key": key,
        "new_seq": last.seq,
        "new_tag": last.tag,
        "more_duplicates": duplicates,
        "now_us": now_us,
    }
    return Added(of_samples_new, of_events_new, of_gaps_new, duplicates, new_threats, (_MOVE_MARK, move))


def _new_stream(
    connection: Connection, agent_key: int, epoch: bytes, stream: str, last: Record, now_us: int
) -> int:
    result = connection.execute(
        insert(streams).values(
            agent_key=agent_key,
            epoch=epoch,
            stream=stream,
            seq=last.seq,
            tag=last.tag,
            duplicates=0,
            updated_us=now_us,
        )
    )
    return int(result.inserted_primary_key[0])


def _note_skipped(
    connection: Connection,
    key: int,
    records: Sequence[Record],
    of_samples: list[dict[str, Any]],
    of_gaps: list[dict[str, Any]],
    of_events: list[dict[str, Any]],
) -> None:
    """Write down which of these seqs hold nothing because their record is there from another epoch."""
    elsewhere: set[int] = set()
    for table, rows in ((samples, of_samples), (gaps, of_gaps), (events, of_events)):
        for row in rows:
            at = (
                (table.c.agent_key, row["agent_key"]),
                (table.c.time_us, row["time_us"]),
                (table.c.tag, row["tag"]),
            )
            found = connection.execute(
                select(table.c.stream_key, table.c.seq).where(*(column == value for column, value in at))
            ).first()
            if found is None or (found.stream_key, found.seq) != (key, row["seq"]):
                elsewhere.add(row["seq"])
    ranges: list[dict[str, int]] = []
    for record in records:
        if record.seq not in elsewhere:
            continue
        if ranges and ranges[-1]["seq"] == record.from_seq - 1:
            ranges[-1]["seq"] = record.seq
        else:
            ranges.append({"stream_key": key, "from_seq": record.from_seq, "seq": record.seq})
    if ranges:
        connection.execute(insert(skipped), ranges)


_SAMPLE = select(
    samples.c.time_us, samples.c.tag, samples.c.seq, samples.c.received_us, samples.c.data, streams.c.epoch
).join(streams, streams.c.key == samples.c.stream_key)


def sample_page(
    connection: Connection,
    agent_key: int,
    limit: int,
    since_us: int | None = None,
    until_us: int | None = None,
    after: tuple[int, bytes] | None = None,
    newest: bool = False,
) -> tuple[list[Sample], bool]:
    """Up to `limit` samples in the order of (time, tag), and whether there are more.

    The first of them, or with `newest` the last. `since_us` is included and `until_us` is not; `after` is the
    (time, tag) of the sample before the page. A page also ends where its samples come to `PAGE_BYTES`.
    """
    query = _SAMPLE.where(samples.c.agent_key == agent_key)
    if since_us is not None:
        query = query.where(samples.c.time_us >= since_us)
    if until_us is not None:
        query = query.where(samples.c.time_us < until_us)
    if after is not None:
        query = query.where(
            tuple_(samples.c.time_us, samples.c.tag) > tuple_(literal(after[0]), literal(after[1]))
        )
    if newest:
        query = query.order_by(samples.c.time_us.desc(), samples.c.tag.desc())
    else:
        query = query.order_by(samples.c.time_us, samples.c.tag)
    deflation = Deflation(connection, agent_key)
    found: list[Sample] = []
    size, more = 0, False
    for row in connection.execute(query.limit(limit + 1)):
        if len(found) == limit or size >= PAGE_BYTES:
            more = True
            break
        text = deflation.inflate(row.time_us, row.data)
        size += len(text)
        found.append(Sample(row.time_us, row.tag, row.seq, row.epoch, row.received_us, text))
    return found[::-1] if newest else found, more


def latest_sample(connection: Connection, agent_key: int) -> Sample | None:
    found, _ = sample_page(connection, agent_key, 1, newest=True)
    return found[0] if found else None


_OWN_EPOCH = bytes(8)


def append_own_event(connection: Connection, agent_key: int, data: dict[str, Any], now_us: int) -> None:
    """Store an event that the center itself has to tell about an agent, in a stream of the center's own."""
    at = mark(connection, agent_key, _OWN_EPOCH, "center")
    record = Record(
        seq=at.seq + 1,
        from_seq=at.seq + 1,
        tag=secrets.token_bytes(8),
        kind="event",
        time_us=now_us,
        json=json.dumps(data, ensure_ascii=False, separators=(",", ":")).encode(),
        value=data,
    )
    added = append(connection, agent_key, _OWN_EPOCH, "center", at, [record], now_us)
    run_all(connection, [added.move])
