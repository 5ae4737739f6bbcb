"""Where the host's files are, seen from inside the agent's sandbox.

The sandbox has a /tmp of its own and hides others' processes from what is not privileged; process 1 has neither. So
files are reached through `/proc/1/root` where that is allowed, and through `/` where not.
"""

from __future__ import annotations

import errno
import os

from dio_daemon.collect.mounts import parse
from dio_daemon.collect.procfs import read

REMOTE = frozenset(
    b"9p afs autofs beegfs ceph cifs coda davfs fuse glusterfs gpfs lustre ncpfs nfs nfs4 ocfs2 orangefs smb3"
    b" smbfs virtiofs".split()
)
"""Types of filesystems that another machine or a process answers for: a look at them may never return."""

HIDDEN = frozenset(
    b"bpf binfmt_misc cgroup cgroup2 configfs debugfs devpts efivarfs fusectl hugetlbfs mqueue nsfs proc pstore"
    b" rpc_pipefs securityfs selinuxfs squashfs sysfs tracefs".split()
)
"""Types of filesystems that hold no files of the host's own."""

CONTAINERS = (
    "/var/lib/docker/",
    "/var/lib/containerd/",
    "/var/lib/containers/",
    "/var/lib/kubelet/",
    "/var/lib/lxc/",
    "/var/lib/lxd/",
    "/var/lib/incus/",
    "/var/lib/machines/",
    "/var/lib/schroot/",
    "/var/cache/pbuilder/",
    "/snap/",
)
"""Folders of other systems' files."""

OUT_OF_BREATH = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOMEM))
"""Errors that say nothing of what was to be opened: this process, or the whole host, has nothing left for it."""

SPARE_FDS = 16
"""A look opens a few files at a time; the agent's other threads open theirs meanwhile."""

_SERVICE_HOMES = ("/var/", "/srv/", "/opt/", "/home/")
_NO_SHELLS = (b"", b"nologin", b"false", b"sync")


class Host:
    """Paths of the host as paths that can be opened.

    Args:
        root: the folder that the host's `/` is; empty for the agent's own.
        proc: where the host's processes are.
    """

    def __init__(self, root: str = "", proc: str = "/proc") -> None:
        self.root = root.rstrip("/")
        self.proc = proc
        self._skipped: tuple[str, ...] = ()
        self._mounted = b""
        self.mounts = 0
        """Another number whenever mounts were seen to be others than before."""
        self.remount()

    def at(self, path: str) -> str:
        """The path that opens a file of the host."""
        return self.root + path

    def read(self, path: str, limit: int) -> bytes:
        """At most `limit` bytes of a file. Raises OSError."""
        return read(self.at(path), limit)

    def remount(self) -> None:
        """See anew which folders are not to be entered."""
        found = []
        for name in ("1", "self"):
            try:
                text = read(f"{self.proc}/{name}/mountinfo")
            except OSError:
                continue
            if text == self._mounted:
                return
            self._mounted = text
            self.mounts += 1
            for line in parse(text):
                kind = line.mount.fstype
                if kind in REMOTE or kind in HIDDEN or kind.startswith(b"fuse."):
                    found.append(os.fsdecode(line.mount.path).rstrip("/") + "/")
            break
        self._skipped = tuple(found)

    def off_limits(self, folder: str) -> bool:
        """Whether a folder is on a filesystem that is not looked at."""
        return (folder.rstrip("/") + "/").startswith(self._skipped) if self._skipped else False

    def foreign(self, folder: str) -> bool:
        """Whether a folder holds files of containers and other systems."""
        return (folder + "/").startswith(CONTAINERS)

    def homes(self, most: int = 500, services: bool = False) -> list[str]:
        """Homes of the accounts that have one, root's first.

        Args:
            most: so many at most.
            services: with those of system users who have a shell, such as a database's.
        """
        homes = {"/root": None}
        try:
            text = self.read("/etc/passwd", 1 << 20)
        except OSError:
            text = b""
        for line in text.split(b"\n"):
            fields = line.split(b":")
            if len(fields) < 7 or not fields[2].isdigit():
                continue
            home = os.fsdecode(fields[5]).rstrip("/")
            person = 1000 <= int(fields[2]) < 65534 or int(fields[2]) == 0
            shell = fields[6].strip().rpartition(b"/")[2]
            service = services and home.startswith(_SERVICE_HOMES) and shell not in _NO_SHELLS
            if (person and home.startswith("/")) or service:
                homes[home] = None
        try:
            with os.scandir(self.at("/home")) as entries:
                for entry in entries:
                    if len(homes) >= most:
                        break
                    if entry.is_dir(follow_symlinks=False):
                        homes[f"/home/{entry.name}"] = None
        except OSError:
            pass
        return [home for home in list(homes)[:most] if not self.off_limits(home)]


def seen_from_here(proc: str = "/proc") -> Host:
    """The host through process 1, or as it is when that may not be looked at."""
    root = f"{proc}/1/root"
    try:
        os.stat(f"{root}/etc/")
    except OSError:
        root = ""
    return Host(root, proc)


def can_look(fd: int) -> bool:
    """Whether this process may open some files more: without, all that is looked for would seem to be gone.

    Args:
        fd: an open descriptor, of which copies are made for a moment.
    """
    copies: list[int] = []
    try:
        while len(copies) < SPARE_FDS:
            copies.append(os.dup(fd))
    except OSError:
        return False
    finally:
        for copy in copies:
            os.close(copy)
    return True
