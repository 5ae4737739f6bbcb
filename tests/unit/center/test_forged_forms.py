"""Forms and pages that somebody else had a hand in: forged, foreign, marked up."""

from __future__ import annotations

import pytest

from tests.unit.center.browser import PASSWORD, Browser, form_token, person
from tests.unit.center.harness import CenterUnderTest

pytestmark = pytest.mark.databases("sqlite")  # what is tested comes before the store

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
    "Referrer-Policy": "same-origin",
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
        assert "Cross-Origin-Opener-Policy" not in answer.headers, "which browsers do not know in clear"
        if not path.startswith("/static"):
            assert answer.headers["Cache-Control"] == "no-store"
        answer.close()


def test_by_tls_no_other_window_reaches_in(center: CenterUnderTest) -> None:
    answer = Browser(center, secure=True).get("/login")
    assert answer.headers["Cross-Origin-Opener-Policy"] == "same-origin"


def test_the_pages_carry_no_inline_script_or_style(center: CenterUnderTest) -> None:
    person(center)
    browser = Browser(center)
    browser.login()
    for path in ("/account", "/login/link/x"):
        page = browser.get(path).text
        assert page.count("<script") == page.count('<script src="/static/')
        assert "style=" not in page
        assert "http" not in page.replace("http://center.example", "")


def test_a_form_that_is_too_large(center: CenterUnderTest) -> None:
    assert Browser(center).post("/login", {"name": "x" * 100_000}).status_code == 413
