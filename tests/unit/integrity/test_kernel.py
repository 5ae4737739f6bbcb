"""What the running kernel was told: programs to run as root, protections switched off."""

from __future__ import annotations

import pytest

from dio_daemon.detect.finding import Finding
from dio_daemon.detect.integrity.dpkg import Packages
from dio_daemon.detect.integrity.kernel import KernelWatch
from dio_daemon.detect.integrity.runs import Runs
from tests.unit.integrity.conftest import FakeHost

CORE = "/proc/sys/kernel/core_pattern"
ASLR = "/proc/sys/kernel/randomize_va_space"
BOOT = "/proc/sys/kernel/random/boot_id"
HANDLER = "/usr/lib/systemd/systemd-coredump"


class Kernel:
    """A host's kernel as it booted."""

    def __init__(self, fake: FakeHost) -> None:
        self.fake = fake
        for path, value in (
            (CORE, "core"),
            (ASLR, "2"),
            (BOOT, "1"),
            ("/proc/sys/kernel/modprobe", "/sbin/modprobe"),
        ):
            fake.put(path, value + "\n")
        fake.package("systemd-coredump", {HANDLER: "x"})
        fake.package("kmod", {"/usr/sbin/modprobe": "x"})
        fake.watch()
        self.start()
        assert self.look() == []

    def start(self) -> None:
        """The agent starts."""
        host = self.fake.host
        self.watch = KernelWatch(
            host, Packages(host), Runs(host), self.fake.baseline, lambda: self.fake.window
        )

    def look(self) -> list[Finding]:
        self.fake.clock.ahead_s += 5
        return self.watch.look(self.fake.clock.now().timestamp())

    def write(self, path: str, value: str) -> list[Finding]:
        self.fake.put(path, value + "\n")
        return self.look()


@pytest.fixture
def kernel(fake: FakeHost) -> Kernel:
    return Kernel(fake)


@pytest.mark.parametrize(
    ("path", "value", "before"),
    [
        (CORE, "|/tmp/.x %p", "core"),
        (CORE, "|/bin/sh -c id", "core"),
        ("/proc/sys/kernel/modprobe", "/tmp/x", "/sbin/modprobe"),
        ("/sys/kernel/uevent_helper", "/dev/shm/x", None),
    ],
)
def test_a_program_that_the_kernel_runs(kernel: Kernel, path: str, value: str, before: str | None) -> None:
    kernel.fake.package("dash", {"/usr/bin/sh": "x"})
    (found,) = kernel.write(path, value)
    assert (found.type, found.severity, found.subject) == ("kernel_setting_changed", "critical", path)
    assert found.evidence == {"path": path, "before": before, "after": value}
    assert value.removeprefix("|").split()[0] in found.summary
    kernel.start()
    assert len(kernel.look()) == 1, "also after the agent started again"
    assert kernel.write(path, before or "") == []


@pytest.mark.parametrize("value", [f"|{HANDLER} %P %u", "/var/crash/core.%e", "core"])
def test_what_a_package_sets_is_none(kernel: Kernel, value: str) -> None:
    assert kernel.write(CORE, value) == []


def test_a_protection_that_is_lowered(kernel: Kernel) -> None:
    (found,) = kernel.write(ASLR, "1")
    assert (found.severity, found.version) == ("medium", "1")
    assert "kernel/randomize_va_space from 2 to 1" in found.summary
    (found,) = kernel.write(ASLR, "0")
    assert found.version == "0", "another one is told again"
    assert kernel.write(ASLR, "2") == []


def test_what_is_raised_is_the_new_measure(kernel: Kernel) -> None:
    kernel.write(ASLR, "1")
    assert kernel.watch.accept() == 1 and kernel.look() == []
    assert kernel.write(ASLR, "2") == []
    assert len(kernel.write(ASLR, "1")) == 1


def test_a_boot_begins_anew(kernel: Kernel) -> None:
    """What is set then comes from files, which are watched as such."""
    kernel.fake.put(BOOT, "2\n")
    assert kernel.write(ASLR, "0") == []


@pytest.mark.parametrize("how", ["dpkg", "lock", "announced"])
def test_what_is_set_by_packages_or_was_announced(kernel: Kernel, how: str) -> None:
    if how == "dpkg":
        kernel.fake.dpkg_ran(begin_s=0, end_s=20)
    if how == "lock":
        kernel.fake.hold_lock()
    kernel.fake.window = how == "announced"
    assert kernel.write(ASLR, "0") == []
    kernel.fake.window = False
    if how == "lock":
        kernel.fake.hold_lock(False)
    assert kernel.look() == []


def test_the_package_manager_excuses_nothing_that_was_told(kernel: Kernel) -> None:
    assert len(kernel.write(ASLR, "0")) == 1
    kernel.fake.hold_lock()
    assert len(kernel.look()) == 1


def test_settings_that_are_not_there_and_odd_values(fake: FakeHost) -> None:
    """A container without them, one that says nothing, bytes that are no text."""
    kernel = Kernel(fake)
    for path in (CORE, ASLR):
        fake.path(path).unlink()
    assert kernel.look() == []
    fake.put(CORE, b"|\xff\xfe/\x1b[31m x\n")
    (found,) = kernel.look()
    assert "\x1b" not in found.summary
    assert [each.subject for each in kernel.write(ASLR, "much")] == [CORE]
