"""dioctl as a test runs it."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

from tests.support.control import Socket

ROOT = Path(__file__).resolve().parents[2]


class Said:
    """What a command printed, and its exit code."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err


def process(running: Socket, *arguments: str, terminal_: bool = False, **environ: str) -> tuple[int, str]:
    """Exit code and output of dioctl as a process of its own, its output piped or a terminal."""
    command = [sys.executable, "-m", "dio_daemon.ctl", "--socket", str(running.path), *arguments]
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "TERM": "xterm"} | environ
    if not terminal_:
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=60, check=False
        )
        return done.returncode, done.stdout + done.stderr
    mine, its = pty.openpty()
    with subprocess.Popen(command, env=environment, stdin=its, stdout=its, stderr=its) as child:
        os.close(its)
        said = b""
        while True:
            try:
                piece = os.read(mine, 65536)
            except OSError:  # the other end was closed
                break
            if not piece:
                break
            said += piece
    os.close(mine)
    return child.returncode, said.decode().replace("\r\n", "\n")
