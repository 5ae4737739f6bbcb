"""A host with so many processes: what they do is sleep."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_START_S = 120.0
_FORK = 'for number in $(seq "$1"); do sleep 100000 & done; wait'


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
