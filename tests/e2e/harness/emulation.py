"""One emulation, and what makes the usual kinds of it."""

from __future__ import annotations

import shlex
from dataclasses import dataclass

SCRIPT = "/usr/local/lib/emulate.py"
"""Where a host has the programs of `emulations.PROGRAMS`."""


@dataclass(frozen=True)
class Emulation:
    """One emulation.

    Args:
        name: for people.
        technique: of ATT&CK.
        do, undo: shell commands.
        types: of the threat, any of them.
        names: what its summary has to contain.
        clears: whether it is over once it is undone.
    """

    name: str
    technique: str
    do: str
    undo: str
    types: frozenset[str]
    names: str
    clears: bool = True


def file(name: str, technique: str, path: str, text: str, type_: str, mode: str = "644") -> Emulation:
    folder = path.rpartition("/")[0]
    do = f"mkdir -p {folder}; printf '%s\\n' {shlex.quote(text)} > {path}; chmod {mode} {path}"
    return Emulation(name, technique, do, f"rm {path}", frozenset((type_,)), path)


def line(name: str, technique: str, path: str, text: str, type_: str) -> Emulation:
    kept = f"/var/tmp/{path.replace('/', '_')}"
    do = f"touch {path}; cp -a {path} {kept}; printf '%s\\n' {shlex.quote(text)} >> {path}"
    return Emulation(name, technique, do, f"mv {kept} {path}", frozenset((type_,)), path)


def run(name: str, technique: str, command: str, type_: str, names: str, before: str = "") -> Emulation:
    unit = "emulated-" + "".join(letter if letter.isalnum() else "-" for letter in name.lower())
    do = f"{before}systemd-run -q --unit {unit} {command}"
    return Emulation(name, technique, do, f"systemctl stop {unit}", frozenset((type_,)), names)


def other(
    name: str, technique: str, do: str, undo: str, types: str, names: str, clears: bool = True
) -> Emulation:
    return Emulation(name, technique, do, undo, frozenset(types.split()), names, clears)
