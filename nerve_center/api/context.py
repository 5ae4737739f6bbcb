"""How a view gets at the center, and at the credential that came with the request."""

from __future__ import annotations

from typing import Any

from flask import Response, request

from nerve_center import auth, web
from nerve_center.errors import Refused
from nerve_center.store.triage import Actor
from nerve_center.web import EXTENSION, center

__all__ = ["EXTENSION", "actor", "bad_parameter", "center", "credential", "json_response", "query", "reader"]


def credential() -> str:
    """The bearer token of the request. Raises Refused (401 `credential-missing`)."""
    return auth.bearer(request.headers.get("Authorization"))


def reader(agent_id: str | None = None) -> None:
    """Let through whoever may read: an API token, an agent where it is about itself, a person who is logged in.

    Raises Refused, and DatabaseUnavailable.
    """
    if "Authorization" not in request.headers and web.person() is not None:
        return
    center().authority.reader(credential(), agent_id)


def actor(scope: str, role: str) -> Actor:
    """Who acts: a program whose token has the scope, or a person who has the role and sends the session's form token.

    Raises Refused, and DatabaseUnavailable.
    """
    person = None if "Authorization" in request.headers else web.person()
    if person is None:
        return center().authority.program(credential(), scope)
    if request.method not in ("GET", "HEAD"):
        web.check_form(person.csrf)
    if not person.may(role):
        raise Refused(403, "role-required", f"This needs the role {role}.", f"Yours is {person.role}.")
    return Actor("user", person.name)


def json_response(body: bytes | str, status: int = 200) -> Response:
    """An answer; what is read has an `ETag`, and is not sent again to who names it (304).

    Caches on the way keep nothing all the same (`no-store`): it is for programs that remember what they read.
    """
    response = Response(body, status=status, mimetype="application/json")
    if status == 200 and request.method in ("GET", "HEAD"):
        response.add_etag()
        response.make_conditional(request)
    return response


def query(known: dict[str, Any]) -> dict[str, Any]:
    """The query's parameters, each parsed by the function that `known` names for it; absent ones left out.

    Raises Refused (400 `bad-parameter`) for one that does not parse, comes twice or is not known.
    """
    found: dict[str, Any] = {}
    for name, values in request.args.lists():
        if name not in known:
            raise bad_parameter(name, f"is not known here; known are {', '.join(sorted(known))}")
        if len(values) != 1:
            raise bad_parameter(name, "may come once")
        try:
            found[name] = known[name](values[0])
        except ValueError as exc:
            raise bad_parameter(name, str(exc)) from None
    return found


def bad_parameter(name: str, why: str) -> Refused:
    return Refused(400, "bad-parameter", "A query parameter does not fit.", f"{name[:64]!a} {why[:200]}")
