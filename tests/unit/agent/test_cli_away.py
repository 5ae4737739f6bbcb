"""What dioctl says and does when the agent does not answer, or is not for this user."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from dio_daemon import ctl, unit
from dio_daemon.ipc.client import Client, NotRunning
from tests.support.control import Socket


def test_no_permission_is_unknown_to_monitoring(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, running: Socket
) -> None:
    def refuse(self: Client, *arguments: object) -> object:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Client, "_ask", refuse)
    assert ctl.main(["health"]) == 3
    assert "join group dio" in capsys.readouterr().out
    assert ctl.main(["status"]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith(
        "dioctl: permission denied on /run/dio-agent/agent.sock: join group dio (adduser USER dio"
    )
    assert "for root" not in said.err
    assert ctl.main(["flush"]) == 1
    assert capsys.readouterr().err.endswith("or use sudo; changes are for root\n")


UNIT = {
    "LoadState": "loaded",
    "ActiveState": "inactive",
    "SubState": "dead",
    "Result": "success",
    "ConditionResult": "yes",
    "ConditionTimestampMonotonic": "5",
    "StatusText": "",
    "ExecMainStatus": "0",
    "NRestarts": "0",
}


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({}, "The agent is not running: systemctl start dio-agent"),
        ({"LoadState": "not-found"}, "not installed"),
        ({"LoadState": "masked"}, "is masked, so nothing starts it: systemctl unmask dio-agent"),
        ({"ConditionResult": "no"}, "not enrolled: dioctl enroll URL"),
        (
            {"ActiveState": "activating", "SubState": "start", "StatusText": "waiting"},
            "is starting: waiting\n",
        ),
        (
            {
                "ActiveState": "activating",
                "SubState": "auto-restart",
                "Result": "exit-code",
                "ExecMainStatus": "75",
            },
            "fails to start (exit code 75, tried again 0 times)",
        ),
        (
            {
                "ActiveState": "failed",
                "Result": "exit-code",
                "ExecMainStatus": "78",
                "StatusText": "a.toml:2: bad",
            },
            "failed (exit code 78): a.toml:2: bad\nSee: journalctl",
        ),
        (
            {"Result": "exit-code", "ExecMainStatus": "77", "StatusText": "refused"},
            "not running (its last run failed: exit code 77: refused): systemctl start",
        ),
        ({"ActiveState": "active"}, "The agent runs but does not answer\nTry: systemctl restart"),
        ({"ActiveState": "active", "StatusText": "active: a"}, 'does not answer (it last said "active: a")'),
        ({"ActiveState": "deactivating", "StatusText": "stopping"}, "The agent is stopping: stopping"),
        (
            {"ActiveState": "failed", "Result": "signal", "ExecMainStatus": "9"},
            "The agent failed (killed by signal 9)",
        ),
        ({"SubState": "auto-restart", "Result": "watchdog"}, "fails to start (it hung and was killed"),
    ],
)
def test_what_systemd_says(fields: dict[str, str], words: str) -> None:
    assert words in unit.sentence(UNIT | fields)


def test_a_unit_that_was_never_started(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    never = UNIT | {"ConditionResult": "no", "ConditionTimestampMonotonic": "0"}
    monkeypatch.setattr(
        unit, "ENROLLED", (str(tmp_path / "token"), str(tmp_path / "state" / "identity.json"))
    )
    assert "not enrolled" in unit.sentence(never)
    (tmp_path / "token").write_text("t")
    assert "not running: systemctl start" in unit.sentence(never)
    assert "cannot be asked" in unit.sentence({})


def test_an_agent_that_is_away_for_a_moment_is_waited_for(running: Socket) -> None:
    away = running.path.with_name("away")
    running.path.rename(away)
    clock = running.agent.clock
    clock.on_wait = lambda event, timeout_s: away.rename(running.path) if away.exists() else None
    assert Client(running.path, clock).call("GET", "/v1/status")["state"] == "active"
    running.path.rename(away)
    clock.on_wait = None
    before = clock.time_s
    with pytest.raises(NotRunning):
        Client(running.path, clock).call("GET", "/v1/status")
    assert 2 <= clock.time_s - before < 2.2
    away.rename(running.path)


@pytest.mark.parametrize(
    ("fields", "seconds"),
    [
        ({}, 0.0),
        ({"Job": "17"}, unit.CHANGING_S),  # a restart, between its stop and its start
        ({"ActiveState": "activating"}, unit.CHANGING_S),
        ({"ActiveState": "deactivating"}, unit.CHANGING_S),
        ({"ActiveState": "failed"}, 0.0),
        ({"ActiveState": "active"}, unit.SOON_S),
    ],
)
def test_how_long_an_agent_is_worth_waiting_for(fields: dict[str, str], seconds: float) -> None:
    assert unit.worth_waiting_s(UNIT | {"Job": "0"} | fields) == seconds
    assert unit.worth_waiting_s({}) == unit.SOON_S  # systemd cannot be asked


def test_a_start_in_progress_is_waited_for_and_a_stopped_agent_is_not(running: Socket) -> None:
    away = running.path.with_name("away")
    running.path.rename(away)
    clock = running.agent.clock
    before, answers = clock.time_s, [0.0]
    client = Client(running.path, clock, lambda: answers[0])
    with pytest.raises(NotRunning):
        client.call("GET", "/v1/status")
    assert clock.time_s == before

    def come(event: threading.Event, timeout_s: float) -> None:
        if clock.time_s - before > 8 and away.exists():
            away.rename(running.path)

    clock.on_wait = come
    answers[0] = unit.CHANGING_S
    assert client.call("GET", "/v1/status")["agent_id"]
    assert 8 < clock.time_s - before < unit.CHANGING_S
    running.path.rename(away)
    before, clock.on_wait = clock.time_s, lambda event, timeout_s: answers.__setitem__(0, 0.0)
    answers[0] = unit.CHANGING_S
    with pytest.raises(NotRunning):  # it was starting, and then it had failed
        client.call("GET", "/v1/status")
    assert clock.time_s - before < 1
    away.rename(running.path)
