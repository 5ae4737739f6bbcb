"""dioctl and dio-agent as commands: what they print, write and return."""

import io
import json
import logging
import stat
import sys
from pathlib import Path

import pytest

from dio_daemon import app, ctl
from dio_daemon.cli.show import status_rows
from dio_daemon.enroll import enroll

TOKEN = "a-token-of-printable-ASCII"


@pytest.fixture
def main(tmp_path: Path) -> Path:
    path = tmp_path / "agent.toml"
    path.write_text(f'[nerve_center]\nenrollment_token_file = "{tmp_path}/token"\n')
    return path


@pytest.fixture(autouse=True)
def own_logging(monkeypatch: pytest.MonkeyPatch) -> None:
    """The commands set up logging for a whole process; here it goes back afterwards."""
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)


def give(monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))


def test_enroll_writes_drop_in_and_token(main: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    give(monkeypatch, TOKEN.encode() + b"\n")
    assert enroll("https://center.example.org:8000/", None, main, False, False) == 0
    token = main.with_name("token")
    assert token.read_text() == TOKEN + "\n"
    assert stat.S_IMODE(token.stat().st_mode) == 0o600
    drop_in = main.parent / "agent.toml.d/50-enrolled.toml"
    assert 'url = "https://center.example.org:8000"' in drop_in.read_text()
    assert TOKEN not in drop_in.read_text()


def test_enroll_from_a_file_and_plain_http_when_told(
    main: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "given").write_text(TOKEN)
    arguments = [
        "enroll",
        "http://192.0.2.1:8000",
        "--token-file",
        str(tmp_path / "given"),
        "--config",
        str(main),
    ]
    assert ctl.main([*arguments, "--no-start"]) == 1
    assert ctl.main([*arguments, "--no-start", "--allow-plain-http"]) == 0
    capsys.readouterr()
    assert ctl.main([*arguments, "--no-start", "--allow-plain-http", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"enrolled": True, "ready": False}
    assert "allow_plain_http = true" in (main.parent / "agent.toml.d/50-enrolled.toml").read_text()


@pytest.mark.parametrize("token", [b"", b"\n", b"two words\n", b"\xff\n", b"x" * 600])
def test_what_is_no_token_changes_nothing(
    main: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], token: bytes
) -> None:
    give(monkeypatch, token)
    assert ctl.main(["enroll", "https://c.example.org", "--config", str(main), "--no-start"]) == 1
    assert "token" in capsys.readouterr().err
    assert not main.with_name("token").exists()
    assert not (main.parent / "agent.toml.d").exists()


def test_a_broken_configuration_keeps_the_enrollment_as_it_was(
    main: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    give(monkeypatch, TOKEN.encode())
    assert enroll("https://a.example.org", None, main, False, False) == 0
    drop_in = main.parent / "agent.toml.d/50-enrolled.toml"
    before = drop_in.read_bytes()
    main.write_text("[agent]\ninterval_s = 0\n")
    give(monkeypatch, b"another-token")
    assert ctl.main(["enroll", "https://b.example.org", "--config", str(main), "--no-start"]) == 78
    assert drop_in.read_bytes() == before


@pytest.mark.parametrize("url", ["center", "ftp://x", "https://u:p@x", "https://x/?q"])
def test_what_is_no_url(
    main: Path, monkeypatch: pytest.MonkeyPatch, url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    give(monkeypatch, TOKEN.encode())
    assert ctl.main(["enroll", url, "--config", str(main), "--no-start"]) == 1
    assert "the URL must" in capsys.readouterr().err


def test_check_config(main: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert ctl.main(["check-config", "--config", str(main)]) == 0
    assert app.main(["--check-config", "--config", str(main)]) == 0
    main.write_text("[agent]\ninterval_s = 0\nx = 1\n")
    assert ctl.main(["check-config", "--config", str(main)]) == 78
    assert f"{main}:2: agent.interval_s must be from 1 to 3600" in capsys.readouterr().err


def test_a_bad_configuration_ends_the_agent_with_78_and_every_line(
    main: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main.write_text("[agent]\ninterval_s = 0\nx = 1\n")
    assert app.main(["--config", str(main)]) == 78
    said = capsys.readouterr().err
    assert f"{main}:2:" in said
    assert f"{main}:3:" in said
    assert "Traceback" not in said


def test_nobody_answers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dio_daemon.unit.SOON_S", 0.0)
    assert ctl.main(["--socket", str(tmp_path / "none"), "status"]) == 3
    assert "no agent answers" in capsys.readouterr().err


def test_status_rows_tell_what_is_wrong() -> None:
    document = json.loads(
        """{"agent_id": "agent-x", "state": "offline", "state_age_s": 300, "since": "S", "reason": "refused",
        "next_attempt_in_s": 4.2, "nerve_center": "http://c", "last_acknowledged_at": "T",
        "last_acknowledged_age_s": 9000, "spool": {"pending": 5, "bytes": 1048576, "max_bytes": 67108864,
        "dead_letters": 2}, "conditions": {"spool_filling": "full"}, "threads": {"link": {"fresh": false}},
        "version": "0"}"""
    )
    rows = dict(status_rows(document))
    assert rows["State"] == "offline for 5 min (since S)"
    assert rows["Next attempt"] == "in 4 s"
    assert rows["Last acknowledged"] == "2 h ago (T)"
    assert rows["Spool"] == "5 records wait, 1.0 of 64 MiB used, 2 dead letters"
    assert rows["Condition"] == "spool_filling: full"
    assert rows["Hung thread"] == "link"


@pytest.mark.parametrize("arguments", [["--help"], ["status", "--help"], ["enroll", "--help"], ["--version"]])
def test_help(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        ctl.main(arguments)
    assert caught.value.code == 0
    assert capsys.readouterr().out
