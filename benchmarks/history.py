"""A center that has been at work for long: how long rolling takes, how much the rows take, how long charts wait.

    python -m benchmarks.history [--days 30] [--hosts 20] [--keep FILE]

Makes a database of its own (in a temporary folder, or FILE, to look at it with a nerve center): hosts with real
rollups of so many days and two hours of samples, all through the store's own functions. Prints what each thing
costs; ratios between them hold on any machine, the times only on this one.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import secrets
import tempfile
import time
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import insert, update
from sqlalchemy.engine import Connection

from nerve_center.clock import SystemClock
from nerve_center.figures import Chunk, figures
from nerve_center.store import agents, engine, migrate, rollups, series, tables
from nerve_center.store.agents import Facts

T = TypeVar("T")
INTERVAL_S = 10
KEPT = series.Kept(48 * 3600, 30 * 86400)


def main() -> None:
    """Make it, measure it, say it."""
    parser = argparse.ArgumentParser(description="Rollups and charts of a center with a long history.")
    parser.add_argument("--days", type=int, default=30)
    parser.add_argument("--hosts", type=int, default=20)
    parser.add_argument("--keep", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = options.keep or Path(folder) / "nerve-center.db"
        measure(path, options.hosts, options.days)


def measure(path: Path, hosts: int, days: int) -> None:
    """Fill the database and print what each step took."""
    migrate.prepare(path, SystemClock())
    writing = engine.writing_engine(path)
    now_s = int(time.time()) // 3600 * 3600
    with writing.connect() as connection:
        keys = in_transaction(connection, lambda: [add_host(connection, number) for number in range(hosts)])
        in_transaction(connection, lambda: add_samples(connection, keys[0], now_s - 7200))
        made, took_s = timed(lambda: in_transaction(connection, lambda: roll(connection, keys[0], now_s)))
        print(f"one host-hour of {made} samples each rolled in {took_s / 2 * 1000:.0f} ms")
        in_transaction(connection, lambda: copy_over(connection, keys, now_s, days))
        minute = connection.execute(tables.minutes.select().limit(1)).one().data
        day = connection.execute(tables.quarters.select().limit(1)).one()
        print(
            f"an hour of minutes takes {len(minute)} bytes, a day of quarters {len(day.data)} + {len(day.coarse)}"
        )
        host = connection.execute(tables.agents.select().limit(1)).one()
        for name, span_s in (
            ("1 h", 3600),
            ("24 h", 86400),
            ("7 d", 7 * 86400),
            ("30 d", 30 * 86400),
            ("1 y", 365 * 86400),
        ):
            asked = partial(series.grid, connection, host, now_s - span_s, now_s, 480, now_s, KEPT)
            grid, took_s = timed(asked)
            print(
                f"{name}: {grid.length} steps of {grid.size_s} s, {len(grid.cells)} figures, {took_s * 1000:.0f} ms"
            )
    writing.dispose()
    print(f"{path}: {path.stat().st_size / 1024**2:.0f} MiB for {hosts} hosts and {days} days")


def timed(work: Callable[[], T]) -> tuple[T, float]:
    """What it comes to, and the seconds of processor time that it took."""
    began = time.process_time()
    found = work()
    return found, time.process_time() - began


def in_transaction(connection: Connection, work: Callable[[], T]) -> T:
    """Do it in one transaction."""
    engine.begin_writing(connection)
    found = work()
    connection.commit()
    return found


def add_host(connection: Connection, number: int) -> int:
    """A host that has registered."""
    facts = Facts(
        f"host-{number}.example",
        "0.1.0",
        {"hostname": f"host-{number}.example"},
        {},
        INTERVAL_S,
        secrets.token_hex(16),
        None,
    )
    return agents.add_agent(connection, f"agent-{secrets.token_hex(8)}", facts, time.time_ns() // 1000)


def sample(at_s: int) -> dict[str, Any]:
    """What a host with two disks and two interfaces has to tell."""
    wave = 50 + 40 * math.sin(at_s / 3000) + os.urandom(1)[0] / 32
    rate = wave * 12345.678
    figures_of_cpu = {"percent": wave, "user_percent": wave * 0.6, "system_percent": wave * 0.3}
    total, used = 500 << 30, int(2e11 + at_s % 100000)
    traffic = {"rx_bytes_per_s": rate, "tx_bytes_per_s": rate / 7}
    moved = {"read_bytes_per_s": rate, "write_bytes_per_s": rate / 3, "busy_percent": wave / 5}
    return {
        "cpu": {**figures_of_cpu, "iowait_percent": 1.25, "steal_percent": 0.0},
        "memory": {"total_bytes": 16 << 30, "used_bytes": int(wave * 1e8), "percent": wave / 2},
        "swap": {"total_bytes": 0, "used_bytes": 0, "percent": None},
        "load": {"load_1m": wave / 25, "load_5m": wave / 26, "load_15m": wave / 27},
        "pressure": {"cpu_some_percent": wave / 9, "memory_some_percent": 0.0, "io_some_percent": 0.4},
        "disks": [
            {"mount": mount, "total_bytes": total, "used_bytes": used, "percent": 37.5, "inodes_percent": 4.0}
            for mount in ("/", "/home")
        ],
        "disk_io": [{"device": device, **moved} for device in ("sda", "sdb")],
        "network": {**traffic, "interfaces": [{"name": name, **traffic} for name in ("eth0", "eth1")]},
        "processes": {"count": 200 + int(wave), "running": 2, "zombies": 0},
    }


def add_samples(connection: Connection, key: int, from_s: int) -> None:
    """Two hours of samples."""
    stream = connection.execute(
        insert(tables.streams).values(
            agent_key=key, epoch=bytes(8), stream="samples", seq=720, tag=bytes(8), duplicates=0, updated_us=0
        )
    ).inserted_primary_key[0]
    rows = [
        {
            "agent_key": key,
            "time_us": (from_s + index * INTERVAL_S) * 1_000_000,
            "tag": secrets.token_bytes(8),
            "stream_key": stream,
            "seq": index + 1,
            "received_us": 0,
            "data": zlib.compress(json.dumps(sample(from_s + index * INTERVAL_S)).encode()),
        }
        for index in range(720)
    ]
    connection.execute(insert(tables.samples), rows)


def roll(connection: Connection, key: int, now_s: int) -> int:
    """Roll both hours; how many samples each has."""
    rollups.claim(connection, key, now_s // 3600)
    for item in rollups.dirty(connection, (-1, 0), 10):
        rollups.put(connection, rollups.make(connection, item))
    return 360


def copy_over(connection: Connection, keys: list[int], now_s: int, days: int) -> None:
    """Give every host the rollups of that many days, each as large as a real one."""
    minute = connection.execute(tables.minutes.select().limit(1)).one().data
    day = Chunk(now_s // 86400 * 86400, rollups.QUARTER_S, 96)
    for at_s in range(day.start_s, day.end_s, 60):
        day.add(at_s * 1_000_000, figures(sample(at_s)))
    coarse = Chunk(day.start_s, rollups.COARSE_S, 4)
    coarse.absorb(day)
    packed = {"coarse": coarse.pack(), "data": day.pack()}
    for table in (tables.minutes, tables.quarters):
        connection.execute(table.delete())
    for key in keys:
        connection.execute(
            insert(tables.minutes),
            [
                {"agent_key": key, "hour": now_s // 3600 - back, "data": minute}
                for back in range(1, days * 24)
            ],
        )
        connection.execute(
            insert(tables.quarters),
            [{"agent_key": key, "day": now_s // 86400 - back, **packed} for back in range(max(days, 365))],
        )
    connection.execute(update(tables.agents).values(rolled_hour=now_s // 3600))


if __name__ == "__main__":
    main()
