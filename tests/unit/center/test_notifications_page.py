"""The page on which an admin sees who is notified, whether it arrived, and tries a route."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from nerve_center.store import audit
from nerve_center.store.engine import reading
from tests.unit.center.browser import Browser, person
from tests.unit.center.harness import CenterUnderTest
from tests.unit.center.telling import Telling

HOSTILE = "<script>alert(1)</script>"
FILE = """
[[route]]
name = "ops team"
urls = ["json://user:sesame-password@192.0.2.1/sesame-token", "ntfys://sesame-host/sesame-topic"]
severity = "high"
labels = {role = "web"}
types = ["offline"]

[[maintenance]]
name = "always"
days = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"]
begin = "00:00"
end = "00:00"
"""


@pytest.fixture
def center(tmp_path: Path) -> Iterator[CenterUnderTest]:
    under_test = CenterUnderTest(tmp_path, notify={"file": tmp_path / "notify.toml"})
    yield under_test
    under_test.close()


@pytest.fixture
def telling(center: CenterUnderTest, tmp_path: Path) -> Telling:
    return Telling(center, tmp_path, FILE)


def logged_in(center: CenterUnderTest, role: str) -> Browser:
    person(center, role, role)
    browser = Browser(center)
    assert browser.login(role).status_code == 303
    return browser


def test_routes_are_shown_without_their_secrets(telling: Telling) -> None:
    page = logged_in(telling.center, "admin").get("/notifications").text
    for text in ("ops team", "json://…", "ntfys://…", "role=web", "offline", "every day", ">now<"):
        assert text in page
    assert "sesame" not in page
    assert "Nothing had to be told" in page


def test_a_test_is_put_on_its_way_and_its_fate_is_shown(telling: Telling) -> None:
    admin = logged_in(telling.center, "admin")
    assert admin.send_form("/notifications", "/notifications/ops team/test").status_code == 303
    page = admin.get("/notifications").text
    assert page.count("DIO: test of ops team") == page.count(">waiting<") == 2
    telling.trouble = f"no answer from {HOSTILE}"
    telling.later(7)
    page = admin.get("/notifications").text
    assert page.count(">not taken yet<") == 2
    assert "<script>alert" not in page and "&lt;script&gt;alert" in page
    telling.trouble = None
    assert [message.title for message in telling.later(60)] == ["DIO: test of ops team"] * 2
    assert admin.get("/notifications").text.count(">sent<") == 2
    with reading(telling.center.center.engine) as connection:
        newest = audit.page(connection, None, 1)[0]
    assert (newest.actor, newest.action, newest.target) == ("user:admin", "notify.test", "ops team")


def test_a_message_that_nobody_sends_points_to_the_keeper(telling: Telling) -> None:
    admin = logged_in(telling.center, "admin")
    admin.send_form("/notifications", "/notifications/ops team/test")
    assert "Does the keeper run?" not in admin.get("/notifications").text
    telling.center.clock.advance(100)
    assert "Does the keeper run?" in admin.get("/notifications").text


def test_mistakes_in_the_file_stand_on_the_page(telling: Telling) -> None:
    telling.write('[[route]]\nname = "x"\nurls = ["sesame-secret"]\n')
    page = logged_in(telling.center, "admin").get("/notifications").text
    assert "notify.toml:1: address 1 of urls is none" in page
    assert "sesame-secret" not in page
    telling.write("")
    assert "Nobody is notified of anything" in logged_in_again(telling).get("/notifications").text


def logged_in_again(telling: Telling) -> Browser:
    browser = Browser(telling.center)
    assert browser.login("admin").status_code == 303
    return browser


@pytest.mark.parametrize("role", ["viewer", "operator"])
def test_only_admins_see_it_and_send_tests(telling: Telling, role: str) -> None:
    mine = logged_in(telling.center, role)
    assert mine.get("/notifications").status_code == 403
    assert mine.send_form("/account", "/notifications/ops team/test").status_code == 403
    assert "/notifications" not in mine.get("/").text
    assert telling.later(10) == []


def test_a_route_that_is_not_there(telling: Telling) -> None:
    admin = logged_in(telling.center, "admin")
    answer = admin.send_form("/notifications", f"/notifications/{HOSTILE.replace('/', '')}/test")
    assert answer.status_code == 404
    assert "<script>alert" not in answer.text
