"""Processes and listeners of a made-up /proc: what is told, and what ordinary work looks like."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from dio_daemon.detect.finding import Finding
from dio_daemon.detect.integrity.dpkg import Packages
from dio_daemon.detect.integrity.listeners import ListenerWatch
from dio_daemon.detect.integrity.net import connections, parse
from dio_daemon.detect.integrity.processes import ProcessWatch
from dio_daemon.detect.integrity.runs import Runs
from tests.unit.integrity.conftest import FakeHost


def process(
    fake: FakeHost,
    pid: int,
    exe: str,
    *,
    uid: int = 0,
    parent: int = 1,
    arguments: str = "",
    sockets: dict[int, int] | None = None,
    cgroup: str = "/user.slice/user-0.slice/session-1.scope",
    ticks: int = 0,
    state: str = "S",
) -> Path:
    """Put a process into the made-up /proc, of a host that has just booted."""
    (fake.root / "proc").mkdir(exist_ok=True)
    (fake.root / "proc/stat").write_text(f"cpu  1 2 3\nbtime {int(time.time())}\nprocesses 9\n")
    folder = fake.root / "proc" / str(pid)
    (folder / "fd").mkdir(parents=True, exist_ok=True)
    (folder / "net").mkdir(exist_ok=True)
    for name, target in {"exe": exe, "root": str(fake.root / "host")}.items():
        (folder / name).unlink(missing_ok=True)
        (folder / name).symlink_to(target)
    name = Path(exe.removesuffix(" (deleted)")).name[:15]
    fields = [
        state,
        str(parent),
        *("0" for _ in range(9)),
        str(ticks),
        "0",
        *("0" for _ in range(6)),
        "5",
        "0",
        "9",
    ]
    (folder / "stat").write_text(f"{pid} ({name}) {' '.join(fields)}\n")
    (folder / "status").write_text(f"Name:\t{name}\nPPid:\t{parent}\nUid:\t{uid}\t{uid}\t{uid}\t{uid}\n")
    (folder / "cmdline").write_text(arguments or exe)
    (folder / "cgroup").write_text(f"0::{cgroup}\n")
    for number, inode in (sockets or {}).items():
        link = folder / "fd" / str(number)
        link.unlink(missing_ok=True)
        link.symlink_to(f"socket:[{inode}]")
    return folder


def tcp(state: str, port: int, inode: int, uid: int = 0, address: str = "00000000") -> str:
    """A line of /proc/net/tcp."""
    return f"   0: {address}:{port:04X} 0100007F:115C {state} 0:0 00:0 00000000 {uid} 0 {inode} 1\n"


def watch(fake: FakeHost) -> ProcessWatch:
    """A watch of its processes."""
    host = fake.host
    return ProcessWatch(host, Packages(host), Runs(host), frozenset())


def looks(watched: ProcessWatch, count: int = 2) -> list[Finding]:
    """What the last of some looks finds."""
    found: list[Finding] = []
    for number in range(count):
        found = watched.look(5.0 * number)
    return found


@pytest.mark.parametrize(
    ("exe", "uid", "type_", "severity"),
    [
        ("/tmp/x", 1000, "process_from_temporary_folder", "medium"),
        ("/dev/shm/.x/y", 0, "process_from_temporary_folder", "high"),
        ("/var/tmp/x (deleted)", 0, "process_deleted_executable", "critical"),
        ("/opt/x (deleted)", 1000, "process_deleted_executable", "high"),
        ("/memfd:x (deleted)", 0, "process_from_memory", "high"),
        ("/dev/.x", 0, "process_from_temporary_folder", "high"),
        ("/opt/.../x", 1000, "process_odd_path", "high"),
        ("/opt/ /x", 1000, "process_odd_path", "high"),
        ("/opt/x ", 1000, "process_odd_path", "high"),
    ],
)
def test_where_it_runs_from(fake: FakeHost, exe: str, uid: int, type_: str, severity: str) -> None:
    process(fake, 1, "/usr/lib/systemd/systemd")
    process(fake, 70, "/usr/bin/bash", uid=uid)
    folder = process(fake, 77, exe, uid=uid, parent=70)
    watched = watch(fake)
    first = watched.look(0.0)  # it might be gone at the next look; no ordinary program has an odd name
    assert [each.type for each in first] == [type_] * (type_ == "process_odd_path")
    (found,) = watched.look(5.0)
    assert (found.type, found.severity) == (type_, severity)
    assert [each["pid"] for each in found.evidence["parents"]] == [70, 1]
    assert found.evidence["unit"] == "session-1.scope" and found.evidence["pid"] == 77
    assert watched.look(10.0) == [found]
    for file in sorted(folder.rglob("*"), reverse=True):
        file.rmdir() if file.is_dir() and not file.is_symlink() else file.unlink()
    folder.rmdir()
    assert watched.look(15.0) == []


@pytest.mark.parametrize(
    "exe",
    ["/usr/bin/sleep", "/home/ann/x", "/tmp/go-build12/b001/exe/main", "/memfd:runc_cloned:/proc/self/exe"],
)
def test_ordinary_places(fake: FakeHost, exe: str) -> None:
    process(fake, 77, exe)
    assert looks(watch(fake)) == []


def test_what_a_build_runs_from_tmp(fake: FakeHost) -> None:
    process(fake, 60, "/usr/bin/make", uid=1000)
    process(fake, 77, "/tmp/build/conftest", uid=1000, parent=60)
    assert looks(watch(fake), 4) == []


def test_upgraded_and_replaced_executables(fake: FakeHost) -> None:
    """A package has it still, it was replaced in place, or dpkg was at work since: none was removed to hide."""
    fake.package("cron", {"/usr/sbin/cron": "x"})
    process(fake, 70, "/usr/sbin/cron (deleted)")
    fake.put("/opt/app/server", "new")
    process(fake, 71, "/opt/app/server (deleted)", uid=1000)
    process(fake, 72, "/usr/lib/postgresql/15/bin/postgres (deleted)")
    fake.dpkg_ran()
    assert looks(watch(fake)) == []


def test_a_program_that_was_started_after_the_upgrade(fake: FakeHost) -> None:
    """When it was started stands in stat; its folder has the time of when the kernel last made that."""
    folder = process(fake, 72, "/usr/lib/postgresql/15/bin/postgres (deleted)")
    fake.dpkg_ran(-3600, -3500)
    os.utime(folder, (time.time() - 7200, time.time() - 7200))
    assert [each.type for each in looks(watch(fake))] == ["process_deleted_executable"]
    stat = fake.root / "proc/stat"
    stat.write_text(f"btime {int(time.time()) - 7200}\n")
    os.utime(folder)
    assert looks(watch(fake)) == []


def test_a_shell_on_a_connection(fake: FakeHost) -> None:
    folder = process(fake, 77, "/usr/bin/dash", sockets={0: 900, 1: 900, 2: 900})
    (folder / "net/tcp").write_text("head\n" + tcp("01", 40000, 900))
    (found,) = looks(watch(fake), 1)
    assert (found.type, found.severity) == ("shell_on_socket", "critical")
    assert "127.0.0.1:4444" in found.summary
    assert found.evidence["sockets"] == [
        {"protocol": "tcp", "local": "0.0.0.0:40000", "remote": "127.0.0.1:4444", "state": "established"}
    ]


@pytest.mark.parametrize(
    ("line", "cgroup"),
    [
        ("", "/user.slice"),  # sshd gives its sessions socket pairs
        (tcp("01", 6556, 900), "/system.slice/system-check_mk.slice/check_mk@1-2.service"),
    ],
)
def test_shells_that_may_have_sockets(fake: FakeHost, line: str, cgroup: str) -> None:
    folder = process(fake, 77, "/usr/bin/bash", sockets={0: 900, 1: 900}, cgroup=cgroup)
    (folder / "net/tcp").write_text("head\n" + line)
    assert looks(watch(fake), 3) == []


def test_a_miner(fake: FakeHost) -> None:
    """It is called like one and burns; either alone is nothing."""
    watched = watch(fake)
    found = []
    for number in range(5):
        process(fake, 77, "/opt/xmrig", arguments="xmrig\0-o\0stratum+tcp://pool", ticks=480 * number)
        process(fake, 78, "/opt/xmrig-idle", arguments="xmrig\0", ticks=number)
        process(fake, 79, "/usr/bin/gcc", ticks=500 * number)
        found = watched.look(5.0 * number)
    assert [each.type for each in found] == ["miner_like_process"]
    assert "stratum" not in str(found[0])


def test_a_miner_on_a_busy_host(fake: FakeHost) -> None:
    """It gets little, and waits for more whenever it is looked at; one that runs now and then is none."""
    watched = watch(fake)
    found = []
    for number in range(5):
        process(fake, 77, "/opt/xmrig", arguments="xmrig\0", ticks=40 * number, state="R")
        process(fake, 78, "/opt/minerd", arguments="minerd\0", ticks=40 * number, state="RSRSS"[number])
        found = watched.look(5.0 * number)
    assert [(each.type, each.evidence["pid"]) for each in found] == [("miner_like_process", 77)]


def test_a_process_that_vanishes_and_odd_ones(fake: FakeHost) -> None:
    (fake.root / "proc/80").mkdir()
    (fake.root / "proc/81").mkdir()
    (fake.root / "proc/81/exe").symlink_to("/tmp/x")
    assert looks(watch(fake), 3) == []


def listeners(fake: FakeHost, text: str) -> None:
    folder = fake.root / "proc/1/net"
    folder.mkdir(exist_ok=True)
    (folder / "tcp").write_text("head\n" + text)


def test_listeners(fake: FakeHost) -> None:
    """The first are the baseline; a package's service and a user's own are recorded; another is told and clears."""
    fake.package("openssh-server", {"/usr/sbin/sshd": "x", "/usr/lib/systemd/system/ssh.service": "y"})
    fake.package("python3", {"/usr/bin/python3.11": "x"})
    fake.watch()
    host, known = fake.host, tcp("0A", 80, 1)
    listeners(fake, known)
    watched = ListenerWatch(
        host, Packages(host), fake.baseline, lambda: False, lambda *event: fake.recorded.append(event)
    )
    assert watched.look() == []
    process(fake, 70, "/usr/sbin/sshd", sockets={3: 22}, cgroup="/system.slice/ssh.service")
    process(fake, 71, "/usr/bin/python3.11", sockets={3: 33})
    process(fake, 72, "/usr/bin/python3.11", uid=1000, sockets={3: 44})
    more = tcp("0A", 22, 22) + tcp("0A", 8000, 33) + tcp("0A", 9000, 44, 1000, "0100007F")
    listeners(fake, known + more + tcp("01", 5000, 55))
    assert watched.look() == []
    (found,) = watched.look()
    assert (found.type, found.severity, found.subject) == ("listening_socket", "medium", "tcp 8000")
    assert found.evidence["process"]["exe"] == "/usr/bin/python3.11"
    assert sorted(event[2]["port"] for event in fake.recorded) == [22, 9000]
    listeners(fake, known)
    assert watched.look() == []
    again = ListenerWatch(host, Packages(host), fake.baseline, lambda: False, lambda *event: None)
    listeners(fake, known + tcp("0A", 22, 22))
    assert [again.look(), again.look()] == [[], []]


@pytest.mark.parametrize(("address", "told"), [("0100007F", 0), ("00000000", 1)])
def test_a_tunnel_is_told_where_others_reach_it(fake: FakeHost, address: str, told: int) -> None:
    fake.package("openssh-client", {"/usr/bin/ssh": "x"})
    fake.watch()
    listeners(fake, "")
    watched = ListenerWatch(fake.host, Packages(fake.host), fake.baseline, lambda: False, lambda *event: None)
    assert watched.look() == []
    process(fake, 70, "/usr/bin/ssh", sockets={3: 22})
    listeners(fake, tcp("0A", 8444, 22, 0, address))
    assert watched.look() == []
    assert len(watched.look()) == told


def test_a_port_of_the_kernel_is_not_said_to_be_a_process(fake: FakeHost) -> None:
    """As with VXLAN and WireGuard: no process has the socket, and nothing that ss could name."""
    fake.watch()
    listeners(fake, "")
    watched = ListenerWatch(fake.host, Packages(fake.host), fake.baseline, lambda: False, lambda *event: None)
    assert watched.look() == []
    listeners(fake, tcp("0A", 2049, 22))
    assert watched.look() == []
    (found,) = watched.look()
    assert found.summary.startswith(
        "the kernel, or no process that can be seen, listens on tcp 0.0.0.0:2049,"
    )
    assert "ip -d link show; wg show" in found.next and found.evidence["process"] is None


def test_addresses() -> None:
    line = (
        "1: 0000000000000000FFFF00000100007F:1F90 00000000000000000000000000000000:0000 0A 0:0 0:0 0 0 0 7 1"
    )
    found = parse(line, "tcp")
    assert found is not None and found.loopback and found.local == "127.0.0.1:8080"
    for line in ("", "x y z", "1: zz:1 00:0 0A 0 0 0 0 0 7", "1: 00:1"):
        assert parse(line, "tcp") is None
    assert connections("/nowhere") == []


@pytest.mark.parametrize(
    ("exe", "arguments", "name", "expected"),
    [
        ("/usr/bin/sleep", "[kworker/0:3]\0infinity", "sleep", ["process_masquerading"]),
        ("/usr/bin/sleep", "sleep\0infinity", "kworker/u8:3", ["process_masquerading"]),
        ("/usr/bin/python3", "[celeryd: worker@host]", "celeryd", []),
        ("/usr/sbin/irqbalance", "/usr/sbin/irqbalance", "irqbalance", []),
    ],
)
def test_a_program_that_calls_itself_like_a_kernel_thread(
    fake: FakeHost, exe: str, arguments: str, name: str, expected: list[str]
) -> None:
    folder = process(fake, 90, exe, arguments=arguments)
    stat = (folder / "stat").read_text()
    (folder / "stat").write_text(f"90 ({name}) {stat.rpartition(') ')[2]}")
    assert [each.type for each in looks(watch(fake))] == expected


@pytest.mark.parametrize(
    ("uid", "environment", "library"),
    [
        (1000, b"A=b\0LD_PRELOAD=libx.so /tmp/x.so\0C=d", "/tmp/x.so"),
        (0, b"LD_PRELOAD=/home/ann/x.so", "/home/ann/x.so"),
        (1000, b"LD_PRELOAD=/home/ann/.steam/overlay.so", None),
        (0, b"LD_PRELOAD=/usr/lib/libjemalloc.so.2", None),
        (0, b"X=LD_PRELOAD=/tmp/x.so", None),
    ],
)
def test_foreign_libraries(fake: FakeHost, uid: int, environment: bytes, library: str | None) -> None:
    process(fake, 70, "/usr/bin/bash", uid=uid)
    folder = process(fake, 77, "/usr/bin/sleep", uid=uid, parent=70)
    (folder / "environ").write_bytes(environment)
    found = looks(watch(fake))
    assert [(each.type, each.evidence["library"]) for each in found] == (
        [("process_preloads", library)] if library else []
    )
    process(fake, 70, "/usr/bin/make", uid=uid)
    assert looks(watch(fake)) == [], "what is built is tried"


def test_a_program_for_logins_that_is_traced(fake: FakeHost) -> None:
    process(fake, 70, "/usr/bin/strace")
    folders = [process(fake, 77, "/usr/sbin/sshd"), process(fake, 78, "/usr/bin/sleep")]
    watched = watch(fake)
    assert looks(watched) == []
    for folder in folders:
        status = folder / "status"
        status.write_text(status.read_text() + "TracerPid:\t70\n")
    (found,) = looks(watched)
    assert (found.type, found.severity) == ("process_traced", "high")
    assert "sshd (pid 77" in found.summary and "strace (of root)" in found.summary
    assert found.evidence["traced_by"]["exe"] == "/usr/bin/strace"
    process(fake, 77, "/usr/sbin/sshd")
    assert looks(watched) == []
