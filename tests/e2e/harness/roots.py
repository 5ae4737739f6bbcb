"""File systems to boot from, built once for each release and kept in build/e2e/.

- `bare`: a minimal Debian with systemd; the packages that DIO depends on lie in apt's cache, not installed.
- `ready`: bare, with those installed.
- `installed`: ready, with both of DIO's packages installed while nothing ran, and their units disabled: each
  test starts what it wants, when it wants.
- `postgresql`: installed, with a server of PostgreSQL, the driver for it, and HAProxy; built when a test asks for it.

A host is an overlay over one of them, so that each test starts from the same state.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from . import nspawn
from .commands import run

REPOSITORY = Path(__file__).resolve().parents[3]
CACHE = REPOSITORY / "build" / "e2e"
RELEASES = ("bookworm", "trixie")
_BASE = "systemd,systemd-sysv,dbus,ca-certificates"
_POSTGRESQL = ("postgresql", "python3-psycopg2", "haproxy")
# Raised when what is built below changes.
_EDITION = 3


def dependencies() -> list[str]:
    """What both packages depend on and recommend, from their control file."""
    control = (REPOSITORY / "packaging/deb/control").read_text()
    found: set[str] = set()
    for field in re.findall(r"^(?:Depends|Recommends):(.*(?:\n .*)*)", control, re.MULTILINE):
        found.update(word.split()[0] for word in field.split(",") if "${" not in word)
    return sorted(found)


def packages(folder: str = "deb") -> list[Path]:
    """The built packages: nerve center and agent, in build/`folder`."""
    found = []
    for name in ("dio-nerve-center", "dio-agent"):
        debs = sorted((REPOSITORY / "build" / folder).glob(f"{name}_*.deb"))
        assert len(debs) == 1, f"one {name}_*.deb was expected in build/{folder}; run scripts/build-deb"
        found.append(debs[0])
    return found


def root(release: str, stage: str) -> Path:
    """The folder of one file system, built now when it is not there."""
    edition = f"{_EDITION} {' '.join(dependencies())}"
    bare = _built(release, "bare", edition, _build_bare)
    if stage == "bare":
        return bare
    ready = _built(release, "ready", edition, _build_ready)
    if stage == "ready":
        return ready
    edition = _digest(packages())
    installed = _built(release, "installed", edition, _build_installed)
    if stage == "installed":
        return installed
    assert stage == "postgresql", stage
    return _built(release, "postgresql", f"{edition} {' '.join(_POSTGRESQL)}", _build_postgresql)


def _built(release: str, stage: str, edition: str, build: Callable[[str, Path], None]) -> Path:
    """Build under a lock into a folder aside, then rename: a half-built one is never used."""
    folder = CACHE / release
    folder.mkdir(parents=True, exist_ok=True)
    target, mark = folder / stage, folder / f"{stage}.edition"
    with _locked(folder / f"{stage}.lock"):
        if target.is_dir() and mark.is_file() and mark.read_text() == edition:
            return target
        aside = folder / f"{stage}.building"
        for stale in (target, aside):
            shutil.rmtree(stale, ignore_errors=True)
        build(release, aside)
        aside.rename(target)
        mark.write_text(edition)
    return target


def _build_bare(release: str, folder: Path) -> None:
    run(["mmdebstrap", "--variant=minbase", f"--include={_BASE}", release, str(folder)], timeout_s=600)
    # A journal that is still there after a reboot.
    (folder / "var/log/journal").mkdir(exist_ok=True)
    # Every host makes an id of its own at its first boot.
    (folder / "etc/machine-id").write_text("")
    run_in(folder, ["apt-get", "update", "-q"])
    # What apt will want for the packages themselves; a test's host has no network. apt's choice among alternatives
    # depends on the order in which they are named.
    center, agent = packages()
    for deb in (center, agent):
        shutil.copy(deb, folder / "root")
    for names in ([center, agent], [agent, center], [agent], [center]):
        files = [f"/root/{deb.name}" for deb in names]
        run_in(folder, ["apt-get", "install", "-y", "-q", "--download-only", *files])
    for deb in (center, agent):
        (folder / "root" / deb.name).unlink()


def _build_ready(release: str, folder: Path) -> None:
    run(["cp", "-a", "--reflink=auto", str(root(release, "bare")), str(folder)], timeout_s=300)
    run_in(folder, ["apt-get", "install", "-y", "-q", "--no-install-recommends", *dependencies()])
    run_in(folder, ["apt-get", "clean"])


def _build_installed(release: str, folder: Path) -> None:
    run(["cp", "-a", "--reflink=auto", str(root(release, "ready")), str(folder)], timeout_s=300)
    for deb in packages():
        shutil.copy(deb, folder / "root")
    run_in(folder, ["sh", "-c", "dpkg -i /root/*.deb && systemctl disable dio-agent dio-nerve-center"])


def _build_postgresql(release: str, folder: Path) -> None:
    run(["cp", "-a", "--reflink=auto", str(root(release, "installed")), str(folder)], timeout_s=300)
    run_in(folder, ["apt-get", "install", "-y", "-q", "--no-install-recommends", *_POSTGRESQL])
    run_in(folder, ["systemctl", "disable", "postgresql", "haproxy"])


def run_in(folder: Path, command: list[str]) -> str:
    """Run a command in a file system that is not booted, with this machine's network."""
    machine = f"dioe2e-build-{os.getpid()}"
    more = ["--resolv-conf=bind-host", "--setenv=DEBIAN_FRONTEND=noninteractive", "--pipe"]
    try:
        return run([*nspawn.command(folder, machine), *more, *command], timeout_s=600)
    finally:
        nspawn.forget(machine)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _digest(files: list[Path]) -> str:
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.read_bytes())
    return digest.hexdigest()


def main() -> None:
    """Build everything for one release, so that tests that run at once do not wait for each other."""
    release = sys.argv[1]
    begun = time.monotonic()
    root(release, "installed")
    print(f"e2e: the file systems of {release} are ready ({time.monotonic() - begun:.0f} s)")


if __name__ == "__main__":
    main()
