"""A nerve center that is restored from a copy, after a history that it had was let go of here."""

import copy
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from dio_daemon.safe_spool import SafeSpool
from dio_daemon.spool_model import Budget
from dio_daemon.wire import SAMPLES, to_json
from tests.support.clock import FakeClock
from tests.support.model_center import ModelCenter

ROOMY = Budget(16 << 20, 1e9, 1e9)


def append(spool: SafeSpool, first: int, last: int) -> None:
    for number in range(first, last + 1):
        spool.append(SAMPLES, "sample", to_json({"n": number}), 10.0)


def deliver(spool: SafeSpool, center: ModelCenter) -> None:
    """Until the nerve center agrees and nothing waits."""
    for _ in range(20):
        batch = spool.batch(SAMPLES, 500)
        status, mark = center.report(batch)
        spool.settle(batch.epoch, SAMPLES, mark)
        if status == 200 and not batch.records and not spool.pending:
            return
    raise AssertionError("the protocol does not come to rest")


def found(center: ModelCenter) -> tuple[list[int], dict[str, int]]:
    """The numbers of the samples there, and what gaps count by reason."""
    bodies = [json.loads(data) for data in center.store.values()]
    gaps: dict[str, int] = {}
    for body in bodies:
        if "count" in body:
            gaps[body["reason"]] = gaps.get(body["reason"], 0) + body["count"]
    return sorted(body["n"] for body in bodies if "n" in body), gaps


def delete(spool: SafeSpool, path: Path) -> SafeSpool:
    path.unlink()
    return spool


def delete_while_down(spool: SafeSpool, path: Path) -> SafeSpool:
    spool.close()
    for file in path.parent.glob("spool.db*"):
        file.unlink()
    return SafeSpool(path, ROOMY, FakeClock())


@pytest.mark.parametrize("lose", [delete, delete_while_down])
@pytest.mark.parametrize("restarted", [False, True])
def test_what_only_the_nerve_center_had_is_a_gap(
    tmp_path: Path, lose: Callable[[SafeSpool, Path], SafeSpool], restarted: bool
) -> None:
    path, center = tmp_path / "spool.db", ModelCenter()
    spool = SafeSpool(path, ROOMY, FakeClock())
    append(spool, 1, 3)
    deliver(spool, center)
    last_night = copy.deepcopy(center)
    append(spool, 4, 10)
    deliver(spool, center)
    spool = lose(spool, path)
    append(spool, 11, 12)
    deliver(spool, center)
    assert found(center) == (list(range(1, 13)), {})
    if restarted:
        spool.close()
        spool = SafeSpool(path, ROOMY, FakeClock())
    deliver(spool, last_night)
    assert found(last_night) == ([1, 2, 3, 11, 12], {"center_restored": 7})
    spool.close()


def test_each_loss_counts_once_however_often_it_is_restored(tmp_path: Path) -> None:
    path, center = tmp_path / "spool.db", ModelCenter()
    spool = SafeSpool(path, ROOMY, FakeClock())
    copies = [copy.deepcopy(center)]
    for round_ in range(3):
        append(spool, 4 * round_ + 1, 4 * round_ + 4)
        deliver(spool, center)
        copies.append(copy.deepcopy(center))
        spool = delete_while_down(spool, path)
    append(spool, 13, 13)
    deliver(spool, center)
    deliver(spool, copies[2])
    assert found(copies[2]) == ([*range(1, 9), 13], {"center_restored": 4})
    deliver(spool, copies[1])
    assert found(copies[1]) == ([1, 2, 3, 4, 13], {"center_restored": 8})
    deliver(spool, copies[0])
    assert found(copies[0]) == ([13], {"center_restored": 12})
    spool.close()


def gone_back(path: Path, center: ModelCenter, last: int) -> SafeSpool:
    """A spool whose file went back by the records from 7 to `last`, and which begins to send what it kept anew."""
    spool = SafeSpool(path, ROOMY, FakeClock())
    append(spool, 4, 6)
    deliver(spool, center)
    spool.close()
    earlier = path.read_bytes()
    spool = SafeSpool(path, ROOMY, FakeClock())
    append(spool, 7, last)
    if last > 7:
        deliver(spool, center)
    spool.close()
    path.write_bytes(earlier)
    spool = SafeSpool(path, ROOMY, FakeClock())
    for _ in range(2):  # asks about the end of the old epoch, then sends the first two
        batch = spool.batch(SAMPLES, 2)
        spool.settle(batch.epoch, SAMPLES, center.report(batch)[1])
    return spool


@pytest.fixture
def three(tmp_path: Path) -> ModelCenter:
    """A nerve center that has the first three records of a spool."""
    center = ModelCenter()
    spool = SafeSpool(tmp_path / "spool.db", ROOMY, FakeClock())
    append(spool, 1, 3)
    deliver(spool, center)
    spool.close()
    return center


def test_what_went_on_under_another_epoch_and_was_lost_there(tmp_path: Path, three: ModelCenter) -> None:
    """The spool went back, then it was deleted, then the nerve center was restored: three losses, each counted."""
    center = copy.deepcopy(three)
    spool = gone_back(tmp_path / "spool.db", center, 9)
    spool = delete_while_down(spool, tmp_path / "spool.db")
    append(spool, 10, 10)
    deliver(spool, center)
    assert found(center) == (list(range(1, 11)), {})
    deliver(spool, three)
    assert found(three) == ([1, 2, 3, 10], {"center_restored": 6})
    spool.close()


@pytest.mark.parametrize("resent", [False, True])
def test_all_that_an_epoch_had_went_on_under_the_next_one(
    tmp_path: Path, three: ModelCenter, resent: bool
) -> None:
    """Restored before and after the spool is lost: what was sent again meanwhile is there once and not lost."""
    center = copy.deepcopy(three)
    spool = gone_back(tmp_path / "spool.db", center, 7)
    if resent:
        center = copy.deepcopy(three)
        deliver(spool, center)
        assert found(center) == (list(range(1, 7)), {"spool_lost": 1})
    spool = delete_while_down(spool, tmp_path / "spool.db")
    append(spool, 8, 8)
    deliver(spool, center)
    assert found(center) == ([*range(1, 7), 8], {"spool_lost": 1})
    deliver(spool, three)
    samples, gaps = found(three)
    assert samples == [1, 2, 3, 8]
    assert sum(gaps.values()) == 4
    spool.close()
