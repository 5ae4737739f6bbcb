"""Signs at single processes: names made to be overlooked, foreign libraries, somebody who traces them."""

from __future__ import annotations

import os
import re

from dio_daemon.collect.procfs import read
from dio_daemon.detect.integrity.facts import DELETED, status_of
from dio_daemon.detect.integrity.host import Host
from dio_daemon.text import safe

MOST_ENVIRONMENT = 64 * 1024
_ODD = re.compile(r"(?:^|/)(?:\.{3,}|[. ]+|[^/]*\s)(?:/|$)")
"""A folder or file of dots alone, of blanks alone, or with a blank at its end; no executable's path has `.` or `..`."""
_PRELOAD = re.compile(rb"(?:^|\0)LD_(?:PRELOAD|AUDIT)=([^\0]{1,4096})")
_HOMES = ("/root/", "/home/")
_PASSWORDS = re.compile(
    r"sshd(-session|-auth)?|dropbear|login|su|sudo|passwd|agetty|polkitd|systemd-logind|gdm3|gdm-session-worker"
    r"|lightdm|sddm(-helper)?|ssh-agent|gpg-agent|gnome-keyring-daemon|kwalletd[56]|sssd"
)


def has_odd_name(path: str) -> bool:
    """Whether part of a path is made to be overlooked."""
    return _ODD.search(path) is not None


def handles_passwords(exe: str) -> bool:
    """Whether passwords or keys go through a program."""
    return _PASSWORDS.fullmatch(os.path.basename(exe.removesuffix(DELETED))) is not None


def preloaded(host: Host, pid: int, temporary: tuple[str, ...]) -> str | None:
    """The library that a process was told to load from where programs are not installed; None for none.

    Of its environment nothing else is looked at. In a user's home that is a user's matter (games and debuggers do
    so); root's programs load nothing from there.

    Args:
        host: whose process.
        pid: which.
        temporary: folders where everybody may write.
    """
    try:
        found = _PRELOAD.search(read(f"{host.proc}/{pid}/environ", MOST_ENVIRONMENT))
    except OSError:
        return None
    if found is None:
        return None
    for library in re.split(r"[ :]", os.fsdecode(found[1])):
        root = library.startswith(_HOMES) and status_of(host, pid)[0] == 0
        if library.startswith(temporary) or root:
            return safe(library, 300)
    return None


def tracer(host: Host, pid: int) -> int | None:
    """The process that traces another one (ptrace: a debugger, strace); None when none does."""
    try:
        found = re.search(rb"^TracerPid:\s*([0-9]+)", read(f"{host.proc}/{pid}/status", 65536), re.MULTILINE)
    except OSError:
        return None
    return int(found[1]) or None if found is not None else None
