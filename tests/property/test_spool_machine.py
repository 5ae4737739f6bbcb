"""The spool against a model of the nerve center, under every mix of faults that hypothesis can think of.

Lost responses, crashes (the file opened again), either side's disk going back to an earlier copy, a spool that
has to drop: whatever happened, once faults end every record that was appended is at the center exactly once, or
stands in a counted gap, or was excused because the disk that held it went back in time.
"""

import copy
import json
import shutil
import tempfile
import zlib
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from dio_daemon.spool import Budget, Settled, Spool
from dio_daemon.wire import STREAMS, to_json
from tests.support.model_center import ModelCenter

ROOMY = Budget(max_bytes=16 << 20, max_age_s=1e9, keep_acknowledged_s=1e9)
FORGETFUL = Budget(max_bytes=16 << 20, max_age_s=1e9, keep_acknowledged_s=0.0)


class SpoolMachine(RuleBasedStateMachine):
    """One agent's spool, one model center."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="dio-spool-"))
        self.path = self.folder / "spool.db"
        self.spool = Spool(self.path, ROOMY)
        self.center = ModelCenter()
        self.appended = 0
        self.excused: set[int] = set()
        self.disk_copy: Path | None = None
        self.center_copy: ModelCenter | None = None

    def teardown(self) -> None:
        try:
            self.settle_all()
            self.account()
        finally:
            self.spool.close()
            shutil.rmtree(self.folder)

    @rule(stream=st.sampled_from(STREAMS), count=st.integers(1, 4))
    def append(self, stream: str, count: int) -> None:
        for _ in range(count):
            self.appended += 1
            self.spool.append(
                stream,
                "sample",
                f"2026-01-01T00:00:{self.appended % 60:02d}.000Z",
                to_json({"n": self.appended}),
                10.0,
            )

    @rule(size=st.integers(1, 6), lost=st.sampled_from(["no", "request", "response"]))
    def exchange(self, size: int, lost: str) -> None:
        stream = self.spool.next_stream() or "samples"
        batch = self.spool.batch(stream, size)
        if lost == "request":
            return
        _, mark = self.center.report(batch)
        if lost != "response":
            self.spool.settle(batch.epoch, stream, mark)

    @rule()
    def restart(self) -> None:
        """A crash: what was only in memory (the cursor) is lost."""
        crashed = self.folder / "crashed.db"
        self._copy(self.path, crashed)
        self.spool.close()
        self._copy(crashed, self.path)
        self.spool = Spool(self.path, ROOMY)

    @rule()
    def forget_delivered(self) -> None:
        """Delivered records leave the disk; a gap that leaves with them takes its count along."""
        self.excused |= self._not_on_disk()
        self.spool.reconfigure(FORGETFUL)
        before = {s: self.spool.stats().streams[s].pending for s in STREAMS}
        self.spool.trim()
        assert {s: self.spool.stats().streams[s].pending for s in STREAMS} == before
        self.spool.reconfigure(ROOMY)

    @rule()
    def drop(self) -> None:
        """As if the disk were full: the oldest that wait become a gap, which counts them."""
        self.spool.reconfigure(Budget(max_bytes=1, max_age_s=1e9, keep_acknowledged_s=1e9))
        self.spool.trim()
        self.spool.reconfigure(ROOMY)

    @rule()
    def copy_disk(self) -> None:
        target = self.folder / "copy.db"
        self._copy(self.path, target)
        self.disk_copy = target

    @precondition(lambda self: self.disk_copy is not None)
    @rule()
    def roll_disk_back(self) -> None:
        assert self.disk_copy is not None
        self.spool.close()
        self._copy(self.disk_copy, self.path)
        self.spool = Spool(self.path, ROOMY)
        self.excused |= self._not_on_disk()

    @rule()
    def copy_center(self) -> None:
        self.center_copy = copy.deepcopy(self.center)

    @precondition(lambda self: self.center_copy is not None)
    @rule()
    def roll_center_back(self) -> None:
        self.center = copy.deepcopy(self.center_copy)

    @invariant()
    def contiguous(self) -> None:
        """No stream ever has a hole after its cursor."""
        for stream in STREAMS:
            batch = self.spool.batch(stream, 500)
            expected = batch.after.seq + 1
            for record in batch.records:
                assert record.from_seq == expected
                assert record.seq >= record.from_seq
                expected = record.seq + 1

    def settle_all(self) -> None:
        """What the agent does: send what waits, and ask for the marks of streams where nothing does."""
        for _ in range(200):
            stream = self.spool.next_stream()
            if stream is not None:
                self._deliver(stream)
            elif {self._deliver(quiet) for quiet in STREAMS} == {Settled.SAME}:
                return
        raise AssertionError("the protocol does not come to rest")

    def _deliver(self, stream: str) -> Settled:
        batch = self.spool.batch(stream, 50)
        _, mark = self.center.report(batch)
        return self.spool.settle(batch.epoch, stream, mark)

    def account(self) -> None:
        assert self.center.stored_twice == 0
        bodies = [body for stream in STREAMS for body in self.center.bodies(stream)]
        numbers = [body["n"] for body in bodies if "n" in body]
        assert len(numbers) == len(set(numbers)), "stored twice"
        gone = set(range(1, self.appended + 1)) - set(numbers) - self.excused
        in_gaps = sum(int(str(body["count"])) for body in bodies if "count" in body)
        assert len(gone) <= in_gaps, f"neither stored nor in a gap: {sorted(gone)[:5]}"
        assert gone <= self._not_on_disk(), "on disk, acknowledged, and not at the center"

    def _not_on_disk(self) -> set[int]:
        return set(range(1, self.appended + 1)) - self._on_disk()

    def _on_disk(self) -> set[int]:
        rows = self.spool._db.execute("SELECT data FROM records WHERE kind != 'gap'").fetchall()
        return {json.loads(zlib.decompress(row[0]))["n"] for row in rows}

    @staticmethod
    def _copy(source: Path, target: Path) -> None:
        for suffix in ("", "-wal"):
            Path(str(target) + suffix).unlink(missing_ok=True)
            if Path(str(source) + suffix).exists():
                shutil.copyfile(str(source) + suffix, str(target) + suffix)
        Path(str(target) + "-shm").unlink(missing_ok=True)


SpoolMachine.TestCase.settings = settings(
    max_examples=80, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)
TestSpoolMachine = SpoolMachine.TestCase
