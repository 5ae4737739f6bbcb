"""Problem documents (RFC 9457): the only shape in which this interface says no.

`type` is `urn:dio:problem:<code>`. What the code raises as Refused or DatabaseUnavailable, what the router
raises (404, 405) and what nobody expected (500, logged once with its traceback) all end here. Only a person at an
address outside of the API gets a page instead.
"""

from __future__ import annotations

import json
import logging
import random
from collections.abc import Callable, Mapping
from typing import Any

from flask import Flask, Response, request
from werkzeug.exceptions import HTTPException

from nerve_center.admission import spread
from nerve_center.errors import DatabaseUnavailable, Refused
from nerve_center.logs import printable

_log = logging.getLogger(__name__)

_ROUTER_CODES = {
    400: ("bad-request", "The request is malformed."),
    404: ("not-found", "There is nothing at this address."),
    405: ("method-not-allowed", "This address does not know this method."),
    408: ("request-timeout", "The request took too long to arrive."),
    413: ("too-large", "The body is too large."),
}


def answer(
    status: int,
    code: str,
    title: str,
    detail: str | None = None,
    members: Mapping[str, Any] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """A problem document as a response."""
    document: dict[str, Any] = {"type": f"urn:dio:problem:{code}", "title": title, "status": status}
    if detail is not None:
        document["detail"] = detail
    document.update(members or {})
    response = Response(json.dumps(document), status=status, mimetype="application/problem+json")
    response.headers.extend(dict(headers or {}))
    return response


Page = Callable[[int, str, str | None], Response]
"""Makes a page of a status, a title and a detail."""


def register(app: Flask, page: Page) -> None:
    """Make every error of the app a problem document, or a page where a browser asked outside of the API."""

    rng = random.SystemRandom()

    @app.errorhandler(Refused)
    def refused(error: Refused) -> Response:
        return answer(error.status, error.code, error.title, error.detail, error.members, error.headers)

    @app.errorhandler(DatabaseUnavailable)
    def unavailable(error: DatabaseUnavailable) -> Response:
        code = "overloaded" if error.kind == "busy" else "database-unavailable"
        return answer(
            503,
            code,
            "The nerve center cannot take or give this now.",
            error.reason,
            headers={"Retry-After": str(spread(error.retry_after_s, rng))},
        )

    @app.errorhandler(HTTPException)
    def http(error: HTTPException) -> Response:
        status = error.code or 500
        code, title = _ROUTER_CODES.get(status, (f"http-{status}", error.name))
        headers = {}
        if allowed := getattr(error, "valid_methods", None):
            headers["Allow"] = ", ".join(sorted(allowed))
        response = page(status, title, None) if _from_browser() else answer(status, code, title)
        response.headers.extend(headers)
        return response

    @app.errorhandler(Exception)
    def unexpected(error: Exception) -> Response:
        _log.error("%s %s failed", request.method, printable(request.path), exc_info=error)
        title, detail = "The nerve center met an error of its own.", "Its log says more."
        return page(500, title, detail) if _from_browser() else answer(500, "internal", title, detail)


def _from_browser() -> bool:
    """Whether a person looks at this: programs do not ask for HTML before JSON."""
    wanted = request.accept_mimetypes
    return not request.path.startswith("/api/") and wanted["text/html"] > wanted["application/json"]
