"""A program run as systemd would run a `Type=notify` service, as far as a terminal needs it.

It gets a notify socket; what it says there is printed. Its output goes to a log file. It runs in a session of
its own, so that Ctrl-C reaches only the one who stops it, in order; and it gets SIGTERM when that one is
killed.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import threading
from pathlib import Path
from types import TracebackType

STOP_S = 20
PR_SET_PDEATHSIG = 1
LAST_LINES = 20


def say(text: str) -> None:
    """Print a line at once; nobody may be there to read it any more."""
    with contextlib.suppress(BrokenPipeError):
        print(text, flush=True)


class Service:
    """One running program; a context manager that stops it."""

    def __init__(self, name: str, command: list[str], logs: Path, sockets: Path) -> None:
        self.name = name
        self.status = "starting"
        """What it said last in STATUS=."""
        self._ready = threading.Event()
        self._quiet = threading.Event()
        self._log = logs / f"{name.replace(' ', '-')}.log"
        address = sockets / f"{name.replace(' ', '-')}.notify"
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(address))
        libc = ctypes.CDLL(None, use_errno=True)

        def end_with_parent() -> None:
            libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)

        say(f"{name}: starting {command[0]} (log: {self._log})")
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, "NOTIFY_SOCKET": str(address)},
                start_new_session=True,
                preexec_fn=end_with_parent,  # noqa: PLW1509 - it calls into the kernel and takes no lock
            )
        self._listener = threading.Thread(target=self._listen, name=f"notify {name}", daemon=True)
        self._listener.start()

    def __enter__(self) -> Service:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop it: SIGTERM, and SIGKILL when that is not enough."""
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                say(f"{self.name}: did not stop within {STOP_S} s and is killed")
                self._process.kill()
                self._process.wait()
            say(f"{self.name}: stopped, exit code {self._process.returncode}")
        self._quiet.set()
        self._socket.shutdown(socket.SHUT_RDWR)
        self._listener.join()
        self._socket.close()

    def wait_ready(self, timeout_s: float) -> bool:
        """Wait for READY=1; True when it has come."""
        return self._ready.wait(timeout_s)

    def ended(self) -> int | None:
        """Return its exit code, None while it runs."""
        return self._process.poll()

    def last_lines(self) -> str:
        """Return the end of its log, for people."""
        lines = self._log.read_text(errors="backslashreplace").splitlines()[-LAST_LINES:]
        return "\n".join(f"    {line}" for line in lines) or "    (it wrote nothing)"

    def _listen(self) -> None:
        while message := self._socket.recv(65536):
            for line in message.decode("utf-8", "replace").splitlines():
                key, _, value = line.partition("=")
                if key == "READY" and not self._ready.is_set():
                    say(f"{self.name}: READY")
                    self._ready.set()
                elif key == "STATUS":
                    self.status = value
                    if not self._ready.is_set() and not self._quiet.is_set():
                        say(f"{self.name}: STATUS {value}")
