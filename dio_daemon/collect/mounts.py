"""Which filesystems a host has that can fill up.

The agent's own view is false: its sandbox mounts read-only binds and empty tmpfs over /home, /tmp and others.
So the mounts are those of process 1 (`/proc/1/mountinfo`), and their paths are walked from its root
(`/proc/1/root`). Where that is not allowed, the agent's own view is the next best.

Of what is mounted, left out are: what holds no files of the host's own (pseudo filesystems, the layers of
containers), images that are always full (squashfs, iso9660), automount points (a look would mount them), what
lies hidden below a later mount, and every further mount of a filesystem that has one already. `/` is always
in.
"""

# The functions of os cost a tenth of those of pathlib, and this runs at every sample.
# ruff: noqa: PTH116

import os
import re
from dataclasses import dataclass, replace

from dio_daemon.collect.procfs import Roots, read

PSEUDO = frozenset(
    b"aufs autofs binder binfmt_misc bpf cgroup cgroup2 configfs cramfs debugfs devpts devtmpfs efivarfs"
    b" erofs fuse.gvfsd-fuse fuse.lxcfs fuse.portal fuse.snapfuse fusectl hugetlbfs iso9660 mqueue nfsd nsfs"
    b" overlay proc pstore ramfs resctrl rootfs rpc_pipefs securityfs selinuxfs squashfs"
    b" sysfs tracefs".split()
)
"""Types of filesystems that say nothing about the host's room."""

TEMPORARY = frozenset({b"tmpfs", b"ramfs"})

_PROMPT = frozenset({b"ext2", b"ext3", b"ext4", b"xfs", b"btrfs", b"f2fs", b"tmpfs", b"ramfs"})
"""Types whose figures the kernel keeps in memory."""
_PROMPT_ROOT = _PROMPT | {b"overlay"}

_NOT_UNDER = re.compile(
    rb"/(dev|proc|sys|snap|run/credentials|var/lib/docker/.+|var/lib/containers/storage/.+)(/|$)"
)
_NO_TMPFS_UNDER = re.compile(rb"/(run/.+|var/lib/kubelet/.+|var/lib/docker/.+)$")
_OCTAL = re.compile(rb"\\([0-7]{3})")


@dataclass(frozen=True)
class Mount:
    """One filesystem and the place where it is looked at."""

    path: bytes
    device: bytes
    fstype: bytes
    prompt: bool = False
    """Whether statvfs(2) of it needs nothing but memory: it never hangs, whatever the disk does."""


@dataclass(frozen=True)
class _Line:
    """One line of a mountinfo."""

    mount_id: int
    parent_id: int
    number: bytes  # major:minor
    inner: bytes  # the folder of the filesystem that is mounted; "/" but for binds
    mount: Mount


class Mounts:
    """The mounts of process 1, or the agent's own where those are out of reach."""

    def __init__(self, roots: Roots) -> None:
        self._roots = roots
        self._text = b""
        self._mounts: list[Mount] = []

    def read(self) -> tuple[list[Mount], bytes]:
        """Return the mounts, `/` first, and the prefix that their paths are reached by.

        Raises OSError when not even the agent's own mounts can be read.
        """
        text, prefix = self._source()
        if text != self._text:  # they seldom change, and there may be thousands
            self._text, self._mounts = text, select(parse(text))
        return self._mounts, prefix

    def _source(self) -> tuple[bytes, bytes]:
        first = f"{self._roots.proc}/1"
        try:
            text = read(f"{first}/mountinfo")
            os.stat(f"{first}/root/")
        except OSError:
            own = f"{self._roots.proc}/self"
            return read(f"{own}/mountinfo"), os.fsencode(f"{own}/root")
        return text, os.fsencode(f"{first}/root")


def parse(text: bytes) -> list[_Line]:
    """Return the lines of a mountinfo that are well formed (proc_pid_mountinfo(5))."""
    lines = []
    for raw in text.split(b"\n"):
        left, _, right = raw.partition(b" - ")
        fields, tail = left.split(b" "), right.split(b" ")
        if len(fields) < 6 or len(tail) < 2 or not (fields[0].isdigit() and fields[1].isdigit()):
            continue
        mount = Mount(path=_unescape(fields[4]), device=_unescape(tail[1]), fstype=_unescape(tail[0]))
        lines.append(_Line(int(fields[0]), int(fields[1]), fields[2], _unescape(fields[3]), mount))
    return lines


def select(lines: list[_Line]) -> list[Mount]:
    """Return one mount for each filesystem that counts: `/` first, what is in memory last."""
    best: dict[bytes, tuple[tuple[bool, bool, int], Mount]] = {}
    top = {line.mount.path: line for line in lines}  # of mounts on one path the last is seen
    for line in _visible(lines, top):
        mount = line.mount
        if not _counts(mount):
            continue
        # Of several mounts of one filesystem: `/`, then the one of its whole, then the shortest path.
        rank = (mount.path != b"/", line.inner != b"/", len(mount.path))
        if line.number not in best or rank < best[line.number][0]:
            best[line.number] = (rank, replace(mount, prompt=_is_prompt(line, top)))
    return sorted((mount for _, mount in best.values()), key=_order)


def _order(mount: Mount) -> tuple[bool, bool, int, bytes]:
    return (mount.path != b"/", mount.fstype in TEMPORARY, mount.path.count(b"/"), mount.path)


def _counts(mount: Mount) -> bool:
    if mount.path == b"/":
        return True
    if mount.fstype in PSEUDO or _NOT_UNDER.match(mount.path):
        return False
    return not (mount.fstype in TEMPORARY and _NO_TMPFS_UNDER.match(mount.path))


def _is_prompt(line: _Line, top: dict[bytes, _Line]) -> bool:
    """Whether a look at a mount, and the way to it, needs memory alone: where a mount is, the kernel has its path."""
    at: _Line | None = line
    while at is not None:
        if at.mount.fstype not in (_PROMPT_ROOT if at.mount.path == b"/" else _PROMPT):
            return False
        at = _around(at.mount.path, top)
    return True


def _visible(lines: list[_Line], top: dict[bytes, _Line]) -> list[_Line]:
    """Return the lines that no later mount hides: those that their paths lead to."""
    by_id = {line.mount_id: line for line in lines}
    seen: dict[bytes, bool] = {}
    for path, line in sorted(top.items(), key=lambda item: len(item[0])):  # what is around comes first
        parent = by_id.get(line.parent_id)
        passed = {line.mount_id}
        while parent and parent.mount.path == path and parent.mount_id not in passed:
            passed.add(parent.mount_id)  # the mount that this one was put on top of
            parent = by_id.get(parent.parent_id)
        around = _around(path, top)
        # It was mounted in `parent`; when another mount is around its path now, that one hides it.
        seen[path] = parent is None or around is None or (parent is around and seen[around.mount.path])
    return [line for path, line in top.items() if seen[path]]


def _around(path: bytes, top: dict[bytes, _Line]) -> _Line | None:
    """Return the mount that a path, itself left out, leads through last."""
    while path != b"/":
        path = path.rpartition(b"/")[0] or b"/"
        if path in top:
            return top[path]
    return None


def _unescape(field: bytes) -> bytes:
    return _OCTAL.sub(lambda match: bytes([int(match[1], 8) & 0xFF]), field)
