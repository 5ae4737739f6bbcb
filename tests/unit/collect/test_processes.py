import os
import pwd
import shutil
import threading
import time
from typing import Any

import pytest
from fake_host import FakeHost, HandClock

from dio_daemon.collect.processes import MOST_TOP, Processes, parse_stat
from dio_daemon.collect.users import MOST_ASKED, Users

TICKS = os.sysconf("SC_CLK_TCK")


@pytest.fixture
def users(fake: FakeHost, clock: HandClock) -> Users:
    return Users(clock, fake.roots, 5)


def top(group: dict[str, Any]) -> dict[str, Any]:
    return {entry["name"]: entry for entry in group["top"]}


def test_counts_and_states(fake: FakeHost, users: Users) -> None:
    for pid, state in enumerate("RSSDZI", 1):
        fake.process(pid, state=state)
    group = Processes(fake.roots, users, 5).sample(None, 100.0)
    assert (group["count"], group["running"], group["zombies"]) == (6, 1, 1)


def test_top_by_cpu_and_by_memory(fake: FakeHost, users: Users) -> None:
    fake.process(1, b"busy", ticks=0)
    fake.process(2, b"big", rss=5000, uid=33)
    fake.process(3, b"small", rss=1)
    fake.process(4, b"kthread", rss=0)
    (fake.folder / "proc/4/exe").unlink()
    processes = Processes(fake.roots, users, 1)
    first = processes.sample(None, 100.0)
    assert [entry["name"] for entry in first["top"]] == ["big"]
    assert first["top"][0]["cpu_percent"] is None
    fake.process(1, b"busy", ticks=3 * TICKS)
    group = processes.sample(2.0, 102.0)
    assert [entry["name"] for entry in group["top"]] == ["busy", "big"]
    assert group["top"][0] == {
        "pid": 1,
        "name": "busy",
        "exe": "/usr/bin/prog1",
        "user": "root",
        "cpu_percent": 150.0,
        "rss_bytes": 100 * os.sysconf("SC_PAGESIZE"),
    }
    assert group["top"][1]["user"] == "www"
    assert group["top"][1]["cpu_percent"] == 0


def test_a_new_process_is_not_taken_for_an_old_one_of_its_pid(fake: FakeHost, users: Users) -> None:
    fake.process(7, b"old", ticks=50 * TICKS, started=5)
    processes = Processes(fake.roots, users, 5)
    processes.sample(None, 100.0)
    fake.process(7, b"new", ticks=TICKS, started=101 * TICKS)
    fake.process(8, b"stranger", ticks=90 * TICKS, started=6)  # was not seen before, though it was there
    group = processes.sample(2.0, 102.0)
    assert top(group)["new"]["cpu_percent"] == 50
    assert top(group)["stranger"]["cpu_percent"] is None


def test_processes_that_vanish_or_may_not_be_looked_at(fake: FakeHost, users: Users) -> None:
    fake.process(1)
    fake.process(2, b"half gone", rss=999)
    shutil.rmtree(fake.folder / "proc/3", ignore_errors=True)
    (fake.folder / "proc/3").mkdir()  # its stat is gone
    fake.write("proc/4/stat", "4 (cut sh")
    fake.remove("proc/2/status")
    fake.remove("proc/2/exe")
    group = Processes(fake.roots, users, 5).sample(None, 100.0)
    assert group["count"] == 2
    assert top(group)["half gone"]["exe"] is None
    assert top(group)["half gone"]["user"] is None


def test_names_that_lie(fake: FakeHost, users: Users) -> None:
    fake.process(1, b"a) R 1 (b\n\xff")
    group = Processes(fake.roots, users, 5).sample(None, 100.0)
    assert group["top"][0]["name"] == "a) R 1 (b\\x0a\\xff"
    assert (group["count"], group["running"]) == (1, 0)
    fake.process(1, b"")
    assert Processes(fake.roots, users, 5).sample(None, 100.0)["top"][0]["name"] == "?"


@pytest.mark.parametrize("line", [b"", b"1 (x", b"1 (x)", b"x (x) S", b"1 (x) S" + b" y" * 40])
def test_lines_that_make_no_sense(line: bytes) -> None:
    assert parse_stat(line) is None


def test_as_many_as_configured_and_never_more_than_a_sample_carries(fake: FakeHost, users: Users) -> None:
    for pid in range(1, 100):
        fake.process(pid, b"p%d" % pid, rss=pid)
    assert Processes(fake.roots, users, 0).sample(None, 100.0)["top"] == []
    processes = Processes(fake.roots, users, 1000)
    processes.sample(None, 100.0)
    for pid in range(1, 60):
        fake.process(pid, b"p%d" % pid, rss=pid, ticks=pid)
    assert len(processes.sample(1.0, 101.0)["top"]) == 2 * MOST_TOP


def test_users(fake: FakeHost, clock: HandClock) -> None:
    users = Users(clock, fake.roots, 5)
    nobody, impossible = 2**31 + 12345, 2**40
    assert users.names({33, nobody, impossible}) == {
        33: "www",
        nobody: str(nobody),
        impossible: str(impossible),
    }
    fake.write("etc/passwd", "web:x:33:33::/:/bin/false\nbroken\n")
    assert users.names({33}) == {33: "www"}
    clock.advance(3600)
    assert users.names({33}) == {33: "web"}
    fake.remove("etc/passwd")
    clock.advance(3600)
    assert users.names({0}) == {0: "root"}, "from the name service"


def test_a_name_service_that_hangs(fake: FakeHost, clock: HandClock, monkeypatch: pytest.MonkeyPatch) -> None:
    release = threading.Event()
    asked: list[int] = []

    def hang(uid: int) -> Any:
        asked.append(uid)
        release.wait()
        raise KeyError(uid)

    monkeypatch.setattr(pwd, "getpwuid", hang)
    users = Users(clock, fake.roots, 0.1)
    started = time.monotonic()
    many = set(range(50_000, 50_100))
    try:
        for _ in range(3):
            assert users.names(many | {33}) == {uid: str(uid) for uid in many} | {33: "www"}
        assert time.monotonic() - started < 25, "not 0.1 s for each of 300"
        assert len(asked) <= 2 * MOST_ASKED
    finally:
        release.set()
