"""nervectl user: people are made, changed and removed, and each change is in the audit log."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from nerve_center import passwords
from nerve_center.nervectl import main
from nerve_center.store import audit, users
from nerve_center.store.engine import reading
from tests.unit.center.browser import PASSWORD, Browser, form_token
from tests.unit.center.harness import CHEAP, CenterUnderTest


@pytest.fixture(autouse=True)
def cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passwords.Passwords.__init__, "__defaults__", (CHEAP, None))


def run(center: CenterUnderTest, *arguments: str, typed: str | None = None) -> Result:
    file = center.configuration()
    return CliRunner().invoke(main, ["--config", str(file), "user", *arguments], input=typed)


def actions(center: CenterUnderTest) -> list[tuple[str, str]]:
    with reading(center.center.engine) as connection:
        entries = audit.page(connection, None, 100)
    assert all(item.actor.startswith("local:") for item in entries if item.action != "login")
    return [(item.action, item.target) for item in reversed(entries) if item.action != "login"]


def add(center: CenterUnderTest, *options: str) -> Result:
    return run(center, "add", "ann", "--password-file", "-", *options, typed=PASSWORD + "\n")


def test_a_person_comes_and_goes(center: CenterUnderTest) -> None:
    assert "Nobody can log in yet" in run(center, "list").output
    added = add(center, "--role", "admin")
    assert (added.exit_code, PASSWORD in added.output) == (0, False)
    browser = Browser(center)
    assert browser.login().status_code == 303
    assert "<strong>admin</strong>" in browser.get("/account").text
    role = run(center, "role", "ann", "viewer")
    assert (role.exit_code, "No admin is left" in role.output) == (0, True)
    assert "<strong>viewer</strong>" in browser.get("/account").text
    assert run(center, "logout", "ann").output == "ann: sessions ended: 1\n"
    assert browser.get("/account").status_code == 303
    browser.login()
    assert run(center, "disable", "ann").exit_code == 0
    assert browser.get("/account").status_code == 303
    assert run(center, "list").output.splitlines()[1].split()[-1] == "disabled"
    assert run(center, "enable", "ann").exit_code == 0
    assert browser.get("/account").status_code == 303
    new = run(center, "password", "ann", "--password-file", "-", typed="another password\n")
    assert new.exit_code == 0
    assert browser.login(password="another password").status_code == 303
    (shown,) = json.loads(run(center, "list", "--json").output)["users"]
    assert (shown["name"], shown["role"], shown["disabled"]) == ("ann", "viewer", False)
    assert run(center, "remove", "ann").exit_code == 0
    assert browser.get("/account").status_code == 303
    assert [action for action, target in actions(center) if target == "ann"] == [
        "user.add",
        "user.role",
        "session.end",
        "user.disable",
        "user.enable",
        "user.password",
        "user.remove",
    ]


def test_the_first_one(center: CenterUnderTest) -> None:
    name, password = run(center, "first").output.split()
    assert name == "admin"
    assert Browser(center).login(name, password).status_code == 303
    assert run(center, "first").output == ""


def test_a_link(center: CenterUnderTest, monkeypatch: pytest.MonkeyPatch) -> None:
    add(center)
    monkeypatch.setattr("nerve_center.cli.base.SystemClock", lambda: center.clock)
    path = run(center, "login-link", "ann").output.strip()
    assert re.fullmatch(r"/login/link/[A-Za-z0-9_-]{43}", path)
    browser = Browser(center)
    page = browser.get(path).text
    form = {"csrf": form_token(page), "token": path.rpartition("/")[2]}
    assert browser.post("/login/link", form).status_code == 303
    assert browser.get("/account").status_code == 200
    run(center, "disable", "ann")
    assert run(center, "login-link", "ann").exit_code == 1


def test_a_password_from_a_file(center: CenterUnderTest, tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text(PASSWORD + "\nmore\n")
    assert run(center, "add", "ann", "--password-file", str(file)).exit_code == 0
    assert Browser(center).login().status_code == 303
    file.write_bytes(b"\xff\xff\xff")
    assert run(center, "password", "ann", "--password-file", str(file)).exit_code == 1


@pytest.mark.databases("sqlite")
@pytest.mark.parametrize(
    ("arguments", "typed", "told"),
    [
        (["add", "a b", "--password-file", "-"], PASSWORD, "no name"),
        (["add", "ann", "--password-file", "-"], "short", "at least 10"),
        (["add", "ann"], None, "--password-file"),
        (["add", "ann", "--password-file", "none"], None, "cannot be read"),
        (["remove", "bob"], None, "no user bob"),
        (["role", "bob", "admin"], None, "no user bob"),
        (["disable", "bob"], None, "no user bob"),
        (["enable", "bob"], None, "no user bob"),
        (["logout", "bob"], None, "no user bob"),
        (["login-link", "bob"], None, "no user bob"),
        (["password", "bob", "--password-file", "-"], PASSWORD, "no user bob"),
    ],
)
def test_what_cannot_be_done(center: CenterUnderTest, arguments: list[str], typed: Any, told: str) -> None:
    result = run(center, *arguments, typed=typed)
    assert (result.exit_code, told in result.output) == (1, True), result.output
    assert actions(center) == []


def test_there_already(center: CenterUnderTest) -> None:
    add(center)
    assert "already" in add(center).output
    with reading(center.center.engine) as connection:
        assert [row.name for row in users.everyone(connection)] == ["ann"]
