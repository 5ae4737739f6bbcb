"""Run a command on this machine, and wait for a condition: the two things everything here is made of."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from typing import TypeVar

T = TypeVar("T")
_never = threading.Event()


class CommandFailedError(AssertionError):
    """A command ended with an exit status other than 0, or did not end in time."""


def run(command: Sequence[str], *, timeout_s: float = 120.0, check: bool = True, stdin: str = "") -> str:
    """Run `command` and return its standard output; it gets `stdin` and nothing else to read.

    Raises CommandFailedError with all that it printed.
    """
    return run_full(command, timeout_s=timeout_s, check=check, stdin=stdin).stdout


def run_full(
    command: Sequence[str], *, timeout_s: float = 120.0, check: bool = True, stdin: str = ""
) -> subprocess.CompletedProcess[str]:
    """Like `run`, but returns exit status, standard output and standard error."""
    try:
        done = subprocess.run(
            command,
            input=stdin,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout_s,
            check=False,
        )
    except subprocess.TimeoutExpired as late:
        raise CommandFailedError(
            f"{list(command)} did not end within {timeout_s} s\n{late.stdout!r}\n{late.stderr!r}"
        ) from late
    if check and done.returncode != 0:
        raise CommandFailedError(
            f"{list(command)} exited with {done.returncode}\n--- stdout\n{done.stdout}\n--- stderr\n{done.stderr}"
        )
    return done


def wait_for(what: str, condition: Callable[[], T], *, within_s: float, every_s: float = 0.2) -> T:
    """Poll `condition` until it returns something true, and return that.

    Raises AssertionError that names `what` and the last answer when it does not within `within_s` seconds.
    """
    end = time.monotonic() + within_s
    while True:
        answer = condition()
        if answer:
            return answer
        if time.monotonic() >= end:
            raise AssertionError(f"not within {within_s} s: {what} (last answer: {answer!r})")
        _never.wait(every_s)
