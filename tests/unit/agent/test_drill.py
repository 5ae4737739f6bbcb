"""The drill: it refuses without a word, credits only what belongs to it, and undoes everything."""

import argparse
import json
import os
import signal
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from dio_daemon import ctl
from dio_daemon.cli import drill, leftovers
from dio_daemon.cli.imitations import IMITATIONS, SOON_S, Imitation
from tests.support.clock import FakeClock

FILES = [each for each in IMITATIONS if each.name in ("cron", "unit", "profile", "sudoers", "udev", "setuid")]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for folder in (
        "etc/cron.d",
        "etc/systemd/system",
        "etc/profile.d",
        "etc/sudoers.d",
        "etc/udev/rules.d",
        "usr/local/bin",
        "usr/local/lib",
        "tmp",
    ):
        (tmp_path / folder).mkdir(parents=True)
    return tmp_path


def left(root: Path) -> list[Path]:
    return [path for path in root.rglob("*") if not path.is_dir() or "drill" in path.name]


def threat(type_: str, count: int = 1, **more: Any) -> dict[str, Any]:
    return {"type": type_, "severity": "high", "fingerprint": type_, "count": count, **more}


def test_every_imitation_of_a_file_is_seen_and_undone(root: Path) -> None:
    clock = FakeClock()
    begun: list[Path] = []

    def threats() -> list[dict[str, Any]]:
        begun[:] = left(root)
        return [threat(each, subject="/etc/dio-drill") for imitation in FILES for each in imitation.types]

    outcomes = drill.play(FILES, root, threats, [], clock)
    assert len(begun) == len(FILES)
    assert [each.seen_after_s for each in outcomes] == [1.0] * len(FILES)
    assert left(root) == []


def test_what_is_not_of_the_drill_is_not_credited(root: Path) -> None:
    (cron,) = [each for each in FILES if each.name == "cron"]
    old = threat("cron_changed", 3, subject="dio-drill")
    clock = FakeClock()
    (outcome,) = drill.play([cron], root, lambda: [old, threat("sudoers_changed")], [old], clock)
    assert outcome.open
    assert clock.monotonic() - 1000 >= SOON_S
    (outcome,) = drill.play([cron], root, lambda: [threat("cron_changed", 4, subject="else")], [old], clock)
    assert outcome.open
    again = threat("cron_changed", 4, subject="dio-drill")
    (outcome,) = drill.play([cron], root, lambda: [again], [old], clock)
    assert outcome.threat == "high cron_changed"


def test_what_is_not_possible_here_is_told(tmp_path: Path) -> None:
    outcomes = drill.play(FILES, tmp_path, list, [], FakeClock())
    said = {each.imitation.name: each.impossible for each in outcomes}
    assert said["sudoers"] == f"there is no {tmp_path}/etc/sudoers.d: it comes with the package sudo"
    assert said["setuid"] == f"{tmp_path}/usr/local/bin/dio-drill: No such file or directory"
    assert all(said.values())
    assert left(tmp_path) == []


def test_what_is_open_already_cannot_open(root: Path) -> None:
    """A host that was busy before the drill cannot become it: waiting for minutes would tell nothing."""
    (cpu,) = [each for each in IMITATIONS if each.name == "cpu"]
    clock = FakeClock()
    begun = clock.monotonic()
    (outcome,) = drill.play([cpu], root, list, [threat("cpu")], clock)
    assert (outcome.impossible, outcome.open) == ("cpu is open already: wait until it has cleared", False)
    assert clock.monotonic() == begun


def test_everything_is_undone_whatever_happens(root: Path) -> None:
    def fails() -> list[dict[str, Any]]:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        drill.play(FILES, root, fails, [], FakeClock())
    assert left(root) == []


@pytest.mark.parametrize("name", ["temporary", "deleted", "listener"])
def test_processes_end_with_it(root: Path, name: str) -> None:
    (imitation,) = [each for each in IMITATIONS if each.name == name]
    seen = [threat(each, subject="dio-drill") for each in imitation.types]
    (outcome,) = drill.play([imitation], root, lambda: seen, [], FakeClock())
    assert outcome.threat
    assert left(root) == []


def test_names_are_told_apart() -> None:
    assert len({each.name for each in IMITATIONS}) == len(IMITATIONS)
    assert all(isinstance(each, Imitation) and each.types for each in IMITATIONS)


def test_it_refuses_without_yes_and_without_root(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ctl.main(["drill"]) == 1
    said = capsys.readouterr()
    assert "--yes" in said.err
    assert [line.split()[0] for line in said.out.splitlines()] == [each.name for each in IMITATIONS]
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    assert ctl.main(["drill", "--yes"]) == 1
    assert "only root" in capsys.readouterr().err
    assert ctl.main(["drill", "--only", "nonsense"]) == 1
    assert "there is no nonsense; there are: cron, " in capsys.readouterr().err


@pytest.mark.parametrize(("as_json", "left_over"), [(True, False), (False, True)])
def test_what_it_prints(
    as_json: bool,
    left_over: bool,
    root: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    class Agent:
        asked = 0

        def call(self, method: str, path: str) -> dict[str, Any]:
            self.asked += 1
            return {
                "threats": [{"data": threat("cron_changed", subject="dio-drill")}]
                if self.asked > 1 + left_over
                else []
            }

    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setattr("signal.signal", lambda *_: None)
    monkeypatch.setattr(drill, "SystemClock", FakeClock)
    monkeypatch.setattr(leftovers, "remove", lambda _: 3 if left_over else 0)
    monkeypatch.setattr(leftovers, "guarded", lambda _: nullcontext())
    play = drill.play
    monkeypatch.setattr(drill, "play", lambda chosen, _, *rest: play(chosen, root, *rest))
    options = argparse.Namespace(yes=True, only=["cron", "udev"], json=as_json)
    assert drill.drill(Agent(), options) == 1
    said, complained = capsys.readouterr()
    assert ("a drill that was killed" in complained.lower()) == left_over
    if as_json:
        assert [each["seen"] for each in json.loads(said)["imitations"]] == [True, False]
    else:
        assert "high cron_changed" in said
        assert " NO " in said
        assert "Not possible here" not in said


def test_it_says_how_to_play_what_was_not_possible(capsys: pytest.CaptureFixture[str]) -> None:
    sudoers, udev = (drill.Outcome(each) for each in FILES if each.name in ("sudoers", "udev"))
    sudoers.impossible = "there is no /etc/sudoers.d: it comes with the package sudo"
    drill.say_impossible([sudoers, udev])
    assert capsys.readouterr().out.splitlines()[1:] == [
        "Not possible here:",
        "  sudoers    there is no /etc/sudoers.d: it comes with the package sudo",
        "When that is mended: dioctl drill --yes --only sudoers",
    ]


def test_a_figure_that_grows_is_seen_once_more() -> None:
    """Failed logins stay told for ten minutes: a second drill meanwhile is seen by their number."""
    (logins,) = [each for each in IMITATIONS if each.name == "logins"]
    old = threat("failed_logins", evidence={"failures": 8})
    for evidence, seen in (({"failures": 16}, True), ({"failures": 8}, False), ({}, False), (None, False)):
        assert logins.grew(old, threat("failed_logins", evidence=evidence)) == seen
    (cron,) = [each for each in IMITATIONS if each.name == "cron"]
    assert not cron.grew(old, threat("failed_logins", evidence={"failures": 16}))


def test_what_a_killed_drill_left_is_removed(root: Path) -> None:
    """By its names alone; what others put there under such a name is not followed."""
    for each in leftovers.FILES:
        (root / each).write_text("x")
    for folder in leftovers.FOLDERS:
        (root / folder / "dio-drill-x1y2").mkdir()
        (root / folder / "dio-drill-x1y2/dio-drill").write_text("x")
    (root / "tmp/mine").mkdir()
    (root / "tmp/mine/file").write_text("x")
    (root / "tmp/dio-drill-link").symlink_to(root / "tmp/mine")
    assert leftovers.remove(root) == len(leftovers.FILES) + len(leftovers.FOLDERS)
    assert sorted(left(root)) == [root / "tmp/dio-drill-link", root / "tmp/mine/file"]
    assert leftovers.remove(root) == 0


def test_every_file_of_an_imitation_is_known_as_a_leftover(root: Path) -> None:
    for imitation in FILES:
        imitation.begin(root)
    assert len(left(root)) == len(FILES)
    assert leftovers.remove(root) == len(FILES) and left(root) == []


_KILLED = """
import os, signal, subprocess, sys
from pathlib import Path
from dio_daemon.cli import leftovers
root = Path(sys.argv[1])
with leftovers.guarded(root):
    (root / "etc/cron.d/dio-drill").write_text("x")
    print(subprocess.Popen(["sleep", "600"], start_new_session=True).pid, flush=True)
    if sys.argv[2] == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    (root / "etc/cron.d/dio-drill").unlink()
"""


@pytest.mark.parametrize("how", ["killed", "ended"])
def test_a_guard_clears_up_after_a_drill_that_is_killed(root: Path, how: str) -> None:
    drilled = subprocess.run(
        [sys.executable, "-c", _KILLED, str(root), how],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert drilled.returncode == (-signal.SIGKILL if how == "killed" else 0), drilled.stderr
    # The guard has its error output open as well: it is at its end when that is.
    assert left(root) == []
    status = Path(f"/proc/{drilled.stdout.strip()}/status")
    assert not status.exists() or "State:\tZ" in status.read_text()


def test_an_interruption_undoes_all_and_a_second_one_is_not_heard(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    heard: dict[int, Any] = {}
    monkeypatch.setattr("signal.signal", heard.__setitem__)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(leftovers, "remove", lambda _: 0)
    monkeypatch.setattr(leftovers, "guarded", lambda _: nullcontext())

    class Agent:
        asked = 0

        def call(self, method: str, path: str) -> dict[str, Any]:
            self.asked += 1
            if self.asked > 1:
                assert left(root) != []
                heard[signal.SIGHUP](signal.SIGHUP, None)
            return {"threats": []}

    play = drill.play
    monkeypatch.setattr(drill, "play", lambda chosen, _, *rest: play(chosen, root, *rest))
    with pytest.raises(KeyboardInterrupt):
        drill.drill(Agent(), argparse.Namespace(yes=True, only=["cron"], json=True))
    assert set(heard) == {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}
    assert set(heard.values()) == {signal.SIG_IGN}
    assert left(root) == [] and "all is undone" in capsys.readouterr().err
