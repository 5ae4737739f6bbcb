"""What seldom changes about a host: the `Host` of the contract, sent with the registration."""

import os
import shlex
import socket
import sys
from typing import Any

from dio_daemon.collect.host import read_meminfo
from dio_daemon.collect.procfs import Roots, read
from dio_daemon.text import safe


def host_facts(roots: Roots | None = None) -> dict[str, Any]:
    """Return the facts; what can't be had is None."""
    roots = roots or Roots()
    uname = os.uname()
    try:
        memory = read_meminfo(roots).get("MemTotal")
    except OSError:
        memory = None
    return {
        "hostname": safe(socket.gethostname(), 255) or "localhost",
        "os": _os_name(roots),
        "kernel": safe(uname.release, 255) or None,
        "architecture": safe(uname.machine, 64) or None,
        "cpus": os.cpu_count(),
        "memory_bytes": memory,
        "python": ".".join(str(part) for part in sys.version_info[:3]),
        "virtualization": _container(roots),
    }


def _os_name(roots: Roots) -> str | None:
    """Return PRETTY_NAME, or else NAME, of os-release(5)."""
    try:
        text = read(f"{roots.etc}/os-release", 65536).decode("utf-8", "surrogateescape")
    except OSError:
        return None
    values: dict[str, str] = {}
    for line in text.splitlines():
        name, equals, value = line.strip().partition("=")
        if equals and not name.startswith("#"):
            try:
                values[name] = "".join(shlex.split(value)[:1])
            except ValueError:  # a quote that is not closed
                values[name] = value
    return safe(values.get("PRETTY_NAME") or values.get("NAME") or "", 255) or None


def _container(roots: Roots) -> str | None:
    """Return the kind of container or hypervisor as far as a file tells it."""
    for path in (f"{roots.run}/systemd/container", f"{roots.sys}/hypervisor/type"):
        try:
            return safe(read(path, 256).strip(), 64) or None
        except OSError:
            continue
    return None
