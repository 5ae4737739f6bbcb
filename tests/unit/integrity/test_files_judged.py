"""Changed files: which of them are told, as what, and which are ordinary."""

from __future__ import annotations

import pytest

from dio_daemon.detect.finding import Finding
from dio_daemon.detect.integrity import crowd, files
from dio_daemon.detect.integrity.host import Host
from dio_daemon.detect.integrity.inotify import Inotify
from dio_daemon.detect.integrity.verdict import Change, Verdict
from tests.unit.integrity.conftest import FakeHost


def test_only_a_command_that_hides_a_system_command_is_told(fake: FakeHost) -> None:
    fake.put("/usr/bin/ls", "x", 0o755)
    watch = fake.watch()
    fake.run(watch)
    fake.put("/usr/local/bin/deploy", "#!/bin/sh\n", 0o755)
    assert fake.run(watch) == []
    assert "/usr/local/bin/deploy" in str(fake.recorded[-1])
    fake.put("/usr/local/bin/ls", "#!/bin/sh\n", 0o755)
    (found,) = fake.run(watch)
    assert (found.type, found.subject) == ("command_shadowed", "/usr/local/bin/ls")
    for name in ("ls", "deploy"):
        fake.path(f"/usr/local/bin/{name}").unlink()
    assert fake.run(watch) == []


def test_units_of_this_boot_go_with_it(fake: FakeHost) -> None:
    unit = fake.put("/run/systemd/system/netplan.service", "[Service]\n")
    watch = fake.watch()
    fake.run(watch)
    unit.unlink()
    assert fake.run(watch) == []
    fake.put("/run/systemd/system/other.service", "[Service]\n")
    assert [each.type for each in fake.run(watch)] == ["systemd_unit_changed"]


def test_another_change_of_a_changed_file_is_another_version(fake: FakeHost) -> None:
    watch = fake.watch()
    fake.run(watch)
    fake.put("/etc/crontab", "* * * * * root one\n")
    (one,) = fake.run(watch)
    fake.put("/etc/crontab", "* * * * * root one\n* * * * * root two\n")
    (two,) = fake.run(watch)
    assert one.fingerprint == two.fingerprint and one.version != two.version
    assert "two" in two.evidence["diff"]


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("/home/ann/.gitconfig", "[user]\nname = Ann\n"),
        ("/home/ann/.ssh/config", "Host x\n  ControlPath /tmp/ssh-%r\n"),
        ("/var/www/html/index.php", "<?php echo htmlspecialchars($_GET['page']); exec('ls');\n"),
        ("/var/www/html/cache/a.php", "<?php return unserialize(base64_decode($cached));\n"),
    ],
)
def test_what_changes_every_day_is_told_only_with_a_sign(fake: FakeHost, path: str, text: str) -> None:
    """Neither when it is new nor when it changes or goes, and no event either."""
    watch = fake.watch()
    fake.run(watch)
    file = fake.put(path, text)
    assert fake.run(watch) == []
    file.write_text(text + "# more\n")
    assert fake.run(watch) == []
    file.unlink()
    assert fake.run(watch) == []
    assert [event[0] for event in fake.recorded] == ["integrity_baseline"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("/home/ann/src\n# import x\n", False),
        (
            "import os; var = 'SETUPTOOLS_USE_DISTUTILS'; enabled = os.environ.get(var, 'local') == 'local'; "
            "enabled and __import__('_distutils_hack'); ",
            False,
        ),
        ("/tmp/x\n", True),
        ("/home/ann/src\nimport os; os.system('x')\n", True),
        ("import os; var = 'SETUPTOOLS_USE_DISTUTILS'; enabled = __import__('x')", True),
    ],
)
def test_python_paths_are_told_only_when_they_run_code(fake: FakeHost, text: str, told: bool) -> None:
    watch = fake.watch()
    fake.run(watch)
    fake.put("/usr/local/lib/python3.13/dist-packages/x.pth", text)
    assert [each.type for each in fake.run(watch)] == (["python_hook_changed"] if told else [])


def test_a_web_shell_is_found_and_its_content_not_shown(fake: FakeHost) -> None:
    file = fake.put("/var/www/html/index.php", "<?php $password = 'Hunter2secret';\n")
    watch = fake.watch()
    assert fake.run(watch) == []
    file.write_text("<?php $password = 'Hunter2secret'; eval($_POST['x']);\n")
    (found,) = fake.run(watch)
    assert (found.type, found.evidence["signs"]) == ("web_shell", ["it runs what a request says"])
    assert "Hunter2secret" not in str(found)


def test_a_library_that_is_not_its_packages_any_more(fake: FakeHost) -> None:
    path = "/usr/lib/x86_64-linux-gnu/libc.so.6"
    fake.package("libc6", {path: "right"})
    file = fake.put(path, "right")
    watch = fake.watch()
    assert fake.run(watch) == []
    file.write_text("wrong")
    (found,) = fake.run(watch)
    assert (found.type, found.severity) == ("package_file_changed", "high") and "libc6" in found.summary


def test_homes_of_services_with_a_shell(fake: FakeHost) -> None:
    passwd = fake.path("/etc/passwd")
    passwd.write_text(
        passwd.read_text()
        + "postgres:x:101:101::/var/lib/postgresql:/bin/bash\nwww-data:x:33:33::/var/www:/usr/sbin/nologin\n"
    )
    assert fake.host.homes(services=True) == ["/root", "/home/ann", "/var/lib/postgresql"]
    assert fake.host.homes() == ["/root", "/home/ann"]


def test_a_name_that_would_be_a_command_is_one_word(fake: FakeHost) -> None:
    """What is to be looked at next may be pasted into a shell."""
    watch = fake.watch()
    fake.run(watch)
    fake.put("/usr/bin/$(reboot) x", "\x7fELF")
    (found,) = fake.run(watch)
    assert found.next.startswith("dpkg -S '/usr/bin/$(reboot) x' and ")


def test_what_a_run_removed_and_a_breathless_agent_notices_later(fake: FakeHost) -> None:
    """The kernel told of it while nobody listened: it may have been then."""
    notify = Inotify()
    try:
        commands = [fake.put(f"/usr/bin/{name}", "x", 0o755) for name in ("python3.11", "python3.12")]
        watch = fake.watch(notify=notify)
        fake.run(watch)
        fake.dpkg_ran(begin_s=2, end_s=5)
        commands[0].unlink()
        fake.clock.ahead_s += 30  # nothing was asked of the kernel meanwhile
        assert fake.run(watch) == []
        commands[1].unlink()
        assert [found.subject for found in fake.run(watch)] == ["/usr/bin/python3.12"]
    finally:
        notify.close()


def test_many_changes_take_one_pass_over_the_package_database(
    fake: FakeHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pass reads the lists of all packages; one for each file took a minute after a large installation."""
    for number in range(20):
        fake.package(f"package{number}", {f"/usr/bin/p{number}": "x"})
    watch = fake.watch()
    fake.run(watch)
    lists: list[str] = []
    read = Host.read

    def counted(host: Host, path: str, limit: int) -> bytes:
        lists.extend([path] if path.endswith(".list") else [])
        return read(host, path, limit)

    monkeypatch.setattr(Host, "read", counted)
    for number in range(20):
        fake.put(f"/etc/cron.d/job{number}", "x\n")
    assert len(fake.run(watch)) == 20
    assert len(lists) == 20


def test_a_step_that_judges_for_long_leaves_the_rest_to_the_next(
    fake: FakeHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever stops the agent waits for the step in hand."""
    watch = fake.watch()
    fake.run(watch)
    for number in range(9):
        fake.put(f"/etc/cron.d/job{number}", "x\n")
    judge = Verdict.finding

    def slow(verdict: Verdict, change: Change, text_before: bytes | None) -> Finding:
        fake.clock.monotonic_s += 0.3
        return judge(verdict, change, text_before)

    monkeypatch.setattr(Verdict, "finding", slow)
    fake.clock.monotonic_s += 301
    counts = [len(watch.step()) for _ in range(60)]
    assert sorted({*counts} - {0}) == [2, 4, 6, 8, 9]


@pytest.mark.parametrize(
    ("added", "told"),
    [
        ('\n# Created by `pipx` on 2026-11-30 00:20:17\nexport PATH="$PATH:/home/ann/.local/bin"\n', False),
        ("PATH=$PATH:$HOME/bin:~/go/bin\n", False),
        ('export PATH="/home/ann/.local/bin:$PATH"\n', True),
        ('export PATH="$PATH:$(evil)"\n', True),
        ("export PATH=$PATH:/home/ann/bin; evil\n", True),
        ("export PATH=$PATH:/home/ann/bin\nalias sudo=evil\n", True),
    ],
)
def test_folders_at_the_end_of_a_users_path(fake: FakeHost, added: str, told: bool) -> None:
    """pipx does that for whoever asks it to; before the system's folders it would hide commands."""
    watch = fake.watch()
    fake.run(watch)
    file = fake.path("/home/ann/.bashrc")
    file.write_text(file.read_text() + added)
    assert [each.type for each in fake.run(watch)] == ["shell_startup_changed"] * told


def test_roots_path_is_told(fake: FakeHost) -> None:
    watch = fake.watch()
    fake.run(watch)
    fake.put("/root/.profile", "umask 022\nexport PATH=$PATH:/srv/bin\n")
    assert [each.type for each in fake.run(watch)] == ["shell_startup_changed"]


def test_however_many_files_change_so_many_are_told_and_the_rest_counted(
    fake: FakeHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A user can make twenty thousand units: with their evidence they would be more than the agent may have."""
    monkeypatch.setattr(crowd, "MOST_WHOLE", 30)
    monkeypatch.setattr(crowd, "AT_ONCE", 10)
    watch = fake.watch()
    fake.run(watch)
    units = [fake.put(f"/home/ann/.config/systemd/user/u{number:03}.service", "x\n") for number in range(100)]
    watch.step()
    found = {each.subject: each for each in fake.run(watch)}
    assert len(found) == 31
    more = found["more files"]
    assert (more.type, more.severity, more.evidence["more"]) == ("systemd_unit_changed", "medium", 70)
    assert "70 further watched files" in more.summary and len(more.evidence["paths"]) == 50
    assert fake.run(watch)[-1] is not None and len(fake.run(watch)) == 31, "they are judged once"
    told = set(found) - {"more files"}
    for unit in units:
        if str(unit).removeprefix(str(fake.root / "host")) in told:
            unit.unlink()
    found = {each.subject: each for each in fake.run(watch)}
    assert found["more files"].evidence["more"] + len(found) - 1 == 70 and not told & set(found)
    for _ in range(3):
        found = {each.subject: each for each in fake.run(watch)}
    assert found["more files"].evidence["more"] == 40, "others take their place, with their evidence"
    assert watch.accept() == 70 and fake.run(watch) == []
    for unit in units:
        unit.unlink(missing_ok=True)
    assert {each.summary.split(" was ")[0] for each in fake.run(watch)} >= {"A systemd unit of a user"}


def test_there_is_an_end_to_what_is_looked_at(fake: FakeHost, monkeypatch: pytest.MonkeyPatch) -> None:
    watch = fake.watch()
    fake.run(watch)
    known = len(watch._current)
    monkeypatch.setattr(files, "MOST_SEEN", known + 20)
    made = [fake.put(f"/etc/cron.d/job{number}", "x\n") for number in range(50)]
    assert len(fake.run(watch)) == 20
    crontab = fake.path("/etc/crontab")
    before = crontab.read_text()
    crontab.write_text("* * * * * root evil\n")
    assert "/etc/crontab" in {each.subject for each in fake.run(watch)}, "what was known is seen to change"
    crontab.write_text(before)
    for each in made:
        each.unlink()
    assert fake.run(watch) == []
    assert len(watch._current) == known and len(watch._groups_of) == known, "and nothing of them is kept"


def test_a_storm_in_one_folder_holds_nothing_up_elsewhere(fake: FakeHost) -> None:
    watch = fake.watch()
    fake.run(watch)
    storm = [fake.put(f"/home/ann/.config/autostart/a{number}.desktop", "x\n") for number in range(400)]
    fake.clock.monotonic_s += 301
    for _ in range(3):
        watch.step()
    fake.put("/etc/sudoers", "ann ALL=(ALL) NOPASSWD: ALL\n", 0o440)
    fake.clock.monotonic_s += 301
    for _ in range(3):
        found = watch.step()
    assert "/etc/sudoers" in {each.subject for each in found} and len(found) < 390
    for each in storm:
        each.unlink()
    assert [each.subject for each in fake.run(watch)] == ["/etc/sudoers"], "what is gone is over at once"


def test_paths_take_turns() -> None:
    many = [f"/a/{number}" for number in range(100)]
    assert crowd.by_turns(many[:3], 50) == many[:3]
    assert crowd.by_turns([*many, "/b/1"], 50) == [*many[:10], "/b/1", *many[10:49]]
    folders = [f"/{number}/x" for number in range(100)]
    assert crowd.by_turns(folders, 50) == folders[:50]
