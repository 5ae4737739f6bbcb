"""The agent's spool under everything that may happen to its disk and its process, with a model of the nerve center.

Files deleted, zeroed and cut, the write-ahead log lost, a disk that refuses at any statement, commits that nobody
heard of, kills, a tally as old as a loss of power leaves it, a nerve center restored from a copy. Once all that ends,
every record whose append returned is at the nerve center once or counted in a gap once.
"""

import copy
import os
import shutil
import sqlite3
import tempfile
from pathlib import Path
from unittest import mock

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from dio_daemon.errors import SpoolClosed
from dio_daemon.safe_spool import RETURN_EVERY_S, SafeSpool
from dio_daemon.spool_model import Budget
from dio_daemon.wire import STREAMS, to_json
from tests.support import disks
from tests.support.clock import FakeClock
from tests.support.faulty_sqlite import EIO, ENOSPC, EROFS, Disk
from tests.support.model_center import ModelCenter

ROOMY = Budget(max_bytes=16 << 20, max_age_s=1e9, keep_acknowledged_s=1e9)
FILES = ("spool.db", "spool.db-wal", "spool.db-shm", "waiting")


class SafeSpoolMachine(RuleBasedStateMachine):
    """One agent's spool, one model center."""

    exact = True
    """Whether gaps may count only what is missing, and what was moved though the nerve center had it unheard of."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="dio-safe-spool-"))
        self.path = self.folder / "spool.db"
        self.disk = Disk()
        self.patch = mock.patch.object(sqlite3, "connect", self.disk.connect)
        self.patch.start()
        self.clock = FakeClock()
        self.center = ModelCenter()
        self.backup: ModelCenter | None = None
        self.appended: dict[str, set[int]] = {stream: set() for stream in STREAMS}
        self.number = 0
        self.unheard: dict[str, set[int]] = {stream: set() for stream in STREAMS}
        self.maybe_twice: dict[str, set[int]] = {stream: set() for stream in STREAMS}
        self.tally_before = b""
        self.damaged = False
        self.spool: SafeSpool | None = None
        self.epoch = ""

    @initialize()
    def begin(self) -> None:
        self.start()

    def teardown(self) -> None:
        try:
            if self.spool is None:
                self.start()
            self.heal()
            self.account()
        finally:
            if self.spool is not None:
                self.spool.close()
            self.patch.stop()
            shutil.rmtree(self.folder)

    # What the agent does.

    @precondition(lambda self: self.spool)
    @rule(stream=st.sampled_from(STREAMS), count=st.integers(1, 3))
    def append(self, stream: str, count: int) -> None:
        assert self.spool is not None
        self.remember_tally()
        for _ in range(count):
            self.number += 1
            self.spool.append(stream, "sample", to_json({"n": self.number}), 10.0)
            self.appended[stream].add(self.number)
            self.note_moves()

    @precondition(lambda self: self.spool)
    @rule(
        size=st.integers(1, 5),
        stream=st.sampled_from([*STREAMS, None]),
        lost=st.sampled_from(["no", "no", "no", "request", "response"]),
    )
    def exchange(self, size: int, stream: str | None, lost: str) -> None:
        assert self.spool is not None
        self.remember_tally()
        stream = stream or self.spool.next_stream() or STREAMS[0]
        batch = self.spool.batch(stream, size)
        self.note_moves()
        if lost == "request":
            return
        before = self.stored(stream)
        _, mark = self.center.report(batch)
        if lost == "response":
            self.unheard[stream] |= self.stored(stream) - before
            return
        self.spool.settle(batch.epoch, stream, mark)
        if batch.epoch == self.spool.epoch:
            self.unheard[stream].clear()
        self.note_moves()

    @precondition(lambda self: self.spool)
    @rule()
    def wait(self) -> None:
        """Until the disk is tried again."""
        self.clock.advance(RETURN_EVERY_S)

    # What happens to its process.

    @precondition(lambda self: self.spool)
    @rule()
    def stop(self) -> None:
        assert self.spool is not None
        self.spool.close()
        self.spool = None

    @precondition(lambda self: self.spool is None)
    @rule()
    def start(self) -> None:
        self.spool = SafeSpool(self.path, ROOMY, self.clock)
        self.note_moves()

    @precondition(lambda self: self.spool)
    @rule(power=st.booleans())
    def kill(self, power: bool) -> None:
        """What is on disk stays as it is; a loss of power takes what was written last to the tally.

        With it and the spool both, what the last step appended is lost untold: a loss of power comes to good files.
        """
        power = power and not self.damaged
        assert self.spool is not None
        found = {name: self.folder / name for name in FILES if (self.folder / name).exists()}
        content = {name: path.read_bytes() for name, path in found.items() if not name.endswith("-shm")}
        if power and "waiting" in content and not self.in_memory:
            content["waiting"] = self.tally_before
        self.spool._spool._db.close()
        self.spool._tally.close()
        self.spool = None
        for name in FILES:
            (self.folder / name).unlink(missing_ok=True)
        for name, data in content.items():
            (self.folder / name).write_bytes(data)
        if power:
            self.disk.heal()
            self.start()

    # What happens to its files.

    @rule(
        names=st.sampled_from(
            [("spool.db",), ("spool.db-wal",), ("spool.db", "spool.db-wal", "spool.db-shm")]
        )
    )
    def delete(self, names: tuple[str, ...]) -> None:
        self.damaged = True
        for name in names:
            (self.folder / name).unlink(missing_ok=True)

    @rule(name=st.sampled_from(FILES[:2]), keep=st.floats(0, 1))
    def cut(self, name: str, keep: float) -> None:
        self.damaged = True
        path = self.folder / name
        if path.exists():
            os.truncate(path, int(disks.written(path) * keep))

    @rule(
        name=st.sampled_from(FILES[:2]),
        at=st.floats(0, 1),
        size=st.sampled_from([100, 4096, 20_000, 1 << 20]),
    )
    def zero(self, name: str, at: float, size: int) -> None:
        self.damaged = True
        path = self.folder / name
        if path.exists() and (length := disks.written(path)):
            start = int(length * at)
            with path.open("r+b") as file:
                file.seek(start)
                file.write(b"\0" * min(size, length - start))

    @rule(error=st.sampled_from([ENOSPC, EROFS, EIO]), writes=st.integers(0, 12))
    def refuse_writes(self, error: tuple[str, int], writes: int) -> None:
        self.disk.error, self.disk.writes_left = error, writes

    @rule()
    def refuse_to_open(self) -> None:
        self.disk.refuses_to_open = True

    @rule(after=st.integers(0, 3))
    def lose_a_commit(self, after: int) -> None:
        self.disk.commit_unheard = after

    @rule()
    def heal_disk(self) -> None:
        self.disk.heal()

    # What happens to the nerve center.

    @rule()
    def back_up(self) -> None:
        self.backup = copy.deepcopy(self.center)

    @precondition(lambda self: self.backup)
    @rule()
    def restore(self) -> None:
        assert self.backup is not None
        self.center = copy.deepcopy(self.backup)

    # What has to hold.

    @invariant()
    def never_twice(self) -> None:
        assert self.center.stored_twice == 0
        for stream in STREAMS:
            numbers = [body["n"] for body in self.center.bodies(stream) if "n" in body]
            assert len(numbers) == len(set(numbers)), "stored twice"

    def heal(self) -> None:
        """Faults are over: on disk again, everything sent."""
        assert self.spool is not None
        self.disk.heal()
        for _ in range(3):
            self.clock.advance(RETURN_EVERY_S)
            self.append(STREAMS[0], 1)
            self.append(STREAMS[1], 1)
        for _ in range(300):
            stream = self.spool.next_stream()
            if stream is None and all(self.ask(quiet) for quiet in STREAMS) and not self.spool.pending:
                break
            if stream is not None:
                self.exchange(50, stream, "no")
        else:
            raise AssertionError("the protocol does not come to rest")
        assert "spool_in_memory" not in self.spool.conditions()

    def ask(self, stream: str) -> bool:
        assert self.spool is not None
        batch = self.spool.batch(stream, 50)
        status, mark = self.center.report(batch)
        self.spool.settle(batch.epoch, stream, mark)
        return status == 200

    def account(self) -> None:
        for stream in STREAMS:
            lost = self.appended[stream] - self.stored(stream)
            counted = sum(int(str(body["count"])) for body in self.center.bodies(stream) if "count" in body)
            assert len(lost) <= counted, f"{stream}: lost {sorted(lost)}, {counted} in gaps"
            most = len(lost) + len(self.maybe_twice[stream])
            assert counted <= most or not self.exact, (
                f"{stream}: lost {sorted(lost)}, {counted} in gaps, {most} at most"
            )

    @property
    def in_memory(self) -> bool:
        return self.spool is not None and self.spool._memory is not None

    def stored(self, stream: str) -> set[int]:
        return {int(str(body["n"])) for body in self.center.bodies(stream) if "n" in body}

    def remember_tally(self) -> None:
        path = self.folder / "waiting"
        self.tally_before = path.read_bytes() if path.exists() else b""

    def note_moves(self) -> None:
        """What was stored without the agent's hearing of it, and moved, is taken for lost when it is lost then."""
        assert self.spool is not None
        if self.spool.epoch != self.epoch:
            self.epoch = self.spool.epoch
            for stream in STREAMS:
                self.maybe_twice[stream] |= self.unheard[stream]


SafeSpoolMachine.TestCase.settings = settings(
    max_examples=int(os.environ.get("DIO_EXAMPLES", "120")),
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
TestSafeSpoolMachine = SafeSpoolMachine.TestCase


def test_a_closed_spool_takes_nothing(tmp_path: Path) -> None:
    spool = SafeSpool(tmp_path / "spool.db", ROOMY, FakeClock())
    spool.close()
    try:
        spool.append(STREAMS[0], "event", b"{}")
    except SpoolClosed:
        return
    raise AssertionError("a closed spool took a record")
