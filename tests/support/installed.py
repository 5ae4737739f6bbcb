"""A nerve center from its package, on a booted host, in place of the one of the source tree.

Tests of pages and of the API run on it where `DIO_CENTER_PID` names the host's PID 1. They must run as root, in the
host's network, and the nerve center must listen on `DIO_CENTER_ADDRESS`. `DIO_NEW_HOST_PID` names a host that has the
agent's package in /srv/deb, not installed, and is enrolled by the commands that the page shows.
"""

from __future__ import annotations

import os
import subprocess
import urllib.request

from tests.support.processes import wait_for

THERE = "DIO_CENTER_PID" in os.environ
_UNITS = ("dio-nerve-center", "dio-nerve-center-keeper")
_SPACES = ("-m", "-u", "-i", "-n", "-p", "-C", "-r", "-w", "--")
_ENVIRONMENT = (
    "env",
    "-i",
    "PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "LANG=C.UTF-8",
    "HOME=/root",
)


class InstalledCenter:
    """The nerve center on a host."""

    def __init__(self) -> None:
        """Raises KeyError where the environment does not name it."""
        self._pid, self._new_host = os.environ["DIO_CENTER_PID"], os.environ["DIO_NEW_HOST_PID"]
        self.url = f"http://{os.environ['DIO_CENTER_ADDRESS']}:8000"

    def control(self, *arguments: str, stdin: str = "") -> str:
        """What nervectl prints; fails where it fails."""
        return _on(self._pid, "nervectl", *arguments, stdin=stdin)

    def token(self) -> str:
        """The enrollment token of its file."""
        return self.control("token", "show").strip()

    def start(self) -> None:
        _on(self._pid, "systemctl", "start", *_UNITS)

    def kill(self) -> None:
        """Kill it, and let systemd not start it again."""
        _on(self._pid, "systemctl", "kill", "-s", "KILL", *_UNITS)
        _on(self._pid, "systemctl", "stop", *_UNITS)

    def healthy(self) -> None:
        """Wait until it says so."""
        wait_for(self._answers, "the nerve center is healthy")

    def enroll(self, commands: list[str]) -> str:
        """Type commands on the new host, as they stand; returns its name."""
        for command in commands:
            _on(self._new_host, "sh", "-c", f"cd /srv/deb\n{command}")
        return _on(self._new_host, "hostname").strip()

    def close(self) -> None:
        """It stays as it is."""

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(self.url + "/health", timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False


def _on(pid: str, *command: str, stdin: str = "") -> str:
    """Run a command on a booted host, as root."""
    inside = ("nsenter", "-t", pid, *_SPACES, *_ENVIRONMENT)
    done = subprocess.run([*inside, *command], check=False, capture_output=True, text=True, input=stdin)
    assert done.returncode == 0, (command, done.stdout, done.stderr)
    return done.stdout
