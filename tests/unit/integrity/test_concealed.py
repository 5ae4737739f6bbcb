"""What hides below the usual view: mounts over processes, sniffers, kernel modules from nowhere."""

from __future__ import annotations

import pytest

from dio_daemon.detect.finding import Finding
from dio_daemon.detect.integrity.concealed import MODULES_S, ConcealedWatch
from dio_daemon.detect.integrity.dpkg import Packages
from dio_daemon.detect.integrity.runs import Runs
from tests.unit.integrity.conftest import FakeHost
from tests.unit.integrity.test_processes import process

RELEASE = "6.1.0-9-amd64"


def watch(fake: FakeHost) -> ConcealedWatch:
    fake.watch()
    return ConcealedWatch(fake.host, Packages(fake.host), Runs(fake.host), fake.baseline)


def told(watched: ConcealedWatch, now: float = 0.0) -> list[Finding]:
    return watched.look(now)


def packet_sockets(fake: FakeHost, protocol: str = "0003") -> None:
    folder = fake.root / "proc/1/net"
    folder.mkdir(exist_ok=True)
    header = "sk               RefCnt Type Proto  Iface R Rmem   User   Inode\n"
    (folder / "packet").write_text(
        f"{header}0000000000000000 3      3    {protocol}   0     1 0      0      4711\n"
    )


def test_a_mount_over_a_process_hides_it(fake: FakeHost) -> None:
    process(fake, 77, "/usr/bin/sleep")
    mounts = fake.root / "proc/1/mountinfo"
    before = mounts.read_text()
    watched = watch(fake)
    assert told(watched) == []
    mounts.write_text(
        before + "40 1 8:1 /empty /proc/77 rw - ext4 /dev/sda1 rw\n41 1 0:5 / /proc/sys/x rw - y y rw\n"
    )
    (found,) = told(watched)
    assert (found.type, found.subject, found.severity) == ("process_hidden", "/proc/77", "critical")
    assert found.evidence["process"]["exe"] == "/usr/bin/sleep"
    mounts.write_text(before)
    assert told(watched) == []


@pytest.mark.parametrize(
    ("exe", "package", "protocol", "expected"),
    [
        ("/opt/x/agent", None, "0003", ["packet_capture"]),
        ("/opt/x/agent", None, "88cc", []),
        ("/usr/sbin/dhclient", "isc-dhcp-client", "0003", []),
        ("/usr/sbin/dhclient (deleted)", "isc-dhcp-client", "0003", ["packet_capture"]),
        ("/usr/bin/python3.11", "python3.11-minimal", "0800", ["packet_capture"]),
    ],
)
def test_sniffers(fake: FakeHost, exe: str, package: str | None, protocol: str, expected: list[str]) -> None:
    if package is not None:
        fake.package(package, {exe.removesuffix(" (deleted)"): "x"})
    process(fake, 88, exe, sockets={3: 4711})
    packet_sockets(fake, protocol)
    watched = watch(fake)
    assert [each.type for each in told(watched)] == expected
    packet_sockets(fake, "0000")
    assert told(watched) == []


def test_a_client_that_was_upgraded_is_no_sniffer(fake: FakeHost) -> None:
    """It goes on with the file of before, and an agent that starts anew judges it again."""
    fake.package("isc-dhcp-client", {"/usr/sbin/dhclient": "x"})
    process(fake, 88, "/usr/sbin/dhclient (deleted)", sockets={3: 4711})
    packet_sockets(fake)
    fake.dpkg_ran()
    assert told(watch(fake)) == []


def test_a_sniffer_in_a_container_is_its_own_affair(fake: FakeHost) -> None:
    process(fake, 88, "/x", sockets={3: 4711}, cgroup="/system.slice/docker-0123456789ab.scope")
    packet_sockets(fake)
    assert told(watch(fake)) == []


def test_a_module_that_the_kernel_does_not_have(fake: FakeHost) -> None:
    kernel = fake.root / "proc/sys/kernel"
    kernel.mkdir(parents=True)
    (kernel / "osrelease").write_text(f"{RELEASE}\n")
    modules = fake.root / "proc/modules"
    modules.write_text("nf_tables 1 0 - Live 0x0\nold_stranger 1 0 - Live 0x0\n")
    assert told(watch(fake)) == [], "without a list nothing is said"
    folder = f"/usr/lib/modules/{RELEASE}"
    fake.put(
        f"{folder}/modules.dep", "kernel/net/nf-tables.ko.xz: kernel/net/x_tables.ko.xz\nupdates/dkms/v.ko:\n"
    )
    fake.put(f"{folder}/modules.builtin", "kernel/fs/ext4/ext4.ko\n")
    watched = watch(fake)
    assert told(watched) == [], "what is there at first is known"
    modules.write_text(
        "nf_tables 1 0 - Live 0x0\nold_stranger 1 0\nv 1\next4 1\nx_tables 1\nrootkit 1 0 - Live 0x0\n"
    )
    assert told(watched) == []
    (found,) = told(watched, MODULES_S)
    assert (found.type, found.subject) == ("kernel_module_loaded", "rootkit")
    modules.write_text("nf_tables 1 0 - Live 0x0\n")
    assert told(watched, 2 * MODULES_S) == []
