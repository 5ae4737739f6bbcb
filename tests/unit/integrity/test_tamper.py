"""Logs, shell histories and security services."""

from __future__ import annotations

import os
from datetime import datetime

import pytest

from dio_daemon.detect.finding import Finding
from dio_daemon.detect.integrity.runs import Runs
from dio_daemon.detect.integrity.tamper import TamperWatch
from dio_daemon.detect.integrity.told import TOLD_S
from tests.unit.integrity.conftest import FakeHost

LONG = "x" * 4000


class Tamper:
    """A host with a log, a history and a service."""

    def __init__(self, fake: FakeHost) -> None:
        self.fake = fake
        fake.watch()
        self.log = fake.put("/var/log/auth.log", LONG)
        old = (self.log.stat().st_atime, self.log.stat().st_mtime)
        os.utime(self.log, old)
        self.cgroup = fake.root / "cgroup/system.slice/auditd.service/cgroup.procs"
        self.cgroup.parent.mkdir(parents=True)
        self.cgroup.write_text("77\n")
        fake.put("/usr/lib/systemd/system/auditd.service", "x")
        host = fake.host
        self.watch = TamperWatch(
            host, Runs(host), fake.baseline, str(fake.root / "cgroup"), lambda: fake.window, fake.clock
        )
        assert self.looks() == []

    def looks(self, count: int = 6) -> list[Finding]:
        found: list[Finding] = []
        for _ in range(count):
            self.fake.clock.monotonic_s += 5
            found = self.watch.look(self.fake.clock.monotonic_s)
        return found


@pytest.fixture
def tamper(fake: FakeHost) -> Tamper:
    return Tamper(fake)


def test_a_log_that_is_cut(tamper: Tamper) -> None:
    with tamper.log.open("w") as stream:
        stream.write("x")
    (found,) = tamper.looks()
    assert (found.type, found.evidence["size_before"], found.evidence["size_after"]) == (
        "log_truncated",
        4000,
        1,
    )
    tamper.fake.clock.monotonic_s += TOLD_S
    assert tamper.looks() == []


def test_a_log_that_is_written_over(tamper: Tamper) -> None:
    with tamper.log.open("a") as stream:
        stream.write("one more line\n")
    assert tamper.looks() == [], "logs are added to"
    before = tamper.log.stat()
    size = before.st_size
    with tamper.log.open("r+b") as stream:
        stream.write(bytes(size))
    os.utime(tamper.log, ns=(before.st_atime_ns, before.st_mtime_ns))
    (found,) = tamper.looks()
    assert (found.type, found.evidence["size_after"]) == ("log_truncated", size)
    assert found.summary.startswith("Log /var/log/auth.log was written over from its beginning")


def test_a_log_that_grew_again_after_its_rotation(tamper: Tamper) -> None:
    """As by copytruncate, where much is logged."""
    tamper.fake.put("/var/log/auth.log.1", LONG)
    with tamper.log.open("w") as stream:
        stream.write("y" * 5000)
    assert tamper.looks() == []


def test_a_log_of_logins_is_written_anywhere(tamper: Tamper) -> None:
    log = tamper.fake.put("/var/log/lastlog", LONG)
    assert tamper.looks() == []
    with log.open("r+b") as stream:
        stream.write(b"root")
    assert tamper.looks() == []


def test_a_log_that_is_cut_and_an_agent_that_is_restarted(tamper: Tamper) -> None:
    with tamper.log.open("w"):
        pass
    assert [found.type for found in tamper.looks()] == ["log_truncated"]
    tamper.fake.baseline.save(at_once=True)
    after = Tamper.__new__(Tamper)
    after.fake = tamper.fake
    after.fake.watch()
    after.watch = TamperWatch(
        tamper.fake.host,
        Runs(tamper.fake.host),
        tamper.fake.baseline,
        str(tamper.fake.root / "cgroup"),
        lambda: False,
        tamper.fake.clock,
    )
    assert [found.type for found in after.looks()] == ["log_truncated"]


def test_a_log_that_is_gone(tamper: Tamper) -> None:
    tamper.log.unlink()
    assert [found.type for found in tamper.looks()] == ["log_removed"]


@pytest.mark.parametrize("how", ["dpkg", "announced"])
def test_a_log_that_goes_with_its_package(tamper: Tamper, how: str) -> None:
    """What took it along is over before it is clear that the log does not come back."""
    tamper.log.unlink()
    if how == "dpkg":
        tamper.fake.dpkg_ran(begin_s=-3, end_s=1)
    tamper.fake.window = how == "announced"
    assert tamper.looks(1) == []
    tamper.fake.window = False
    assert tamper.looks() == []


def test_a_log_that_is_removed_after_the_package_manager_worked(tamper: Tamper) -> None:
    tamper.fake.dpkg_ran(begin_s=-60, end_s=-30)
    tamper.log.unlink()
    assert [found.type for found in tamper.looks()] == ["log_removed"]


def test_a_log_that_is_removed_and_begun_anew(tamper: Tamper) -> None:
    with tamper.log.open():  # as its writer has it open, so that the new one is another file
        tamper.log.unlink()
        tamper.fake.put("/var/log/auth.log", "x")
        (found,) = tamper.looks()
    assert (found.type, found.evidence["size_before"], found.evidence["size_after"]) == (
        "log_removed",
        4000,
        1,
    )


@pytest.mark.parametrize("how", ["renamed", "copied", "announced", "dpkg"])
def test_rotations_are_ordinary(tamper: Tamper, how: str) -> None:
    if how == "renamed":
        tamper.log.rename(tamper.log.with_name("auth.log.1"))
        tamper.fake.put("/var/log/auth.log")
    else:
        if how == "copied":
            tamper.fake.put("/var/log/auth.log.1", LONG)
        if how == "dpkg":
            tamper.fake.dpkg_ran(end_s=60)
        tamper.fake.window = how == "announced"
        with tamper.log.open("w"):
            pass
    assert tamper.looks() == []


def test_a_history_that_leads_nowhere(tamper: Tamper) -> None:
    link = tamper.fake.path("/root/.bash_history")
    link.symlink_to("/dev/null")
    assert [(found.type, found.subject) for found in tamper.looks()] == [
        ("shell_history_off", "/root/.bash_history")
    ]
    link.unlink()
    assert tamper.looks() == []


def test_a_service_that_is_stopped_and_one_that_is_masked(tamper: Tamper) -> None:
    tamper.cgroup.write_text("")
    (found,) = tamper.looks()
    assert (found.type, found.subject, found.severity) == ("security_service_stopped", "auditd", "medium")
    tamper.fake.path("/etc/systemd/system/auditd.service").symlink_to("/dev/null")
    assert [found.severity for found in tamper.looks()] == ["high"]
    tamper.cgroup.write_text("78\n")
    assert [found.severity for found in tamper.looks()] == ["high"]
    tamper.fake.path("/etc/systemd/system/auditd.service").unlink()
    assert tamper.looks() == []


def test_a_service_that_was_removed(tamper: Tamper) -> None:
    tamper.cgroup.unlink()
    tamper.fake.path("/usr/lib/systemd/system/auditd.service").unlink()
    assert tamper.looks() == []


def test_a_service_that_restarts(tamper: Tamper) -> None:
    tamper.cgroup.write_text("")
    assert tamper.looks(2) == []
    tamper.cgroup.write_text("79\n")
    assert tamper.looks() == []


def test_the_journal_that_is_removed(fake: FakeHost) -> None:
    fake.put("/etc/machine-id", "0123456789abcdef0123456789abcdef\n")
    journal = fake.put("/var/log/journal/0123456789abcdef0123456789abcdef/system.journal", LONG)
    tamper = Tamper(fake)
    journal.rename(journal.with_name("system@1.journal"))
    fake.put(f"/var/log/journal/{journal.parent.name}/system.journal", "new")
    assert tamper.looks() == [], "a rotation"
    journal.write_text(LONG)
    tamper.looks()
    journal.unlink()
    assert [found.type for found in tamper.looks()] == ["log_removed"]


@pytest.mark.parametrize("full", [False, True])
def test_the_journal_that_is_made_anew(fake: FakeHost, monkeypatch: pytest.MonkeyPatch, full: bool) -> None:
    """journald does so as soon as it sees that its file is gone; on a full disk it is itself who removes it."""
    monkeypatch.setattr(
        os, "statvfs", lambda _: os.statvfs_result((4096, 4096, 1000, 0, 149 + 2 * (not full), *[0] * 5))
    )
    fake.put("/etc/machine-id", "0123456789abcdef0123456789abcdef\n")
    journal = fake.put("/var/log/journal/0123456789abcdef0123456789abcdef/system.journal", LONG)
    fake.put(f"/var/log/journal/{journal.parent.name}/system@1.journal", LONG)
    tamper = Tamper(fake)
    with journal.open():
        journal.unlink()
        fake.put(f"/var/log/journal/{journal.parent.name}/system.journal", LONG)
        assert [found.type for found in tamper.looks()] == ([] if full else ["log_removed"])


@pytest.mark.parametrize("name", [f"system@{'a' * 32}-{'0' * 16}-{'b' * 16}.journal", "elsewhere.journal"])
def test_the_journal_that_is_rotated_and_vacuumed_at_once(fake: FakeHost, name: str) -> None:
    """It is what administrators do to have room: its last name, which journald gave it, tells it from one that was
    removed."""
    fake.put("/etc/machine-id", "0123456789abcdef0123456789abcdef\n")
    journal = fake.put("/var/log/journal/0123456789abcdef0123456789abcdef/system.journal", LONG)
    tamper = Tamper(fake)
    for _ in range(2):
        before = journal.with_name(name)
        journal.rename(before)
        fake.put(f"/var/log/journal/{journal.parent.name}/system.journal", LONG)
        before.unlink()
        (found,) = tamper.looks()
        assert (found.type, found.severity) == (
            "log_removed",
            "low" if name.startswith("system@") else "high",
        )
        assert ("rotated and vacuumed" in found.summary) == name.startswith("system@")
        assert tamper.watch.accept() == 1
    tamper.watch.close()


def test_a_log_that_is_rotated_twice_between_two_looks(tamper: Tamper) -> None:
    """Where one old file is kept, nothing is left of it; logrotate has noted that it was its work."""

    def rotated_twice(noted: str) -> list[str]:
        tamper.fake.put("/var/log/auth.log", LONG)
        tamper.looks(2)
        with tamper.log.open():  # so that the new one is another file
            tamper.log.unlink()
            tamper.fake.put("/var/log/auth.log")
            tamper.fake.put("/var/log/auth.log.1")
            tamper.fake.put("/var/lib/logrotate/status", f"logrotate state -- version 2\n{noted}\n")
            return [found.type for found in tamper.looks()]

    now = datetime.now()
    stamp = f"{now.year}-{now.month}-{now.day}-{now.hour}:{now.minute}:{now.second}"
    assert rotated_twice(f'"/var/log/auth.log" {stamp}') == []
    for noted in (
        f'"/var/log/syslog" {stamp}',
        '"/var/log/auth.log" 2001-2-3-4:5:6',
        '"/var/log/auth.log" 9-99-9-9:9:9',
    ):
        assert rotated_twice(noted) == ["log_removed"]
        tamper.watch.accept()


@pytest.mark.parametrize("how", ["emptied", "removed"])
def test_a_history_that_is_cleared(tamper: Tamper, how: str) -> None:
    histories = [
        tamper.fake.put(path, "ls -l\n" * 50) for path in ("/root/.bash_history", "/home/ann/.zsh_history")
    ]
    assert tamper.looks(2) == []
    for history in histories:
        history.unlink() if how == "removed" else history.write_text("")
    found = {each.subject: (each.type, each.severity) for each in tamper.looks()}
    assert found == {
        "/root/.bash_history": ("shell_history_cleared", "medium"),
        "/home/ann/.zsh_history": ("shell_history_cleared", "low"),
    }
    assert tamper.watch.accept() == 2
    assert tamper.looks() == []


def test_histories_that_shrink_or_go_with_their_home(tamper: Tamper) -> None:
    shrinks = tamper.fake.put("/root/.bash_history", "ls -l\n" * 50)
    short = tamper.fake.put("/root/.zsh_history", "ls\n")
    goes = tamper.fake.put("/home/bob/.bash_history", "ls -l\n" * 50)
    tamper.looks(2)
    shrinks.write_text("ls -l\n" * 20)
    short.write_text("")
    goes.unlink()
    goes.parent.rmdir()
    assert tamper.looks() == []


@pytest.mark.parametrize(("left", "told"), [("\n", True), ("ls\n" * 100, False)])
def test_a_history_that_is_cut(tamper: Tamper, left: str, told: bool) -> None:
    history = tamper.fake.put("/home/ann/.bash_history", "ls -l\n" * 200)
    assert tamper.looks() == []
    history.write_text(left)
    assert [found.type for found in tamper.looks()] == (["shell_history_cleared"] if told else [])


def test_a_program_s_own_log_is_removed(tamper: Tamper) -> None:
    """One that no rotation is known of; that a program begins it anew is ordinary."""
    log = tamper.fake.put("/var/log/backup.log", LONG)
    assert tamper.looks() == []
    log.write_text("begun anew\n" + LONG[:600])
    assert tamper.looks() == []
    log.unlink()
    (found,) = tamper.looks()
    assert (found.type, found.severity) == ("log_removed", "medium")
    assert "/var/log/backup.log" in found.summary


def test_a_program_s_own_log_is_set_aside(tamper: Tamper) -> None:
    """The display server's first is called by its process, and renamed."""
    log = tamper.fake.put("/var/log/Xorg.pid-812.log", LONG)
    assert tamper.looks() == []
    log.rename(log.with_name("Xorg.0.log"))
    assert tamper.looks() == []
    log.with_name("Xorg.0.log").rename(log.with_name("old"))
    log.with_name("Xorg.0.log").symlink_to("old")
    assert tamper.looks() == []
