"""Folders of the system that others than root may change."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from dio_daemon.detect.integrity import open_folders
from dio_daemon.detect.integrity.inotify import Inotify
from dio_daemon.detect.integrity.open_folders import EVERY_S, FIRST_USER, TOLD_S, OpenFolders
from tests.unit.integrity.conftest import FakeHost

FOLDERS = ("/etc/cron.d", "/home/ann", "/etc/gone")


class Owners:
    """In place of `os` in the module: says whose folders are, whoever runs the tests."""

    uid = 0

    def stat(self, path: str) -> os.stat_result:
        seen = list(Path(path).stat())
        seen[4] = self.uid
        return os.stat_result(seen)


@pytest.fixture
def owners(monkeypatch: pytest.MonkeyPatch) -> Owners:
    made = Owners()
    monkeypatch.setattr(open_folders, "os", made)
    return made


@pytest.fixture
def watch(fake: FakeHost, owners: Owners) -> OpenFolders:
    fake.watch()
    return OpenFolders(fake.host, lambda: FOLDERS, lambda: None, fake.baseline, lambda: fake.window)


def test_a_folder_that_everybody_may_change(fake: FakeHost, watch: OpenFolders) -> None:
    folder = fake.path("/etc/cron.d")
    fake.path("/home/ann").chmod(0o777)
    assert watch.look(0.0) == []
    folder.chmod(0o777)
    assert watch.look(1.0) == [], "it is looked at now and then"
    (found,) = watch.look(EVERY_S)
    assert (found.type, found.subject, found.severity) == ("folder_open", "/etc/cron.d", "high")
    assert "everybody may add" in found.summary and found.evidence["mode"] == "0777"
    folder.chmod(0o755)
    assert watch.look(2 * EVERY_S) == []


def test_a_folder_that_is_given_to_a_user(watch: OpenFolders, owners: Owners) -> None:
    assert watch.look(0.0) == []
    owners.uid = FIRST_USER
    (found,) = watch.look(EVERY_S)
    assert "user ann" in found.summary


@pytest.mark.parametrize("how", ["before", "announced", "accepted"])
def test_what_is_known_to_be_open(fake: FakeHost, watch: OpenFolders, how: str) -> None:
    folder = fake.path("/etc/cron.d")
    if how != "before":
        assert watch.look(0.0) == []
    folder.chmod(0o777)
    fake.window = how == "announced"
    found = watch.look(EVERY_S)
    assert len(found) == (how == "accepted") == watch.accept()
    fake.window = False
    assert watch.look(2 * EVERY_S) == []


def test_where_the_kernel_tells_folders_are_looked_at_when_it_does(fake: FakeHost) -> None:
    notify = Inotify()
    try:
        files = fake.watch(notify=notify)
        fake.run(files)
        looks: list[float] = []

        def folders() -> tuple[str, ...]:
            looks.append(fake.clock.monotonic_s)
            return FOLDERS

        watch = OpenFolders(fake.host, folders, lambda: files.news.rights, fake.baseline, lambda: fake.window)

        def look() -> list[str]:
            fake.clock.monotonic_s += EVERY_S
            files.step()
            return [finding.subject for finding in watch.look(fake.clock.monotonic_s)]

        assert [look() for _ in range(4)] == [[]] * 4
        assert len(looks) == 1
        fake.path("/etc/cron.d").chmod(0o777)
        assert look() == ["/etc/cron.d"]
        fake.path("/etc/cron.d").chmod(0o755)
        assert [look() for _ in range(4)] == [[]] * 4
        before = len(looks)
        assert [look() for _ in range(int(TOLD_S / EVERY_S))] == [[]] * int(TOLD_S / EVERY_S)
        assert len(looks) == before + 1, "once in ten minutes all the same"
    finally:
        notify.close()
