"""Logging in and out, and the account's own page.

Before there is a session its forms carry a token that stands in a cookie as well: a foreign site can neither read
nor, with `__Host-`, set that. A session is always begun with a new token, so none can be foisted on a browser.
"""

from __future__ import annotations

import re
import secrets
from typing import Any

from flask import Response, make_response, redirect, render_template, request, url_for
from werkzeug.wrappers import Response as AnyResponse

from nerve_center import passwords, web
from nerve_center.clock import format_time
from nerve_center.dashboard.site import blueprint, hidden, local_path, me, requires
from nerve_center.errors import Refused
from nerve_center.people import LINK_S
from nerve_center.text import one_line

_TOKEN = re.compile(r"[A-Za-z0-9_-]{32,128}")
_FORM_S = 3600


@blueprint.route("/login", methods=["GET", "POST"])
def login() -> AnyResponse:
    """The login page; with name and password, a session."""
    following = local_path(request.values.get("next", "/"))
    if request.method == "GET":
        if web.person() is not None:
            return redirect(following, 303)
        return _form(following)
    try:
        _check_form()
        token = web.center().people.login(
            request.form.get("name", ""), request.form.get("password", ""), web.address(), _browser()
        )
    except Refused as refusal:
        return _form(following, refusal)
    return _logged_in(token, following)


@blueprint.get("/login/link/<token>")
def show_link(token: str) -> Response:
    """A link is used by its button, so that whoever only looks at it does not use it up."""
    return _with_form_cookie("link.html", 200, {"token": token[:128], "minutes": LINK_S // 60})


@blueprint.post("/login/link")
def use_link() -> AnyResponse:
    """A session, for a link that was not used yet."""
    try:
        _check_form()
        token = web.center().people.login_by_link(request.form.get("token", ""), web.address(), _browser())
    except Refused as refusal:
        return _form("/", refusal)
    return _logged_in(token, "/")


@blueprint.post("/logout")
def logout() -> AnyResponse:
    """End this session."""
    person = web.person()
    if person is not None:
        web.center().people.logout(person)
    response = redirect(url_for("dashboard.login"), 303)
    _set_cookie(response, web.cookie_name(), "", 0)
    return response


@blueprint.get("/account")
@requires("viewer")
def account() -> str:
    """Who I am, where I am logged in, and a new password."""
    return _account()


@blueprint.post("/account/password")
@requires("viewer")
def change_password() -> AnyResponse | tuple[str, int]:
    """A new password; every other session of mine ends."""
    person, new = me(), request.form.get("new", "")
    if new != request.form.get("again", ""):
        return _account("The new passwords are not the same."), 422
    if (why := passwords.why_not(new, person.name)) is not None:
        return _account(f"The new password {why}."), 422
    try:
        web.center().people.change_password(person, request.form.get("old", ""), new, web.address())
    except Refused as refusal:
        return _account(refusal.detail or refusal.title), refusal.status
    return redirect(url_for("dashboard.account"), 303)


@blueprint.post("/account/sessions/<int:key>/end")
@requires("viewer")
def end_session(key: int) -> AnyResponse:
    """End one of my sessions."""
    web.center().people.end_session(me(), key)
    return redirect(url_for("dashboard.account"), 303)


def _account(message: str | None = None) -> str:
    here, person = web.center(), me()
    sessions = [
        {
            "key": item.key,
            "current": item.key == person.session,
            "created": format_time(here.steady.shown(item.created_us) // 1_000_000 * 1_000_000),
            "used": format_time(here.steady.shown(item.used_us) // 1_000_000 * 1_000_000),
            "address": item.address,
            "browser": item.browser,
        }
        for item in here.people.sessions(person.name)
    ]
    return render_template("account.html", sessions=sessions, message=message, least=passwords.LEAST)


def _form(following: str, refusal: Refused | None = None) -> Response:
    values = {
        "following": following,
        "message": refusal and refusal.title,
        "detail": refusal and refusal.detail,
        "nobody": not web.center().people.is_there_anyone(),
        "name": request.form.get("name", "")[:64],
    }
    response = _with_form_cookie("login.html", refusal.status if refusal else 200, values)
    if refusal is not None and "Retry-After" in refusal.headers:
        response.headers["Retry-After"] = refusal.headers["Retry-After"]
    return response


def _with_form_cookie(template: str, status: int, values: dict[str, Any]) -> Response:
    token = request.cookies.get(_form_cookie(), "")
    if not _TOKEN.fullmatch(token):
        token = secrets.token_urlsafe(32)
    response = make_response(render_template(template, form_token=hidden("csrf", token), **values), status)
    _set_cookie(response, _form_cookie(), token, _FORM_S)
    return response


def _check_form() -> None:
    kept = request.cookies.get(_form_cookie(), "")
    if not _TOKEN.fullmatch(kept):
        raise Refused(
            403, "form-forged", "This form is too old.", "Cookies must be allowed. Please log in again."
        )
    web.check_form(kept)


def _logged_in(token: str, following: str) -> AnyResponse:
    before = web.person()
    if before is not None:
        web.center().people.logout(before)
    response = redirect(following, 303)
    _set_cookie(response, web.cookie_name(), token, None)
    _set_cookie(response, _form_cookie(), "", 0)
    return response


def _set_cookie(response: AnyResponse, name: str, value: str, max_age_s: int | None) -> None:
    """Set a cookie; without an age it goes with the browser, the session's end is the center's to know."""
    response.set_cookie(
        name, value, max_age=max_age_s, path="/", secure=request.is_secure, httponly=True, samesite="Lax"
    )


def _form_cookie() -> str:
    return web.cookie_name() + "-form"


def _browser() -> str:
    return one_line(request.headers.get("User-Agent", "")[:255])
