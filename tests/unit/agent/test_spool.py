"""The spool's budget, its fallback to memory, and what becomes of damaged files."""

import json
import os
import resource
import sqlite3
from contextlib import closing
from pathlib import Path
from unittest import mock

import pytest

from dio_daemon import spool_store
from dio_daemon.errors import SpoolCorrupt, SpoolUnavailable
from dio_daemon.safe_spool import RETURN_EVERY_S, SafeSpool
from dio_daemon.spool import Budget, Settled, Spool
from dio_daemon.spool_file import RESERVED_BYTES
from dio_daemon.spool_store import LOG_BYTES
from dio_daemon.wire import EVENTS, SAMPLES, Mark, to_json
from tests.support import disks
from tests.support.clock import FakeClock

ROOMY = Budget(16 << 20, 1e9, 1e9)
NOW = "2026-01-01T00:00:00.000Z"


def incompressible(number: int) -> bytes:
    import random

    return to_json({"n": number, "x": random.Random(number).randbytes(700).hex()})


def contiguous(spool: Spool, stream: str) -> tuple[int, int]:
    """Checks that a stream has no hole; how many records it holds and how many its gaps count."""
    expected, records, counted = 1, 0, 0
    for record in spool.waiting(stream):
        assert record.from_seq == expected
        expected = record.seq + 1
        if record.kind == "gap":
            counted += json.loads(record.data)["count"]
        else:
            records += 1
    return records, counted


def test_a_full_spool_thins_then_drops_samples_and_spares_events(tmp_path: Path) -> None:
    budget = Budget(1 << 20, 1e9, 1e9)
    spool = Spool(tmp_path / "s.db", budget)
    for number in range(3000):
        spool.append(SAMPLES, "sample", NOW, incompressible(number), 10.0)
        if number % 100 == 0:
            spool.append(EVENTS, "threat", NOW, to_json({"n": number}), 0.0)
        assert spool.stats().bytes <= budget.max_bytes * 1.02
    records, counted = contiguous(spool, SAMPLES)
    assert records + counted == 3000
    assert records > 300
    assert contiguous(spool, EVENTS) == (30, 0)
    reasons = {json.loads(r.data)["reason"] for r in spool.waiting(SAMPLES) if r.kind == "gap"}
    assert "thinned" in reasons
    spool.close()


def test_delivered_records_go_first_and_leave_no_gap(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "s.db", Budget(1 << 20, 1e9, 1e9))
    for number in range(3000):
        seq = spool.append(SAMPLES, "sample", NOW, incompressible(number), 10.0)
        batch = spool.batch(SAMPLES, 10)
        assert spool.settle(batch.epoch, SAMPLES, Mark(seq, batch.records[-1].tag)) is Settled.ADVANCED
    assert spool.stats().streams[SAMPLES].gaps == {}
    assert spool.pending == 0
    spool.close()


def test_what_is_too_old_becomes_a_gap(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "s.db", Budget(16 << 20, 3600.0, 1e9))
    for number in range(1000):
        spool.append(SAMPLES, "sample", NOW, to_json({"n": number}), 10.0)
    spool.trim()
    records, counted = contiguous(spool, SAMPLES)
    assert records + counted == 1000
    assert 355 <= records <= 365
    spool.close()


def test_records_in_flight_are_not_touched(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "s.db", ROOMY)
    for number in range(100):
        spool.append(SAMPLES, "sample", NOW, incompressible(number), 10.0)
    batch = spool.batch(SAMPLES, 10)
    spool.reconfigure(Budget(1, 1e9, 1e9))
    spool.trim()
    assert spool.settle(batch.epoch, SAMPLES, Mark(10, batch.records[-1].tag)) is Settled.ADVANCED
    spool.close()


def test_batches_are_bounded_in_bytes(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "s.db", ROOMY)
    for number in range(20):
        spool.append(SAMPLES, "sample", NOW, to_json({"n": number, "x": "y" * 60_000}), 10.0)
    assert len(spool.batch(SAMPLES, 500).records) == 8
    spool.close()


def test_an_append_that_fails_leaves_nothing_half(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "s.db", ROOMY)
    spool.append(SAMPLES, "sample", NOW, b"{}", 10.0)
    spool._db.execute("PRAGMA query_only=ON")
    with pytest.raises(SpoolUnavailable):
        spool.append(SAMPLES, "sample", NOW, b"{}", 10.0)
    spool._db.execute("PRAGMA query_only=OFF")
    assert spool.append(SAMPLES, "sample", NOW, b"{}", 10.0) == 2
    assert spool.pending == 2
    spool.close()


@pytest.mark.parametrize("content", [b"not a database at all, but long enough to be one" * 30, b"\0" * 8192])
def test_a_file_that_is_no_spool(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "s.db"
    path.write_bytes(content)
    if content.strip(b"\0"):
        with pytest.raises(SpoolCorrupt):
            Spool(path, ROOMY)
    spool = SafeSpool(path, ROOMY, FakeClock())
    assert spool.append(SAMPLES, "sample", b"{}") == 1
    spool.close()


def test_a_spool_of_another_version_is_set_aside(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    Spool(path, ROOMY).close()
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version=99")
    db.close()
    spool = SafeSpool(path, ROOMY, FakeClock())
    assert spool.append(SAMPLES, "sample", b"{}") == 1
    spool.close()
    assert (tmp_path / "s.db.damaged").exists()


def test_damage_while_running_is_set_aside_and_counted(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    spool = SafeSpool(path, ROOMY, FakeClock())
    for number in range(200):
        spool.append(SAMPLES, "sample", incompressible(number), 10.0)
    spool._spool._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    before = spool.stats().epoch
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xde\xad" * 40_000)
    spool._spool._db.execute("PRAGMA cache_size=0")
    for number in range(3):
        spool.append(SAMPLES, "sample", to_json({"n": number}), 10.0)
    question = spool.batch(SAMPLES, 10)
    assert (question.epoch, question.records) == (before, ())
    spool.settle(before, SAMPLES, Mark(150, "0" * 16))
    batch = spool.batch(SAMPLES, 10)
    assert batch.epoch != before
    gap = next(r for r in batch.records if r.kind == "gap")
    assert json.loads(gap.data) == {"count": 50, "reason": "spool_corrupt"}
    assert gap.seq - gap.from_seq + 1 == 50
    assert (tmp_path / "s.db.damaged").exists()
    spool.close()


def test_a_disk_that_refuses_and_comes_back(tmp_path: Path) -> None:
    clock = FakeClock()
    path = tmp_path / "s.db"
    spool = SafeSpool(path, ROOMY, clock)
    spool.append(SAMPLES, "sample", to_json({"n": 1}), 10.0)
    spool._spool._db.execute("PRAGMA query_only=ON")
    path.chmod(0o400)
    spool.append(SAMPLES, "sample", to_json({"n": 2}), 10.0)
    assert list(spool.conditions()) == ["spool_in_memory"]
    batch = spool.batch(SAMPLES, 10)
    assert [json.loads(r.data) for r in batch.records] == [{"n": 2}]
    path.chmod(0o600)
    clock.advance(RETURN_EVERY_S)
    spool.append(SAMPLES, "sample", to_json({"n": 3}), 10.0)
    assert spool.conditions() == {}
    again = spool.batch(SAMPLES, 10)
    assert [json.loads(r.data) for r in again.records] == [{"n": 1}, {"n": 2}, {"n": 3}]
    assert again.records[1].tag == batch.records[0].tag
    spool.close()


def test_a_disk_that_opens_but_takes_no_write_is_not_returned_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = FakeClock()
    spool = SafeSpool(tmp_path / "gone" / "s.db", ROOMY, clock)
    (tmp_path / "gone").mkdir()

    def full(self: Spool) -> None:
        raise SpoolUnavailable("database or disk is full")

    monkeypatch.setattr(Spool, "trim", full)
    clock.advance(RETURN_EVERY_S)
    spool.append(SAMPLES, "sample", b"{}", 10.0)
    assert "spool_in_memory" in spool.conditions()
    monkeypatch.undo()
    clock.advance(RETURN_EVERY_S)
    spool.append(SAMPLES, "sample", b"{}", 10.0)
    assert spool.conditions() == {}
    assert spool.pending == 2
    spool.close()


def test_a_spool_deleted_while_in_use_moves_to_a_new_file(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    spool = SafeSpool(path, ROOMY, FakeClock())
    for number in range(3):
        spool.append(SAMPLES, "sample", to_json({"n": number}), 10.0)
    for file in tmp_path.glob("s.db*"):
        file.unlink()
    spool.append(SAMPLES, "sample", to_json({"n": 3}), 10.0)
    spool.close()
    reopened = Spool(path, ROOMY)
    assert [json.loads(r.data)["n"] for r in reopened.batch(SAMPLES, 10).records] == [0, 1, 2, 3]
    reopened.close()


def test_a_folder_that_is_missing_at_the_start(tmp_path: Path) -> None:
    clock = FakeClock()
    spool = SafeSpool(tmp_path / "gone" / "s.db", ROOMY, clock)
    spool.append(SAMPLES, "sample", b"{}", 10.0)
    assert "spool_in_memory" in spool.conditions()
    (tmp_path / "gone").mkdir()
    spool.close()
    reopened = Spool(tmp_path / "gone" / "s.db", ROOMY)
    assert reopened.pending == 1
    reopened.close()


def test_a_filling_spool_is_a_condition(tmp_path: Path) -> None:
    spool = SafeSpool(tmp_path / "s.db", Budget(200_000, 1e9, 1e9), FakeClock())
    number = 0
    while not spool.conditions():
        number += 1
        spool.append(SAMPLES, "sample", incompressible(number), 10.0)
    assert "spool_filling" in spool.conditions()
    spool.close()


def test_the_cursor_survives_a_clean_stop(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "s.db", ROOMY)
    spool.append(SAMPLES, "sample", NOW, b"{}", 10.0)
    batch = spool.batch(SAMPLES, 10)
    spool.settle(batch.epoch, SAMPLES, Mark(1, batch.records[0].tag))
    spool.close()
    reopened = Spool(tmp_path / "s.db", ROOMY)
    assert reopened.pending == 0
    assert reopened.epoch == batch.epoch
    reopened.close()


def test_an_answer_about_another_epoch_changes_nothing(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "s.db", ROOMY)
    spool.append(SAMPLES, "sample", NOW, b"{}", 10.0)
    assert spool.settle("0" * 16, SAMPLES, Mark(1, "x")) is Settled.SAME
    assert spool.pending == 1
    spool.close()


def test_one_transaction_and_no_fsync_for_an_acknowledgement(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "s.db", ROOMY)
    statements: list[str] = []
    spool._db.set_trace_callback(statements.append)
    spool.append(SAMPLES, "sample", NOW, b"{}", 10.0)
    batch = spool.batch(SAMPLES, 10)
    spool.settle(batch.epoch, SAMPLES, Mark(1, batch.records[0].tag))
    assert [s for s in statements if s.startswith(("BEGIN", "COMMIT"))] == ["BEGIN IMMEDIATE", "COMMIT"]
    spool.close()


def test_a_sample_costs_few_bytes_of_the_disk(tmp_path: Path) -> None:
    """What a commit writes is whole pages of the log, so they are small; the log itself stays within its bound."""
    spool = SafeSpool(tmp_path / "spool.db", ROOMY, FakeClock())
    log = tmp_path / "spool.db-wal"
    sizes = []
    for number in range(600):
        seq = spool.append(SAMPLES, "sample", incompressible(number), 10.0)
        batch = spool.batch(SAMPLES, 60)
        assert spool.settle(batch.epoch, SAMPLES, Mark(seq, batch.records[-1].tag)) is Settled.ADVANCED
        sizes.append(disks.written(log))
    assert sizes[99] - sizes[0] < 99 * 8192
    assert sizes[-1] < 1.1 * LOG_BYTES  # then it is begun anew
    spool.close()


def test_the_log_has_its_whole_length_from_the_start(tmp_path: Path) -> None:
    """A commit that made it longer would wait for the disk once more. It is written over before it is full."""
    path, log = tmp_path / "spool.db", tmp_path / "spool.db-wal"
    spool = Spool(path, ROOMY)
    lengths = {log.stat().st_size}
    for number in range(600):
        spool.append(SAMPLES, "sample", "2026-01-01T00:00:00.000Z", incompressible(number), 10.0)
        lengths.add(log.stat().st_size)
    assert lengths == {RESERVED_BYTES}
    assert disks.written(log) > LOG_BYTES
    spool.close()
    assert not log.exists()


def test_a_log_with_records_is_reserved_behind_them(tmp_path: Path) -> None:
    """As a killed process leaves it, with and without the reserved end."""
    for name in ("whole", "cut"):
        spool = Spool(tmp_path / "spool.db", ROOMY)
        first = spool.append(SAMPLES, "sample", "2026-01-01T00:00:00.000Z", incompressible(1), 10.0)
        copy = tmp_path / name / "spool.db"
        disks.snapshot(tmp_path / "spool.db", copy.parent, [])
        log = copy.with_name("spool.db-wal")
        if name == "cut":
            os.truncate(log, disks.written(log))
        spool.close()
        spool = Spool(copy, ROOMY)
        assert (
            spool.append(SAMPLES, "sample", "2026-01-01T00:00:00.000Z", incompressible(2), 10.0) == first + 1
        )
        assert spool.pending == first + 1
        assert log.stat().st_size == RESERVED_BYTES
        spool.close()


def test_a_disk_without_room_for_the_log_keeps_what_it_has(tmp_path: Path) -> None:
    """What is left of it is for records."""
    log = tmp_path / "spool.db-wal"
    with disks.limited(resource.RLIMIT_FSIZE, {os.getpid(): RESERVED_BYTES // 2}):
        spool = Spool(tmp_path / "spool.db", ROOMY)
        length = log.stat().st_size
        assert length == disks.written(log) > 0
        spool.append(SAMPLES, "sample", "2026-01-01T00:00:00.000Z", incompressible(1), 10.0)
    assert spool.pending == 1
    spool.close()


def test_a_file_with_larger_pages_is_used_as_it_is(tmp_path: Path) -> None:
    """So earlier versions made it."""
    path = tmp_path / "spool.db"
    with mock.patch.object(spool_store, "PAGE_BYTES", 4096):
        spool = SafeSpool(path, ROOMY, FakeClock())
        spool.append(SAMPLES, "sample", incompressible(1), 10.0)
        spool.close()
    spool = SafeSpool(path, ROOMY, FakeClock())
    for number in range(300):
        spool.append(SAMPLES, "sample", incompressible(number), 10.0)
    assert spool.pending == 301
    assert (tmp_path / "spool.db-wal").stat().st_size < 1.1 * LOG_BYTES
    spool.close()
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("PRAGMA page_size").fetchone() == (4096,)
