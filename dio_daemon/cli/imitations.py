"""Harmless imitations of what an intruder leaves behind; each is undone by what it returns.

Every one carries the word `dio-drill`, so that it is known for what it is, and what a killed drill left behind can be
found (see `leftovers`). Nothing is enabled, loaded or does anything: the cron entry has a date that never comes, the
unit is not started, the setuid program is a copy of true(1), the failed logins are of an account that nobody logs in
to.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from dio_daemon.cli.leftovers import WORD
from dio_daemon.errors import DioError

SOON_S = 90.0
BURN_S = 420.0
"""The rule for cpu holds for 300 s."""
FAILURES = 8


class Unplayable(DioError):
    """This host lacks what an imitation needs; the text says what, and how to have it."""


Undo = Callable[[], None]
Begin = Callable[[Path], Undo]


@dataclass(frozen=True)
class Imitation:
    """One imitation: `begin` plays it below a root folder; a threat of one of `types` should open within `within_s`."""

    name: str
    what: str
    types: frozenset[str]
    begin: Begin
    within_s: float = SOON_S
    marked: bool = True
    """Whether the threat must name `dio-drill`, so that no other threat is taken for it."""
    hidden_by: frozenset[str] = frozenset()
    """Types of threats that cannot open while one of them is open already, whatever the drill does."""
    counts: str = ""
    """A figure of the evidence that is larger when it is seen once more while its threat is open."""

    def grew(self, before: dict[str, Any], now: dict[str, Any]) -> bool:
        """Whether that figure says that a threat which was open before has seen it once more."""
        figures = (
            [(each.get("evidence") or {}).get(self.counts) for each in (before, now)] if self.counts else []
        )
        return all(isinstance(each, int) for each in figures) and figures[:1] < figures[1:]


def _file(path: str, text: str, package: str, mode: int = 0o644) -> Begin:
    """A file in a folder that comes with a Debian package."""

    def begin(root: Path) -> Undo:
        target = root / path
        if not target.parent.is_dir():
            raise Unplayable(f"there is no {target.parent}: it comes with the package {package}")
        target.unlink(missing_ok=True)
        target.write_text(text, encoding="utf-8")
        target.chmod(mode)
        return lambda: target.unlink(missing_ok=True)

    return begin


def _setuid(root: Path) -> Undo:
    target = root / f"usr/local/bin/{WORD}"
    target.unlink(missing_ok=True)
    shutil.copyfile("/bin/true", target)
    target.chmod(0o4755)
    return lambda: target.unlink(missing_ok=True)


def _from_temporary_folder(root: Path) -> Undo:
    folder = Path(mkdtemp(prefix=f"{WORD}-", dir=root / "tmp"))
    return _sleeper(folder / WORD, lambda: shutil.rmtree(folder, ignore_errors=True))


def _deleted_executable(root: Path) -> Undo:
    folder = Path(mkdtemp(prefix=f"{WORD}-", dir=root / "usr/local/lib"))
    undo = _sleeper(folder / WORD, lambda: shutil.rmtree(folder, ignore_errors=True))
    (folder / WORD).unlink()
    return undo


def _sleeper(program: Path, clean: Undo) -> Undo:
    try:
        shutil.copyfile("/bin/sleep", program)
        program.chmod(0o755)
        return _process([str(program), "900"], clean)
    except OSError:
        clean()
        raise


def _listener(root: Path) -> Undo:
    code = "import socket, threading; s = socket.create_server(('', 0)); threading.Event().wait(900)  # dio-drill"
    return _process([sys.executable, "-c", code], lambda: None)


def _process(command: list[str], clean: Undo) -> Undo:
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )

    def undo() -> None:
        process.kill()
        process.wait()
        clean()

    return undo


def _failed_logins(root: Path) -> Undo:
    """As nobody, to become daemon: whoever locks accounts after failures locks one that nobody uses."""
    if shutil.which("su") is None:
        raise Unplayable("there is no su: it comes with the package util-linux")
    tries: list[subprocess.Popen[bytes]] = []

    def undo() -> None:
        for each in tries:
            each.kill()
            each.wait()

    try:
        for _ in range(FAILURES):
            tries.append(
                subprocess.Popen(
                    ["su", "-s", "/bin/true", "daemon"],
                    user=65534,
                    group=65534,
                    extra_groups=[],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    start_new_session=True,
                )
            )
            stream = tries[-1].stdin
            if stream is not None:
                stream.write(b"dio-drill\n")
                stream.close()
    except OSError:
        undo()
        raise
    return undo


def _burn(root: Path) -> Undo:
    """One process for each processor, at the lowest priority: whatever else wants to run goes first."""
    undos = [
        _process(["nice", "-n", "19", sys.executable, "-c", "while True: pass  # dio-drill"], lambda: None)
        for _ in range(os.cpu_count() or 1)
    ]

    def undo() -> None:
        for each in undos:
            each()

    return undo


def _imitation(name: str, what: str, types: tuple[str, ...], begin: Begin, **more: Any) -> Imitation:
    return Imitation(name, what, frozenset(types), begin, **more)


_COMMENT = f"# {WORD}: a harmless imitation of dioctl drill; it is removed again\n"

IMITATIONS = (
    _imitation(
        "cron",
        f"/etc/cron.d/{WORD}, with a date that never comes",
        ("cron_changed",),
        _file(f"etc/cron.d/{WORD}", f"{_COMMENT}0 0 31 2 * root /bin/true\n", "cron"),
    ),
    _imitation(
        "unit",
        f"/etc/systemd/system/{WORD}.service, not enabled",
        ("systemd_unit_changed",),
        _file(f"etc/systemd/system/{WORD}.service", f"{_COMMENT}[Service]\nExecStart=/bin/true\n", "systemd"),
    ),
    _imitation(
        "profile",
        f"/etc/profile.d/{WORD}.sh, a comment",
        ("shell_startup_changed", "login_script_changed"),
        _file(f"etc/profile.d/{WORD}.sh", _COMMENT, "base-files"),
    ),
    _imitation(
        "sudoers",
        f"/etc/sudoers.d/{WORD}, a comment",
        ("sudoers_changed",),
        _file(f"etc/sudoers.d/{WORD}", _COMMENT, "sudo", 0o440),
    ),
    _imitation(
        "udev",
        f"/etc/udev/rules.d/99-{WORD}.rules, a comment",
        ("udev_rule_changed",),
        _file(f"etc/udev/rules.d/99-{WORD}.rules", _COMMENT, "udev"),
    ),
    _imitation("setuid", f"/usr/local/bin/{WORD}, true(1) with the setuid bit", ("setuid_file",), _setuid),
    _imitation(
        "temporary",
        "a program that runs from a temporary folder: sleep(1)",
        ("process_from_temporary_folder",),
        _from_temporary_folder,
    ),
    _imitation(
        "deleted",
        "a program whose file is deleted: sleep(1)",
        ("process_deleted_executable",),
        _deleted_executable,
    ),
    _imitation(
        "listener", "a socket that listens and answers nobody", ("listening_socket",), _listener, marked=False
    ),
    _imitation(
        "logins",
        "8 failed logins with su, from nobody to daemon",
        ("failed_logins",),
        _failed_logins,
        marked=False,
        counts="failures",
    ),
    _imitation(
        "cpu",
        "all processors busy for minutes, at the lowest priority",
        ("cpu", "miner_like_process"),
        _burn,
        within_s=BURN_S,
        marked=False,
        hidden_by=frozenset(("cpu",)),
    ),
)
