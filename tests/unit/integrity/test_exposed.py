"""Password hashes that lie open: what is told, and what is not."""

from __future__ import annotations

import os
import re

import pytest

from dio_daemon.detect.finding import Finding
from dio_daemon.detect.integrity import exposed
from dio_daemon.detect.integrity.baseline import Baseline
from dio_daemon.detect.integrity.exposed import MOST_WAITING, ExposedWatch
from tests.unit.integrity.conftest import FakeHost

HASH = "$y$j9T$F5Jx5fExrKuPp53xLKQ..1$X3DX6M94c7o.9agCG9G317fhZg9SqC.5i5rd.RhAtQ7"
SHADOW = f"root:*:19000:0:99999:7:::\nann:{HASH}:19000:0:99999:7:::\nbob:!{HASH}:19000::::::\n"


@pytest.fixture
def watch(fake: FakeHost, monkeypatch: pytest.MonkeyPatch) -> ExposedWatch:
    """Of a host on which ann has a password. What tests write counts as root's."""
    fake.put("/etc/shadow", SHADOW, 0o640)
    monkeypatch.setattr(exposed, "NOBODY_ELSE", os.getuid())
    return made(fake)


def made(fake: FakeHost) -> ExposedWatch:
    fake.baseline = Baseline(fake.root / "state/integrity.jsonl.gz", fake.clock)
    return ExposedWatch(fake.host, fake.baseline, (re.compile("/tmp/ignored"),), lambda: fake.window)


def appear(fake: FakeHost, watch: ExposedWatch, path: str, text: str, mode: int = 0o644) -> list[Finding]:
    """A file appears; what is found once it was looked into."""
    fake.put(path, text, mode)
    watch.appeared(path, 0.0)
    assert watch.look(0.5) == []  # it may be half written
    return watch.look(2.0)


def test_a_copy_of_shadow_that_everybody_may_read(fake: FakeHost, watch: ExposedWatch) -> None:
    (found,) = appear(fake, watch, "/tmp/notes.txt", SHADOW)
    assert (found.type, found.severity, found.technique) == ("password_hashes_exposed", "high", "T1003.008")
    assert "(ann)" in found.summary and "/tmp/notes.txt" in found.summary and "everybody" in found.summary
    assert found.evidence["accounts"] == ["ann"] and found.evidence["mode"] == "0644"
    assert HASH not in str(found)
    fake.path("/tmp/notes.txt").chmod(0o600)
    assert watch.look(3.0) == []


def test_a_line_of_it_in_another_form(fake: FakeHost, watch: ExposedWatch) -> None:
    """As crackers take them, after other text, and in a place where a web server may read it."""
    (found,) = appear(
        fake, watch, "/var/www/html/x", f"# {'x' * 300}\nann:{HASH}:1000:1000::/home/ann:/bin/sh\n"
    )
    assert "others than root" in found.summary


def test_it_is_written_slowly(fake: FakeHost, watch: ExposedWatch) -> None:
    assert appear(fake, watch, "/tmp/a", "root:*:19000:0:99999:7:::\n") == []
    fake.put("/tmp/a", SHADOW)
    assert watch.look(4.0) == []
    assert len(watch.look(9.0)) == 1


@pytest.mark.parametrize(
    ("path", "text", "mode"),
    [
        ("/tmp/backup/shadow", SHADOW, 0o640),
        ("/root/shadow", SHADOW, 0o644),
        ("/tmp/ignored", SHADOW, 0o644),
        ("/tmp/a", SHADOW.replace("X3DX6M", "X3DX6N"), 0o644),
        ("/tmp/a", SHADOW.replace(HASH, "*"), 0o644),
        ("/tmp/a", f'password: "{HASH}"\n', 0o644),
        ("/tmp/a", "", 0o644),
    ],
)
def test_what_is_none(fake: FakeHost, watch: ExposedWatch, path: str, text: str, mode: int) -> None:
    """A backup with the original's rights, root's own, an ignored one, another host's, one without hashes, a hash in
    a play of Ansible, an empty one."""
    assert appear(fake, watch, path, text, mode) == [] and watch.look(20.0) == []


def test_a_user_s_own_copy(fake: FakeHost, watch: ExposedWatch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exposed, "NOBODY_ELSE", os.getuid() + 1)
    (found,) = appear(fake, watch, "/home/ann/shadow", SHADOW, 0o600)
    assert "where user" in found.summary


def test_what_is_no_file_or_is_gone(fake: FakeHost, watch: ExposedWatch) -> None:
    fake.path("/tmp").mkdir()
    fake.path("/tmp/link").symlink_to(fake.path("/etc/shadow"))
    os.mkfifo(fake.path("/tmp/pipe"), 0o644)
    for path in ("/tmp/link", "/tmp/pipe", "/tmp/gone"):
        watch.appeared(path, 0.0)
    assert watch.look(2.0) == [] and watch.look(20.0) == []


def test_a_change_window_and_acceptance(fake: FakeHost, watch: ExposedWatch) -> None:
    fake.window = True
    assert appear(fake, watch, "/tmp/a", SHADOW) == []
    fake.window = False
    assert len(appear(fake, watch, "/tmp/b", SHADOW)) == 1
    assert watch.accept() == 1 and watch.look(20.0) == []


def test_it_is_told_after_a_restart_too(fake: FakeHost, watch: ExposedWatch) -> None:
    assert len(appear(fake, watch, "/tmp/a", SHADOW)) == 1
    fake.baseline.save(at_once=True)
    again = made(fake)
    assert len(again.look(0.0)) == 1
    fake.path("/tmp/a").unlink()
    assert again.look(1.0) == []


def test_a_storm_of_names_is_bounded(fake: FakeHost, watch: ExposedWatch) -> None:
    for number in range(10 * MOST_WAITING):
        watch.appeared(f"/tmp/{number}", 0.0)
    assert watch.look(2.0) == [] and watch.look(20.0) == []
