"""What goes over the wire, as the contract has it (`nerve_center/api/openapi.yaml`).

Records carry their data as JSON that was written once, when they were sampled: sending a thousand of them again
costs no parsing.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

EVENTS: Final = "events"
SAMPLES: Final = "samples"
STREAMS: Final = (EVENTS, SAMPLES)
"""In the order in which they are sent: a day of backlogged samples never holds up a threat."""

PROTOCOL: Final = 1


@dataclass(frozen=True)
class Mark:
    """How far a stream has come: the last record's seq and tag; seq 0 and no tag before the first."""

    seq: int
    tag: str | None


@dataclass(frozen=True)
class Record:
    """One record of a stream. `data` is JSON; `from_seq` differs from `seq` for a gap only."""

    seq: int
    from_seq: int
    tag: str
    kind: str
    time: str
    data: bytes


@dataclass(frozen=True)
class Batch:
    """Records of one stream that follow each other, and the mark that they build on."""

    epoch: str
    stream: str
    after: Mark
    records: tuple[Record, ...]


@dataclass(frozen=True)
class Sender:
    """Who sends: goes with every report."""

    instance_id: str
    run_id: str
    boot_id: str | None
    interval_s: float
    place: str
    policy: Mapping[str, Any] | None = None
    """What reports say of the policy (`PolicyInForce` of the contract)."""


def to_json(value: Any) -> bytes:
    """Compact JSON. Raises ValueError on NaN and infinity: the wire has none."""
    return json.dumps(value, separators=(",", ":"), allow_nan=False).encode("ascii")


def registration(
    sender: Sender,
    agent_id: str,
    agent_version: str,
    sent_at: str,
    host: Mapping[str, Any],
    labels: Mapping[str, str],
) -> bytes:
    """The body of a registration."""
    return to_json(
        {
            "protocol": PROTOCOL,
            "agent_id": agent_id,
            "instance_id": sender.instance_id,
            "run_id": sender.run_id,
            "boot_id": sender.boot_id,
            "place": sender.place,
            "agent_version": agent_version,
            "interval_s": sender.interval_s,
            "sent_at": sent_at,
            "host": dict(host),
            "labels": dict(labels),
        }
    )


def report(sender: Sender, sent_at: str, batch: Batch) -> bytes:
    """The body of a report, not yet compressed."""
    policy = {} if sender.policy is None else {"policy": dict(sender.policy)}
    head = to_json(
        {
            "instance_id": sender.instance_id,
            "run_id": sender.run_id,
            "boot_id": sender.boot_id,
            "sent_at": sent_at,
            "interval_s": sender.interval_s,
            "epoch": batch.epoch,
            "stream": batch.stream,
            "after": {"seq": batch.after.seq, "tag": batch.after.tag},
            **policy,
        }
    )
    return head[:-1] + b',"records":[' + _records(batch.records) + b"]}"


def _records(records: Sequence[Record]) -> bytes:
    return b",".join(
        to_json({"seq": r.seq, "from_seq": r.from_seq, "tag": r.tag, "kind": r.kind, "time": r.time})[:-1]
        + b',"data":'
        + r.data
        + b"}"
        for r in records
    )


def goodbye(sender: Sender, sent_at: str, reason: str) -> bytes:
    """The body of a goodbye."""
    return to_json(
        {"instance_id": sender.instance_id, "run_id": sender.run_id, "sent_at": sent_at, "reason": reason}
    )


def compress(body: bytes) -> bytes:
    """gzip at its quickest: three quarters are saved at a tenth of the best level's cost."""
    return gzip.compress(body, compresslevel=1, mtime=0)
