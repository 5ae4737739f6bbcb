"""Raw sockets of IP: those of packages' programs are their work, a stranger's is told."""

from __future__ import annotations

import pytest

from dio_daemon.detect.finding import Finding
from dio_daemon.detect.integrity.concealed import ConcealedWatch
from dio_daemon.detect.integrity.dpkg import Packages
from dio_daemon.detect.integrity.runs import Runs
from tests.unit.integrity.conftest import FakeHost
from tests.unit.integrity.test_processes import process

HEADER = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer"
ANY = {"raw": "0" * 8, "raw6": "0" * 32}


def raw(fake: FakeHost, *inodes: int, family: str = "raw", protocol: int = 1) -> None:
    folder = fake.root / "proc/1/net"
    folder.mkdir(exist_ok=True)
    rows = [
        f"{protocol:4}: {ANY[family]}:{protocol:04X} {ANY[family]}:0000 07 00000000:00000000 00:00000000 00000000"
        f"     0        0 {inode} 2 0000000000000000 0"
        for inode in inodes
    ]
    (folder / family).write_text("\n".join([HEADER, *rows, ""]))


def watch(fake: FakeHost) -> ConcealedWatch:
    fake.watch()
    return ConcealedWatch(fake.host, Packages(fake.host), Runs(fake.host), fake.baseline)


def told(watched: ConcealedWatch) -> list[Finding]:
    watched.look(0.0)
    return watched.look(5.0)


@pytest.mark.parametrize(
    ("exe", "package", "expected"),
    [
        ("/opt/x/agent", None, "medium"),
        ("/tmp/.x/agent", None, "high"),
        ("/opt/x/agent (deleted)", None, "high"),
        ("/usr/bin/ping", "iputils-ping", None),
        ("/usr/sbin/dhclient", "isc-dhcp-client", None),
        ("/usr/lib/systemd/systemd-networkd", "systemd", None),
        ("/usr/sbin/keepalived", "keepalived", None),
        ("/usr/sbin/keepalived (deleted)", "keepalived", "high"),
        ("/usr/bin/python3.11", "python3.11-minimal", None),
    ],
)
@pytest.mark.parametrize("family", ["raw", "raw6"])
def test_whose_it_is(
    fake: FakeHost, exe: str, package: str | None, expected: str | None, family: str
) -> None:
    if package is not None:
        fake.package(package, {exe.removesuffix(" (deleted)"): "x"})
    process(fake, 88, exe, sockets={3: 4711})
    watched = watch(fake)
    raw(fake, 4711, family=family)
    found = told(watched)
    assert [(each.type, each.severity) for each in found] == ([("raw_socket", expected)] if expected else [])
    raw(fake, family=family)
    assert watched.look(10.0) == []


def test_one_that_was_upgraded_goes_on(fake: FakeHost) -> None:
    fake.package("keepalived", {"/usr/sbin/keepalived": "x"})
    process(fake, 88, "/usr/sbin/keepalived (deleted)", sockets={3: 4711})
    watched = watch(fake)
    fake.dpkg_ran()
    raw(fake, 4711)
    assert told(watched) == []


def test_who_pings_once_is_not_told(fake: FakeHost) -> None:
    process(fake, 88, "/opt/x/agent", sockets={3: 4711})
    watched = watch(fake)
    raw(fake, 4711)
    assert watched.look(0.0) == []
    raw(fake)
    assert watched.look(5.0) == []


def test_it_says_what_goes_over_it(fake: FakeHost) -> None:
    process(fake, 88, "/opt/x/agent", sockets={3: 4711})
    watched = watch(fake)
    raw(fake, 4711, protocol=255)
    (found,) = told(watched)
    assert "takes or sends whole packets, made-up packets, past all ports: /opt/x/agent" in found.summary
    assert (found.technique, found.evidence["protocol"]) == ("T1095", 255)
    raw(fake, 4711, protocol=89)
    assert told(watched) == [found], "it is judged once"


def test_one_in_a_container_is_its_own_affair(fake: FakeHost) -> None:
    process(fake, 88, "/x", sockets={3: 4711}, cgroup="/system.slice/docker-0123456789ab.scope")
    raw(fake, 4711)
    assert told(watch(fake)) == []


def test_nonsense_is_no_socket(fake: FakeHost) -> None:
    raw(fake)
    (fake.root / "proc/1/net/raw").write_text(f"{HEADER}\nx\n1: zz:zz 0 0 0 0 0 0 0 12 0 0 0\n")
    assert told(watch(fake)) == []
