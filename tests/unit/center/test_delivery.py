"""Exactly once, held against an agent that follows the delivery protocol on a bad day.

The agent below is the agent's half of the protocol in its plainest form. Faults: answers lost, the agent's spool
rolled back, the center's database rolled back, records dropped for space or forgotten, clones of a spool. When
the faults end the two come to rest, and every record that is still on a live spool is at the center exactly once
or was dropped on purpose.
"""

import copy
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nerve_center.clock import format_time
from nerve_center.ingest import fit
from nerve_center.store.records import Mark, Record
from tests.unit.center.harness import AgentUnderTest, CenterUnderTest, databases

Kept = tuple[int, str, int | None]  # from_seq, tag, uid (None for a gap)


class Spool:
    """The agent's half: what it keeps, where its cursor is, how it compares the center's mark with its own."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.epoch = self.tag()
        self.next = 1
        self.kept: dict[int, Kept] = {}
        self.acknowledged = 0

    def tag(self) -> str:
        return f"{self.rng.getrandbits(64):016x}"

    def append(self, uid: int) -> None:
        self.kept[self.next] = (self.next, self.tag(), uid)
        self.next += 1

    def drop(self) -> list[int]:
        pending = sorted(seq for seq in self.kept if seq > self.acknowledged)[:-1]
        if len(pending) < 2:
            return []
        index = self.rng.randrange(len(pending) - 1)
        first, second = pending[index], pending[index + 1]
        lost = [self.kept[seq][2] for seq in (first, second)]
        self.kept[second] = (self.kept.pop(first)[0], self.tag(), None)
        return [uid for uid in lost if uid is not None]

    def forget(self) -> list[int]:
        gone = [seq for seq in self.kept if seq < self.acknowledged and self.rng.random() < 0.5]
        return [uid for uid in (self.kept.pop(seq)[2] for seq in gone) if uid is not None]

    def batch(self) -> tuple[dict[str, Any], list[int]]:
        chosen = sorted(seq for seq in self.kept if seq > self.acknowledged)[: self.rng.randint(1, 6)]
        known = self.kept.get(self.acknowledged)
        return {"seq": self.acknowledged, "tag": known[1] if known else None}, chosen

    def compare(self, seq: int, tag: str | None) -> None:
        if seq >= self.next or (seq in self.kept and self.kept[seq][1] != tag):
            self.part()
        elif seq > self.acknowledged:
            if seq in self.kept:
                self.acknowledged = seq
            else:
                self.part()
        elif seq < self.acknowledged:
            if seq and seq not in self.kept:
                self.part()
            else:
                self.acknowledged = seq
                self._fill_holes(seq)

    def _fill_holes(self, seq: int) -> None:
        at = seq + 1
        for have in sorted(other for other in self.kept if other > seq):
            start = self.kept[have][0]
            if start > at:
                self.kept[start - 1] = (at, self.tag(), None)
            at = have + 1
        if at < self.next:
            self.kept[self.next - 1] = (at, self.tag(), None)

    def part(self) -> None:
        kept = [self.kept[seq] for seq in sorted(self.kept)]
        self.epoch, self.kept, self.acknowledged, self.next = self.tag(), {}, 0, 1
        for _, tag, uid in kept:
            self.kept[self.next] = (self.next, tag, uid)
            self.next += 1

    def saved(self) -> dict[str, Any]:
        return copy.deepcopy({name: value for name, value in vars(self).items() if name != "rng"})


class World:
    """Hosts that share one identity, one real center, and its backups."""

    def __init__(self, folder: Path, rng: random.Random) -> None:
        self.folder, self.rng = folder, rng
        self.aside = folder / "aside"
        self.center = CenterUnderTest(folder)
        self.agent: AgentUnderTest = self.center.agent()
        self.hosts = [Spool(rng)]

    def exchange(self, spool: Spool, lossy: bool) -> None:
        after, chosen = spool.batch()
        if lossy and self.rng.random() < 0.2:
            return
        response = self.agent.send(
            self.agent.report([self._record(spool, seq) for seq in chosen], after=after, epoch=spool.epoch)
        )
        assert response.status_code in (200, 409), response.text
        if lossy and self.rng.random() < 0.3:
            return
        mark = response.json["mark"]
        spool.compare(mark["seq"], mark["tag"])

    def _record(self, spool: Spool, seq: int) -> dict[str, Any]:
        start, tag, uid = spool.kept[seq]
        time = format_time(self.center.clock.now_us())
        if uid is None:
            data: dict[str, Any] = {"count": 1, "reason": "spool_full"}
            return {"seq": seq, "from_seq": start, "tag": tag, "kind": "gap", "time": time, "data": data}
        time = format_time(self.center.clock.now_us() + uid)
        return {"seq": seq, "from_seq": seq, "tag": tag, "kind": "sample", "time": time, "data": {"uid": uid}}

    def back_up(self) -> None:
        self.aside.mkdir(exist_ok=True)
        self._stopped(self.folder, self.aside)

    def restore(self) -> None:
        if self.aside.exists():
            self._stopped(self.aside, self.folder)

    def _stopped(self, source: Path, target: Path) -> None:
        clock = self.center.clock
        self.center.close()
        databases.copy(source, target)
        self.center = CenterUnderTest(self.folder, clock)
        self.agent.center = self.center

    def stored(self) -> list[int]:
        found = self.agent.samples(limit=5000).json["samples"]
        return [item["data"]["uid"] for item in found]

    def settle(self) -> None:
        for _ in range(300):
            for host in self.hosts:
                self.exchange(host, lossy=False)
            if all(seq <= host.acknowledged for host in self.hosts for seq in host.kept):
                return
        raise AssertionError("no rest")


@pytest.mark.databases("sqlite")
@pytest.mark.parametrize("seed", range(24))
def test_nothing_is_lost_and_nothing_counted_twice(database: str, tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    world = World(tmp_path, rng)
    excused: set[int] = set()
    saved: list[tuple[Spool, dict[str, Any]]] = []
    uid = 0
    for _ in range(120):
        host, chance = rng.choice(world.hosts), rng.random()
        if chance < 0.45:
            uid += 1
            host.append(uid)
        elif chance < 0.85:
            world.exchange(host, lossy=True)
        elif chance < 0.88:
            excused.update(host.drop())
        elif chance < 0.91:
            excused.update(host.forget())
        elif chance < 0.93:
            saved.append((host, host.saved()))
        elif chance < 0.95 and saved:
            host, state = rng.choice(saved)
            vars(host).update(copy.deepcopy(state))
        elif chance < 0.965:
            world.back_up()
        elif chance < 0.98:
            world.restore()
        elif seed % 2 and len(world.hosts) < 3:
            twin = copy.copy(host)
            twin.kept = dict(host.kept)
            world.hosts.append(twin)
    world.settle()
    stored = world.stored()
    world.center.close()
    assert len(stored) == len(set(stored))
    alive = {kept[2] for host in world.hosts for kept in host.kept.values() if kept[2] is not None}
    assert alive - excused <= set(stored)


def reference(
    mark: tuple[int, bytes | None], after: tuple[int, bytes | None], records: list[Record]
) -> list[int] | None:
    """The acceptance rule as the design's model states it: the seqs that are taken, None for a mismatch."""
    seq, tag = mark
    if not records:
        return [] if seq == after[0] else None
    if after[0] == seq and (after[1] in (tag, None) or seq == 0):
        new = records
    elif after[0] < seq <= records[-1].seq:
        at = [record for record in records if record.seq == seq]
        if not at or at[0].tag != tag:
            return None
        new = [record for record in records if record.seq > seq]
    else:
        return None
    expected = seq + 1
    for record in new:
        if record.from_seq != expected:
            return None
        expected = record.seq + 1
    return [record.seq for record in new]


TAGS = st.sampled_from([b"a" * 8, b"b" * 8])
SEQS = st.integers(0, 3)


@st.composite
def reports(draw: st.DrawFn) -> list[Record]:
    """A few records with rising seqs, with gaps of any width, contiguous or not."""
    found: list[Record] = []
    at = draw(st.integers(1, 4))
    for _ in range(draw(st.integers(0, 4))):
        start = at + draw(st.sampled_from([0, 0, 0, 1]))
        seq = start + draw(st.sampled_from([0, 0, 2]))
        found.append(Record(seq, start, draw(TAGS), "gap", 0, b"", {}))
        at = seq + 1
    return found


@settings(max_examples=1000, deadline=None)
@given(SEQS, TAGS, SEQS, st.none() | TAGS, reports())
def test_what_is_taken_is_what_the_model_takes(
    seq: int, tag: bytes, after_seq: int, after_tag: bytes | None, records: list[Record]
) -> None:
    stored_tag = tag if seq else None
    skip = fit(Mark(1, seq, stored_tag), Mark(None, after_seq, after_tag), records)
    taken = None if skip is None else [record.seq for record in records[skip:]]
    assert taken == reference((seq, stored_tag), (after_seq, after_tag), records)
