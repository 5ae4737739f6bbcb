"""Whatever becomes of a drill, nothing of it stays: its files are known by their names, its processes by a word in
their environment.

A guard is started with each drill and waits until that is gone, by itself or because it was killed; then it ends what
runs still and removes what is there still. What even the guard could not undo (the power failed), the next drill does.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

WORD = "dio-drill"
MARK = "DIO_DRILL"
"""The variable in the environment of all that a drill starts; its value is the drill's own."""
FILES = (
    f"etc/cron.d/{WORD}",
    f"etc/systemd/system/{WORD}.service",
    f"etc/profile.d/{WORD}.sh",
    f"etc/sudoers.d/{WORD}",
    f"etc/udev/rules.d/99-{WORD}.rules",
    f"usr/local/bin/{WORD}",
)
FOLDERS = ("tmp", "usr/local/lib")
"""Where it makes folders of its own, each with the word and something random as its name."""
GUARD_S = 10.0


def remove(root: Path) -> int:
    """Remove the files and folders of drills below `root`; how many there were."""
    count = 0
    for path in (root / name for name in FILES):
        with suppress(OSError):
            path.unlink()
            count += 1
    for path in (found for folder in FOLDERS for found in (root / folder).glob(f"{WORD}-*")):
        with suppress(OSError):
            if path.lstat().st_uid == os.geteuid():  # anybody may make one of that name in /tmp
                shutil.rmtree(path)
                count += 1
    return count


def end(mark: str, proc: Path) -> int:
    """Kill the processes of the drill with this mark; how many there were."""
    wanted, count = os.fsencode(f"{MARK}={mark}"), 0
    for path in proc.glob("[0-9]*"):
        with suppress(OSError):
            if int(path.name) != os.getpid() and wanted in (path / "environ").read_bytes().split(b"\0"):
                os.kill(int(path.name), signal.SIGKILL)
                count += 1
    return count


@contextmanager
def guarded(root: Path) -> Iterator[None]:
    """Mark all that this process starts from now on, and have a guard wait for its end.

    Args:
        root: the folder that stands for `/`.
    """
    mark = f"{os.getpid()}-{os.urandom(8).hex()}"
    guard = subprocess.Popen(
        [sys.executable, "-I", __file__, mark, str(root)], stdin=subprocess.PIPE, start_new_session=True
    )
    os.environ[MARK] = mark
    try:
        yield
    finally:
        del os.environ[MARK]
        if guard.stdin is not None:
            guard.stdin.close()
        with suppress(subprocess.TimeoutExpired):
            guard.wait(GUARD_S)


def guard(mark: str, drill: IO[bytes], root: Path, proc: Path) -> None:
    """Wait until the drill is gone, which closes its end of this pipe, and clear up after it."""
    drill.read()
    end(mark, proc)
    remove(root)


if __name__ == "__main__":
    guard(sys.argv[1], sys.stdin.buffer, Path(sys.argv[2]), Path("/proc"))
