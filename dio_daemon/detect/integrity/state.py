"""One file as it is: what is compared, and a hash of its content within a budget.

Nothing here waits: FIFOs and devices are never opened, a symbolic link is not followed, a file that is swapped for
something else between two looks is taken as vanished.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
import struct
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from dio_daemon.detect.integrity.host import Host

MOST_HASHED_BYTES = 4 << 20
"""Of a larger file the size and the times alone are compared."""
MOST_COMPARED_BYTES = 256 << 20
"""A larger file is not compared with its package."""
PIECE_BYTES = 1 << 18


GONE = frozenset((errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG))
"""What the kernel says of what is not there; with anything else it does not say whether it is."""


_STAMP = struct.Struct("=QQQ")
_MASK = (1 << 64) - 1


@dataclass(frozen=True, slots=True)
class FileState:
    """What a file is, by `lstat`, and its content's hash where it was read.

    `stamp` is inode, mtime and ctime: as long as it stays, so does the content. It is no part of what a change is.
    There are thousands of these, so stamp and hash are kept as bytes.
    """

    kind: str  # file, link, other
    mode: int
    uid: int
    gid: int
    size: int
    sha256: bytes | None
    target: str | None
    stamp: bytes

    @property
    def mtime_ns(self) -> int:
        """When the content changed last, in nanoseconds."""
        return _signed(_STAMP.unpack(self.stamp)[1])

    @property
    def ctime_ns(self) -> int:
        """When anything of it changed last, in nanoseconds."""
        return _signed(_STAMP.unpack(self.stamp)[2])

    def same(self, other: FileState | None) -> bool:
        """Whether nothing that matters differs."""
        if other is None or self.kind != other.kind or self.target != other.target:
            return False
        if (self.mode, self.uid, self.gid) != (other.mode, other.uid, other.gid) and self.kind != "link":
            return False
        if self.kind != "file":
            return True
        if self.sha256 is not None and other.sha256 is not None:
            return self.sha256 == other.sha256
        return self.size == other.size and self.mtime_ns == other.mtime_ns

    def is_as(self, seen: os.stat_result) -> bool:
        """Whether the file is as it was when this was seen; inode and times tell of any change."""
        return (
            self.stamp == stamp_of(seen.st_ino, seen.st_mtime_ns, seen.st_ctime_ns)
            and self.size == seen.st_size
            and self.kind == kind_of(seen)
        )

    def lacks_hash(self, hashed: bool) -> bool:
        """Whether its content is to be compared (`hashed`), and could not be read."""
        return hashed and self.kind == "file" and self.sha256 is None

    def shown(self) -> dict[str, Any]:
        """For evidence."""
        shown: dict[str, Any] = {
            "kind": self.kind,
            "mode": f"{self.mode:04o}",
            "uid": self.uid,
            "gid": self.gid,
            "size": self.size,
            "sha256": None if self.sha256 is None else self.sha256.hex(),
        }
        if self.target is not None:
            shown["target"] = self.target
        return shown

    def kept(self) -> list[Any]:
        """As JSON, for the disk."""
        sha256 = None if self.sha256 is None else self.sha256.hex()
        state = (self.kind, self.mode, self.uid, self.gid, self.size, sha256, self.target)
        return [*state, _STAMP.unpack(self.stamp)[0], self.mtime_ns, self.ctime_ns]


def stamp_of(inode: int, mtime_ns: int, ctime_ns: int) -> bytes:
    """The stamp of a file; a time before 1970 is a large number in it, as the kernel's own are."""
    return _STAMP.pack(inode & _MASK, mtime_ns & _MASK, ctime_ns & _MASK)


def _signed(number: int) -> int:
    return number - (1 << 64) if number >> 63 else number


def kind_of(seen: os.stat_result) -> str:
    """What a file is: file, link, or other."""
    return "file" if stat.S_ISREG(seen.st_mode) else "link" if stat.S_ISLNK(seen.st_mode) else "other"


def from_kept(row: Any) -> FileState:
    """What `kept` gave. Raises ValueError."""
    if not isinstance(row, list) or len(row) != 10:
        raise ValueError("no state of a file")
    kind, mode, uid, gid, size, sha256, target, *stamp = row
    numbers = (mode, uid, gid, size, *stamp)
    if not isinstance(kind, str) or not all(isinstance(each, int) for each in numbers):
        raise ValueError("no state of a file")
    if not all(each is None or isinstance(each, str) for each in (sha256, target)):
        raise ValueError("no state of a file")
    digest = None if sha256 is None else bytes.fromhex(sha256)
    return FileState(sys.intern(kind), mode, uid, gid, size, digest, target, stamp_of(*stamp))


@dataclass(frozen=True)
class Look:
    """A state, and the content when it was read and is small enough to be compared as text."""

    state: FileState
    content: bytes | None = None
    read_bytes: int = 0


def examine(host: Host, path: str, known: FileState | None, hashed: bool, keep_bytes: int = 0) -> Look | None:
    """Look at a file; None when there is none, or when it is a folder. Raises OSError where that cannot be told.

    Args:
        host: whose file.
        path: its path.
        known: its last state: with the same stamp its hash is taken over.
        hashed: whether the content is read where it is not known.
        keep_bytes: of a content up to this size a copy is returned.
    """
    real = host.at(path)
    try:
        seen = os.lstat(real)
    except ValueError:
        return None
    except OSError as error:
        if error.errno not in GONE:
            raise
        return None
    if stat.S_ISDIR(seen.st_mode):
        return None
    kind = kind_of(seen)
    sha256 = target = content = None
    count = 0
    if known is not None and known.is_as(seen) and not known.lacks_hash(hashed):
        return Look(known)
    if kind == "link":
        try:
            target = os.readlink(real)
        except OSError:
            return None
    elif kind == "file" and hashed and seen.st_size <= MOST_HASHED_BYTES:
        data = read_regular(real)
        if data is not None:
            count = len(data)
            sha256 = hashlib.sha256(data).digest()
            content = data if count <= keep_bytes else None
    stamp = stamp_of(seen.st_ino, seen.st_mtime_ns, seen.st_ctime_ns)
    state = FileState(
        kind, stat.S_IMODE(seen.st_mode), seen.st_uid, seen.st_gid, seen.st_size, sha256, target, stamp
    )
    return Look(state, content, count)


def text_of(host: Host, path: str, state: FileState, most: int) -> bytes | None:
    """The content, of at most so many bytes, of a file that is as `state` says still."""
    try:
        look = examine(host, path, None, True, most)
    except OSError:
        return None
    return look.content if look is not None and look.state.same(state) else None


def read_start(path: str, limit: int) -> bytes:
    """The first bytes of a regular file; none of what is no such file or cannot be read."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except (OSError, ValueError):
        return b""
    try:
        return os.read(fd, limit) if stat.S_ISREG(os.fstat(fd).st_mode) else b""
    except OSError:
        return b""
    finally:
        os.close(fd)


def read_regular(path: str, limit: int = MOST_HASHED_BYTES) -> bytes | None:
    """The content of a regular file, None when it is no such file, too large, or cannot be read."""
    parts: list[bytes] = []
    return b"".join(parts) if _read_into(parts.append, path, limit) else None


def md5_of(path: str, limit: int = MOST_COMPARED_BYTES) -> str | None:
    """The MD5 of a regular file's content, as packages have it; None as for `read_regular`.

    A piece at a time: programs of a hundred megabytes are not taken into memory for it.
    """
    digest = hashlib.md5(usedforsecurity=False)
    return digest.hexdigest() if _read_into(digest.update, path, limit) else None


def _read_into(take: Callable[[bytes], object], path: str, limit: int) -> bool:
    """Give the content of a regular file to `take`, a piece at a time; whether that was all of it."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except (OSError, ValueError):
        return False
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            return False
        left = limit + 1
        while left > 0 and (part := os.read(fd, min(left, PIECE_BYTES))):
            take(part)
            left -= len(part)
    except OSError:
        return False
    finally:
        os.close(fd)
    return left > 0
