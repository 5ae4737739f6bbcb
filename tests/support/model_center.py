"""The nerve center's side of the delivery protocol as a model: the rules of DESIGN's log matching, nothing else."""

import json
from dataclasses import dataclass, field

from dio_daemon.wire import Batch, Mark


@dataclass
class ModelCenter:
    """Marks and records in dictionaries. `store` is keyed by stream, time and tag, as the real one is by agent."""

    marks: dict[tuple[str, str], Mark] = field(default_factory=dict)
    store: dict[tuple[str, str, str], bytes] = field(default_factory=dict)
    stored_twice: int = 0

    def report(self, batch: Batch) -> tuple[int, Mark]:
        """Status and mark, as the real center answers."""
        key = (batch.epoch, batch.stream)
        mark = self.marks.get(key, Mark(0, None))
        records = list(batch.records)
        if not records:
            return (200 if batch.after.seq == mark.seq else 409), mark
        if batch.after.seq == mark.seq and (batch.after.tag in (mark.tag, None) or mark.seq == 0):
            new = records
        elif batch.after.seq < mark.seq <= records[-1].seq:
            at = [r for r in records if r.seq == mark.seq]
            if not at or at[0].tag != mark.tag:
                return 409, mark
            new = [r for r in records if r.seq > mark.seq]
        else:
            return 409, mark
        expected = mark.seq + 1
        for record in new:
            if record.from_seq != expected:
                return 409, mark
            expected = record.seq + 1
        for record in new:
            name = (batch.stream, record.time, record.tag)
            if name in self.store and self.store[name] != record.data:
                self.stored_twice += 1
            self.store[name] = record.data
        self.marks[key] = Mark(records[-1].seq, records[-1].tag)
        return 200, self.marks[key]

    def bodies(self, stream: str) -> list[dict[str, object]]:
        """The data of all stored records of a stream."""
        return [json.loads(data) for (name, _, _), data in self.store.items() if name == stream]
