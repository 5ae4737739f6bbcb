"""What waited in a spool that is gone stands there as a gap, whenever that is found out."""

import json
from pathlib import Path

import pytest

from dio_daemon.safe_spool import RETURN_EVERY_S, SafeSpool
from dio_daemon.spool import Budget
from dio_daemon.tally import Tally, Waiting
from dio_daemon.wire import EVENTS, SAMPLES, Mark
from tests.support.clock import FakeClock

ROOMY = Budget(64 << 20, 7 * 86400.0, 86400.0)


def gaps(spool: SafeSpool) -> list[tuple[str, int, str]]:
    found = []
    for stream in (EVENTS, SAMPLES):
        for record in spool.batch(stream, 100).records:
            if record.kind == "gap":
                data = json.loads(record.data)
                found.append((stream, data["count"], data["reason"]))
    return found


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
    assert gaps(spool) == [(EVENTS, 2, "spool_corrupt"), (SAMPLES, 4, "spool_corrupt")]
    spool.close()
    again = SafeSpool(tmp_path / "spool.db", ROOMY, FakeClock())
    assert len(gaps(again)) == 2
    again.close()


def test_deleted_while_stopped(tmp_path: Path) -> None:
    killed_with_waiting(tmp_path, 3)
    for file in tmp_path.glob("spool.db*"):
        file.unlink()
    spool = SafeSpool(tmp_path / "spool.db", ROOMY, FakeClock())
    assert gaps(spool) == [(SAMPLES, 3, "spool_lost")]
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
    assert gaps(spool) == [(SAMPLES, 2, "spool_corrupt")]
    spool.close()


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b'{"epoch": 1}', b'{"epoch": "", "disk": [], "memory": 3}']
)
def test_a_tally_that_cannot_be_read_claims_nothing(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "waiting").write_bytes(content)
    assert Tally(tmp_path / "waiting").last == Waiting()


def test_a_tally_is_read_as_it_was_written(tmp_path: Path) -> None:
    tally = Tally(tmp_path / "waiting")
    tally.write(Waiting("e" * 16, {SAMPLES: 123456, EVENTS: 7}))
    tally.write(Waiting("e" * 16, {SAMPLES: 1}))
    assert Tally(tmp_path / "waiting").last == Waiting("e" * 16, {SAMPLES: 1})
    assert (tmp_path / "waiting").stat().st_mode & 0o777 == 0o600
    Tally(tmp_path / "missing" / "waiting").write(Waiting("e"))  # a disk that refuses is no error
