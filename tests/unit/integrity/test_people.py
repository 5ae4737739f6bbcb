"""Who was there when a change was noticed: sessions, and uses of sudo and su without their arguments."""

from __future__ import annotations

from dio_daemon.detect.integrity.follow import Line
from dio_daemon.detect.integrity.people import RECENT_S, People
from tests.unit.integrity.conftest import FakeHost

SESSION = (
    "UID=1000\nUSER=/run/x\nNAME=ann\nACTIVE=1\nSTATE=active\nREMOTE=1\nTTY=pts/0\n"
    "REMOTE_HOST=192.0.2.5\nSERVICE=sshd\nCLASS=user\n"
)


def test_sessions_of_people(fake: FakeHost) -> None:
    people = People(fake.host)
    assert people.present(0.0) == {"logged_in": [], "became_another": []}
    fake.put("/run/systemd/sessions/3", SESSION)
    fake.put("/run/systemd/sessions/3.ref", SESSION)
    fake.put("/run/systemd/sessions/c1", SESSION.replace("CLASS=user", "CLASS=manager"))
    fake.put("/run/systemd/sessions/c2", SESSION.replace("STATE=active", "STATE=closing"))
    fake.put("/run/systemd/sessions/c3", b"\xff\x00=\n\n=")
    expected = {"user": "ann", "terminal": "pts/0", "from": "192.0.2.5", "by": "sshd"}
    assert people.present(0.0)["logged_in"] == [expected]


def test_sudo_and_su_without_arguments(fake: FakeHost) -> None:
    people = People(fake.host)
    people.take(
        [
            Line(
                "sudo", "     ann : TTY=pts/0 ; PWD=/home/ann ; USER=root ; COMMAND=/usr/bin/mysql -pgeheim"
            ),
            Line("sudo", "  eve : command not allowed ; TTY=pts/1 ; PWD=/ ; USER=root ; COMMAND=/bin/sh"),
            Line("su", "(to root) bob on pts/2"),
            Line("sshd", "(to root) bob on pts/2"),
            Line("sudo", "pam_unix(sudo:session): session opened for user root"),
        ],
        100.0,
    )
    used = people.present(110.0)["became_another"]
    assert used == [
        {
            "with": "sudo",
            "by": "ann",
            "terminal": "pts/0",
            "to": "root",
            "program": "/usr/bin/mysql",
            "seconds_ago": 10,
        },
        {"with": "su", "to": "root", "by": "bob", "terminal": "pts/2", "seconds_ago": 10},
    ]
    assert "geheim" not in str(used)
    assert people.present(101 + RECENT_S)["became_another"] == []
