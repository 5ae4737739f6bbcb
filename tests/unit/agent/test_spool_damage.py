"""Files that open and are not what was written, moves that break off, and a spool that is closed."""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from unittest import mock

import pytest

from dio_daemon.errors import SpoolClosed, SpoolCorrupt
from dio_daemon.safe_spool import RETURN_EVERY_S, SafeSpool
from dio_daemon.spool import Spool
from dio_daemon.spool_model import Budget
from dio_daemon.wire import EVENTS, SAMPLES, STREAMS, Mark, to_json
from tests.support.clock import FakeClock
from tests.support.faulty_sqlite import EIO, ENOSPC, Disk

ROOMY = Budget(16 << 20, 1e9, 1e9)
NOBODYS = Mark(0, None)


@pytest.fixture
def disk() -> Iterator[Disk]:
    made = Disk()
    with mock.patch.object(sqlite3, "connect", made.connect):
        yield made


def numbers(spool: SafeSpool, stream: str = SAMPLES) -> list[int]:
    """The records that wait; gaps as the negative of what they count."""
    while (batch := spool.batch(stream, 500)).epoch != spool.epoch:
        spool.settle(batch.epoch, stream, NOBODYS)
    found = [json.loads(record.data) for record in batch.records]
    return [-data["count"] if "count" in data else data["n"] for data in found]


def append(spool: SafeSpool, *wanted: int) -> None:
    for number in wanted:
        spool.append(SAMPLES, "sample", to_json({"n": number}), 10.0)


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE cursors SET next_seq = x'00'",
        "UPDATE cursors SET acknowledged = 'x'",
        "UPDATE cursors SET acknowledged = next_seq",
        "DELETE FROM cursors WHERE stream = 'samples'",
        "UPDATE meta SET value = 'nan' WHERE key = 'sampling_s'",
        "UPDATE meta SET value = '' WHERE key = 'epoch'",
        "UPDATE meta SET value = '[]' WHERE key = 'ledger'",
        "DELETE FROM meta WHERE key = 'sampling_s'",
        "DELETE FROM records WHERE seq = 3",
        "DROP TABLE cursors",
    ],
)
def test_damage_that_shows_at_the_start(tmp_path: Path, damage: str) -> None:
    """The start neither fails nor keeps a lock on what it could not use; what was there is a gap."""
    path = tmp_path / "spool.db"
    before = SafeSpool(path, ROOMY, FakeClock())
    append(before, 1, 2, 3)
    before.close()
    with closing(sqlite3.connect(path)) as db, db:
        db.execute(damage)
    with pytest.raises(SpoolCorrupt):
        Spool(path, ROOMY)
    with closing(sqlite3.connect(path, timeout=0, isolation_level=None)) as db:
        db.execute("PRAGMA locking_mode=EXCLUSIVE")
        db.execute("BEGIN EXCLUSIVE")
    for _ in range(2):
        spool = SafeSpool(path, ROOMY, FakeClock())
        assert numbers(spool) == [-3]
        spool.close()


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE records SET data = x'00' WHERE seq = 2",
        "UPDATE records SET data = 7 WHERE seq = 2",
        "UPDATE records SET tag = 'x' WHERE seq = 2",
        "UPDATE records SET time = x'0000' WHERE seq = 2",
        "UPDATE records SET kind = char(0) WHERE seq = 2",
        "UPDATE records SET kind = CAST(x'ff' AS TEXT) WHERE seq = 2",
        "UPDATE records SET from_seq = 1 WHERE seq = 2",
        "DELETE FROM records WHERE seq = 2",
        "DROP TABLE records",
    ],
)
def test_damage_that_shows_while_reading(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "spool.db"
    spool = SafeSpool(path, ROOMY, FakeClock())
    append(spool, 1, 2, 3)
    spool._spool._db.execute(damage)
    assert numbers(spool) == [-3]
    append(spool, 4)
    assert numbers(spool) == [-3, 4]
    spool.close()


@pytest.mark.parametrize("error", [ENOSPC, EIO])
def test_a_return_to_the_disk_that_breaks_off_anywhere(
    tmp_path: Path, disk: Disk, error: tuple[str, int]
) -> None:
    for writes in range(40):
        folder = tmp_path / str(writes)
        folder.mkdir()
        disk.heal()
        clock = FakeClock()
        spool = SafeSpool(folder / "spool.db", ROOMY, clock)
        append(spool, 1, 2)
        disk.error, disk.writes_left = error, 0
        append(spool, 3, 4, 5)
        assert "spool_in_memory" in spool.conditions()
        disk.writes_left = writes
        clock.advance(RETURN_EVERY_S)
        append(spool, 6)
        disk.heal()
        clock.advance(RETURN_EVERY_S)
        append(spool, 7)
        assert spool.conditions() == {}
        assert numbers(spool) == [1, 2, 3, 4, 5, 6, 7]
        spool.close()


def test_a_commit_that_was_made_and_reported_as_failed(tmp_path: Path, disk: Disk) -> None:
    clock = FakeClock()
    spool = SafeSpool(tmp_path / "spool.db", ROOMY, clock)
    append(spool, 1)
    disk.commit_unheard = 0
    append(spool, 2)
    assert "spool_in_memory" in spool.conditions()
    disk.heal()
    disk.commit_unheard = 0  # the return is one that nobody hears of, either
    clock.advance(RETURN_EVERY_S)
    append(spool, 3)
    assert "spool_in_memory" in spool.conditions()
    disk.heal()
    clock.advance(RETURN_EVERY_S)
    append(spool, 4)
    assert numbers(spool) == [1, 2, 3, 4]
    spool.close()


def killed(spool: SafeSpool) -> None:
    """What is in memory is gone, what is on disk is as it is."""
    spool._spool._db.close()
    spool._tally.close()


def test_a_record_that_the_disk_has_though_it_said_no_is_not_lost_with_the_memory(
    tmp_path: Path, disk: Disk
) -> None:
    spool = SafeSpool(tmp_path / "spool.db", ROOMY, FakeClock())
    append(spool, 1)
    disk.commit_unheard = 0
    append(spool, 2, 3)
    killed(spool)
    disk.heal()
    spool = SafeSpool(tmp_path / "spool.db", ROOMY, FakeClock())
    assert numbers(spool) == [1, 2, -1]
    spool.close()


def test_a_record_that_the_disk_refused_is_lost_with_the_memory(tmp_path: Path, disk: Disk) -> None:
    spool = SafeSpool(tmp_path / "spool.db", ROOMY, FakeClock())
    append(spool, 1)
    disk.writes_left = 0
    append(spool, 2, 3)
    killed(spool)
    disk.heal()
    spool = SafeSpool(tmp_path / "spool.db", ROOMY, FakeClock())
    assert numbers(spool) == [1, -2]
    spool.close()


def test_what_comes_after_a_return_that_nobody_heard_of_is_counted(tmp_path: Path, disk: Disk) -> None:
    """The disk has what was in memory when it was moved; the memory goes on, and dies."""
    clock = FakeClock()
    spool = SafeSpool(tmp_path / "spool.db", ROOMY, clock)
    append(spool, 1)
    disk.writes_left = 0
    append(spool, 2, 3)
    disk.heal()
    disk.commit_unheard = 1  # after that of holding the budget: that of the move
    clock.advance(RETURN_EVERY_S)
    append(spool, 4, 5)
    assert "spool_in_memory" in spool.conditions()
    killed(spool)
    disk.heal()
    spool = SafeSpool(tmp_path / "spool.db", ROOMY, clock)
    assert numbers(spool) == [1, 2, 3, -2]
    spool.close()


def test_a_move_to_a_new_file_that_breaks_off(tmp_path: Path, disk: Disk) -> None:
    for writes in range(0, 60, 3):
        folder = tmp_path / str(writes)
        folder.mkdir()
        disk.heal()
        clock = FakeClock()
        spool = SafeSpool(folder / "spool.db", ROOMY, clock)
        append(spool, 1, 2, 3)
        for file in folder.glob("spool.db*"):
            file.unlink()
        disk.writes_left = writes
        append(spool, 4)
        disk.heal()
        clock.advance(RETURN_EVERY_S)
        append(spool, 5)
        assert numbers(spool) == [1, 2, 3, 4, 5]
        spool.close()


def test_killed_after_a_return_and_before_the_tally_knew(tmp_path: Path, disk: Disk) -> None:
    """What went on in the file is not lost with the memory that it was in."""
    clock = FakeClock()
    spool = SafeSpool(tmp_path / "spool.db", ROOMY, clock)
    append(spool, 1)
    disk.writes_left = 0
    append(spool, 2, 3)
    in_memory = (tmp_path / "waiting").read_bytes()
    disk.heal()
    clock.advance(RETURN_EVERY_S)
    append(spool, 4)
    spool._spool._db.close()
    (tmp_path / "waiting").write_bytes(in_memory)
    again = SafeSpool(tmp_path / "spool.db", ROOMY, clock)
    assert numbers(again) == [1, 2, 3, 4]
    again.close()


def test_a_clone_in_memory_leaves_what_is_on_its_disk_as_well(tmp_path: Path, disk: Disk) -> None:
    """It belongs to the host that was cloned, which delivers it itself."""
    clock = FakeClock()
    before = SafeSpool(tmp_path / "spool.db", ROOMY, clock)
    append(before, 1, 2)
    before.close()
    disk.refuses_to_open = True
    spool = SafeSpool(tmp_path / "spool.db", ROOMY, clock)
    append(spool, 3)
    spool.disown()
    append(spool, 4)
    disk.heal()
    clock.advance(RETURN_EVERY_S)
    append(spool, 5)
    assert numbers(spool) == [3, 4, 5]
    spool.close()


def test_a_closed_spool_says_so(tmp_path: Path) -> None:
    spool = SafeSpool(tmp_path / "spool.db", ROOMY, FakeClock())
    append(spool, 1)
    spool.close()
    spool.close()
    for use in (
        lambda: append(spool, 2),
        lambda: spool.batch(SAMPLES, 1),
        lambda: spool.settle(spool.epoch, EVENTS, NOBODYS),
        lambda: spool.stats(),
        lambda: spool.conditions(),
        lambda: spool.recent(SAMPLES, "sample", 1.0, 1),
    ):
        with pytest.raises(SpoolClosed):
            use()
    assert spool.pending == 1
    assert [spool.next_stream(STREAMS)] == [SAMPLES]
