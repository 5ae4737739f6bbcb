"""What stands in the tables of each history of an agent, seq by seq; the only SQL of the continuity report."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from sqlalchemy import select
from sqlalchemy.engine import Connection

from nerve_center.store import retiring
from nerve_center.store.tables import events, gaps, removed, samples, skipped, streams


@dataclass
class Stored:
    """One history: its mark, and the ranges (from_seq, seq) that are records, gaps, skipped or removed."""

    epoch: bytes
    stream: str
    mark: int
    updated_us: int
    records: list[tuple[int, int]] = field(default_factory=list)
    gaps: list[tuple[int, int, int, str]] = field(default_factory=list)
    skipped: list[tuple[int, int]] = field(default_factory=list)
    removed: list[tuple[int, int]] = field(default_factory=list)


def stored(connection: Connection, agent_key: int) -> list[Stored]:
    """Every history of an agent, in the order in which they began."""
    found: dict[int, Stored] = {}
    for row in connection.execute(
        select(streams).where(streams.c.agent_key == agent_key).order_by(streams.c.key)
    ):
        found[row.key] = Stored(row.epoch, row.stream, row.seq, row.updated_us)
    for stream_key, seq in _seqs(connection, agent_key):
        found[stream_key].records.append((seq, seq))
    of_gaps = select(gaps.c.stream_key, gaps.c.from_seq, gaps.c.seq, gaps.c.count, gaps.c.reason)
    for stream_key, *gap in connection.execute(of_gaps.where(gaps.c.agent_key == agent_key)):
        found[stream_key].gaps.append(tuple(gap))
    for row in connection.execute(select(skipped).where(skipped.c.stream_key.in_(list(found)))):
        found[row.stream_key].skipped.append((row.from_seq, row.seq))
    for row in connection.execute(select(removed).where(removed.c.stream_key.in_(list(found)))):
        found[row.stream_key].removed.append((row.from_seq, row.seq))
    return list(found.values())


def _seqs(connection: Connection, agent_key: int) -> Iterator[tuple[int, int]]:
    for table in (samples, events):
        for row in connection.execute(
            select(table.c.stream_key, table.c.seq).where(table.c.agent_key == agent_key)
        ):
            yield row.stream_key, row.seq
    yield from retiring.seqs(connection, agent_key)
