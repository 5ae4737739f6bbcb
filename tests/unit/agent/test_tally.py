"""What waited in a spool that is gone stands there as a gap, whenever that is found out."""

import json
import os
from pathlib import Path

import pytest

from dio_daemon.histories import Reach
from dio_daemon.safe_spool import RETURN_EVERY_S, SafeSpool
from dio_daemon.spool_model import Budget
from dio_daemon.tally import Known, Tally
from dio_daemon.wire import EVENTS, SAMPLES, Mark
from tests.support.clock import FakeClock

ROOMY = Budget(64 << 20, 7 * 86400.0, 86400.0)


def gaps(spool: SafeSpool, center_has: int = 0) -> list[tuple[str, int, str]]:
    """The gaps of a spool, once a nerve center has said how far it came in the histories that are asked for."""
    found = []
    for stream in (EVENTS, SAMPLES):
        while (batch := spool.batch(stream, 100)).epoch != spool.epoch:
            assert batch.records == ()
            spool.settle(batch.epoch, stream, Mark(center_has, "0" * 16))
        for record in batch.records:
            if record.kind == "gap":
                data = json.loads(record.data)
                assert record.seq - record.from_seq + 1 == data["count"]
                found.append((stream, data["count"], data["reason"]))
    return found


def lose(folder: Path) -> None:
    for file in folder.glob("spool.db*"):
        file.unlink()


def killed_with_waiting(folder: Path, samples: int, events: int = 0) -> None:
    """A spool that is left without being closed; its first sample was acknowledged."""
    spool = SafeSpool(folder / "spool.db", ROOMY, FakeClock())
    for _ in range(samples + 1):
        spool.append(SAMPLES, "sample", b"{}", 10.0)
    for _ in range(events):
        spool.append(EVENTS, "event", b"{}", 10.0)
    batch = spool.batch(SAMPLES, 1)
    spool.settle(batch.epoch, SAMPLES, Mark(1, batch.records[0].tag))
    spool._spool._db.close()


def test_damaged_while_stopped(tmp_path: Path) -> None:
    killed_with_waiting(tmp_path, 4, events=2)
    (tmp_path / "spool.db").write_bytes(b"not a database at all" * 1000)
    spool = SafeSpool(tmp_path / "spool.db", ROOMY, FakeClock())
    assert spool.pending == 2
    assert gaps(spool) == [(EVENTS, 2, "spool_corrupt"), (SAMPLES, 5, "spool_corrupt")]
    spool.close()
    again = SafeSpool(tmp_path / "spool.db", ROOMY, FakeClock())
    assert len(gaps(again)) == 2
    again.close()


def test_deleted_while_stopped(tmp_path: Path) -> None:
    killed_with_waiting(tmp_path, 3)
    lose(tmp_path)
    spool = SafeSpool(tmp_path / "spool.db", ROOMY, FakeClock())
    assert gaps(spool, center_has=1) == [(SAMPLES, 3, "spool_lost")]
    spool.close()


def test_the_nerve_center_has_more_than_the_agent_heard_of(tmp_path: Path) -> None:
    killed_with_waiting(tmp_path, 3)
    lose(tmp_path)
    spool = SafeSpool(tmp_path / "spool.db", ROOMY, FakeClock())
    assert gaps(spool, center_has=3) == [(SAMPLES, 1, "spool_lost")]
    spool.close()


def test_a_gap_that_is_lost_counts_for_all_that_it_stood_for(tmp_path: Path) -> None:
    killed_with_waiting(tmp_path, 3)
    for _ in range(2):
        lose(tmp_path)
        spool = SafeSpool(tmp_path / "spool.db", ROOMY, FakeClock())
        assert gaps(spool) == [(SAMPLES, 4, "spool_lost")]
        spool._spool._db.close()


def test_what_is_owed_is_still_owed_when_its_spool_is_lost_as_well(tmp_path: Path) -> None:
    killed_with_waiting(tmp_path, 3)
    for number in range(3):
        lose(tmp_path)
        spool = SafeSpool(tmp_path / "spool.db", ROOMY, FakeClock())
        assert spool.pending == 1 + number
        spool.append(SAMPLES, "sample", b"{}", 10.0)
        spool._spool._db.close()
    spool = SafeSpool(tmp_path / "spool.db", ROOMY, FakeClock())
    assert sorted(gaps(spool)) == [(SAMPLES, 1, "spool_lost")] * 2 + [(SAMPLES, 4, "spool_lost")]
    spool.close()


def test_only_the_write_ahead_log_is_lost(tmp_path: Path) -> None:
    spool = SafeSpool(tmp_path / "spool.db", ROOMY, FakeClock())
    for _ in range(3):
        spool.append(SAMPLES, "sample", b"{}", 10.0)
    spool.close()
    before = (tmp_path / "spool.db").read_bytes()
    spool = SafeSpool(tmp_path / "spool.db", ROOMY, FakeClock())
    for _ in range(4):
        spool.append(SAMPLES, "sample", b"{}", 10.0)
    spool._spool._db.close()
    (tmp_path / "spool.db").write_bytes(before)
    spool = SafeSpool(tmp_path / "spool.db", ROOMY, FakeClock())
    assert gaps(spool, center_has=5) == [(SAMPLES, 2, "spool_lost")]
    assert len(spool.batch(SAMPLES, 100).records) == 4
    spool.close()


def test_what_became_a_gap_is_not_owed_again_when_the_file_goes_back(tmp_path: Path) -> None:
    killed_with_waiting(tmp_path, 3)
    lose(tmp_path)
    spool = SafeSpool(tmp_path / "spool.db", ROOMY, FakeClock())
    owing = (tmp_path / "spool.db").read_bytes()
    assert gaps(spool) == [(SAMPLES, 4, "spool_lost")]
    last = spool.batch(SAMPLES, 100).records[-1]
    spool.settle(spool.epoch, SAMPLES, Mark(last.seq, last.tag))
    spool.append(SAMPLES, "sample", b"{}", 10.0)
    spool._spool._db.close()
    for file in tmp_path.glob("spool.db-*"):
        file.unlink()
    (tmp_path / "spool.db").write_bytes(owing)
    spool = SafeSpool(tmp_path / "spool.db", ROOMY, FakeClock())
    assert spool.pending == 1
    assert gaps(spool, center_has=last.seq) == [(SAMPLES, 1, "spool_lost")]
    spool.close()


def test_a_file_that_was_damaged_and_then_deleted(tmp_path: Path) -> None:
    spool = SafeSpool(tmp_path / "spool.db", ROOMY, FakeClock())
    for _ in range(5):
        spool.append(SAMPLES, "sample", b"{}", 10.0)
    spool._spool._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    spool._spool._db.execute("PRAGMA cache_size=0")
    os.truncate(tmp_path / "spool.db", 4096)
    lose(tmp_path)
    spool.append(SAMPLES, "sample", b"{}", 10.0)
    assert gaps(spool) == [(SAMPLES, 5, "spool_corrupt")]
    assert len(spool.batch(SAMPLES, 100).records) == 2
    spool.close()


def test_killed_while_in_memory(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    folder.mkdir()
    killed_with_waiting(folder, 2)
    (folder / "spool.db").rename(tmp_path / "aside")
    (folder / "spool.db").mkdir()  # a disk that refuses, for root as well
    spool = SafeSpool(folder / "spool.db", ROOMY, FakeClock())
    for _ in range(5):
        spool.append(SAMPLES, "sample", b"{}", 10.0)
    assert "spool_in_memory" in spool.conditions()
    (folder / "spool.db").rmdir()
    (tmp_path / "aside").rename(folder / "spool.db")
    spool = SafeSpool(folder / "spool.db", ROOMY, FakeClock())
    assert gaps(spool) == [(SAMPLES, 5, "spool_lost")]
    assert spool.pending == 4  # the cursor was not on disk yet: the nerve center will skip one
    spool.close()


def test_a_damaged_file_is_no_reason_to_stay_in_memory(tmp_path: Path) -> None:
    killed_with_waiting(tmp_path, 2)
    (tmp_path / "spool.db").rename(tmp_path / "aside")
    (tmp_path / "spool.db").mkdir()
    clock = FakeClock()
    spool = SafeSpool(tmp_path / "spool.db", ROOMY, clock)
    (tmp_path / "spool.db").rmdir()
    (tmp_path / "spool.db").write_bytes(b"not a database at all" * 1000)
    for _ in range(2):
        clock.advance(RETURN_EVERY_S)
        spool.append(SAMPLES, "sample", b"{}", 10.0)
    assert spool.conditions() == {}
    assert gaps(spool, center_has=1) == [(SAMPLES, 2, "spool_corrupt")]
    spool.close()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b'{"disk": 1}',
        b'{"disk": "", "histories": []}',
        b'{"disk": "", "histories": {"x": {}}}',
        b'{"disk": "", "histories": {"00000000000000aa": {"samples": [null, 0, 0, 0]}}}',
        b'{"disk": "", "histories": {"00000000000000aa": {"samples": [1]}}}',
        b"\0" * 4096,
    ],
)
def test_a_tally_that_cannot_be_read_claims_nothing(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "waiting").write_bytes(content)
    assert Tally(tmp_path / "waiting").last == Known()


def test_a_tally_is_read_as_it_was_written(tmp_path: Path) -> None:
    tally = Tally(tmp_path / "waiting")
    long = Known("e" * 16, {f"{number:016x}": {SAMPLES: Reach(123456, 7, 1, 9)} for number in range(200)})
    short = Known("e" * 16, {"e" * 16: {SAMPLES: Reach(1)}})
    for known in (long, short):
        tally.write(known)
        assert Tally(tmp_path / "waiting").last == known
    assert (tmp_path / "waiting").stat().st_mode & 0o777 == 0o600
    tally.close()
    missing = Tally(tmp_path / "missing" / "waiting")
    missing.write(short)  # a disk that refuses is no error
    (tmp_path / "missing").mkdir()
    missing.write(short)  # and is tried again
    assert Tally(tmp_path / "missing" / "waiting").last == short
    missing.close()


def test_a_tally_needs_no_descriptor_but_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tally = Tally(tmp_path / "waiting")
    tally.write(Known("a" * 16))

    def none_left(*_: object, **__: object) -> int:
        raise OSError(24, "Too many open files")

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", none_left)
        tally.write(Known("b" * 16))
    assert Tally(tmp_path / "waiting").last == Known("b" * 16)
    (tmp_path / "waiting").unlink()
    tally.write(Known("b" * 16))
    assert Tally(tmp_path / "waiting").last == Known("b" * 16)
    tally.close()


def test_a_full_disk_leaves_a_tally_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that needs another block is written when it has it, not up to where the disk is full."""
    tally = Tally(tmp_path / "waiting")
    short = Known("a" * 16)
    tally.write(short)
    long = Known("b" * 16, {f"{number:016x}": {SAMPLES: Reach(123456, 7, 1, 9)} for number in range(200)})

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "posix_fallocate", full)
        tally.write(long)
    assert Tally(tmp_path / "waiting").last == short
    tally.write(long)
    assert Tally(tmp_path / "waiting").last == long
    assert (tmp_path / "waiting").stat().st_size % 4096 == 0
    tally.close()
