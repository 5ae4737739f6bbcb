"""The command that runs systemd-nspawn by itself: nothing of it is seen, shared or left behind.

- It ends when the test's process dies.
- What it mounts (an overlay, a view of the control groups) is in a mount namespace of its own, gone with it.
- It has a control group of its own. Containers whose nspawn runs in the same one share theirs, and then one's
  systemd counts, waits for and kills the other's processes.
"""

from __future__ import annotations

from pathlib import Path

from .commands import run_full, wait_for

_ALONE = ("env", "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1", "setpriv", "--pdeathsig", "TERM")
_UNSHARED = ("unshare", "--mount", "--propagation", "private")
# Systems with a unified hierarchy have no /sys/fs/cgroup/systemd. /mnt is only a place to mount on.
_PREPARE = """
group=$1 overlay=$2 at=$3
shift 3
if [ -n "$overlay" ]; then
    mount -t overlay overlay -o "$overlay" "$at"
fi
mount -t cgroup2 cgroup2 /mnt
for hierarchy in /mnt /sys/fs/cgroup/systemd; do
    if [ -d "$hierarchy" ]; then
        mkdir -p "$hierarchy/$group"
        echo $$ > "$hierarchy/$group/cgroup.procs"
    fi
done
umount /mnt
exec "$@"
"""
_FORGET = """
mount -t cgroup2 cgroup2 /mnt
for hierarchy in /mnt /sys/fs/cgroup/systemd; do
    if [ -d "$hierarchy/$1" ]; then
        find "$hierarchy/$1" -depth -type d -exec rmdir {} + || exit 1
    fi
done
"""


def command(root: Path, machine: str, *, overlay: str = "") -> list[str]:
    """systemd-nspawn on `root`, under the name `machine`; more arguments follow.

    `overlay` are the options of an overlay to mount on `root` before; empty for none.
    """
    prepared = [*_ALONE, *_UNSHARED, "sh", "-ec", _PREPARE, "sh", machine, overlay, str(root)]
    return [*prepared, "systemd-nspawn", "-q", "-D", str(root), "-M", machine, "--register=no", "--keep-unit"]


def forget(machine: str) -> None:
    """Remove its control groups; it has ended, but the last of its processes may still be going."""

    def gone() -> bool:
        return run_full([*_UNSHARED, "sh", "-c", _FORGET, "sh", machine], check=False).returncode == 0

    wait_for(f"the control groups of {machine} are empty", gone, within_s=20)
