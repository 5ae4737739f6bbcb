"""What the package database says of a file: whose it is, and whether it is as its package has it.

The database is /var/lib/dpkg: `info/*.list` and `*.md5sums`, the conffiles' hashes in `status`, and diversions. It is
read on demand, when a file has changed, and the answers are kept until the database changes.
"""

from __future__ import annotations

import io
import os
from dataclasses import dataclass

from dio_daemon.detect.integrity.host import Host

DPKG = "/var/lib/dpkg"
MOST_LIST_BYTES = 16 << 20
MOST_STATUS_BYTES = 64 << 20
MOST_ANSWERS = 5000
NO_PACKAGES = ("/home/", "/root/", "/run/", "/tmp/", "/var/tmp/")  # noqa: S108 - nothing is written there
"""Where no package has files."""
_MERGED = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")


@dataclass(frozen=True)
class Owner:
    """A package, and the md5 that it has for the file; None where it has none."""

    package: str
    md5: str | None
    conffile: bool = False


def aliases(path: str) -> tuple[str, ...]:
    """A path as packages may have it: below / and below /usr, since these are merged."""
    first = path[1:].split("/", 1)[0]
    if first in _MERGED:
        return (path, f"/usr{path}")
    if first == "usr" and path[5:].split("/", 1)[0] in _MERGED:
        return (path, path[4:])
    return (path,)


class Packages:
    """The package database of a host."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._version: object = None
        self._owners: dict[str, Owner | None] = {}
        self._conffiles: dict[str, Owner] = {}
        self._diverted: dict[str, tuple[str, str]] = {}
        self._diverters: dict[str, str] = {}
        """By path in the package: the one whose file is there instead of the others'."""

    def version(self) -> object:
        """Another one after every run of dpkg."""
        return self._stat()

    def owner(self, path: str) -> Owner | None:
        """Whose a file is; None when no package has it."""
        return self.owners([path])[path]

    def owners(self, paths: list[str]) -> dict[str, Owner | None]:
        """Whose files are; one pass over the database however many they are."""
        self._refresh()
        nobodys = {path: None for path in paths if path.startswith(NO_PACKAGES)}
        if nobodys:  # a user can make thousands of files, and each is looked for in the lists of all packages
            return nobodys | self.owners([path for path in paths if path not in nobodys])
        unknown = [path for path in paths if path not in self._owners]
        if unknown:
            if len(self._owners) + len(unknown) > MOST_ANSWERS:
                self._owners.clear()
                unknown = paths
            self._owners.update(self._search(unknown))
        return {path: self._owners[path] for path in paths}

    def _search(self, paths: list[str]) -> dict[str, Owner | None]:
        found: dict[str, Owner | None] = dict.fromkeys(paths)
        left: dict[bytes, list[tuple[str, str]]] = {}
        for path in paths:
            names = aliases(path)
            for name in names:
                if name in self._conffiles:
                    found[path] = self._conffiles[name]
            for name in names if found[path] is None else ():
                original, _ = self._diverted.get(name, (name, ""))
                left.setdefault(os.fsencode(original), []).append((path, name))
        try:
            lists = sorted(
                name for name in os.listdir(self._host.at(f"{DPKG}/info")) if name.endswith(".list")
            )
        except OSError:
            return found
        for name in lists:
            if not left:
                break
            try:
                text = self._host.read(f"{DPKG}/info/{name}", MOST_LIST_BYTES)
            except OSError:
                continue
            for line in [line for line in left if b"\n" + line + b"\n" in text]:
                package = name.removesuffix(".list")
                for asked in [asked for asked in left[line] if self._may_have(package, asked[1])]:
                    found[asked[0]] = Owner(package, self._md5(package, line))
                    left[line].remove(asked)
                if not left[line]:
                    del left[line]
        return found

    def _may_have(self, package: str, name: str) -> bool:
        """Whether a file can be this package's: where files are diverted, others' lie aside under another name."""
        package = package.partition(":")[0]
        if name in self._diverted:
            return self._diverted[name][1] != package
        return self._diverters.get(name, package) == package

    def _md5(self, package: str, line: bytes) -> str | None:
        try:
            text = b"\n" + self._host.read(f"{DPKG}/info/{package}.md5sums", MOST_LIST_BYTES)
        except OSError:
            return None
        end = text.find(b"  " + line[1:] + b"\n")
        found = text[max(0, end - 33) : end]
        return found[1:].decode("ascii", "replace") if end > 0 and found[:1] == b"\n" else None

    def _stat(self) -> tuple[int, int, int] | None:
        try:
            status, info = os.stat(self._host.at(f"{DPKG}/status")), os.stat(self._host.at(f"{DPKG}/info"))
        except OSError:
            return None
        return (status.st_ino, status.st_mtime_ns, info.st_mtime_ns)

    def _refresh(self) -> None:
        version = self._stat()
        if version == self._version:
            return
        self._version = version
        self._owners.clear()
        try:
            self._conffiles = conffiles(self._host.read(f"{DPKG}/status", MOST_STATUS_BYTES))
        except OSError:
            self._conffiles = {}
        try:
            self._diverted = diversions(self._host.read(f"{DPKG}/diversions", MOST_LIST_BYTES))
        except OSError:
            self._diverted = {}
        self._diverters = dict(self._diverted.values())


def conffiles(status: bytes) -> dict[str, Owner]:
    """Path to owner, from a `status` file."""
    found: dict[str, Owner] = {}
    package, inside = "", False
    for line in io.BytesIO(status):  # not split: a list of 100,000 lines would leave its holes in our memory
        if line.startswith(b"Package: "):
            package = line[9:].decode("ascii", "replace").strip()
        if line.startswith(b"Conffiles:"):
            inside = True
        elif not line.startswith(b" "):
            inside = False
        elif inside:
            words = line.strip().split(b" ")
            if len(words) >= 2 and len(words[1]) == 32 and b"obsolete" not in words[2:]:
                found[os.fsdecode(words[0])] = Owner(package, words[1].decode("ascii", "replace"), True)
    return found


def diversions(text: bytes) -> dict[str, tuple[str, str]]:
    """Where a diverted file's original is looked for: its path as it is now to its path in the package, and by whom.

    The file records three lines for each: the path in the package, the path that it has instead, and by whom.
    """
    lines = text.split(b"\n")
    found = [[os.fsdecode(line) for line in lines[at : at + 3]] for at in range(0, len(lines) - 2, 3)]
    return {now: (original, by) for original, now, by in found}
