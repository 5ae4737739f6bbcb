"""New setuid files and capabilities: the baseline, what is new, what dpkg made, and that it clears."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pytest

from dio_daemon.detect.finding import Finding
from dio_daemon.detect.integrity import privileged, quick
from dio_daemon.detect.integrity.capabilities import capabilities_of
from dio_daemon.detect.integrity.dpkg import Packages
from dio_daemon.detect.integrity.inotify import Inotify
from dio_daemon.detect.integrity.privileged import (
    LEAST_ENTRIES,
    MOST_ENTRIES,
    SLICE_S,
    WALK_S,
    PrivilegedWatch,
)
from dio_daemon.detect.integrity.quick import QUICK_S, TOLD_S, Entry, QuickFolders, entries_of
from dio_daemon.detect.integrity.runs import Runs
from tests.unit.integrity.conftest import FakeHost


def begin(fake: FakeHost, notify: Inotify | None = None) -> PrivilegedWatch:
    host = fake.host
    return PrivilegedWatch(
        host,
        Packages(host),
        Runs(host),
        fake.baseline,
        notify,
        (),
        lambda moment: fake.window,
        fake.clock,
        lambda *event: fake.recorded.append(event),
    )


def run(fake: FakeHost, watch: PrivilegedWatch, steps: int = 4) -> list[Finding]:
    found: list[Finding] = []
    for _ in range(steps):
        fake.clock.monotonic_s += QUICK_S
        found = watch.step()
    return found


@pytest.fixture
def watch(fake: FakeHost) -> PrivilegedWatch:
    fake.watch()
    fake.put("/usr/bin/su", "x", 0o4755)
    for folder in ("/tmp", "/var/tmp", "/usr/lib/deep/er"):
        fake.path(folder).mkdir(parents=True)
    made = begin(fake)
    assert run(fake, made) == []
    return made


@pytest.mark.parametrize(
    ("path", "mode", "type_"),
    [
        ("/tmp/.x", 0o4755, "setuid_file"),
        ("/usr/bin/find", 0o4755, "setuid_file"),
        ("/var/tmp/a/b/x", 0o2755, "setgid_file"),
        ("/home/ann/x", 0o4755, "setuid_file"),
    ],
)
def test_new_ones_are_told_and_clear(
    fake: FakeHost, watch: PrivilegedWatch, path: str, mode: int, type_: str
) -> None:
    fake.put(path, "x", mode)
    (found,) = run(fake, watch)
    assert (found.type, found.subject) == (type_, path) and found.evidence["mode"] == f"{mode:04o}"
    assert run(fake, watch) == [found]
    fake.path(path).chmod(0o755)
    assert run(fake, watch) == []


def test_deep_ones_are_found_by_the_walk(fake: FakeHost, watch: PrivilegedWatch) -> None:
    fake.put("/usr/lib/deep/er/x", "x", 0o4755)
    fake.clock.monotonic_s += 4 * 3600
    assert [found.subject for found in run(fake, watch)] == ["/usr/lib/deep/er/x"]


def test_the_baseline_outlives_a_restart(fake: FakeHost, watch: PrivilegedWatch) -> None:
    fake.baseline.save(at_once=True)
    fake.watch()
    fake.put("/tmp/x", "x", 0o4755)
    again = begin(fake)
    assert [found.subject for found in run(fake, again)] == ["/tmp/x"]
    assert again.accept() == 1 and run(fake, again) == []


def test_those_of_packages_and_announced_ones(fake: FakeHost, watch: PrivilegedWatch) -> None:
    fake.package("sudo", {"/usr/bin/sudo": "x"})
    fake.dpkg_ran()
    fake.put("/usr/bin/sudo", "x", 0o4755)
    fake.put("/usr/bin/evil", "x", 0o4755)  # no package has it, whoever is at work
    assert [found.subject for found in run(fake, watch)] == ["/usr/bin/evil"]
    fake.window = True
    fake.put("/usr/bin/meant", "x", 0o4755)
    assert [found.subject for found in run(fake, watch)] == ["/usr/bin/evil"]


def test_copies_of_the_tree(fake: FakeHost, watch: PrivilegedWatch) -> None:
    """A backup has the setuid files of packages once more; what differs from them, or lies in the open, is told."""
    fake.package("login", {"/usr/bin/su": "x"})
    for path, content, mode in (
        ("/srv/backup/usr/bin/su", "x", 0o4755),
        ("/srv/mirror/bin/su", "x", 0o4755),
        ("/srv/other/usr/bin/su", "y", 0o4755),
        ("/srv/more/usr/bin/su", "x", 0o6755),
        ("/srv/named/usr/bin/sh", "x", 0o4755),
        ("/tmp/b/usr/bin/su", "x", 0o4755),
    ):
        fake.put(path, content, mode)
    fake.clock.monotonic_s += 4 * 3600
    assert sorted(found.subject for found in run(fake, watch)) == [
        "/srv/more/usr/bin/su",
        "/srv/named/usr/bin/sh",
        "/srv/other/usr/bin/su",
        "/tmp/b/usr/bin/su",
    ]


def test_a_copy_of_what_no_package_has(fake: FakeHost, watch: PrivilegedWatch) -> None:
    fake.put("/srv/backup/usr/bin/su", "x", 0o4755)
    fake.clock.monotonic_s += 4 * 3600
    assert [found.subject for found in run(fake, watch)] == ["/srv/backup/usr/bin/su"]


def test_what_gives_no_privileges(fake: FakeHost, watch: PrivilegedWatch) -> None:
    """Data, folders, links and FIFOs with such bits."""
    fake.put("/tmp/data", "x", 0o4644)
    fake.path("/tmp/folder").mkdir(mode=0o2775)
    fake.path("/tmp/link").symlink_to("/usr/bin/su")
    os.mkfifo(fake.path("/tmp/fifo"))
    assert run(fake, watch) == []


def test_the_kernel_tells_of_a_new_bit(fake: FakeHost) -> None:
    fake.watch()
    file = fake.put("/tmp/x", "x", 0o755)
    notify = Inotify()
    try:
        watch = begin(fake, notify)
        assert watch.step() == []
        file.chmod(0o4755)
        assert [found.subject for found in watch.step()] == ["/tmp/x"]
    finally:
        notify.close()


def test_new_folders_are_looked_into_at_once_and_new_homes_within_a_minute(fake: FakeHost) -> None:
    fake.watch()
    fake.put("/tmp/here", "x")
    notify = Inotify()
    try:
        watch = begin(fake, notify)
        assert watch.step() == []
        fake.put("/tmp/made/below/x", "x", 0o4755)
        assert [found.subject for found in watch.step()] == ["/tmp/made/below/x"]
        fake.put("/tmp/made/below/y", "x", 0o4755)  # the new folders are watched as well
        assert len(watch.step()) == 2
        fake.put("/home/ben/x", "x", 0o4755)
        fake.clock.monotonic_s += QUICK_S
        assert "/home/ben/x" in {found.subject for found in watch.step()}
        assert 0 < watch.wait_s() <= QUICK_S
    finally:
        notify.close()


def test_what_the_kernel_does_not_tell_is_looked_at_all_the_same(fake: FakeHost) -> None:
    """A lost piece of news costs ten minutes at most."""
    fake.watch()
    fake.put("/tmp/here", "x")
    notify = Inotify()
    try:
        watch = begin(fake, notify)
        assert watch.step() == []
        fake.put("/tmp/lost", "x", 0o4755)
        list(notify.events())
        assert watch.step() == []
        fake.clock.monotonic_s += TOLD_S
        assert [found.subject for found in watch.step()] == ["/tmp/lost"]
    finally:
        notify.close()


def test_capabilities() -> None:
    assert (
        capabilities_of(struct.pack("<5I", 0x02000001, 1 << 7 | 1 << 13, 0, 0, 0)) == "cap_setuid,cap_net_raw"
    )
    assert capabilities_of(struct.pack("<5I", 0x02000001, 0, 0, 0, 0)) is None
    assert capabilities_of(b"short") is None


def names_asked_for(
    fake: FakeHost, watch: PrivilegedWatch, steps: int, monkeypatch: pytest.MonkeyPatch
) -> list[int]:
    """How many names each of some slices of the walk looks at."""
    asked = [0]

    def counting(walk: Iterator[Entry], most: int) -> Iterator[Entry]:
        for entry in islice(walk, most):
            asked[-1] += 1
            yield entry

    monkeypatch.setattr(privileged, "islice", counting)
    monkeypatch.setattr(QuickFolders, "all_due", lambda self: False)
    for _ in range(steps):
        fake.clock.monotonic_s += SLICE_S
        watch.step()
        asked.append(0)
    monkeypatch.undo()
    return asked[:-1]


def test_the_first_walk_hurries_and_the_next_ones_take_their_time(
    fake: FakeHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake.watch()
    for number in range(3000):
        fake.put(f"/usr/share/d{number % 2}/{number}")
    watch = begin(fake)
    first = names_asked_for(fake, watch, 10, monkeypatch)
    assert first[:6] == [MOST_ENTRIES] * 6 and sum(first) > 3000 and first[-1] == 0
    fake.baseline.save(at_once=True)
    for made in (watch, begin(fake)):  # one that goes on, and one that was started again
        fake.clock.monotonic_s += WALK_S
        slow = names_asked_for(fake, made, 10, monkeypatch)
        assert slow == [LEAST_ENTRIES] * 10
        fake.clock.monotonic_s += WALK_S
        assert names_asked_for(fake, made, 2, monkeypatch) == [MOST_ENTRIES] * 2  # it is late


def descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def test_a_walk_keeps_no_folder_open(fake: FakeHost, watch: PrivilegedWatch) -> None:
    """Nobody could unmount its filesystem."""
    for number in range(100):
        fake.put(f"/srv/data/{number}")
    walk = entries_of(fake.host, "/srv", 9)
    before = descriptors()
    seen = [next(walk).path for _ in range(50)]
    assert seen[0] == "/srv/data" and descriptors() == before


def test_a_folder_larger_than_a_piece_is_seen_whole(fake: FakeHost, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quick, "PIECE", 10)
    for number in range(40):
        fake.put(f"/srv/data/{number}")
    before = descriptors()
    assert {entry.path for entry in entries_of(fake.host, "/srv/data", 1)} == {
        f"/srv/data/{n}" for n in range(40)
    }
    assert descriptors() == before


def test_capabilities_of_a_file_that_nobody_may_execute_yet(
    fake: FakeHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel tells of it; a walk asks programs alone."""
    fake.watch()
    fake.path("/tmp").mkdir()
    given = struct.pack("<5I", 0x02000001, 1 << 7, 0, 0, 0)
    notify = Inotify()
    try:
        watch = begin(fake, notify)
        assert watch.step() == []
        file = fake.put("/tmp/x", "", 0o644)
        monkeypatch.setattr(os, "getxattr", lambda path, name, follow_symlinks: given)
        (found,) = run(fake, watch, 2)
        assert (found.type, found.evidence["capabilities"]) == ("capability_file", "cap_setuid")
        file.unlink()
        assert run(fake, watch) == []
    finally:
        notify.close()


def test_a_walk_finds_the_same_depth_first(fake: FakeHost) -> None:
    for number in range(30):
        fake.put(f"/srv/{number % 3}/{number % 5}/{number}")
    host = fake.host
    found = [{entry.path for entry in entries_of(host, "/srv", 3, deep)} for deep in (False, True)]
    assert found[0] == found[1] and "/srv/2/4/29" in found[0]
