"""What is said of processes when a rule's threat opens: the busiest, the one concerned, the parents of zombies."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dio_daemon.detect.finding import Finding
from dio_daemon.detect.integrity.dpkg import Packages
from dio_daemon.detect.integrity.host import Host
from dio_daemon.detect.integrity.witness import Witness
from dio_daemon.detect.rule_files import load_rules
from dio_daemon.detect.rules import Rules

BUSY: dict[str, Any] = {"name": "x", "exe": "/x", "user": "root"}


@pytest.fixture
def witness() -> Witness:
    return Witness(Host(), Packages(Host()))


@pytest.fixture
def zombies() -> Iterator[None]:
    """Processes that have ended and that nobody took note of: more than any other process of a busy machine has."""
    children = []
    for _ in range(20):
        child = os.fork()
        if child == 0:
            os._exit(0)
        children.append(child)
        os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
    yield
    for child in children:
        os.waitpid(child, 0)


def test_the_busiest_and_the_largest_are_described(witness: Witness) -> None:
    gone = subprocess.run(
        [sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True
    )
    top = [
        BUSY | {"pid": os.getpid(), "cpu_percent": 99.0, "rss_bytes": 5},
        BUSY | {"pid": int(gone.stdout), "cpu_percent": 50.0, "rss_bytes": 5},
        "nonsense",
    ]
    said = witness("cpu.percent", {"processes": {"top": top}}, None)["processes_concerned"]
    assert [each["pid"] for each in said] == [os.getpid()], "one that has ended is left out"
    (mine,) = said
    assert mine["cpu_percent"] == 99.0 and len(mine["sha256"]) == 64
    assert mine["exe"] == str(Path("/proc/self/exe").readlink())
    assert mine["parents"][0]["pid"] == os.getppid()
    assert {"package", "user", "unit", "container", "sockets"} <= mine.keys()


def test_of_one_that_the_figure_is_about(witness: Witness) -> None:
    said = witness("files.near_limit[*].percent", {}, {"pid": os.getpid(), "percent": 99.0})
    assert [each["pid"] for each in said["processes_concerned"]] == [os.getpid()]


@pytest.mark.parametrize("sample", [{}, {"processes": None}, {"processes": {"top": None}}, {"processes": []}])
def test_without_processes_nothing_is_said(witness: Witness, sample: dict[str, Any]) -> None:
    assert witness("cpu.percent", sample, None) == {}


@pytest.mark.usefixtures("zombies")
def test_zombies_are_told_by_their_parents(witness: Witness) -> None:
    said = witness("processes.zombies", {}, None)["parents_of_zombies"]
    assert os.getpid() in [each["pid"] for each in said]


STATUS = "Name:\t{name}\nState:\t{state}\nPPid:\t{parent}\nUid:\t0\t0\t0\t0\nVmSwap:\t{swap} kB\nThreads:\t{threads}\n"


@pytest.fixture
def crowded(tmp_path: Path) -> Witness:
    """A host on which one process has it all in swap, one has started many, and one waits for a disk."""
    processes = [
        (1, "systemd", "S (sleeping)", 0, 0, 1),
        (2, "kthreadd", "S (sleeping)", 0, 0, 1),
        (9, "kworker", "D (disk sleep)", 2, 0, 1),
        (20, "leaks", "S (sleeping)", 1, 700, 1),
        (30, "forks", "S (sleeping)", 1, 4, 1),
        *((number, "child", "S (sleeping)", 30, 0, 2) for number in range(31, 41)),
        (50, "threads", "S (sleeping)", 1, 8, 15),
        (60, "reads", "D (disk sleep)", 1, 0, 1),
    ]
    for pid, name, state, parent, swap, threads in processes:
        folder = tmp_path / "proc" / str(pid)
        folder.mkdir(parents=True)
        (folder / "status").write_text(
            STATUS.format(name=name, state=state, parent=parent, swap=swap, threads=threads)
        )
        (folder / "stat").write_text(f"{pid} ({name}) {state[0]} {parent} " + "0 " * 48)
    for pid, number in ((20, 3), (60, 5)):
        fds = tmp_path / "proc" / str(pid) / "fd"
        fds.mkdir()
        for fd in range(number):
            (fds / str(fd)).touch()
    (tmp_path / "proc/70").mkdir()  # has ended since
    host = Host(str(tmp_path), str(tmp_path / "proc"))
    return Witness(host, Packages(host))


@pytest.mark.parametrize(
    ("place", "what", "expected"),
    [
        ("swap.percent", "swap_bytes", [("leaks", 700 << 10), ("threads", 8 << 10), ("forks", 4 << 10)]),
        ("tasks.percent", "tasks", [("forks", 21), ("threads", 15)]),
        ("pressure.io_full_percent", "waits_for_disk", [("reads", 1)]),
    ],
)
def test_those_that_a_figure_is_really_about(
    crowded: Witness, place: str, what: str, expected: list[tuple[str, int]]
) -> None:
    said = crowded(place, {"processes": {"top": []}}, None)["processes_concerned"]
    assert [(each["name"], each[what]) for each in said][: len(expected)] == expected
    assert len(said) <= 3 and "kworker" not in [each["name"] for each in said]


def test_those_that_have_the_most_open_files(crowded: Witness, monkeypatch: pytest.MonkeyPatch) -> None:
    """And not the busiest; the size of a folder is that of its entries in /proc alone."""
    monkeypatch.setattr(
        "dio_daemon.detect.integrity.witness.count_entries", lambda folder: len(list(Path(folder).iterdir()))
    )
    said = crowded("files.percent", {"processes": {"top": []}}, None)["processes_concerned"]
    assert [(each["name"], each["open_files"]) for each in said] == [("reads", 5), ("leaks", 3)]


def test_it_is_asked_when_a_severity_is_reached_and_kept_while_it_lasts() -> None:
    asked = []

    def witness(place: str, sample: Any, element: Any) -> dict[str, Any]:
        asked.append(place)
        return {"processes_concerned": len(asked)}

    rules = Rules(
        [each for each in load_rules(None) if each.name == "cpu"], lambda _: None, lambda s, _: s, witness
    )

    def look(percent: float, waits: float, until: float) -> Finding | None:
        sample = {"cpu": {"percent": percent}, "pressure": {"cpu_some_percent": waits}}
        now, found = look.__dict__.setdefault("now", 0.0), None
        while now <= until:
            said = rules.look(sample, now)
            found = next((each for each in said if isinstance(each, Finding)), None)
            now += 10
        look.__dict__["now"] = now
        return found

    assert look(85, 0, 200) is None and asked == []
    low = look(85, 0, 600)
    assert low is not None and low.evidence["processes_concerned"] == 1
    high = look(99, 99, 1200)
    assert high is not None and (high.severity, high.evidence["processes_concerned"]) == ("high", 2)
    assert asked == ["cpu.percent"] * 2
