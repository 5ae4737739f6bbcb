"""The agent's state as sentences and as JSON: one story for systemctl, dioctl and programs."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

from dio_daemon import __version__
from dio_daemon.clock import Clock, rfc3339
from dio_daemon.detect.tolerance import Seen
from dio_daemon.heartbeat import Heartbeat
from dio_daemon.lifecycle import Snapshot, State
from dio_daemon.policy import Tolerated
from dio_daemon.policy_keeper import PolicyKeeper
from dio_daemon.safe_spool import SafeSpool
from dio_daemon.spool_model import Stats
from dio_daemon.text import counted
from dio_daemon.wire import Record


def status_line(snapshot: Snapshot, pending: int, clock: Clock) -> str:
    """The one line that `systemctl status` shows."""
    now = clock.monotonic()
    why = f": {snapshot.reason}" if snapshot.reason else ""
    tries = ""
    if snapshot.next_attempt is not None:
        tries = f"next try in {max(0.0, snapshot.next_attempt - now):.0f} s"
    if snapshot.attempt:
        tries = f"attempt {snapshot.attempt}" + (f", {tries}" if tries else "")
    tries = f" ({tries})" if tries else ""
    waiting = counted(pending, "record waits", "records wait")
    match snapshot.state:
        case State.STARTING:
            line = "starting"
        case State.WAITING:
            line = f"waiting for nerve center {snapshot.center_url}{why}{tries}"
        case State.REGISTERING:
            line = f"registering with {snapshot.center_url}{why}{tries}"
        case State.ACTIVE:
            line = (
                f"active: {snapshot.agent_id} reporting to {snapshot.center_url}, {_acknowledged(snapshot)}"
            )
            line += f", spool {pending}"
        case State.WARNING:
            line = f"warning: {snapshot.failures} reports in a row failed{why}{tries}, "
            line += f"{_acknowledged(snapshot)}, spool {pending}"
        case State.OFFLINE:
            line = f"offline since {snapshot.since_wall[:19]}Z{why}{tries}, {waiting}"
        case State.STOPPING:
            line = f"stopping, {waiting}"
    if snapshot.conditions:
        line += f" [{', '.join(sorted(snapshot.conditions))}]"
    return line


def _acknowledged(snapshot: Snapshot) -> str:
    """A moment, not an age: what systemd shows stays true without being sent again every second."""
    if not snapshot.last_acknowledged_wall:
        return "nothing acknowledged yet"
    return f"last acknowledged at {snapshot.last_acknowledged_wall[11:19]} UTC"


def status_document(
    snapshot: Snapshot, spool: SafeSpool, heartbeats: list[Heartbeat], clock: Clock
) -> dict[str, Any]:
    """What `/v1/status` answers. Ages and waits are in seconds at the moment of the answer."""
    now = clock.monotonic()
    return {
        "version": __version__,
        "pid": os.getpid(),
        "state": snapshot.state.value,
        "since": snapshot.since_wall,
        "state_age_s": round(now - snapshot.since, 3),
        "reason": snapshot.reason or None,
        "error_kind": snapshot.error_kind or None,
        "consecutive_failures": snapshot.failures,
        "attempt": snapshot.attempt,
        "next_attempt_in_s": (
            None if snapshot.next_attempt is None else round(max(0.0, snapshot.next_attempt - now), 3)
        ),
        "agent_id": snapshot.agent_id or None,
        "instance_id": snapshot.instance_id or None,
        "nerve_center": snapshot.center_url,
        "last_acknowledged_at": snapshot.last_acknowledged_wall,
        "last_acknowledged_age_s": (
            None if snapshot.last_acknowledged is None else round(now - snapshot.last_acknowledged, 3)
        ),
        "conditions": dict(sorted(snapshot.conditions.items())),
        "spool": spool_document(spool.stats()),
        "threads": threads_document(heartbeats),
        "status_line": status_line(snapshot, spool.pending, clock),
    }


def threads_document(heartbeats: list[Heartbeat]) -> dict[str, Any]:
    """What `/v1/threads` answers: for each thread its last sign of life and when it would count as hung."""
    return {
        beat.name: {
            "last_beat_age_s": round(beat.age_s(), 3),
            "hung_in_s": round(beat.left_s(), 3),
            "fresh": beat.fresh,
        }
        for beat in heartbeats
    }


def policy_document(keeper: PolicyKeeper, seen: Mapping[str, Seen]) -> dict[str, Any]:
    """What `/v1/policy` answers: what is in force, what of it was seen, and what cannot be used."""
    policy, refused = keeper.policy, keeper.refused
    return {
        "version": None if policy is None else policy.version,
        "interval_s": None if policy is None else policy.interval_s,
        "rules": [] if policy is None else [{"of": of, "toml": toml} for of, toml in policy.rules],
        "tolerated": [] if policy is None else [_tolerated(each, seen) for each in policy.tolerated],
        "refused": None if refused is None else {"version": refused[0], "why": refused[1]},
    }


def _tolerated(item: Tolerated, seen: Mapping[str, Seen]) -> dict[str, Any]:
    counted = seen.get(item.fingerprint)
    return {
        "type": item.type,
        "subject": item.subject,
        "fingerprint": item.fingerprint,
        "reason": item.reason,
        "until": None if item.until is None else rfc3339(item.until),
        "count": 0 if counted is None else counted.count,
        "last_seen": None if counted is None else rfc3339(counted.last),
    }


def samples_json(records: list[Record]) -> bytes:
    """What `/v1/samples` answers, put together from JSON as it is stored: it may be megabytes."""
    heads = (
        json.dumps({"seq": record.seq, "tag": record.tag, "time": record.time})[:-1].encode() + b', "data": '
        for record in records
    )
    rows = (head + record.data + b"}" for head, record in zip(heads, records, strict=True))
    return b'{"samples": [\n' + b",\n".join(rows) + b"]}"


def spool_document(stats: Stats) -> dict[str, Any]:
    """What `/v1/spool` answers: the spool's epoch, size and streams. `gaps` counts missing records by reason."""
    return {
        "epoch": stats.epoch,
        "pending": stats.pending,
        "bytes": stats.bytes,
        "max_bytes": stats.max_bytes,
        "dead_letters": stats.dead_letters,
        "streams": {
            name: {
                "next_seq": stream.next_seq,
                "acknowledged_seq": stream.acknowledged_seq,
                "pending": stream.pending,
                "kept": stream.kept,
                "gaps": stream.gaps,
                "oldest_pending_at": stream.oldest_pending,
            }
            for name, stream in stats.streams.items()
        },
    }
