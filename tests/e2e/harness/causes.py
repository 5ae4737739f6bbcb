"""Real causes of what rules watch: each makes a host have it, until it is undone.

Only the sensor is made up: a container has none, and the kernel's files of one lie on a file system of the host's own.
"""

from __future__ import annotations

from dataclasses import dataclass

from .host import Host

TAP = """
import ctypes, fcntl, os, socket, struct, time
tap = os.open("/dev/net/tun", os.O_RDWR)
fcntl.ioctl(tap, 0x400454CA, struct.pack("16sH", b"tap9", 0x1002))  # TUNSETIFF: a tap, frames as they are
# ETHTOOL_SSET: the device says that it carries 10 MBit/s.
settings = ctypes.create_string_buffer(struct.pack("=IIIHB", 2, 0, 0, 10, 1).ljust(44, b"\\0"))
control = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
fcntl.ioctl(control, 0x8946, struct.pack("16sP", b"tap9", ctypes.addressof(settings)).ljust(40, b"\\0"))
fcntl.ioctl(control, 0x8914, struct.pack("16sH", b"tap9", 0x41).ljust(40, b"\\0"))  # SIOCSIFFLAGS: up
frame = b"\\xff" * 6 + b"\\x02\\0\\0\\0\\0\\x09" + b"\\x88\\xb5" + bytes(1480)
begun, sent = time.monotonic(), 0
while True:
    os.write(tap, frame)
    sent += len(frame)
    time.sleep(max(0.0, sent / 1.24e6 - (time.monotonic() - begun)))
"""
"""99 % of 10 MBit/s, which the host receives."""
ERRORS = """
import socket, time
sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
while True:
    sender.sendto(b"x", ("10.98.0.2", 9))
    time.sleep(0.02)
"""
ZOMBIES = """
import os, time
for _ in range(70):
    if os.fork() == 0:
        os._exit(0)
time.sleep(3600)
"""
FILES = """
import os, time
kept = [os.open("/etc/hostname", os.O_RDONLY) for _ in range(1000)]
time.sleep(3600)
"""
SENSOR = """
set -e
mkdir -p /run/class && cd /sys/class && find . -type l -exec cp -P --parents -t /run/class {} +
mount -t tmpfs tmpfs /sys/class && cp -a /run/class/. /sys/class
mkdir -p /sys/class/hwmon/hwmon0 && cd /sys/class/hwmon/hwmon0
echo coretemp > name; echo 'Package id 0' > temp1_label; echo 100000 > temp1_crit; echo 50000 > temp1_input
mkdir /srv/small /srv/few
mount -t tmpfs -o size=1M tmpfs /srv/small && mount -t tmpfs -o nr_inodes=100 tmpfs /srv/few
"""


@dataclass(frozen=True)
class Cause:
    """What makes a rule's threat of `type`, about something whose name has `subject` in it."""

    type: str
    subject: str
    begin: str
    end: str
    says: str
    """What its sentence has to have in it."""


def _runs(unit: str, options: str = "") -> tuple[str, str]:
    return f"systemd-run -q --unit={unit} {options} python3 /srv/{unit}.py", f"systemctl stop {unit}"


CAUSES = (
    Cause(
        "network_rate",
        "tap9",
        # Outside the units: the container's devices are not for them.
        "nohup python3 /srv/tap.py > /dev/null 2>&1 & echo $! > /run/tap.pid",
        "kill $(cat /run/tap.pid)",
        "tap9 has carried 9",
    ),
    Cause("network_errors", "vx0", *_runs("errors"), "errors a second for 4 seconds"),
    Cause("zombies", "zombies", *_runs("zombies"), "70 processes have ended"),
    Cause(
        "process_files",
        "python3",
        *_runs("files", "-p LimitNOFILE=1024"),
        "python3 has 98 % of the files open",
    ),
    Cause(
        "temperature",
        "Package id 0",
        "echo 99000 > /sys/class/hwmon/hwmon0/temp1_input",
        "echo 50000 > /sys/class/hwmon/hwmon0/temp1_input",
        "coretemp Package id 0 is at 99 % of its critical temperature",
    ),
    Cause(
        "disk_space",
        "/srv/small",
        "head -c 990000 /dev/zero > /srv/small/large",
        "rm /srv/small/large",
        "/srv/small is 94",
    ),
    Cause(
        "disk_inodes",
        "/srv/few",
        "for number in $(seq 95); do : > /srv/few/$number; done",
        "rm /srv/few/*",
        "of the inodes of /srv/few are used",
    ),
    Cause(
        "failed_unit",
        "fails.service",
        "systemd-run -q --unit=fails false",
        "systemctl reset-failed fails",
        "fails",
    ),
    Cause(
        "reboot_pending", "reboot", "touch /run/reboot-required", "rm /run/reboot-required", "after a reboot"
    ),
)
RULES = "".join(f"[{each.type}]\nfor_s = 4\nleave_for_s = 4\n" for each in CAUSES)
"""What makes them quick; their levels are the shipped ones."""
FILES_OF_CAUSES = {
    "/etc/dio-agent/rules.d/quick.toml": RULES,
    "/srv/tap.py": TAP,
    "/srv/errors.py": ERRORS,
    "/srv/zombies.py": ZOMBIES,
    "/srv/files.py": FILES,
}


def prepare(host: Host) -> None:
    """Before the agent starts: a sensor, small file systems."""
    host.run(SENSOR)
