"""What is said of a process in evidence: its executable, hash and package, its user, unit and parents, its sockets.

Arguments and environment are never in it: they hold passwords.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
from dataclasses import dataclass
from typing import Any

from dio_daemon.collect.processes import parse_stat
from dio_daemon.collect.procfs import read, read_line
from dio_daemon.detect.integrity.dpkg import Packages
from dio_daemon.detect.integrity.host import Host
from dio_daemon.detect.integrity.net import Connection, connections
from dio_daemon.detect.integrity.runs import Runs
from dio_daemon.text import safe

MOST_PARENTS = 12
MOST_SOCKETS = 20
MOST_FDS = 4096
MOST_HASHED_BYTES = 64 << 20
DELETED = " (deleted)"

_BOOTED = re.compile(rb"^btime (\d{1,18})$", re.MULTILINE)
_CONTAINER = re.compile(
    r"(?:docker|libpod|cri-containerd|crio|lxc[./]payload[.])[-/:]?([0-9a-zA-Z_.-]{1,64})"
)


@dataclass(frozen=True)
class Place:
    """Where systemd has a process: its unit, and its container."""

    unit: str | None
    container: str | None


def exe_of(host: Host, pid: int) -> str | None:
    """The executable as the kernel names it; None for a kernel thread or one that has ended."""
    try:
        return os.readlink(f"{host.proc}/{pid}/exe")
    except OSError:
        return None


def place_of(host: Host, pid: int) -> Place:
    """Unit and container of a process."""
    try:
        text = os.fsdecode(read(f"{host.proc}/{pid}/cgroup", 65536))
    except OSError:
        return Place(None, None)
    path = text.rpartition(":")[2].strip() if text.count("\n") <= 1 else _systemd_line(text)
    units = [part for part in path.split("/") if part.endswith((".service", ".scope"))]
    container = _CONTAINER.search(path)
    return Place(units[-1] if units else None, container[1] if container else None)


def _systemd_line(text: str) -> str:
    """Where more than one hierarchy could be systemd's, it uses the one in which the process is not at the top."""
    lines = [line.split(":", 2) for line in text.splitlines() if line.count(":") >= 2]
    return max((path for _, names, path in lines if names in ("", "name=systemd")), key=len, default="")


def status_of(host: Host, pid: int) -> tuple[int | None, int | None]:
    """Effective uid and parent of a process."""
    uid = parent = None
    try:
        for line in read(f"{host.proc}/{pid}/status", 65536).split(b"\n"):
            words = line.split()
            if len(words) > 2 and words[0] == b"Uid:":
                uid = int(words[2])
            elif len(words) > 1 and words[0] == b"PPid:":
                parent = int(words[1])
    except (OSError, ValueError):
        pass
    return uid, parent


def name_of(host: Host, pid: int) -> str | None:
    """What a process calls itself."""
    try:
        found = parse_stat(read_line(f"{host.proc}/{pid}/stat"))
    except OSError:
        return None
    return None if found is None else safe(found.name, 64)


def parents(host: Host, pid: int) -> list[dict[str, Any]]:
    """The chain of parents, the nearest first."""
    chain: list[dict[str, Any]] = []
    _, parent = status_of(host, pid)
    passed = {pid}
    while parent and parent not in passed and len(chain) < MOST_PARENTS:
        passed.add(parent)
        chain.append({"pid": parent, "name": name_of(host, parent), "exe": _shown(exe_of(host, parent))})
        _, parent = status_of(host, parent)
    return chain


def hash_of(host: Host, pid: int) -> str | None:
    """The hash of what a process runs, also when its file is gone."""
    try:
        fd = os.open(f"{host.proc}/{pid}/exe", os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return None
    try:
        seen = os.fstat(fd)
        if not stat.S_ISREG(seen.st_mode) or seen.st_size > MOST_HASHED_BYTES:
            return None
        digest = hashlib.sha256()
        while part := os.read(fd, 1 << 20):
            digest.update(part)
    except OSError:
        return None
    finally:
        os.close(fd)
    return digest.hexdigest()


def sockets_of(host: Host, pid: int) -> set[int]:
    """Inodes of a process's sockets."""
    found = set()
    try:
        with os.scandir(f"{host.proc}/{pid}/fd") as entries:
            for entry, _ in zip(entries, range(MOST_FDS), strict=False):
                inode = socket_inode(entry.path)
                if inode is not None:
                    found.add(inode)
    except OSError:
        pass
    return found


def socket_inode(link: str) -> int | None:
    """The socket that a /proc/PID/fd entry is; None when it is none."""
    try:
        target = os.readlink(link)
    except OSError:
        return None
    return int(target[8:-1]) if target.startswith("socket:[") and target[8:-1].isdigit() else None


def owner_of_socket(host: Host, inode: int) -> int | None:
    """The process that has a socket; of several that share it the oldest, for it made it."""
    try:
        pids = sorted(int(name) for name in os.listdir(host.proc) if name.isdigit())
    except OSError:
        return None
    holders = [pid for pid in pids if inode in sockets_of(host, pid)]
    # process 1 has what it made for others
    return next((pid for pid in holders if pid != 1), holders[0] if holders else None)


def is_of_package(host: Host, packages: Packages, runs: Runs, pid: int, exe: str) -> bool:
    """Whether a program is a package's: the file of now, or the one that an upgrade has replaced since it started.

    Whoever puts a file of his own into such a place for a moment, and the package's back, is not taken for it.
    """
    path = exe.removesuffix(DELETED)
    if packages.owner(path) is None:
        return False
    if path == exe:
        return True
    started = started_at(host, pid)
    return started is not None and runs.since(started)


def started_at(host: Host, pid: int) -> float | None:
    """When a process was started, in seconds of the wall clock; None for one that has ended.

    The time of its folder is none: the kernel makes that anew whenever it has forgotten it.
    """
    try:
        process = parse_stat(read_line(f"{host.proc}/{pid}/stat"))
        booted = _BOOTED.search(read(f"{host.proc}/stat"))
    except OSError:
        return None
    if process is None or booted is None:
        return None
    return int(booted[1]) + process.started / os.sysconf("SC_CLK_TCK")


def describe(host: Host, packages: Packages, pid: int) -> dict[str, Any]:
    """Evidence for a process, as it is at this moment."""
    exe = exe_of(host, pid)
    uid, _ = status_of(host, pid)
    place = place_of(host, pid)
    inodes = sockets_of(host, pid)
    open_ = [each for each in connections(f"{host.proc}/{pid}/net") if each.inode in inodes] if inodes else []
    path = (exe or "").removesuffix(DELETED)
    owner = packages.owner(path) if path.startswith("/") and place.container is None else None
    return {
        "pid": pid,
        "name": name_of(host, pid),
        "exe": _shown(exe),
        "sha256": hash_of(host, pid),
        "package": owner.package if owner else None,
        "uid": uid,
        "user": user_name(host, uid),
        "unit": place.unit,
        "container": place.container,
        "parents": parents(host, pid),
        "sockets": [_connection(each) for each in open_[:MOST_SOCKETS]],
    }


def user_name(host: Host, uid: int | None) -> str | None:
    """A user's name from /etc/passwd, the uid where it has none."""
    return None if uid is None else _name(host, "/etc/passwd", uid)


def group_name(host: Host, gid: int) -> str:
    """A group's name from /etc/group, the gid where it has none."""
    return _name(host, "/etc/group", gid)


def _name(host: Host, path: str, number: int) -> str:
    try:
        text = host.read(path, 1 << 20)
    except OSError:
        return str(number)
    for line in text.split(b"\n"):
        fields = line.split(b":")
        if len(fields) > 2 and fields[2] == b"%d" % number:
            return safe(fields[0], 64)
    return str(number)


def _connection(each: Connection) -> dict[str, Any]:
    return {"protocol": each.protocol, "local": each.local, "remote": each.remote, "state": each.state}


def _shown(exe: str | None) -> str | None:
    return None if exe is None else safe(exe, 512)
