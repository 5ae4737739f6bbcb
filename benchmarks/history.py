"""A center that has been at work for long: how long rolling takes, how much the rows take, how long charts wait.

    python -m benchmarks.history [--days 30] [--hosts 20] [--keep FILE]

Makes a database of its own (in a temporary folder, or FILE, to look at it with a nerve center): hosts with real
rollups of so many days, made of two hours of this machine's samples, all through the store's own functions. Prints what
each thing costs, and saves it in build/benchmarks/history.json; ratios between them hold on any machine, the times only
on this one. How pages do with many hosts is asked over HTTP by `benchmarks.pages`.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import secrets
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import insert, update
from sqlalchemy.engine import Connection

from benchmarks.measure import machine
from dio_daemon.clock import SystemClock as AgentClock
from dio_daemon.collect.collector import HostCollector
from dio_daemon.config import Collect
from nerve_center.clock import SystemClock
from nerve_center.figures import Chunk, figures
from nerve_center.store import agents, engine, migrate, records, removal, rollups, series, tables
from nerve_center.store.agents import Facts
from nerve_center.store.records import Mark, Record

T = TypeVar("T")
REPOSITORY = Path(__file__).resolve().parents[1]
RESULT = REPOSITORY / "build/benchmarks/history.json"
INTERVAL_S = 10
HOURS = 2
SAMPLES_AN_HOUR = 3600 // INTERVAL_S
SAMPLES_A_DAY = 86400 // INTERVAL_S
SPANS_S = {"1 h": 3600, "24 h": 86400, "7 d": 7 * 86400, "30 d": 30 * 86400, "1 y": 365 * 86400}
KEPT = series.Kept(48 * 3600, 30 * 86400)


def main() -> None:
    """Make it, measure it, say it, save it."""
    parser = argparse.ArgumentParser(description="Rollups and charts of a center with a long history.")
    parser.add_argument("--days", type=int, default=30)
    parser.add_argument("--hosts", type=int, default=20)
    parser.add_argument("--keep", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = options.keep or Path(folder) / "nerve-center.db"
        found = measure(path, options.hosts, options.days)
    result = {"machine": machine(), "hosts": options.hosts, "days": options.days, **found}
    RESULT.parent.mkdir(parents=True, exist_ok=True)
    RESULT.write_text(json.dumps(result, indent=2) + "\n")
    print_table(result)


def measure(path: Path, hosts: int, days: int) -> dict[str, Any]:
    """Fill the database; what each step took, in milliseconds of processor time, and what rows take, in bytes."""
    migrate.prepare(path, SystemClock())
    writing = engine.writing_engine(path)
    now_s = int(time.time()) // 3600 * 3600
    with writing.connect() as connection:
        keys = in_transaction(connection, lambda: [add_host(connection, number) for number in range(hosts)])
        found: dict[str, Any] = {"raw_bytes_per_sample": raw_bytes(connection, path, keys, now_s - 7200)}
        _, took_s = timed(lambda: in_transaction(connection, lambda: roll(connection, keys[0], now_s)))
        found["roll_ms_per_host_hour"] = round(took_s / HOURS * 1000, 1)
        minute = connection.execute(tables.minutes.select().limit(1)).one().data
        connection.rollback()
        found["minutes_bytes_per_sample"] = round(len(minute) / SAMPLES_AN_HOUR, 1)
        in_transaction(connection, lambda: copy_over(connection, keys, now_s, days))
        day = connection.execute(tables.quarters.select().limit(1)).one()
        found["quarters_bytes_per_sample"] = round((len(day.data) + len(day.coarse)) / SAMPLES_A_DAY, 2)
        host = connection.execute(tables.agents.select().limit(1)).one()
        found["charts"] = {}
        for name, span_s in SPANS_S.items():
            asked = partial(series.grid, connection, host, now_s - span_s, now_s, 480, now_s, KEPT)
            grid, took_s = timed(asked)
            found["charts"][name] = {
                "steps": grid.length,
                "step_s": grid.size_s,
                "figures": len(grid.cells),
                "ms": round(took_s * 1000, 1),
            }
        connection.rollback()
        removed, took_s = timed(
            lambda: in_transaction(connection, lambda: remove(connection, keys[0], now_s))
        )
        found["retention_ms_per_1000_samples"] = round(took_s / removed * 1e6, 1)
    writing.dispose()
    found["file_mib"] = round(path.stat().st_size / 1024**2, 1)
    return found


def print_table(result: dict[str, Any]) -> None:
    """For people."""
    print(", ".join(f"{name} {value}" for name, value in result["machine"].items()))
    print(
        f"on disk, bytes a sample: raw {result['raw_bytes_per_sample']}, in minutes "
        f"{result['minutes_bytes_per_sample']}, in quarters of an hour {result['quarters_bytes_per_sample']}\n"
        f"an hour of a host rolled up in {result['roll_ms_per_host_hour']} ms; "
        f"1,000 samples removed in {result['retention_ms_per_1000_samples']} ms\n"
        f"{result['hosts']} hosts and {result['days']} days: {result['file_mib']} MiB"
    )
    for name, chart in result["charts"].items():
        print(
            f"chart of {name:5} {chart['steps']} steps of {chart['step_s']} s, {chart['figures']} figures: "
            f"{chart['ms']} ms"
        )
    print(f"Saved in {RESULT.relative_to(REPOSITORY)}")


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
    figures_of_host: dict[str, Any] = {
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
    rounded_figures: dict[str, Any] = rounded(figures_of_host)
    return rounded_figures


def rounded(value: Any) -> Any:
    """With two decimals, as agents send their figures."""
    if isinstance(value, dict):
        return {name: rounded(each) for name, each in value.items()}
    if isinstance(value, list):
        return [rounded(each) for each in value]
    return round(value, 2) if isinstance(value, float) else value


def raw_bytes(connection: Connection, path: Path, keys: list[int], from_s: int) -> int:
    """Store samples as reports do; by how many bytes the file grew for each: rows, keys and indices, all of it."""

    def size() -> int:
        connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.rollback()
        return path.stat().st_size

    before, count = size(), HOURS * SAMPLES_AN_HOUR
    in_transaction(connection, lambda: add_samples(connection, keys, from_s, count))
    return round((size() - before) / (count * len(keys)))


def add_samples(connection: Connection, keys: list[int], from_s: int, count: int) -> None:
    """So many samples of each host, in turns as they come.

    They are those of this machine, with figures that change as a busy host's do, stored by the store's own way.
    """
    collector = HostCollector(AgentClock(), Collect())
    collector.prime()
    look = collector.sample()
    epoch = secrets.token_bytes(8)
    marks = dict.fromkeys(keys, Mark(None, 0, None))
    for seq in range(1, count + 1):
        at_s = from_s + (seq - 1) * INTERVAL_S
        for key in keys:
            value = {**look, **sample(at_s), "processes": changed(look["processes"], at_s)}
            tag = secrets.token_bytes(8)
            record = Record(seq, seq, tag, "sample", at_s * 1_000_000, packed_json(value), value)
            added = records.append(connection, key, epoch, "samples", marks[key], [record], 0)
            _, moved = added.move
            marks[key] = Mark(moved["of_key"], seq, tag)


def packed_json(value: dict[str, Any]) -> bytes:
    """As the nerve center stores it."""
    return json.dumps(value, separators=(",", ":")).encode()


def changed(processes: dict[str, Any], at_s: int) -> dict[str, Any]:
    """The same processes with other figures."""
    top = [
        {
            **each,
            "cpu_percent": os.urandom(1)[0] / 10,
            "rss_bytes": each["rss_bytes"] + os.urandom(1)[0] * 4096,
        }
        for each in processes["top"]
    ]
    return {**processes, "count": processes["count"] + at_s % 7, "top": top}


def remove(connection: Connection, key: int, now_s: int) -> int:
    """Remove the samples of all hours; how many."""
    return sum(removal.seal_hour(connection, key, now_s // 3600 - back) or 0 for back in range(HOURS, 0, -1))


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
