"""The page on which an admin says who may log in, and which programs may ask."""

from __future__ import annotations

from flask import redirect, render_template, request, url_for
from werkzeug.wrappers import Response as AnyResponse

from nerve_center import passwords, web
from nerve_center.clock import format_time
from nerve_center.dashboard.site import blueprint, me, requires
from nerve_center.errors import Refused
from nerve_center.people import ROLES

SPANS = (("30 days", 30 * 86400), ("90 days", 90 * 86400), ("1 year", 365 * 86400), ("ever", 0))
SCOPES = (
    ("read", "read: all that can be read"),
    ("threats", "threats: that, and what people do about threats"),
    ("metrics", "metrics: the figures for Prometheus alone"),
    ("admin", "admin: everything"),
)


@blueprint.get("/people")
@requires("admin")
def people() -> str:
    """Who may log in, and as what."""
    return _page()


@blueprint.post("/people")
@requires("admin")
def add_person() -> AnyResponse | tuple[str, int]:
    """Let somebody log in."""
    form = request.form
    try:
        web.center().managing.add(me(), form.get("name", ""), form.get("role", ""), form.get("password", ""))
    except Refused as refusal:
        return _page(refusal), refusal.status
    return redirect(url_for("dashboard.people"), 303)


@blueprint.post("/people/<name>/role")
@requires("admin")
def change_role(name: str) -> AnyResponse | tuple[str, int]:
    """Give somebody another role."""
    try:
        web.center().managing.set_role(me(), name, request.form.get("role", ""))
    except Refused as refusal:
        return _page(refusal), refusal.status
    return redirect(url_for("dashboard.people"), 303)


@blueprint.post("/people/<name>/<any(disable, enable):act>")
@requires("admin")
def disable_or_enable(name: str, act: str) -> AnyResponse | tuple[str, int]:
    """Refuse somebody, or take that back."""
    managing = web.center().managing
    try:
        (managing.disable if act == "disable" else managing.enable)(me(), name)
    except Refused as refusal:
        return _page(refusal), refusal.status
    return redirect(url_for("dashboard.people"), 303)


@blueprint.post("/people/programs")
@requires("admin")
def make_api_token() -> str | tuple[str, int]:
    """A token for a program, shown this once."""
    form = request.form
    span = form.get("span", "")
    try:
        lasts_s = int(span) if span in {str(value) for _, value in SPANS} else -1
        token = web.center().programs.make(me().actor, form.get("name", ""), form.get("scope", ""), lasts_s)
    except Refused as refusal:
        return _page(refusal), refusal.status
    return _page(token=token)


@blueprint.post("/people/programs/<name>/withdraw")
@requires("admin")
def withdraw_api_token(name: str) -> AnyResponse | tuple[str, int]:
    """Refuse a program from now on."""
    try:
        web.center().programs.withdraw(me().actor, name)
    except Refused as refusal:
        return _page(refusal), refusal.status
    return redirect(url_for("dashboard.people"), 303)


def _page(refusal: Refused | None = None, token: str | None = None) -> str:
    accounts = [
        {
            "name": item.name,
            "role": item.role,
            "created": format_time(item.created_us // 1_000_000 * 1_000_000),
            "disabled": item.disabled,
        }
        for item in web.center().managing.everyone()
    ]
    message = refusal and (refusal.detail or refusal.title)
    return render_template(
        "people.html",
        accounts=accounts,
        roles=ROLES,
        message=message,
        least=passwords.LEAST,
        token=token,
        tokens=web.center().programs.tokens(),
        now_us=web.center().clock.now_us(),
        scopes=SCOPES,
        spans=SPANS,
    )
