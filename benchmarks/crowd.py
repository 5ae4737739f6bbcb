"""A host with so many processes, and nothing else going on as far as that can be had."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_START_S = 120.0
_FORK = 'for number in $(seq "$1"); do sleep 100000 & done; wait'


_APART = "DIO_BENCH_APART"
_CALM = (
    'ip link set lo up && for at in /tmp /var/tmp /dev/shm; do mount -t tmpfs tmpfs $at; done && exec "$@"'
)


def go_apart(module: str) -> None:
    """Start this program again where it sees no other processes, sockets and temporary files: as root, in namespaces.

    What else the machine does would be sampled, judged and told. Elsewhere it goes on as it is, and says so.
    """
    if os.environ.get(_APART):
        return
    if os.geteuid() != 0:
        print("Not run as root: what else this machine does is in the agent's figures.")
        return
    new = ["unshare", "--pid", "--net", "--mount", "--fork", "--mount-proc", "--kill-child"]
    command = [*new, "sh", "-c", _CALM, "sh", sys.executable, "-m", module, *sys.argv[1:]]
    raise SystemExit(subprocess.run(command, env={**os.environ, _APART: "1"}, check=False).returncode)


def alive() -> int:
    """How many processes there are."""
    return sum(entry.name.isdigit() for entry in Path("/proc").iterdir())


@contextmanager
def crowd(least: int) -> Iterator[int]:
    """Have at least so many processes alive; gives how many there are. Raises TimeoutError."""
    missing = least - alive() - 1  # the shell is one of them
    if missing <= 0:
        yield alive()
        return
    shell = subprocess.Popen(["sh", "-c", _FORK, "sh", str(missing)], start_new_session=True)
    try:
        deadline, never = time.monotonic() + _START_S, threading.Event()
        while (there := alive()) < least:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{there} of {least} processes started within {_START_S:g} s")
            never.wait(0.1)
        yield there
    finally:
        os.killpg(shell.pid, signal.SIGKILL)
        shell.wait()
