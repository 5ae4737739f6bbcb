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
from typing import Any, NamedTuple

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


MEDIA_TYPE = "application/problem+json"


class Document(NamedTuple):
    """A problem document, and what goes with it."""

    status: int
    text: str
    headers: Mapping[str, str]


def of_unavailable(error: DatabaseUnavailable, rng: random.Random) -> Document:
    """What a client is told where the database takes nothing now, or too many ask."""
    code = "overloaded" if error.kind == "busy" else "database-unavailable"
    text = _text(503, code, "The nerve center cannot take or give this now.", error.reason)
    return Document(503, text, {"Retry-After": str(spread(error.retry_after_s, rng))})


def answer(
    status: int,
    code: str,
    title: str,
    detail: str | None = None,
    members: Mapping[str, Any] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """A problem document as a response."""
    return _response(Document(status, _text(status, code, title, detail, members), headers or {}))


def _text(
    status: int, code: str, title: str, detail: str | None, members: Mapping[str, Any] | None = None
) -> str:
    document: dict[str, Any] = {"type": f"urn:dio:problem:{code}", "title": title, "status": status}
    if detail is not None:
        document["detail"] = detail
    document.update(members or {})
    return json.dumps(document)


def _response(document: Document) -> Response:
    response = Response(document.text, status=document.status, mimetype=MEDIA_TYPE)
    response.headers.extend(dict(document.headers))
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
        return _response(of_unavailable(error, rng))

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
