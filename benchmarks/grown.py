"""A database that a large fleet has filled for long, to look at its pages: made by the store's own functions.

    python -m benchmarks.grown FILE [--hosts 2000] [--days 30] [--seconds 600]

FILE is a nerve center's database (made when it is not there); stop the nerve center while it is filled, and fill it
as the nerve center's user. Every host is committed by itself, so it can be stopped at any time. First each host gets
what every page shows: labels, an hour of samples, states, events, threats. Then each gets rollups of so many days,
each as large as a real one, until the time is up. Most hosts were heard six hours ahead of now: they stay active
while they are looked at.
"""

from __future__ import annotations

import argparse
import json
import random
import secrets
import time
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import insert, update
from sqlalchemy.engine import Connection

from benchmarks.history import in_transaction, sample
from nerve_center.clock import SystemClock
from nerve_center.figures import Chunk, figures
from nerve_center.store import agents, engine, latest, migrate, records, rollups, steady, tables, threats
from nerve_center.store.agents import Facts
from nerve_center.store.prepared import run_all

KINDS = ("web", "db", "cache", "mail", "build", "edge")
INTERVAL_S = 10
_AHEAD_S, _SILENT_S = 6 * 3600, 3600
_STEPS_OF_STATE = 20
_THREATS = (
    ("disk_filling", "high", "A filesystem will be full in 5 hours"),
    ("failed_unit", "medium", "A unit has failed"),
    ("new_listener", "low", "A process listens on a new port"),
    ("setuid_new", "critical", "A new setuid file that no package knows"),
)


def main() -> None:
    """Fill it and say with what."""
    parser = argparse.ArgumentParser(description="A database of a large fleet with a long history.")
    parser.add_argument("file", type=Path)
    parser.add_argument("--hosts", type=int, default=2000)
    parser.add_argument("--days", type=int, default=30)
    parser.add_argument("--seconds", type=float, default=600.0, help="after which no more rollups are made")
    options = parser.parse_args()
    fill(options.file, options.hosts, options.days, options.seconds)


def fill(path: Path, hosts: int, days: int, seconds: float) -> None:
    """Fill a database; prints how far it came."""
    began = time.monotonic()
    clock = SystemClock()
    migrate.prepare(path, clock)
    writing = engine.writing_engine(path)
    rng = random.Random(7)
    now_s = int(time.time())
    with writing.connect() as connection:
        heard_us = clock.boottime_us() + steady.offset_us(connection, clock)
        connection.rollback()
        packed = [_packed(now_s - 3600 + at) for at in range(0, 3600, 10)]
        keys = []
        for number in range(hosts):
            keys.append(
                in_transaction(connection, partial(_host, connection, number, rng, now_s, heard_us, packed))
            )
        print(
            f"{hosts} hosts with an hour of samples each after {time.monotonic() - began:.0f} s", flush=True
        )
        minute, day = _rollups(now_s)
        full = 0
        for key in keys:
            if time.monotonic() - began > seconds:
                break
            in_transaction(connection, partial(_history, connection, key, now_s, days, minute, day))
            full += 1
    writing.dispose()
    size = sum(file.stat().st_size for file in path.parent.glob(path.name + "*"))
    print(
        f"{full} of them with rollups of {days} days; {size / 1024**3:.1f} GiB, {time.monotonic() - began:.0f} s"
    )


def _packed(at_s: int) -> tuple[int, dict[str, Any], bytes]:
    value = sample(at_s)
    value["processes"]["top"] = [
        {"pid": pid, "name": f"worker-{pid}", "user": "www-data", "cpu_percent": 3.5, "rss_bytes": pid << 16}
        for pid in range(800, 810)
    ]
    return at_s, value, json.dumps(value).encode()


def _host(
    connection: Connection,
    number: int,
    rng: random.Random,
    now_s: int,
    heard_us: int,
    packed: list[tuple[int, dict[str, Any], bytes]],
) -> int:
    name = f"{KINDS[number % 6]}{number // 6 + 1:03}.example.net"
    labels = {
        "env": ("prod", "stage", "test")[number % 3],
        "site": ("ams", "fra", "lon", "nyc")[number % 4],
        "rack": f"r{number % 97}",
    }
    facts = Facts(
        name,
        "0.1.0",
        {"hostname": name, "os": "Debian GNU/Linux 12 (bookworm)", "kernel": "6.1.0-37-amd64"},
        labels,
        INTERVAL_S,
        secrets.token_hex(16),
        None,
    )
    agent_id, now_us = f"agent-{secrets.token_hex(8)}", now_s * 1_000_000
    key = agents.add_agent(connection, agent_id, facts, now_us - 40 * 86400 * 1_000_000)
    agents.add_instance(
        connection, secrets.token_hex(16), key, agent_id, secrets.token_bytes(32), facts.run_id, heard_us
    )
    taken = [
        records.Record(seq, seq, secrets.token_bytes(8), "sample", at_s * 1_000_000, text, value)
        for seq, (at_s, value, text) in enumerate(packed, start=1)
    ]
    start = records.Mark(None, 0, None)
    added = records.append(connection, key, secrets.token_bytes(8), "samples", start, taken, now_us)
    run_all(connection, [added.move, *latest.noted(key, taken)])
    last_us = heard_us + (-_SILENT_S if number % 200 == 17 else _AHEAD_S) * 1_000_000
    connection.execute(
        update(tables.agents)
        .where(tables.agents.c.key == key)
        .values(
            samples=len(taken),
            heard_us=last_us,
            last_report_us=min(last_us, heard_us),
            goodbye_us=heard_us if number % 150 == 3 else None,
            rolled_hour=now_s // 3600,
        )
    )
    connection.execute(
        update(tables.latest)
        .where(tables.latest.c.agent_key == key)
        .values(
            cpu_percent=rng.uniform(1, 99), memory_percent=rng.uniform(5, 95), disk_percent=rng.uniform(5, 99)
        )
    )
    _events(connection, key, rng, now_us)
    _states(connection, key, now_us)
    return key


def _events(connection: Connection, key: int, rng: random.Random, now_us: int) -> None:
    """A hundred in the last month; three threats that are over, and of every fifth host one that is not."""
    told: list[records.Record] = []
    for seq in range(1, 101):
        at_us = now_us - rng.randrange(30 * 86400) * 1_000_000
        value = {"type": "unit.restarted", "message": f"nginx.service was restarted, for the {seq}th time"}
        told.append(
            records.Record(
                seq, seq, secrets.token_bytes(8), "event", at_us, json.dumps(value).encode(), value
            )
        )
    added = records.append(
        connection, key, secrets.token_bytes(8), "events", records.Mark(None, 0, None), told, now_us
    )
    run_all(connection, [added.move])
    for number in range(4):
        kind, severity, title = _THREATS[(key + number) % 4]
        threat = {
            "type": kind,
            "severity": severity,
            "fingerprint": f"{kind}:{number}",
            "title": title,
            "summary": "/srv grows by 2.1 GiB an hour and has 11 GiB left.",
            "evidence": {"mount": "/srv", "percent": 93.2, "free_bytes": 11 << 30},
        }
        at_us = now_us - rng.randrange(30 * 86400) * 1_000_000
        threats.apply(connection, key, at_us, {**threat, "state": "open"})
        if number or key % 5:
            threats.apply(connection, key, at_us + 60_000_000, {**threat, "state": "cleared"})


def _states(connection: Connection, key: int, now_us: int) -> None:
    rows = []
    for step in range(_STEPS_OF_STATE, 0, -1):
        until_us = None if step == 1 else now_us - (step - 1) * 86400 * 1_000_000
        since_us = now_us - step * 86400 * 1_000_000
        rows.append(
            {
                "agent_key": key,
                "state": "active" if step % 2 else "warning",
                "since_us": since_us,
                "until_us": until_us,
            }
        )
    connection.execute(insert(tables.agent_states), rows)


def _rollups(now_s: int) -> tuple[bytes, dict[str, bytes]]:
    """An hour of minutes, and a day of quarters, packed."""
    hour = Chunk(now_s // 3600 * 3600, rollups.MINUTE_S, 60)
    day = Chunk(now_s // 86400 * 86400, rollups.QUARTER_S, 96)
    for at_s in range(hour.start_s, hour.end_s, 10):
        hour.add(at_s * 1_000_000, figures(sample(at_s)))
    for at_s in range(day.start_s, day.end_s, 60):
        day.add(at_s * 1_000_000, figures(sample(at_s)))
    coarse = Chunk(day.start_s, rollups.COARSE_S, 4)
    coarse.absorb(day)
    return hour.pack(), {"coarse": coarse.pack(), "data": day.pack()}


def _history(
    connection: Connection, key: int, now_s: int, days: int, minute: bytes, day: dict[str, bytes]
) -> None:
    hour = now_s // 3600
    connection.execute(
        insert(tables.minutes),
        [{"agent_key": key, "hour": hour - back, "data": minute} for back in range(days * 24, 0, -1)],
    )
    connection.execute(
        insert(tables.quarters),
        [{"agent_key": key, "day": now_s // 86400 - back, **day} for back in range(days, -1, -1)],
    )


if __name__ == "__main__":
    main()
