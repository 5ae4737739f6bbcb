"""How a view gets at the center, and at the credential that came with the request."""

from __future__ import annotations

from typing import Any

from flask import Response, request

from nerve_center import auth
from nerve_center.errors import Refused
from nerve_center.web import EXTENSION, center

__all__ = ["EXTENSION", "bad_parameter", "center", "credential", "json_response", "query"]


def credential() -> str:
    """The bearer token of the request. Raises Refused (401 `credential-missing`)."""
    return auth.bearer(request.headers.get("Authorization"))


def json_response(body: bytes | str, status: int = 200) -> Response:
    return Response(body, status=status, mimetype="application/json")


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
