"""Samples come back as they were stored, whatever their hour's dictionary is, and take little."""

from __future__ import annotations

import json
import random
import zlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import func, select, update
from sqlalchemy.engine import Connection

from nerve_center.clock import format_time
from nerve_center.keeper import retention
from nerve_center.keeper import rollups as gathering
from nerve_center.keeper.task import Desk
from nerve_center.store import deflation, migrate
from nerve_center.store.deflation import Deflation
from nerve_center.store.difference import Base
from nerve_center.store.engine import reading
from nerve_center.store.tables import dictionaries, meta, samples
from tests.unit.center.harness import AgentUnderTest, CenterUnderTest
from tests.unit.center.keeping import desk

__all__ = ["desk"]

HOUR_S = 3600


def busy(number: int) -> dict[str, Any]:
    """A sample of a host with 20 processes at the top; all its figures change."""
    chance = random.Random(number)
    top = [
        {
            "pid": 100 + at,
            "name": f"worker-{at}",
            "exe": f"/usr/lib/service/{at}",
            "cpu_percent": round(chance.random(), 2),
        }
        for at in range(20)
    ]
    return {"cpu": {"percent": chance.random()}, "processes": {"count": 20, "top": top}}


def at(agent: AgentUnderTest, seq: int, second: int, **data: Any) -> dict[str, Any]:
    start_us = agent.center.clock.now_us() // 3_600_000_000 * 3_600_000_000
    return agent.record(seq, time=format_time(start_us + second * 1_000_000), **data)


def hours_with_a_dictionary(center: CenterUnderTest) -> int:
    with reading(center.center.engine) as connection:
        return int(connection.execute(select(func.count()).select_from(dictionaries)).scalar() or 0)


def test_what_was_reported_is_what_is_read(center: CenterUnderTest) -> None:
    agent = center.agent()
    told = [busy(number) for number in range(60)]
    agent.deliver(*[at(agent, seq, 100 * seq, data=data) for seq, data in enumerate(told[:40], 1)])
    for seq, data in enumerate(told[40:], 41):
        agent.deliver(at(agent, seq, 100 * seq, data=data))
    assert [each["data"] for each in agent.samples(limit=5000).json["samples"]] == told
    assert hours_with_a_dictionary(center) == 2


def test_a_sample_takes_less_than_half_of_what_it_takes_alone(center: CenterUnderTest) -> None:
    agent = center.agent()
    agent.deliver(*[at(agent, seq, seq, data=busy(seq)) for seq in range(1, 61)])
    with reading(center.center.engine) as connection:
        stored = [len(row.data) for row in connection.execute(select(samples.c.data))]
    alone = [len(zlib.compress(json.dumps(busy(seq)).encode())) for seq in range(1, 61)]
    assert sum(stored) * 2 < sum(alone)


def test_each_agent_has_its_own(center: CenterUnderTest) -> None:
    one, other = center.agent(), center.agent()
    one.deliver(at(one, 1, 5, data={"of": "one"}), at(one, 2, 15, data={"of": "one", "n": 2}))
    other.deliver(at(other, 1, 5, data={"of": "other"}), at(other, 2, 15, data={"of": "other", "n": 2}))
    assert [each["data"]["of"] for each in one.samples().json["samples"]] == ["one", "one"]
    assert [each["data"]["of"] for each in other.samples().json["samples"]] == ["other", "other"]


def test_a_refused_report_leaves_no_dictionary(center: CenterUnderTest) -> None:
    agent = center.agent()
    agent.deliver(at(agent, 1, 5))
    report = agent.report([at(agent, 9, 3 * HOUR_S)], after={"seq": 8, "tag": "00" * 8})
    assert agent.send(report).status_code == 409
    assert hours_with_a_dictionary(center) == 1


def test_what_was_stored_without_dictionary_is_read(center: CenterUnderTest) -> None:
    """Samples from before there were any; also beside one with a dictionary in the same hour."""
    agent = center.agent()
    agent.deliver(at(agent, 1, 5, data=busy(1)), at(agent, 2, 15, data=busy(2)))
    alone = update(samples).where(samples.c.seq == 2).values(data=zlib.compress(json.dumps(busy(3)).encode()))
    center.center.writer.submit(lambda connection: connection.execute(alone).rowcount)
    assert [each["data"] for each in agent.samples().json["samples"]] == [busy(1), busy(3)]


def test_dictionaries_go_with_the_last_sample_of_their_hour(center: CenterUnderTest, desk: Desk) -> None:
    agent = center.agent()
    agent.deliver(at(agent, 1, 5), at(agent, 2, HOUR_S + 5), at(agent, 3, 30 * HOUR_S + 5))
    center.clock.advance(40 * HOUR_S)
    gathering.step(desk)
    retention.step(desk)
    assert hours_with_a_dictionary(center) == 3
    center.clock.advance(10 * HOUR_S)
    gathering.step(desk)
    retention.step(desk)
    assert hours_with_a_dictionary(center) == 1, "two hours are over"
    assert [each["seq"] for each in agent.samples().json["samples"]] == [3]
    late = agent.record(4, time=format_time(center.clock.now_us() - 50 * HOUR_S * 1_000_000))
    agent.deliver(late)
    retention.step(desk)
    assert hours_with_a_dictionary(center) == 2, "a late sample is there until it is counted in"
    gathering.step(desk)
    retention.step(desk)
    assert hours_with_a_dictionary(center) == 1


def test_a_damaged_sample_is_an_error_and_not_half_a_sample(center: CenterUnderTest) -> None:
    agent = center.agent()
    agent.deliver(at(agent, 1, 5, data=busy(1)), at(agent, 2, 15, data=busy(2)))
    with reading(center.center.engine) as connection:
        row = connection.execute(select(samples).where(samples.c.seq == 2)).one()
        found = Deflation(connection, row.agent_key)
        assert json.loads(found.inflate(row.time_us, row.data)) == busy(2)
        for cut in (2, 6, len(row.data) // 2, len(row.data) - 1):
            with pytest.raises(zlib.error):
                found.inflate(row.time_us, row.data[:cut])
        elsewhere = Deflation(connection, row.agent_key)
        with pytest.raises(zlib.error):
            elsewhere.inflate(row.time_us + 9 * HOUR_S * 1_000_000, row.data)


class Held(Deflation):
    """With its dictionaries in memory, to try any text."""

    def __init__(self, first: bytes, oldest: str = migrate.HEAD) -> None:
        self._hours = {0: Base(first)}
        self._read_by = oldest

    def _oldest(self) -> str:
        return self._read_by


@given(st.binary(max_size=4000), st.binary(max_size=70000), st.sampled_from(["", "0010", "0011", "0012"]))
def test_any_text_comes_back(first: bytes, text: bytes, oldest: str) -> None:
    held = Held(first, oldest)
    assert held.inflate(1, held.deflate(1, text)) == text


def read_by(version: str, data: bytes, first: bytes) -> bytes:
    """A sample as the version with this newest script reads it; `first` is the one that its hour began with."""
    unpacker = (
        zlib.decompressobj(zdict=first) if version >= "0011" and data[1] & 0x20 else zlib.decompressobj()
    )
    return unpacker.decompress(data) + unpacker.flush()


@pytest.mark.parametrize("oldest", ["0009", "0010", "0011"])
def test_what_an_older_version_may_read_is_stored_as_it_reads_it(
    center: CenterUnderTest, oldest: str
) -> None:
    """While nerve centers on one database are upgraded one after the other, and until a version ends that."""
    told = [busy(number) for number in range(3)]
    older = update(meta).where(meta.c.name == "oldest").values(value=oldest)
    center.center.writer.submit(lambda connection: connection.execute(older).rowcount)
    agent = center.agent()
    agent.deliver(*[at(agent, seq, seq, data=data) for seq, data in enumerate(told, 1)])
    with reading(center.center.engine) as connection:
        stored = connection.execute(select(samples.c.data).order_by(samples.c.seq)).scalars().all()
    first = json.dumps(told[0], separators=(",", ":")).encode()
    assert [json.loads(read_by(oldest, data, first)) for data in stored] == told
    assert hours_with_a_dictionary(center) == (oldest == "0011")
    assert [each["data"] for each in agent.samples().json["samples"]] == told


PARTS = st.sampled_from(
    [b"1", b"20.5", b"300", b"a", b" b", b'"c":', b"{", b"}", b".", b"-", b"\t", b"\xc3\xa9"]
)
OBJECTS = st.lists(PARTS, max_size=12).map(lambda parts: b"{" + b"".join(parts) + b"}")


@given(OBJECTS, OBJECTS)
def test_texts_that_are_much_alike_come_back(first: bytes, text: bytes) -> None:
    held = Held(first)
    assert held.inflate(1, held.deflate(1, text)) == text


def test_only_what_differs_is_kept() -> None:
    """Also where another process is at the top."""
    first = json.dumps(busy(1)).encode()
    alike = json.dumps(busy(2)).encode()
    other = alike.replace(b'"worker-7"', b'"another"')
    held = Held(first)
    with_dictionary = zlib.compressobj(6, zdict=first)
    usual = len(with_dictionary.compress(alike) + with_dictionary.flush())
    assert len(held.deflate(1, alike)) < 0.7 * usual
    assert len(held.deflate(1, other)) < 0.9 * usual


def test_a_difference_from_something_else_is_an_error() -> None:
    first, text = (json.dumps(busy(number)).encode() for number in (1, 2))
    for stored in (first, text.replace(b'"worker-7"', b'"another"')):
        data = Held(text).deflate(1, stored)
        for other in (b"{}", b'{"a":1,"b":2}', b'{"a":{"b":[1,2,3]}}'):
            with pytest.raises(zlib.error):
                Held(other).inflate(1, data)


def test_removing_asks_for_its_agent_only(center: CenterUnderTest) -> None:
    one, other = center.agent(), center.agent()
    for agent in (one, other):
        agent.deliver(at(agent, 1, 5))

    def emptied(connection: Connection) -> int:
        key = connection.execute(select(func.min(samples.c.agent_key))).scalar_one()
        connection.execute(samples.delete())
        return deflation.remove_unused(connection, key, 10**9)

    assert center.center.writer.submit(emptied) == 1
    assert hours_with_a_dictionary(center) == 1
