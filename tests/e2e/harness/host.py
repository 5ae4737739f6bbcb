"""One Debian host: a file system, booted by systemd-nspawn with systemd as PID 1.

The root is an overlay over one of `roots`. Commands run inside by nsenter; files are reached through
/proc/LEADER/root.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from . import nspawn
from .commands import CommandFailedError, run_full, wait_for
from .roots import CACHE, root

_ENVIRONMENT = ("env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8", "HOME=/root", "TERM=dumb")
_BOOTED = ("running", "degraded")


class Host:
    """A host of a test; boots when it is made, and must be closed."""

    def __init__(
        self,
        name: str,
        release: str,
        stage: str,
        network: str,
        *,
        address: str,
        files: dict[str, str] | None = None,
    ) -> None:
        """Prepare (not boot) a host on `stage` of `release` in the network namespace `network`.

        `files` are laid over its file system before the first boot: text, or "-> TARGET" for a symbolic link.
        """
        self.name = name
        self.release = release
        self._network = network
        self.address = address
        self._lower = root(release, stage)
        (CACHE / "run").mkdir(exist_ok=True)
        self._started: list[subprocess.Popen[str]] = []
        self._folder = Path(tempfile.mkdtemp(prefix=f"{name}-{os.getpid()}-", dir=CACHE / "run"))
        for part in ("upper", "work", "root"):
            (self._folder / part).mkdir()
        self.write("/etc/hostname", f"{name}\n")
        for path, text in (files or {}).items():
            self.write(path, text)
        self._nspawn: subprocess.Popen[bytes] | None = None

    # Life

    def boot(self, *, until: Callable[[], object] | None = None, within_s: float = 60.0) -> None:
        """Start it and wait until the boot is through, or until the given condition holds."""
        more = ["-b", "--console=read-only", "--resolv-conf=off", f"--hostname={self.name}"]
        with (self._folder / "console").open("ab") as console:
            self._nspawn = subprocess.Popen(
                [*self._on_overlay(), *more, f"--network-namespace-path={self._network}"],
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._wait_for_boot(until, within_s)

    def reboot(self, *, within_s: float = 60.0) -> None:
        """Reboot as an operator does, and wait until it is up again.

        systemd-nspawn with --keep-unit ends at a reboot and leaves starting it again to its caller.
        """
        assert self._nspawn is not None
        self.run("systemctl --no-block reboot")
        self._nspawn.wait(within_s)
        self.boot(within_s=within_s)

    def poweroff(self, *, within_s: float = 60.0) -> None:
        """Shut down in order."""
        assert self._nspawn is not None
        self.run("systemctl --no-block poweroff")
        self._nspawn.wait(within_s)
        self._nspawn = None

    def lose_power(self) -> None:
        """End everything on it at once, with no word to anybody; `boot` starts it again on the files that it left."""
        assert self._nspawn is not None
        os.kill(self.leader, signal.SIGKILL)
        self._nspawn.wait(20)
        self._nspawn = None
        nspawn.forget(_machine(self._folder))

    def offline(self, command: str, *, timeout_s: float = 600.0) -> str:
        """Run a shell command in its file system while it is not booted, with this machine's network."""
        assert self._nspawn is None
        more = ["--pipe", "--resolv-conf=bind-host", "--setenv=DEBIAN_FRONTEND=noninteractive"]
        return run_full([*self._on_overlay(), *more, "sh", "-c", command], timeout_s=timeout_s).stdout

    def close(self) -> None:
        """Power off, or kill what does not go, and remove its files."""
        if self._nspawn is not None and self._nspawn.poll() is None:
            leader = self._leader_or_none()
            if leader is not None:
                with suppress(ProcessLookupError):
                    os.kill(leader, signal.SIGKILL)
            try:
                self._nspawn.wait(20)
            except subprocess.TimeoutExpired:
                self._nspawn.kill()
                self._nspawn.wait(20)
        self._nspawn = None
        for process in self._started:
            process.wait(20)
        _forget(self._folder)

    @property
    def leader(self) -> int:
        """The process id, on this machine, of its PID 1."""
        found = self._leader_or_none()
        assert found is not None, f"{self.name} is not running:\n{self.console()}"
        return found

    def console(self) -> str:
        """What it printed on its console."""
        return (self._folder / "console").read_text(errors="replace")

    # Commands and files

    def run(self, command: str, *, check: bool = True, timeout_s: float = 120.0, stdin: str = "") -> str:
        """Run a shell command inside as root and return its standard output."""
        return self.run_full(command, check=check, timeout_s=timeout_s, stdin=stdin).stdout

    def run_full(
        self, command: str, *, check: bool = True, timeout_s: float = 120.0, stdin: str = ""
    ) -> subprocess.CompletedProcess[str]:
        """Run a shell command inside as root."""
        return run_full([*self._inside(), "sh", "-c", command], check=check, timeout_s=timeout_s, stdin=stdin)

    def start(self, command: str) -> subprocess.Popen[str]:
        """Start a shell command inside and do not wait for it; it ends with the host."""
        started = subprocess.Popen(
            [*self._inside(), "sh", "-c", command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self._started.append(started)
        return started

    def write(self, path: str, text: str, mode: int = 0o644) -> None:
        """Write a file, before the boot or after it; "-> TARGET" makes a symbolic link."""
        running = getattr(self, "_nspawn", None) is not None
        base = Path(f"/proc/{self.leader}/root") if running else self._folder / "upper"
        target = base / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        if text.startswith("-> "):
            target.symlink_to(text[3:])
        else:
            target.write_text(text)
            target.chmod(mode)

    def exists(self, path: str) -> bool:
        """Whether a path is there (a dangling link is)."""
        return self.run_full(f"test -e {path} || test -L {path}", check=False).returncode == 0

    # systemd

    def show(self, unit: str, *names: str) -> dict[str, str]:
        """Properties of a unit, as `systemctl show` prints them."""
        printed = self.run(f"systemctl show {unit} --property={','.join(names)}")
        return dict(line.split("=", 1) for line in printed.splitlines() if "=" in line)

    def prop(self, unit: str, name: str) -> str:
        """One property of a unit."""
        return self.show(unit, name)[name]

    def active(self, unit: str) -> bool:
        """Whether the unit is active."""
        return self.prop(unit, "ActiveState") == "active"

    def journal(self, unit: str, options: str = "") -> list[dict[str, Any]]:
        """The unit's journal of this boot, its own lines only (not systemd's about it)."""
        printed = self.run(f"journalctl -q -b -o json _SYSTEMD_UNIT={unit} {options}", timeout_s=30)
        return [json.loads(line) for line in printed.splitlines()]

    def messages(self, unit: str, options: str = "") -> list[str]:
        """The texts of `journal`."""
        return [_text(entry.get("MESSAGE")) for entry in self.journal(unit, options)]

    def host_pid(self, pid: int) -> int:
        """The process id, on this machine, of a process id inside."""
        space = str(Path(f"/proc/{self.leader}/ns/pid").readlink())
        for candidate, ids in _namespaced_pids(space):
            if ids[-1] == pid:
                return candidate
        raise AssertionError(f"{self.name} has no process {pid}")

    def story(self) -> str:
        """What a person needs to see after a failed test."""
        parts = [f"===== {self.name} ({self.release})"]
        if self._leader_or_none() is None:
            return "\n".join([*parts, "not running", self.console()])
        for command in (
            "systemctl --no-pager --full status 'dio-*' --lines=0",
            "systemctl list-jobs --no-pager; systemctl --failed --no-pager",
            "journalctl -q --no-pager -o short-precise -n 250 _SYSTEMD_UNIT=dio-agent.service + UNIT=dio-agent.service"
            " + _SYSTEMD_UNIT=dio-nerve-center.service + UNIT=dio-nerve-center.service",
        ):
            parts += [f"----- {command}", self.run(command, check=False, timeout_s=30)]
        return "\n".join(parts)

    def _on_overlay(self) -> list[str]:
        """nspawn on the host's file system; more arguments follow."""
        upper, work, at = (self._folder / part for part in ("upper", "work", "root"))
        overlay = f"lowerdir={self._lower},upperdir={upper},workdir={work}"
        return nspawn.command(at, _machine(self._folder), overlay=overlay)

    def _inside(self) -> list[str]:
        return [
            "nsenter",
            "-t",
            str(self.leader),
            "-m",
            "-u",
            "-i",
            "-n",
            "-p",
            "-C",
            "-r",
            "-w",
            "--",
            *_ENVIRONMENT,
        ]

    def _wait_for_boot(self, until: Callable[[], object] | None, within_s: float) -> None:
        wait_for(f"{self.name} has a PID 1", self._leader_or_none, within_s=20, every_s=0.05)
        wait_for(f"{self.name} answers", lambda: self._state() != "", within_s=20, every_s=0.1)
        wait_for(f"{self.name} has booted", until or (lambda: self._state() in _BOOTED), within_s=within_s)

    def _state(self) -> str:
        try:
            return self.run("systemctl is-system-running", check=False, timeout_s=10).strip()
        except (CommandFailedError, AssertionError):
            return ""

    def _leader_or_none(self) -> int | None:
        """The one child of nspawn, once it has become systemd."""
        if self._nspawn is None or self._nspawn.poll() is not None:
            return None
        listed = Path(f"/proc/{self._nspawn.pid}/task/{self._nspawn.pid}/children")
        with suppress(OSError):
            for word in listed.read_text().split():
                if Path(f"/proc/{word}/comm").read_text().strip() == "systemd":
                    return int(word)
        return None


def _text(message: object) -> str:
    """The journal's JSON has a list of bytes where a message is not plain text."""
    if isinstance(message, list):
        return bytes(message).decode(errors="replace")
    return str(message)


def _namespaced_pids(space: str) -> Iterator[tuple[int, list[int]]]:
    for path in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if str((path / "ns/pid").readlink()) != space:
                continue
            for line in (path / "status").read_text().splitlines():
                if line.startswith("NSpid:"):
                    yield int(path.name), [int(word) for word in line.split()[1:]]


def sweep() -> None:
    """Remove the files of hosts whose test run was killed."""
    for folder in (CACHE / "run").glob("*-*-*"):
        owner = folder.name.rsplit("-", 2)[1]
        if owner.isdigit() and not Path("/proc", owner).exists():
            _forget(folder)


def _forget(folder: Path) -> None:
    nspawn.forget(_machine(folder))
    shutil.rmtree(folder, ignore_errors=True)


def _machine(folder: Path) -> str:
    """The name that nspawn and the control groups know the host by."""
    return folder.name.replace("_", "0")
