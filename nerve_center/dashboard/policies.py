"""The page of what agents are told: policies by label, which admins set, and what is normal."""

from __future__ import annotations

import json

from flask import redirect, render_template, request, url_for
from werkzeug.wrappers import Response as AnyResponse

from nerve_center import rule_check, web
from nerve_center.dashboard.site import blueprint, me, requires
from nerve_center.errors import Refused
from nerve_center.store import agents, policies, tolerances
from nerve_center.store.engine import reading
from nerve_center.store.policies import Policy

MOST_RULES = 20_000
"""Characters, which a form may make three of each; a program may send more."""
MOST_REASON = 1000


@blueprint.get("/policies")
@requires("viewer")
def show_policies() -> str:
    """All policies, what is normal, and the hosts that refuse what they are told."""
    return _page()


@blueprint.post("/policies")
@requires("admin")
def save_policy() -> AnyResponse | tuple[str, int]:
    """Set one, or remove it by saying nothing; mistakes are shown with their lines, and nothing is lost of the form."""
    here, form = web.center(), request.form
    label, interval, rules = (form.get(name, "").strip() for name in ("label", "interval_s", "rules"))
    rules = rules.replace("\r\n", "\n")
    try:
        name, value = label_of(label)
        interval_s = _interval(interval)
        if len(rules) > MOST_RULES:
            raise _bad(f"The rules have more than {MOST_RULES} characters.")
        rule_check.refuse_mistakes(here.contract, rules)
        new, who, now_us = Policy(name, value, interval_s, rules), me().actor, here.clock.now_us()
        here.writer.submit(lambda connection: policies.save(connection, new, who, now_us))
    except Refused as refusal:
        return _page(refusal, {"label": label, "interval_s": interval, "rules": rules}), refusal.status
    return redirect(url_for("dashboard.show_policies"), 303)


@blueprint.post("/policies/tolerances/<int:key>/end")
@requires("operator")
def end_tolerance(key: int) -> AnyResponse:
    """It is no longer normal."""
    here, who = web.center(), me().actor
    now_us = here.clock.now_us()
    here.writer.submit(lambda connection: tolerances.end(connection, key, who, now_us))
    return redirect(url_for("dashboard.show_policies"), 303)


@blueprint.post("/threats/<int:key>/tolerate")
@requires("operator")
def tolerate_threat(key: int) -> AnyResponse:
    """What a threat is about is normal."""
    here, form = web.center(), request.form
    where, reason = form.get("where", "host"), form.get("reason", "").strip()[:MOST_REASON]
    span = form.get("span", "0")
    if span not in {str(seconds) for _, seconds in tolerances.SPANS}:
        raise _bad("Load the page again and send the form from there.")
    scope, label = (where, None) if where in ("host", "fleet") else ("label", label_of(where))
    now_us, who = here.clock.now_us(), me().actor
    until_us = now_us + int(span) * 1_000_000 if int(span) else None
    here.writer.submit(
        lambda connection: tolerances.add_for_threat(
            connection, key, scope, label, reason, until_us, who, now_us
        )
    )
    return redirect(url_for("dashboard.threat", key=key), 303)


def _page(refusal: Refused | None = None, form: dict[str, str] | None = None) -> str:
    here = web.center()
    with reading(here.engine) as connection:
        found = policies.everyone(connection)
        normal = tolerances.in_force(connection, here.clock.now_us())
        refusing = agents.refusing_policy(connection, 100)
    return render_template(
        "policies.html",
        policies=found,
        normal=[(each, tolerances.scope_text(each)) for each in normal],
        refusing=[(row, json.loads(row.policy)["refused"]) for row in refusing],
        problem=refusal,
        form=form or {"label": "", "interval_s": "", "rules": ""},
        most=MOST_RULES,
    )


def label_of(text: str) -> tuple[str, str]:
    """Name and value; both empty for the fleet."""
    name, equals, value = text.partition("=")
    if not text:
        return "", ""
    if not (equals and 0 < len(name) <= 256 and len(value) <= 256 and text.isprintable()):
        raise _bad("A label is written NAME=TEXT; none is the whole fleet.")
    return name, value


def _interval(text: str) -> float | None:
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 1 <= value <= 3600:
        raise _bad("An interval is 1 to 3600 seconds; none leaves it to the hosts.")
    return value


def _bad(detail: str) -> Refused:
    return Refused(422, "bad-parameter", "The form does not fit.", detail)
