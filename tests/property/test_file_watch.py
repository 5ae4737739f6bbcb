"""Whatever is made of the watched folders, at rest the findings are exactly the files that differ from the baseline.

Names may be anything that a filesystem takes, and what has a name may be a file, a link to itself, a pipe, a socket or
a folder, may be unreadable, and may become something else between two looks. Nothing of it raises, and nothing waits.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from dio_daemon.detect.integrity.group import Group
from dio_daemon.detect.integrity.places import NOT_LOADED
from dio_daemon.detect.integrity.watched import GROUPS
from tests.unit.integrity.conftest import FakeHost

FOLDERS = ("etc/sudoers.d", "etc/systemd/system", "etc/systemd/system/a.service.d")
CHOSEN: tuple[Group, ...] = tuple(group for group in GROUPS if group.name in ("sudoers", "systemd"))
NAMES = st.one_of(
    st.sampled_from(
        [b"10-x", b"-rf *", b"a.service.d", b"\xff\xfe", b"n\nl", b"x" * 255, "ü".encode(), b"*", b"[a]"]
    ),
    st.binary(min_size=1, max_size=20).filter(
        lambda name: not {0, 0x2F} & set(name) and name not in (b".", b"..")
    ),
)
KINDS = st.sampled_from(["text", "bytes", "pipe", "loop", "dangling", "socket", "folder", "unreadable"])


class Watched(RuleBasedStateMachine):
    """One host whose files change in any way."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        (self.folder / "proc/1").mkdir(parents=True)
        (self.folder / "proc/1/mountinfo").write_text("1 0 8:1 / / rw - ext4 /dev/sda1 rw\n")
        self.fake = FakeHost(self.folder)
        self.fake.put("/etc/passwd", "root:x:0:0:root:/root:/bin/bash\n")
        for folder in FOLDERS:
            self.fake.put(f"/{folder}/kept", "as it was\n")
        self.watch = self.fake.watch(CHOSEN)
        assert self.fake.run(self.watch) == []
        self.before = self.seen()

    def teardown(self) -> None:
        shutil.rmtree(self.folder)

    def seen(self) -> dict[str, tuple[object, ...]]:
        """What is there now, by path."""
        found: dict[str, tuple[object, ...]] = {}
        root = self.folder / "host"
        for top, _, _ in os.walk(root / "etc"):
            shown = "/" + os.path.relpath(top, root)
            if not shown.startswith(("/etc/sudoers.d", "/etc/systemd/system")) or shown.count("/") > 5:
                continue
            for entry in os.scandir(top):
                if entry.is_dir(follow_symlinks=False) or NOT_LOADED.fullmatch(entry.name):
                    continue
                if shown.startswith("/etc/sudoers.d/"):
                    continue
                path = Path(entry.path)
                info = path.lstat()
                content: object = None
                if entry.is_symlink():
                    content = path.readlink()
                elif entry.is_file(follow_symlinks=False) and os.access(path, os.R_OK):
                    content = path.read_bytes()
                found[f"{shown}/{entry.name}"] = (info.st_mode if not entry.is_symlink() else 0, content)
        return found

    @rule(folder=st.sampled_from(FOLDERS), name=NAMES, kind=KINDS, text=st.binary(max_size=50))
    def make(self, folder: str, name: bytes, kind: str, text: bytes) -> None:
        """Something takes the place of what was there."""
        at = self.folder / "host" / folder / os.fsdecode(name)
        with contextlib.suppress(OSError):  # its folder may be gone, or the name too long for a socket
            self._clear(at)
            if kind in ("text", "bytes", "unreadable"):
                at.write_bytes(text if kind == "bytes" else b"ALL ALL=(ALL) ALL\n")
                at.chmod(0 if kind == "unreadable" else 0o644)
            elif kind == "pipe":
                os.mkfifo(at)
            elif kind in ("loop", "dangling"):
                at.symlink_to(os.fsdecode(name) if kind == "loop" else "/nowhere/at all")
            elif kind == "socket":
                with socket.socket(socket.AF_UNIX) as made:
                    made.bind(os.fsencode(at))
            else:
                at.mkdir()

    @rule(folder=st.sampled_from(FOLDERS))
    def remove_folder(self, folder: str) -> None:
        """A watched folder goes, with all that is in it."""
        shutil.rmtree(self.folder / "host" / folder, ignore_errors=True)

    @rule(folder=st.sampled_from(FOLDERS))
    def put_back(self, folder: str) -> None:
        """A watched folder comes back as it was, and with it its one file."""
        self._clear(self.folder / "host" / folder)
        self.fake.put(f"/{folder}/kept", "as it was\n")

    @rule()
    def look(self) -> None:
        """The watch looks while things go on changing."""
        self.fake.clock.monotonic_s += 1
        self.watch.step()

    @invariant()
    def the_findings_are_what_differs(self) -> None:
        """After a minute without changes."""
        now = self.seen()
        differs = {path for path in now.keys() | self.before.keys() if now.get(path) != self.before.get(path)}
        assert {each.subject for each in self.fake.run(self.watch)} == differs

    @staticmethod
    def _clear(at: Path) -> None:
        if at.is_dir() and not at.is_symlink():
            shutil.rmtree(at)
        elif os.path.lexists(at):
            at.unlink()


Watched.TestCase.settings = settings(max_examples=30, stateful_step_count=20, deadline=None, derandomize=True)
TestFileWatch = Watched.TestCase
