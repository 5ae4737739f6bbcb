"""Logging in, staying logged in, and what gets nowhere."""

from __future__ import annotations

from http.cookies import SimpleCookie
from typing import Any

import pytest
from sqlalchemy.engine import Connection
from werkzeug.test import TestResponse

from nerve_center import people
from nerve_center.auth import hash_of
from nerve_center.passwords import Cost, Passwords, why_not
from nerve_center.store import audit, users
from nerve_center.store.engine import reading
from tests.unit.center.browser import PASSWORD, Browser, form_token, person
from tests.unit.center.harness import CenterUnderTest


def audited(center: CenterUnderTest) -> list[tuple[str, str, str]]:
    with reading(center.center.engine) as connection:
        return [(item.actor, item.action, item.target) for item in audit.page(connection, None, 100)]


def write(center: CenterUnderTest, work: Any) -> Any:
    return center.center.writer.submit(work)


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


def test_guessing(center: CenterUnderTest) -> None:
    """One account from one place: five attempts, then the right password does not help either, for ten minutes."""
    person(center)
    browser = Browser(center)
    for _ in range(people.PER_BOTH):
        assert browser.login(password="guess").status_code == 401
    answer = browser.login()
    assert answer.status_code == 429
    assert 0 < int(answer.headers["Retry-After"]) <= people.WINDOW_S
    assert audited(center) == [("center", "login.refused", "ann")]
    assert Browser(center, "192.0.2.2").login().status_code == 303
    center.clock.advance(people.WINDOW_S)
    assert browser.login().status_code == 303


def test_logging_in_often_is_no_guessing(center: CenterUnderTest) -> None:
    person(center)
    for _ in range(people.PER_ADDRESS + 2):
        assert Browser(center).login().status_code == 303


def test_guessing_names_from_one_place(center: CenterUnderTest) -> None:
    """Every address of a household's IPv6 network counts as one place."""
    person(center)
    for number in range(people.PER_ADDRESS):
        assert Browser(center, f"2001:db8::{number + 1:x}").login(f"name{number}").status_code == 401
    assert Browser(center, "2001:db8::ffff").login().status_code == 429
    assert Browser(center, "2001:db8:0:1::1").login().status_code == 303


def test_guessing_from_many_places(center: CenterUnderTest) -> None:
    person(center)
    for number in range(people.PER_ACCOUNT):
        assert Browser(center, f"198.51.100.{number}").login(password="guess").status_code == 401
    assert Browser(center, "203.0.113.1").login().status_code == 429


def test_two_workers_count_together(
    center: CenterUnderTest, tmp_path_factory: pytest.TempPathFactory
) -> None:
    person(center)
    folder = center.settings.database.path.parent
    other = CenterUnderTest(folder, center.clock)
    try:
        for number in range(people.PER_BOTH):
            worker = (center, other)[number % 2]
            assert Browser(worker).login(password="guess").status_code == 401
        assert [Browser(worker).login().status_code for worker in (center, other)] == [429, 429]
    finally:
        other.close()


class Counting(Passwords):
    """Passwords that say how often, and how dear, they were asked."""

    def __init__(self) -> None:
        super().__init__(Cost(16, 8, 1))
        self.costs: list[Cost] = []

    def _key(self, password: str, salt: bytes, cost: Cost) -> bytes:
        self.costs.append(cost)
        return super()._key(password, salt, cost)


@pytest.mark.parametrize("name", ["ann", "nobody", "gone", "", "x" * 200, "'; --", "\0"])
def test_an_unknown_name_costs_what_a_wrong_password_costs(center: CenterUnderTest, name: str) -> None:
    person(center)
    person(center, "gone")
    write(center, lambda connection: users.change(connection, "gone", disabled_us=1))
    counting = center.center.people.passwords = Counting()
    answer = Browser(center).login(name, "wrong")
    assert (answer.status_code, counting.costs) == (401, [Cost(16, 8, 1)])
    assert "Name or password is not right." in answer.text


def test_no_more_than_a_few_passwords_at_once(center: CenterUnderTest) -> None:
    person(center)
    inside = Passwords(Cost(16, 8, 1))
    depth = 0

    def apart(work: Any) -> Any:
        nonlocal depth
        depth += 1
        if depth < 20:
            answers.append(Browser(center, f"198.51.100.{depth}").login())
        return work()

    answers: list[TestResponse] = []
    inside.apart = apart
    center.center.people.passwords = inside
    answers.append(Browser(center).login())
    assert sorted({answer.status_code for answer in answers}) == [303, 503]


FORGED = [
    {},
    {"csrf": ""},
    {"csrf": "0" * 64},
    {"csrf": "\u00e9"},
]


@pytest.mark.parametrize("form", FORGED)
@pytest.mark.parametrize("path", ["/logout", "/account/password", "/account/sessions/1/end"])
def test_a_form_without_the_sessions_token_changes_nothing(
    center: CenterUnderTest, path: str, form: dict[str, str]
) -> None:
    person(center)
    browser = Browser(center)
    browser.login()
    assert browser.post(path, form).status_code == 403
    assert browser.get("/account").status_code == 200


def test_a_form_with_the_token_of_another_session(center: CenterUnderTest) -> None:
    person(center)
    mine, other = Browser(center), Browser(center)
    mine.login()
    other.login()
    assert mine.post("/logout", {"csrf": form_token(other.get("/account").text)}).status_code == 403
    assert mine.get("/account").status_code == 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Sec_Fetch_Site": "cross-site"}, 403),
        ({"Sec_Fetch_Site": "same-site"}, 403),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://center.example:81"}, 403),
        ({"Origin": "http://center.example"}, 303),
        ({"Sec_Fetch_Site": "same-origin"}, 303),
    ],
)
def test_a_form_from_another_site(center: CenterUnderTest, headers: dict[str, str], status: int) -> None:
    person(center)
    browser = Browser(center)
    browser.login()
    token = form_token(browser.get("/account").text)
    assert browser.post("/logout", {"csrf": token}, **headers).status_code == status


@pytest.mark.parametrize("form", FORGED)
def test_logging_somebody_in_from_another_site(center: CenterUnderTest, form: dict[str, str]) -> None:
    person(center, "eve")
    browser = Browser(center)
    sent = {"name": "eve", "password": PASSWORD, **form}
    assert browser.post("/login", sent).status_code == 403
    browser.get("/login")
    assert browser.post("/login", sent).status_code == 403
    assert browser.session() is None


@pytest.mark.parametrize(
    "following",
    [
        "https://evil.example/",
        "//evil.example",
        "/\\evil.example",
        "\\\\evil.example",
        "/\t/evil.example",
        "javascript:alert(1)",
        "/a\r\nSet-Cookie: x=y",
        "",
        " /x",
        "/" + "x" * 5000,
    ],
)
def test_nobody_is_sent_elsewhere(center: CenterUnderTest, following: str) -> None:
    person(center)
    browser = Browser(center)
    assert browser.login(following=following).location == "/"


def test_back_to_where_one_wanted(center: CenterUnderTest) -> None:
    person(center)
    browser = Browser(center)
    assert browser.login(following="/hosts?state=offline").location == "/hosts?state=offline"
    assert browser.get("/login?next=/account").location == "/account"


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


def test_markup_in_what_people_type_is_shown_as_text(center: CenterUnderTest) -> None:
    nasty = '"><script>alert(1)</script>'
    person(center)
    browser = Browser(center)
    assert "<script>" not in browser.login(nasty, "x").text
    assert "<script>" not in browser.get("/login?next=/" + nasty).text
    token = form_token(browser.get("/login").text)
    browser.post("/login", {"name": "ann", "password": PASSWORD, "csrf": token}, User_Agent=nasty)
    page = browser.get("/account").text
    assert "&lt;script&gt;" in page
    assert "<script>" not in page


HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
}


@pytest.mark.parametrize(
    "path",
    [
        "/login",
        "/account",
        "/login/link/" + "x" * 43,
        "/static/dio.css",
        "/health",
        "/api/v1/agents",
        "/nowhere",
        "/%00",
    ],
)
def test_headers_on_every_path(center: CenterUnderTest, path: str) -> None:
    person(center)
    stranger, browser = Browser(center), Browser(center)
    browser.login()
    for answer in (stranger.get(path), browser.get(path)):
        assert {name: answer.headers.get(name) for name in HEADERS} == HEADERS
        policy = answer.headers["Content-Security-Policy"]
        assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'")
        assert "unsafe" not in policy
        if not path.startswith("/static"):
            assert answer.headers["Cache-Control"] == "no-store"
        answer.close()


def test_the_pages_carry_no_inline_script_or_style(center: CenterUnderTest) -> None:
    person(center)
    browser = Browser(center)
    browser.login()
    for path in ("/account", "/login/link/x"):
        page = browser.get(path).text
        assert page.count("<script") == page.count('<script src="/static/')
        assert "style=" not in page
        assert "http" not in page.replace("http://center.example", "")


def test_before_anybody_can_log_in_the_page_says_what_to_do(center: CenterUnderTest) -> None:
    assert "nervectl user add" in Browser(center).get("/login").text
    person(center)
    assert "nervectl user add" not in Browser(center).get("/login").text


def test_a_form_that_is_too_large(center: CenterUnderTest) -> None:
    assert Browser(center).post("/login", {"name": "x" * 100_000}).status_code == 413


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
