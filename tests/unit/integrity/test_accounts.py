"""Accounts: one finding each, what dpkg's scripts make is recorded, and nothing secret is in it."""

from __future__ import annotations

import pytest

from dio_daemon.detect.finding import Finding
from dio_daemon.detect.integrity.accounts import AccountWatch
from dio_daemon.detect.integrity.runs import Runs
from tests.unit.integrity.conftest import FakeHost

PASSWD = "root:x:0:0::/root:/bin/bash\nann:x:1000:1000::/home/ann:/bin/bash\nwww:x:33:33::/var/www:/usr/sbin/nologin\n"
SHADOW = "root:*:1::::::\nann:$6$salt$hash:1:0:99999:7:::\nwww:!:1::::::\n"
GROUP = "root:x:0:\nsudo:x:27:\nann:x:1000:\nwww:x:33:\n"


class Accounts:
    """Its three files, and who watches them."""

    def __init__(self, fake: FakeHost) -> None:
        self.fake = fake
        self.write(PASSWD, SHADOW, GROUP)
        fake.watch()
        self.window = False
        self.watch = self.begin()
        assert self.look() == []

    def begin(self) -> AccountWatch:
        host = self.fake.host
        return AccountWatch(
            host,
            Runs(host),
            self.fake.baseline,
            lambda moment: self.window,
            self.fake.clock,
            lambda *event: self.fake.recorded.append(event),
        )

    def write(self, passwd: str = PASSWD, shadow: str = SHADOW, group: str = GROUP) -> None:
        for name, text in (("passwd", passwd), ("shadow", shadow), ("group", group)):
            self.fake.put(f"/etc/{name}", text, 0o640 if name == "shadow" else 0o644)

    def look(self) -> list[Finding]:
        self.watch.look()
        self.fake.clock.monotonic_s += 2
        return self.watch.look()


@pytest.fixture
def accounts(fake: FakeHost) -> Accounts:
    return Accounts(fake)


def test_a_new_user_is_one_finding_and_clears(accounts: Accounts) -> None:
    accounts.write(
        PASSWD + "eve:x:1001:1001::/home/eve:/bin/bash\n",
        SHADOW + "eve:$6$a$b:1::::::\n",
        GROUP + "eve:x:1001:\n",
    )
    (found,) = accounts.look()
    assert (found.type, found.severity, found.subject) == ("account_added", "medium", "user eve")
    assert found.evidence["files"] == ["/etc/passwd", "/etc/shadow", "/etc/group"]
    assert "$6$" not in str(found) and "secret" not in str(found.evidence)
    accounts.fake.baseline.save(at_once=True)
    accounts.watch = accounts.begin()  # a restart
    assert [each.subject for each in accounts.look()] == ["user eve"]
    accounts.write()
    assert accounts.look() == []


@pytest.mark.parametrize(
    ("passwd", "shadow", "group", "severity", "words"),
    [
        (PASSWD + "toor:x:0:0::/root:/bin/bash\n", SHADOW, GROUP, "critical", "root's uid 0"),
        (PASSWD, SHADOW, GROUP.replace("sudo:x:27:", "sudo:x:27:ann"), "high", "joined group sudo"),
        (PASSWD.replace("ann:x:1000:1000", "ann:x:1000:27"), SHADOW, GROUP, "high", "gid 1000 to 27"),
        (PASSWD + "bob:x:1001:0::/home/bob:/bin/bash\n", SHADOW, GROUP, "high", "member of root"),
        (PASSWD, SHADOW.replace("$6$salt$hash", "$6$salt$other"), GROUP, "medium", "password was changed"),
        (PASSWD, SHADOW.replace("www:!", "www:"), GROUP, "high", "needs no password"),
        (PASSWD, SHADOW.replace("root:*", "root:$6$x$y"), GROUP, "high", "a password was set"),
        (PASSWD.replace("/usr/sbin/nologin", "/bin/sh"), SHADOW, GROUP, "medium", "shell"),
        (PASSWD.replace("ann:x:1000", "ann:x:0"), SHADOW, GROUP, "critical", "uid 1000 to 0"),
        (PASSWD.replace("ann:", "# ann:"), SHADOW, GROUP, "low", "was removed"),
        (PASSWD, SHADOW, GROUP + "wheel:x:0:\n", "high", "Group wheel"),
    ],
)
def test_what_matters(
    accounts: Accounts, passwd: str, shadow: str, group: str, severity: str, words: str
) -> None:
    accounts.write(passwd, shadow, group)
    (found,) = accounts.look()
    assert found.severity == severity and words in found.summary
    accounts.write()
    assert accounts.look() == []


@pytest.mark.parametrize(
    ("passwd", "shadow"),
    [
        (PASSWD, SHADOW.replace("$6$salt$hash", "!$6$salt$hash")),
        (PASSWD, SHADOW.replace("99999:7:::", "99999:7::1:")),
        (PASSWD.replace("ann:", "# ann:"), SHADOW),
    ],
)
def test_somebody_is_locked_out(accounts: Accounts, passwd: str, shadow: str) -> None:
    accounts.write(passwd, shadow)
    (found,) = accounts.look()
    assert found.technique == "T1531"


def test_system_users_of_packages_are_recorded(accounts: Accounts) -> None:
    accounts.fake.dpkg_ran()
    accounts.write(
        PASSWD + "redis:x:101:101::/var/lib/redis:/usr/sbin/nologin\neve:x:1001:1001::/home/eve:/bin/sh\n"
        "libvirt-qemu:x:64055:108::/var/lib/libvirt:/usr/sbin/nologin\nbob:x:65000:65000::/home/bob:/bin/sh\n",
        SHADOW,
        GROUP + "redis:x:101:\nkvm:x:108:libvirt-qemu\n",
    )
    assert [each.subject for each in accounts.look()] == ["user bob", "user eve"]  # a person is no package's
    known = accounts.fake.recorded[-1][2]["accounts"]
    assert known == ["group kvm", "group redis", "user libvirt-qemu", "user redis"]


def test_announced_and_accepted(accounts: Accounts) -> None:
    eve = PASSWD + "eve:x:1001:1001::/home/eve:/bin/bash\n"
    accounts.write(eve)
    assert len(accounts.look()) == 1
    assert accounts.watch.accept() == 1 and accounts.look() == []
    accounts.window = True
    accounts.write(eve + "bob:x:1002:1002::/home/bob:/bin/bash\n")
    assert accounts.look() == []


def test_half_written_and_odd_files(accounts: Accounts) -> None:
    """A file that is gone for a moment says nothing; lines that are none are passed over."""
    accounts.fake.path("/etc/passwd").unlink()
    assert accounts.look() == []
    accounts.write(PASSWD + ":::::::\n+::::::\n\0\xff\nshort:x\n", SHADOW + "\n:\n", GROUP + "x\n")
    assert accounts.look() == []


@pytest.mark.parametrize(
    ("path", "mode", "expected"),
    [
        ("/etc/passwd", 0o666, ["/etc/passwd"]),
        ("/etc/shadow", 0o644, ["/etc/shadow"]),
        ("/etc/shadow", 0o600, []),
        ("/etc/group", 0o664, ["/etc/group"]),
    ],
)
def test_files_that_are_open_to_others(accounts: Accounts, path: str, mode: int, expected: list[str]) -> None:
    before = accounts.fake.path(path).stat().st_mode
    accounts.fake.path(path).chmod(mode)
    found = accounts.look()
    assert (
        [each.subject for each in found if each.type == "account_file_open"]
        == expected
        == [each.subject for each in found]
    )
    accounts.fake.path(path).chmod(before)
    assert accounts.look() == []
