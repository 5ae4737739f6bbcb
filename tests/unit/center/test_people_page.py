"""The page on which an admin manages people; and what holds for every page there is."""

from __future__ import annotations

import re

import pytest

from nerve_center import people
from nerve_center.store import audit
from nerve_center.store.engine import reading
from tests.unit.center.browser import PASSWORD, Browser, person
from tests.unit.center.harness import CenterUnderTest

FREE = {
    "dashboard.chart_js",
    "dashboard.login",
    "dashboard.show_link",
    "dashboard.use_link",
    "dashboard.static",
}
"""Endpoints for whoever is not logged in."""


def logged_in(center: CenterUnderTest, name: str, role: str) -> Browser:
    person(center, name, role)
    browser = Browser(center)
    assert browser.login(name).status_code == 303
    return browser


def roles(browser: Browser) -> dict[str, str]:
    return dict(
        re.findall(r'Role of ([^"]+)">.*?<option selected>(\w+)</option>', browser.get("/people").text, re.S)
    )


def test_an_admin_gives_programs_tokens(center: CenterUnderTest) -> None:
    admin = logged_in(center, "root", "admin")
    form = {"name": "backup-job", "scope": "read", "span": str(90 * 86400)}
    made = admin.send_form("/people", "/people/programs", form)
    token = re.search('<pre id="token">([^<]+)</pre>', made.text)
    assert made.status_code == 200 and token is not None

    def asks(path: str) -> int:
        return center.app.test_client().get(path, headers={"Authorization": f"Bearer {token[1]}"}).status_code

    assert (asks("/api/v1/agents"), asks("/api/v1/audit")) == (200, 403)
    page = admin.get("/people").text
    assert "backup-job" in page and token[1] not in page, "it is shown once"
    assert admin.send_form("/people", "/people/programs", form).status_code == 409
    for wrong in ({"name": "a b"}, {"name": ""}, {"scope": "all"}, {"span": "5"}, {"span": "-1"}):
        assert admin.send_form("/people", "/people/programs", {**form, **wrong}).status_code == 422, wrong
    assert admin.send_form("/people", "/people/programs/backup-job/withdraw").status_code == 303
    assert asks("/api/v1/agents") == 401
    assert admin.send_form("/people", "/people/programs/backup-job/withdraw").status_code == 404
    with reading(center.center.engine) as connection:
        noted = [item for item in audit.page(connection, None, 50) if item.target == "backup-job"]
    assert [(item.actor, item.action) for item in noted] == [
        ("user:root", "api-token.remove"),
        ("user:root", "api-token.add"),
    ]


def test_a_token_for_a_program_ends_when_it_was_to(center: CenterUnderTest) -> None:
    admin = logged_in(center, "root", "admin")
    for name, span in (("short", 30 * 86400), ("lasting", 0)):
        form = {"name": name, "scope": "metrics", "span": str(span)}
        assert admin.send_form("/people", "/people/programs", form).status_code == 200
    center.clock.advance(30 * 86400 + 1)
    admin.login("root")
    rows = re.findall(
        r'<th scope="row" class="long">(\S+?)(?: <span class="tag">(over)</span>)?</th>',
        admin.get("/people").text,
    )
    assert {("short", "over"), ("lasting", "")} <= set(rows)


def test_an_admin_manages_people(center: CenterUnderTest) -> None:
    admin = logged_in(center, "root", "admin")
    assert "/people" in admin.get("/account").text
    form = {"name": "bob", "role": "viewer", "password": PASSWORD}
    assert admin.send_form("/people", "/people", form).status_code == 303
    bob = Browser(center)
    assert bob.login("bob").status_code == 303
    assert admin.send_form("/people", "/people/bob/role", {"role": "operator"}).status_code == 303
    assert roles(admin) == {"bob": "operator", "root": "admin"}
    assert admin.send_form("/people", "/people/bob/disable").status_code == 303
    assert bob.get("/account").status_code == 303
    assert bob.login("bob").status_code == 401
    assert admin.send_form("/people", "/people/bob/enable").status_code == 303
    assert bob.login("bob").status_code == 303
    with reading(center.center.engine) as connection:
        noted = [
            (item.actor, item.action) for item in audit.page(connection, None, 50) if item.target == "bob"
        ]
    assert [action for actor, action in noted if actor == "user:root"] == [
        "user.enable",
        "user.disable",
        "user.role",
        "user.add",
    ]


@pytest.mark.databases("sqlite")
@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"name": "root"}, 409),
        ({"name": "a b"}, 422),
        ({"name": ""}, 422),
        ({"role": "king"}, 422),
        ({"role": ""}, 422),
        ({"password": "short"}, 422),
    ],
)
def test_people_that_cannot_be_made(center: CenterUnderTest, change: dict[str, str], status: int) -> None:
    admin = logged_in(center, "root", "admin")
    form = {"name": "bob", "role": "viewer", "password": PASSWORD, **change}
    answer = admin.send_form("/people", "/people", form)
    assert (answer.status_code, 'role="alert"' in answer.text) == (status, True)
    assert set(roles(admin)) == {"root"}


@pytest.mark.parametrize(("path", "form"), [("role", {"role": "viewer"}), ("disable", {})])
def test_the_last_admin_stays(center: CenterUnderTest, path: str, form: dict[str, str]) -> None:
    admin = logged_in(center, "root", "admin")
    assert admin.send_form("/people", f"/people/root/{path}", form).status_code == 409
    assert roles(admin) == {"root": "admin"}
    person(center, "other", "admin")
    assert admin.send_form("/people", f"/people/root/{path}", form).status_code == 303
    assert admin.get("/people").status_code in (303, 403)


@pytest.mark.parametrize("path", ["role", "disable", "enable"])
def test_people_that_are_not_there(center: CenterUnderTest, path: str) -> None:
    admin = logged_in(center, "root", "admin")
    answer = admin.send_form("/people", f"/people/%3Cscript%3E/{path}", {"role": "viewer"})
    assert (answer.status_code, "<script>" in answer.text) == (404, False)


@pytest.mark.databases("sqlite")
@pytest.mark.parametrize("role", ["viewer", "operator"])
def test_others_do_not(center: CenterUnderTest, role: str) -> None:
    mine = logged_in(center, "ann", role)
    assert mine.get("/people").status_code == 403
    assert "/people" not in mine.get("/account").text
    for path, form in (
        ("/people", {"name": "eve", "role": "admin", "password": PASSWORD}),
        ("/people/ann/role", {"role": "admin"}),
        ("/people/ann/disable", {}),
    ):
        assert mine.send_form("/account", path, form).status_code == 403
    assert [item.role for item in center.center.managing.everyone()] == [role]


def pages(center: CenterUnderTest) -> list[tuple[str, str]]:
    """Method and path of every page, with something in each place of a path."""
    found = []
    for rule in center.app.url_map.iter_rules():
        if rule.endpoint.startswith("dashboard.") and rule.endpoint not in FREE:
            path = re.sub(r"<any\(([^,)]+)[^>]*>", r"\1", rule.rule)
            path = re.sub(r"<[^>]+>", "1", path)
            found += [(method, path) for method in (rule.methods or set()) & {"GET", "POST"}]
    assert len(found) > 15
    return found


def test_no_page_is_for_strangers(center: CenterUnderTest) -> None:
    person(center)
    stranger = Browser(center)
    for method, path in pages(center):
        answer = stranger.get(path) if method == "GET" else stranger.post(path, {"csrf": "x"})
        answer.close()
        where = (answer.status_code, (answer.location or "").partition("?")[0])
        assert where == (303, "/login"), f"{method} {path} {where}"


@pytest.mark.databases("sqlite")
@pytest.mark.parametrize("role", people.ROLES)
def test_no_page_takes_a_form_without_the_sessions_token(center: CenterUnderTest, role: str) -> None:
    mine = logged_in(center, "ann", role)
    for method, path in pages(center):
        if method == "POST":
            for form in ({}, {"csrf": "0" * 64}):
                assert mine.post(path, form).status_code == 403, path
    assert mine.get("/account").status_code == 200
