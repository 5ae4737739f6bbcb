import os
import subprocess
import threading

import pytest
from fake_host import FakeHost

from dio_daemon.collect.apart import Apart
from dio_daemon.collect.disks import MOST_DISKS, Disks
from dio_daemon.collect.mounts import Mounts, parse, select
from dio_daemon.collect.procfs import Roots
from tests.support.threads import inside

ROOT = ("/", "8:1", "/", "ext4", "/dev/sda1")


def paths(fake: FakeHost) -> list[str]:
    mounts, _ = Mounts(fake.roots).read()
    return [os.fsdecode(mount.path) for mount in mounts]


def test_names_are_unescaped(fake: FakeHost) -> None:
    fake.mounts([ROOT, ("/mnt/a\\040b\\012\\134", "8:2", "/", "ext4", "/dev/x\udcff\\011")])
    mounts, _ = Mounts(fake.roots).read()
    assert mounts[1].path == b"/mnt/a b\n\\"
    assert mounts[1].device == b"/dev/x\xff\t"


def test_only_what_can_fill_up_and_the_root(fake: FakeHost) -> None:
    fake.mounts(
        [
            ("/", "0:30", "/", "overlay", "overlay"),
            ("/proc", "0:4", "/", "proc", "proc"),
            ("/dev", "0:5", "/", "devtmpfs", "udev"),
            ("/dev/shm", "0:6", "/", "tmpfs", "tmpfs"),
            ("/run", "0:7", "/", "tmpfs", "tmpfs"),
            ("/run/user/1000", "0:8", "/", "tmpfs", "tmpfs"),
            ("/run/media/me/stick", "8:17", "/", "vfat", "/dev/sdb1"),
            ("/snap/core/1", "7:1", "/", "squashfs", "/dev/loop1"),
            ("/var/lib/docker/overlay2/x/merged", "0:31", "/", "overlay", "overlay"),
            ("/tmp", "0:32", "/", "tmpfs", "tmpfs"),
            ("/mnt/auto", "0:33", "/", "autofs", "systemd-1"),
            ("/home", "8:3", "/", "ext4", "/dev/sda3"),
            ("/srv/nfs", "0:50", "/", "nfs4", "server:/x"),
        ]
    )
    assert paths(fake) == ["/", "/home", "/srv/nfs", "/run/media/me/stick", "/run", "/tmp"]


def test_once_for_each_filesystem(fake: FakeHost) -> None:
    fake.mounts(
        [
            ROOT,
            ("/a", "8:1", "/sub", "ext4", "/dev/sda1"),
            ("/b", "8:2", "/inner", "ext4", "/dev/sdb"),
            ("/long/path", "8:2", "/", "ext4", "/dev/sdb"),
            ("/another/long/path", "8:2", "/", "ext4", "/dev/sdb"),
        ]
    )
    assert paths(fake) == ["/", "/long/path"]


def test_what_a_later_mount_hides_is_not_looked_at() -> None:
    lines = [
        b"1 1 0:1 / / rw - rootfs rootfs rw",
        b"20 1 8:1 / / rw - ext4 /dev/sda1 rw",
        b"21 20 8:2 / /mnt/a rw - ext4 /dev/hidden rw",
        b"22 20 8:3 / /mnt rw - ext4 /dev/over rw",
        b"23 22 8:4 / /mnt/a rw - ext4 /dev/seen rw",
        b"24 23 8:5 / /mnt/a rw - ext4 /dev/top rw",
        b"25 20 8:6 / /srv/x/y rw - ext4 /dev/alone rw",
        b"26 24 8:7 / /mnt/a/deep rw - ext4 /dev/deep rw",
        b"27 21 8:8 / /mnt/a/gone rw - ext4 /dev/below-hidden rw",
    ]
    devices = [mount.device for mount in select(parse(b"\n".join(lines)))]
    assert devices == [b"/dev/sda1", b"/dev/over", b"/dev/top", b"/dev/deep", b"/dev/alone"]


def test_lines_that_make_no_sense_are_passed_over() -> None:
    text = b"\n\xff\n1 2\nx y 8:1 / / rw - ext4 d rw\n1 1 8:1 / / rw - ext4\n5 5 8:1 / / rw - ext4 /dev/sda1 rw\n"
    assert [mount.device for mount in select(parse(text))] == [b"/dev/sda1"]
    loop = b"5 6 8:1 / /x rw - ext4 /dev/a rw\n6 5 8:1 / /x rw - ext4 /dev/a rw\n"
    assert len(select(parse(loop))) == 1


def test_own_mounts_where_those_of_process_1_are_out_of_reach(fake: FakeHost) -> None:
    fake.remove("proc/1/mountinfo")
    fake.mounts([ROOT, ("/own", "8:2", "/", "ext4", "/dev/sdb")], process="self")
    mounts, prefix = Mounts(fake.roots).read()
    assert [mount.path for mount in mounts] == [b"/", b"/own"]
    assert prefix.endswith(b"proc/self/root")


def df() -> dict[str, tuple[int, ...]]:
    """Return size, used, avail in bytes by mount point, as df(1) says."""
    command = ["df", "-B1", "-a", "--output=target,size,used,avail"]
    rows = subprocess.run(command, capture_output=True, text=True, check=False).stdout.splitlines()[1:]
    split = [row.rsplit(maxsplit=3) for row in rows]
    return {row[0]: tuple(int(word) for word in row[1:]) for row in split if "-" not in row[1:]}


def test_figures_equal_df() -> None:
    """On this very host, whatever it has mounted and whoever writes to it meanwhile."""
    collector = Disks(Roots(), Apart(5))
    compared: set[str] = set()
    for _ in range(50):
        before = df()
        disks, _ = collector.sample()
        after = df()
        assert disks[0]["mount"] == "/"
        assert disks[0]["total_bytes"] == before["/"][0]
        for disk in disks:
            name = disk["mount"]
            if disk["status"] == "ok" and name in before and before[name] == after.get(name):
                assert (disk["total_bytes"], disk["used_bytes"], disk["free_bytes"]) == before[name]
                compared.add(name)
        if "/" in compared:
            break
    assert compared, "every filesystem is written to without a pause"


def test_percent_is_of_what_ordinary_users_can_have(
    fake: FakeHost, statvfs_result: os.statvfs_result
) -> None:
    seen: list[bytes] = []

    def statvfs(path: bytes) -> os.statvfs_result:
        seen.append(path)
        return statvfs_result

    disks, _ = Disks(fake.roots, Apart(5), statvfs).sample()
    assert seen == [os.fsencode(fake.roots.proc) + b"/1/root/"]
    assert disks == [
        {
            "mount": "/",
            "device": "/dev/sda1",
            "fstype": "ext4",
            "status": "ok",
            "total_bytes": 1024000,
            "used_bytes": 614400,
            "free_bytes": 358400,
            "percent": 63.16,
            "inodes_percent": 25.0,
        }
    ]


def test_a_mount_that_hangs_is_unreachable_and_the_others_go_on(
    fake: FakeHost, statvfs_result: os.statvfs_result
) -> None:
    release = threading.Event()
    fake.mounts([ROOT, ("/nfs", "0:50", "/", "nfs4", "server:/x"), ("/srv", "8:2", "/", "ext4", "/dev/sdb")])

    def statvfs(path: bytes) -> os.statvfs_result:
        if path.endswith(b"/nfs"):
            release.wait()
        return statvfs_result

    disks = Disks(fake.roots, Apart(0.1), statvfs)
    try:
        for _ in range(3):
            sample, _ = disks.sample()
            assert [(disk["mount"], disk["status"]) for disk in sample] == [
                ("/", "ok"),
                ("/nfs", "unreachable"),
                ("/srv", "ok"),
            ]
            assert sample[1]["total_bytes"] is None
            assert disks.unreachable == ["/nfs"]
        assert inside(Apart._work) == 1
    finally:
        release.set()


def test_what_answers_from_memory_needs_no_thread(fake: FakeHost, statvfs_result: os.statvfs_result) -> None:
    """Unless it is mounted below something that may hang."""
    lines = [ROOT, ("/nfs", "0:50", "/", "nfs4", "server:/x"), ("/nfs/disk", "8:2", "/", "xfs", "/dev/sdb")]
    fake.mounts(
        [*lines, ("/srv", "8:3", "/", "xfs", "/dev/sdc"), ("/boot/efi", "8:4", "/", "vfat", "/dev/sdd")]
    )
    threads: dict[bytes, bool] = {}

    def statvfs(path: bytes) -> os.statvfs_result:
        threads[path.rpartition(b"root")[2]] = threading.get_ident() != here
        return statvfs_result

    here = threading.get_ident()
    Disks(fake.roots, Apart(60), statvfs).sample()
    assert threads == {b"/": False, b"/srv": False, b"/nfs": True, b"/nfs/disk": True, b"/boot/efi": True}


@pytest.mark.parametrize(
    ("error", "expected"),
    [(PermissionError, ["denied"]), (OSError, ["unreachable"]), (FileNotFoundError, [])],
)
def test_a_look_that_fails(fake: FakeHost, error: type[OSError], expected: list[str]) -> None:
    def statvfs(path: bytes) -> os.statvfs_result:
        raise error

    disks, _ = Disks(fake.roots, Apart(5), statvfs).sample()
    assert [disk["status"] for disk in disks] == expected


def test_filesystems_without_blocks_are_left_out_as_df_does(fake: FakeHost) -> None:
    empty = os.statvfs_result((4096, 4096, 0, 0, 0, 0, 0, 0, 0, 255))
    fake.mounts([ROOT, ("/mnt/odd", "0:60", "/", "fuse.odd", "odd")])
    disks, _ = Disks(fake.roots, Apart(5), lambda path: empty).sample()
    assert [disk["mount"] for disk in disks] == ["/"]
    assert disks[0]["percent"] is None


def test_thousands_of_mounts_are_bounded_and_counted(
    fake: FakeHost, statvfs_result: os.statvfs_result
) -> None:
    many = [(f"/m/{number}", f"9:{number}", "/", "ext4", f"/dev/{number}") for number in range(5000)]
    fake.mounts([*many[:100], ROOT, *many[100:]])
    disks, omitted = Disks(fake.roots, Apart(5), lambda path: statvfs_result).sample()
    assert disks[0]["mount"] == "/"
    assert (len(disks), omitted) == (MOST_DISKS, 5001 - MOST_DISKS)
