"""Logging in, staying logged in, and what gets nowhere."""

from __future__ import annotations

from http.cookies import SimpleCookie

import pytest
from sqlalchemy.engine import Connection
from werkzeug.test import TestResponse

from nerve_center import people
from nerve_center.auth import hash_of
from nerve_center.passwords import Cost, Passwords, why_not
from nerve_center.store import users
from nerve_center.store.engine import reading
from tests.unit.center.browser import PASSWORD, Browser, audited, form_token, person, write
from tests.unit.center.harness import CenterUnderTest


def test_logging_in_and_out(center: CenterUnderTest) -> None:
    person(center, "ann", "operator")
    browser = Browser(center)
    refused = browser.get("/account")
    assert (refused.status_code, refused.location) == (303, "/login?next=/account")
    answer = browser.login()
    assert (answer.status_code, answer.location) == (303, "/account")
    page = browser.get("/account").text
    assert "operator" in page
    assert "192.0.2.1" in page
    out = browser.send_form("/account", "/logout")
    assert (out.status_code, out.location) == (303, "/login")
    assert browser.get("/account").status_code == 303
    assert audited(center) == [("user:ann", "login", "ann")]


def test_a_session_is_over_at_the_center_too(center: CenterUnderTest) -> None:
    """Whoever kept a copy of the cookie has nothing once its owner has logged out."""
    person(center)
    browser = Browser(center)
    browser.login()
    copy = browser.session()
    browser.send_form("/account", "/logout")
    browser.client.set_cookie("dio", copy or "", domain="center.example")
    assert browser.get("/account").status_code == 303


@pytest.mark.parametrize("secure", [False, True])
def test_the_cookie(center: CenterUnderTest, secure: bool) -> None:
    person(center)
    browser = Browser(center, secure=secure)
    answer = browser.login()
    jar: SimpleCookie = SimpleCookie()
    for line in answer.headers.getlist("Set-Cookie"):
        jar.load(line)
    morsel = jar[browser.cookie]
    assert (morsel["httponly"], morsel["samesite"], morsel["path"]) == (True, "Lax", "/")
    assert bool(morsel["secure"]) is secure
    assert (morsel["domain"], morsel["max-age"]) == ("", "")
    with reading(center.center.engine) as connection:
        stored = [row.token_hash for row in connection.exec_driver_sql("SELECT * FROM web_sessions")]
    assert len(stored) == 1
    assert morsel.value.encode() not in stored[0]


def test_a_cookie_for_clear_text_is_nothing_over_tls(center: CenterUnderTest) -> None:
    """Another host of the domain, or somebody on the wire, may set `dio`; it must not stand for `__Host-dio`."""
    person(center)
    clear = Browser(center)
    clear.login()
    over_tls = Browser(center, secure=True)
    over_tls.client.set_cookie("dio", clear.session() or "", domain="center.example")
    assert over_tls.get("/account").status_code == 303


def test_a_session_cannot_be_foisted(center: CenterUnderTest) -> None:
    person(center)
    person(center, "eve", "admin")
    browser, evil = Browser(center), Browser(center)
    evil.login("eve")
    token = form_token(browser.get("/login").text)
    browser.client.set_cookie("dio", evil.session() or "", domain="center.example")
    browser.post("/login", {"name": "ann", "password": PASSWORD, "csrf": token})
    assert browser.session() != evil.session()
    assert ">ann</a>" in browser.get("/account").text
    for chosen in ("x" * 43, "", "x" * 3000, "\u00e9" * 40):
        browser.client.set_cookie("dio", chosen, domain="center.example")
        assert browser.get("/account").status_code == 303


def test_sessions_end_by_themselves(center: CenterUnderTest) -> None:
    person(center)
    idle, busy = Browser(center), Browser(center)
    idle.login()
    busy.login()
    for _ in range(15):
        center.clock.advance(12 * 3600 - 1)
        if busy.get("/account").status_code != 200:
            break
    else:
        pytest.fail("a session that is used never ends")
    assert idle.get("/account").status_code == 303
    busy.login()
    with reading(center.center.engine) as connection:
        assert len(users.sessions_of(connection, "ann", 0, 10**18)) == 1


def test_a_clock_that_jumps_ends_no_session_and_prolongs_none(center: CenterUnderTest) -> None:
    person(center)
    browser = Browser(center)
    browser.login()
    center.clock.time_us += 10 * 365 * 86400 * 1_000_000
    assert browser.get("/account").status_code == 200
    center.clock.time_us -= 20 * 365 * 86400 * 1_000_000
    assert browser.get("/account").status_code == 200
    center.clock.monotonic_s += 13 * 3600
    assert browser.get("/account").status_code == 303


def test_ending_another_session_of_mine(center: CenterUnderTest) -> None:
    person(center)
    person(center, "bob")
    mine, other, bobs = Browser(center), Browser(center), Browser(center)
    for browser, name in ((other, "ann"), (mine, "ann"), (bobs, "bob")):
        browser.login(name)
    keys = {
        item.user_name: item.key for name in ("bob", "ann") for item in center.center.people.sessions(name)
    }
    assert mine.send_form("/account", f"/account/sessions/{keys['bob']}/end").status_code == 404
    assert bobs.get("/account").status_code == 200
    assert mine.send_form("/account", f"/account/sessions/{keys['ann']}/end").status_code == 303
    assert other.get("/account").status_code == 303
    assert mine.get("/account").status_code == 200


@pytest.mark.parametrize("change", ["disable", "remove", "password"])
def test_who_is_not_wanted_any_more_is_out_at_once(center: CenterUnderTest, change: str) -> None:
    person(center)
    browser = Browser(center)
    browser.login()

    def work(connection: Connection) -> None:
        if change == "disable":
            users.change(connection, "ann", disabled_us=1)
        elif change == "remove":
            users.remove(connection, "ann")
        else:
            users.change(connection, "ann", password_hash=Passwords(Cost(16, 8, 1)).make("another password"))
            users.end_sessions(connection, "ann")

    write(center, work)
    assert browser.get("/account").status_code == 303
    answer = browser.login()
    assert answer.status_code == 401
    assert "Name or password is not right." in answer.text


def test_a_new_password_ends_my_other_sessions(center: CenterUnderTest) -> None:
    person(center)
    mine, other = Browser(center), Browser(center)
    mine.login()
    other.login()
    form = {"old": PASSWORD, "new": "a new password", "again": "a new password"}
    for wrong, status in (
        ({"old": "no"}, 403),
        ({"again": "typo"}, 422),
        ({"new": "short", "again": "short"}, 422),
    ):
        answer = mine.send_form("/account", "/account/password", {**form, **wrong})
        assert (answer.status_code, 'role="alert"' in answer.text) == (status, True)
    assert mine.send_form("/account", "/account/password", form).status_code == 303
    assert mine.get("/account").status_code == 200
    assert other.get("/account").status_code == 303
    assert other.login().status_code == 401
    assert other.login(password="a new password").status_code == 303
    assert ("user:ann", "user.password", "ann") in audited(center)


def test_a_role_counts_from_the_next_request_on(center: CenterUnderTest) -> None:
    person(center, "ann", "admin")
    browser = Browser(center)
    browser.login()
    assert "<strong>admin</strong>" in browser.get("/account").text
    write(center, lambda connection: users.change(connection, "ann", role="viewer"))
    assert "<strong>viewer</strong>" in browser.get("/account").text


def test_roles_are_ordered() -> None:
    someone = people.Person("ann", "operator", 1, "x")
    assert [someone.may(role) for role in people.ROLES] == [True, True, False]


def link(center: CenterUnderTest, name: str = "ann", token: str = "t" * 43) -> str:
    until = center.center.steady.now_us() + people.LINK_S * 1_000_000
    write(center, lambda connection: users.add_link(connection, hash_of(token), name, until))
    return token


def use(browser: Browser, token: str) -> TestResponse:
    page = browser.get(f"/login/link/{token}")
    assert page.status_code == 200
    return browser.post("/login/link", {"csrf": form_token(page.text), "token": token})


def test_a_link_logs_in_once(center: CenterUnderTest) -> None:
    person(center)
    token = link(center)
    first, second = Browser(center), Browser(center)
    first.get(f"/login/link/{token}")
    assert first.post("/login/link", {"token": token}).status_code == 403
    assert use(first, token).status_code == 303
    assert first.get("/account").status_code == 200
    assert use(second, token).status_code == 401
    assert second.get("/account").status_code == 303


def test_links_that_are_not_good_any_more(center: CenterUnderTest) -> None:
    person(center)
    old = link(center, token="o" * 43)
    center.clock.advance(people.LINK_S)
    assert use(Browser(center), old).status_code == 401
    disabled = link(center, token="d" * 43)
    write(center, lambda connection: users.change(connection, "ann", disabled_us=1))
    assert use(Browser(center), disabled).status_code == 401
    for other in ("x" * 43, "x", "<script>", "x" * 300):
        page = Browser(center).get(f"/login/link/{other}")
        assert "<script>" not in page.text


def test_before_anybody_can_log_in_the_page_says_what_to_do(center: CenterUnderTest) -> None:
    assert "nervectl user add" in Browser(center).get("/login").text
    person(center)
    assert "nervectl user add" not in Browser(center).get("/login").text


@pytest.mark.parametrize(
    ("password", "fits"),
    [
        ("short", False),
        ("x" * 1025, False),
        ("aaaaaaaaaaaa", False),
        ("annannannann12", True),
        ("correct horse", True),
    ],
)
def test_new_passwords(password: str, fits: bool) -> None:
    assert (why_not(password, "ann") is None) is fits
    assert why_not("somebody@example.org", "Somebody@example.org") is not None


def test_one_password_typed_in_two_ways_is_one() -> None:
    """An e with an accent may arrive as one character or as two."""
    hasher = Passwords(Cost(16, 8, 1))
    assert hasher.check("cafe\u0301 cafe\u0301", hasher.make("caf\u00e9 caf\u00e9"))
