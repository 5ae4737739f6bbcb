"""What goes wrong with disks, done to the files of a process: full, forbidden, damaged, rolled back.

Root writes wherever it likes. `OBEDIENT` starts a process that has to respect permissions even as root.
"""

import contextlib
import os
import resource
import shutil
import signal
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

OBEDIENT = (
    ["setpriv", "--bounding-set=-dac_override,-dac_read_search,-fowner", "--inh-caps=-all", "--"]
    if os.geteuid() == 0
    else []
)
SUFFIXES = ("", "-wal", "-shm")


@contextmanager
def limited(what: int, most: Mapping[int, int]) -> Iterator[None]:
    """Processes (keys) may have no more of a resource (`resource.RLIMIT_*`) than the values say."""
    before = {pid: resource.prlimit(pid, what) for pid in most}
    for pid, (_, hard) in before.items():
        resource.prlimit(pid, what, (most[pid], hard))
    try:
        yield
    finally:
        for pid, limits in before.items():
            with contextlib.suppress(ProcessLookupError):
                resource.prlimit(pid, what, limits)


@contextmanager
def full(pids: Iterable[int]) -> Iterator[None]:
    """No file of these processes may grow beyond 4 KiB: less than one commit of SQLite takes."""
    with limited(resource.RLIMIT_FSIZE, dict.fromkeys(pids, 4096)):
        yield


@contextmanager
def forbidden(folder: Path) -> Iterator[None]:
    """Nothing in a folder may be written, nor may the folder; what was allowed is so again at the end."""
    paths = [folder, *folder.iterdir()]
    modes = {path: path.stat().st_mode & 0o7777 for path in paths}
    for path, mode in modes.items():
        path.chmod(mode & ~0o222)
    try:
        yield
    finally:
        for path, mode in modes.items():
            with contextlib.suppress(FileNotFoundError):
                path.chmod(mode)


def files_of(database: Path) -> list[Path]:
    """A SQLite database and the files beside it, as far as they are there."""
    return [path for suffix in SUFFIXES if (path := Path(str(database) + suffix)).exists()]


def written(path: Path) -> int:
    """Bytes of a file up to the last that is not zero: the log of a spool is reserved, its end is still empty."""
    return len(path.read_bytes().rstrip(b"\0"))


def damage(database: Path, kind: str) -> None:
    """`delete`, `truncate` (to half) or `zero` (whole file) a database."""
    if kind == "delete":
        for path in files_of(database):
            path.unlink()
    elif kind == "truncate":
        os.truncate(database, database.stat().st_size // 2)
    else:
        for path in files_of(database):
            if not path.name.endswith("-shm"):
                with path.open("r+b") as file:
                    file.write(b"\0" * path.stat().st_size)


@contextmanager
def frozen(groups: Iterable[int]) -> Iterator[None]:
    """Stop whole process groups for a while."""
    stopped = list(groups)
    for group in stopped:
        os.killpg(group, signal.SIGSTOP)
    try:
        yield
    finally:
        for group in stopped:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(group, signal.SIGCONT)


def snapshot(database: Path, target: Path, groups: Iterable[int]) -> None:
    """Copy a database's files as they are at one moment, as a loss of power would leave them."""
    target.mkdir()
    with frozen(groups):
        for path in files_of(database):
            shutil.copy2(path, target / path.name)


def restore(database: Path, source: Path) -> None:
    """Put a snapshot in the place of the files that are there."""
    for path in files_of(database):
        path.unlink()
    for path in source.iterdir():
        shutil.copy2(path, database.with_name(path.name))
