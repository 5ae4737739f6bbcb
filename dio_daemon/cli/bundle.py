"""`dioctl debug bundle`: one archive with everything that support would ask for, secrets left out.

Whatever cannot be had is noted in the archive instead. What could hold a secret is not copied at all: the token, the
identity, the spool's contents.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import re
import subprocess
import tarfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import ParamSpec

from dio_daemon import __version__
from dio_daemon.errors import DioError
from dio_daemon.ipc.client import Client

READS = ("status", "spool", "sample", "samples", "threats", "policy", "config", "threads")
COMMANDS = {
    "systemctl-status.txt": ["systemctl", "status", "--no-pager", "--full", "dio-agent.service"],
    "systemctl-show.txt": ["systemctl", "show", "dio-agent.service"],
    "journal.txt": [
        "journalctl",
        "-u",
        "dio-agent.service",
        "-n",
        "2000",
        "--no-pager",
        "-o",
        "short-iso-precise",
    ],
    "packages.txt": [
        "dpkg-query",
        "-W",
        "dio-agent",
        "python3-psutil",
        "python3-requests",
        "python3-sdnotify",
        "systemd",
    ],
    "security.txt": ["systemd-analyze", "security", "--no-pager", "dio-agent.service"],
    "uname.txt": ["uname", "-a"],
    "df.txt": ["df", "-h"],
}
FILES = ("/etc/os-release", "/proc/meminfo", "/proc/loadavg", "/proc/mounts", "/proc/pressure/cpu")
MOST_BYTES = 4 << 20

_SECRET = re.compile(
    rb"(?i)((?:authorization|bearer|token|credential|password|passwd|secret)[\"']?\s*[:= ]\s*[\"']?)"
    rb"[A-Za-z0-9_\-.+/=]{16,}"
)


class BundleError(DioError):
    """The archive cannot be written."""


def bundle(client: Client, options: argparse.Namespace) -> int:
    """Write the archive and say where."""
    name = f"dio-debug-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}"
    path = options.output or Path(f"{name}.tar.gz")
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise BundleError(f"cannot write {path}: {error.strerror}") from error
    with os.fdopen(descriptor, "wb") as file, tarfile.open(fileobj=file, mode="w:gz") as archive:
        for part, content in contents(client):
            entry = tarfile.TarInfo(f"{name}/{part}")
            entry.size, entry.mtime, entry.mode = len(content), int(time.time()), 0o600
            archive.addfile(entry, io.BytesIO(content))
    print(
        json.dumps({"path": str(path)})
        if options.json
        else f"Wrote {path}; look through it before you send it"
    )
    return 0


def contents(client: Client) -> list[tuple[str, bytes]]:
    """Name and content of every part."""
    parts = [("version.txt", f"dioctl {__version__}\n".encode())]
    parts += [(f"agent/{name}.json", _or_why(_answer, client, f"/v1/{name}")) for name in READS]
    parts.append(("agent/metrics.txt", _or_why(_text, client, "/v1/metrics")))
    parts += [(f"host/{name}", _or_why(_output, command)) for name, command in COMMANDS.items()]
    parts += [(f"host{file}", _or_why(_file, file)) for file in FILES]
    return [(name, _without_secrets(content[:MOST_BYTES])) for name, content in parts]


def _answer(client: Client, path: str) -> bytes:
    return json.dumps(client.call("GET", path), indent=1).encode()


def _text(client: Client, path: str) -> bytes:
    return client.text(path).encode()


def _file(path: str) -> bytes:
    return Path(path).read_bytes()


P = ParamSpec("P")


def _or_why(get: Callable[P, bytes], *arguments: P.args, **named: P.kwargs) -> bytes:
    try:
        return get(*arguments, **named)
    except (DioError, OSError, subprocess.SubprocessError) as error:
        return f"could not be had: {error}\n".encode()


def _output(command: list[str]) -> bytes:
    done = subprocess.run(command, capture_output=True, timeout=20, check=False)
    return done.stdout + done.stderr


def _without_secrets(content: bytes) -> bytes:
    return _SECRET.sub(rb"\1[left out]", content)
