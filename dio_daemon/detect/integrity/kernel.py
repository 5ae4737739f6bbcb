"""The detector of what the running kernel was told: programs that it is to run as root, protections switched off.

These are files below /proc/sys and /sys that nothing is written to disk for. How they are when first seen after a boot
is taken as well: what is set at boot comes from `sysctl.d` and its kin, which are watched as files.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass

from dio_daemon.detect.finding import Finding
from dio_daemon.detect.integrity.baseline import Baseline
from dio_daemon.detect.integrity.dpkg import Packages
from dio_daemon.detect.integrity.host import Host
from dio_daemon.detect.integrity.listeners import GENERAL
from dio_daemon.detect.integrity.runs import Runs
from dio_daemon.text import for_shell, safe

MOST_VALUE = 512
_REMEMBERED = "kernel"


@dataclass(frozen=True)
class _Helper:
    """A program that the kernel runs as root."""

    when: str
    pipe: bool = False
    """Whether only a value that begins with `|` names a program."""


HELPERS = {
    "/proc/sys/kernel/core_pattern": _Helper("whenever a program crashes", pipe=True),
    "/proc/sys/kernel/modprobe": _Helper("whenever it looks for a module"),
    "/proc/sys/kernel/poweroff_cmd": _Helper("when it switches itself off"),
    "/sys/kernel/uevent_helper": _Helper("at every event of a device"),
}
PROTECTIONS = {
    "/proc/sys/kernel/randomize_va_space": "programs lie where an attack expects them",
    "/proc/sys/kernel/yama/ptrace_scope": "programs may look into others of the same user",
    "/proc/sys/kernel/unprivileged_bpf_disabled": "every user may load programs into it",
    "/proc/sys/fs/protected_symlinks": "links in folders open to everybody lead programs astray",
    "/proc/sys/fs/protected_hardlinks": "everybody may make links to files of others",
    "/sys/fs/selinux/enforce": "SELinux only notes what it would forbid",
}
"""Numbers that protect less when they are smaller, and what that means."""


class KernelWatch:
    """Watches those settings. Belongs to one thread.

    Args:
        host: whose.
        packages: what is installed.
        runs: when the package manager was at work: what is set then is its work.
        baseline: remembers how they were.
        announced: whether a change window is open.
    """

    def __init__(
        self, host: Host, packages: Packages, runs: Runs, baseline: Baseline, announced: Callable[[], bool]
    ) -> None:
        self._host = host
        self._packages = packages
        self._runs = runs
        self._baseline = baseline
        self._announced = announced
        self._looked_at = 0.0
        self._told: dict[str, str] = {}

    def look(self, wall: float) -> list[Finding]:
        """One look; what is the case. `wall` is the wall clock, in seconds."""
        values = {
            path: value for path in (*HELPERS, *PROTECTIONS) if (value := self._value(path)) is not None
        }
        known = self._known(values)
        since, self._looked_at = self._looked_at or wall, wall
        found: dict[str, Finding] = {}
        for path, value in values.items():
            before = known.get(path)
            if value == before:
                continue
            finding = self._judge(path, before, value)
            if finding is None or (self._told.get(path) != value and self._excused(since, wall)):
                self._learn(path, value)
            else:
                found[path] = finding
        self._told = {path: values[path] for path in found}
        return list(found.values())

    def accept(self) -> int:
        """Take all that is told as well; how many they were."""
        for path, value in self._told.items():
            self._learn(path, value)
        count, self._told = len(self._told), {}
        return count

    def _value(self, path: str) -> str | None:
        """As process 1 sees it: a sandbox and a container have a /proc of their own."""
        try:
            return self._host.read(path, MOST_VALUE).decode("utf-8", "replace").strip()
        except OSError:
            return None

    def _known(self, values: dict[str, str]) -> dict[str, str]:
        """How they were at the first look after this boot."""
        boot = self._value("/proc/sys/kernel/random/boot_id") or ""
        memory = self._baseline.memory.get(_REMEMBERED)
        if isinstance(memory, dict) and memory.get("boot") == boot and isinstance(memory.get("values"), dict):
            return {str(path): str(value) for path, value in memory["values"].items()}
        self._baseline.memory[_REMEMBERED] = {"boot": boot, "values": dict(values)}
        self._baseline.changed()
        return values

    def _learn(self, path: str, value: str) -> None:
        self._baseline.memory[_REMEMBERED]["values"][path] = value
        self._baseline.changed()

    def _excused(self, since: float, wall: float) -> bool:
        """Whether what was set since the last look is announced, or the package manager's work."""
        return self._announced() or self._runs.busy(wall) or self._runs.between(since, wall)

    def _judge(self, path: str, before: str | None, now: str) -> Finding | None:
        if path in PROTECTIONS:
            return _protection(path, before, now) if _less(before, now) else None
        helper = HELPERS[path]
        if helper.pipe and not now.startswith("|"):
            return None
        words = now.removeprefix("|").split()
        if not words or self._is_packages(words[0]):
            return None
        return Finding(
            type="kernel_setting_changed",
            severity="critical",
            confidence=0.85,
            subject=path,
            summary=f"The kernel was told to run {safe(words[0], 200)} as root {helper.when} ({path})",
            why="It is a way in that stays open until the next reboot, and nothing on disk shows it.",
            next=f"Look at the program: ls -l {for_shell(words[0], 200)}. What it was before is in the evidence: write "
            f"it back to {path}.",
            technique="T1546",
            title="Program of the kernel's changed",
            evidence=_evidence(path, before, now),
            version=now,
        )

    def _is_packages(self, program: str) -> bool:
        """Whether a program is a package's, and none that runs whatever it is given."""
        name = os.path.basename(program)
        return self._packages.owner(program) is not None and GENERAL.fullmatch(name) is None


def _evidence(path: str, before: str | None, now: str) -> dict[str, object]:
    return {
        "path": path,
        "before": None if before is None else safe(before, MOST_VALUE),
        "after": safe(now, MOST_VALUE),
    }


def _less(before: str | None, now: str) -> bool:
    try:
        return before is not None and int(now) < int(before)
    except ValueError:
        return False


def _protection(path: str, before: str | None, now: str) -> Finding:
    name = path.removeprefix("/proc/sys/").removeprefix("/sys/")
    return Finding(
        type="kernel_setting_changed",
        severity="medium",
        confidence=0.7,
        subject=path,
        summary=f"A protection of the kernel was lowered: {name} from {before} to {now} ({PROTECTIONS[path]})",
        why="It makes other attacks on this host easier, and is seldom needed.",
        next=f"Who was there: present, in the evidence. Back: echo {before} > {path}.",
        technique="T1562.001",
        title="Protection of the kernel lowered",
        evidence=_evidence(path, before, now),
        version=now,
    )
