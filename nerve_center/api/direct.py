"""The one busy request without Flask's round: a report of an agent that is known, taken where WSGI brings it.

A fifth of what a live report cost was contexts, the search for a route, hooks, and objects for a request and an answer
that are bytes on both sides. So what is plainly a report is answered here, as `delivery.report` does it and with the
same headers. Everything else goes on to Flask: other requests, a credential that is not remembered, a body without a
length or in other clothes, a center where agents need certificates. So does whatever a report is refused for
(`settled`): problem documents are made in one place. Only who is turned away because too many are there is answered
here, for that is when it has to be cheap.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from nerve_center.api import body, problems
from nerve_center.auth import bearer
from nerve_center.center import Center
from nerve_center.errors import DatabaseUnavailable, Refused
from nerve_center.store.agents import Instance
from nerve_center.web import HEADERS, OVER_TLS

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

_BEFORE = "/api/v1/agents/"
_BEHIND = "/reports"
_SETTLED = "dio.settled"


def settled(environ: WSGIEnvironment) -> None:
    """Raise what a request was found to come to before Flask saw it."""
    problem = environ.get(_SETTLED)
    if problem is not None:
        raise problem


class Direct:
    """A WSGI application before Flask's; see the module."""

    def __init__(self, app: WSGIApplication, center: Center) -> None:
        self._app = app
        self._center = center
        self._most = int(center.config.limits.body_mib * 1024 * 1024)
        self._certified = center.config.tls.client_ca is not None
        self._rng = random.SystemRandom()

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        if not path.endswith(_BEHIND) or not path.startswith(_BEFORE) or not self._is_plain(environ):
            return self._app(environ, start_response)
        try:
            token = bearer(environ.get("HTTP_AUTHORIZATION"))
            with self._center.admission:
                instance = self._center.authority.known(token, path[len(_BEFORE) : -len(_BEHIND)])
        except Refused:
            return self._app(environ, start_response)
        except DatabaseUnavailable as busy:
            return self._busy(environ, start_response, busy)
        if instance is None:
            return self._app(environ, start_response)
        try:
            text = json.dumps(self._report(environ, instance)).encode()
        except Exception as problem:  # noqa: BLE001 Flask answers, and logs what nobody expected
            if isinstance(problem, Refused) and problem.status in (401, 403):
                self._center.authority.forget(token)
            if isinstance(problem, DatabaseUnavailable) and problem.kind == "busy":
                return self._busy(environ, start_response, problem)
            environ[_SETTLED] = problem
            return self._app(environ, start_response)
        start_response("200 OK", _headers(environ, "application/json", text))
        return (text,)

    def _is_plain(self, environ: WSGIEnvironment) -> bool:
        return (
            environ["REQUEST_METHOD"] == "POST"
            and environ.get("CONTENT_TYPE") == "application/json"
            and environ.get("HTTP_CONTENT_ENCODING", "identity") in ("gzip", "identity")
            and "HTTP_TRANSFER_ENCODING" not in environ
            and 0 < _number(environ.get("CONTENT_LENGTH", "")) <= self._most
            and not self._certified
        )

    def _report(self, environ: WSGIEnvironment, instance: Instance) -> dict[str, Any]:
        """The acknowledgement. Raises Refused and DatabaseUnavailable."""
        here, length = self._center, _number(environ["CONTENT_LENGTH"])
        with here.budget.share() as share:
            raw = body.pieces(environ["wsgi.input"], length, self._most, share)
            with here.admission:
                packed = environ.get("HTTP_CONTENT_ENCODING") == "gzip"
                return here.ingest.report(instance, body.inflate(here, share, raw, packed))

    def _busy(
        self, environ: WSGIEnvironment, start_response: StartResponse, busy: DatabaseUnavailable
    ) -> Iterable[bytes]:
        found = problems.of_unavailable(busy, self._rng)
        text = found.text.encode()
        headers = _headers(environ, problems.MEDIA_TYPE, text)
        start_response(f"{found.status} SERVICE UNAVAILABLE", [*headers, *found.headers.items()])
        return (text,)


def _number(text: str) -> int:
    """What a length says; -1 where it says nothing that all understand alike."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 16 else -1


def _headers(environ: WSGIEnvironment, media_type: str, text: bytes) -> list[tuple[str, str]]:
    headers = [("Content-Type", media_type), ("Content-Length", str(len(text))), *HEADERS.items()]
    return [*headers, OVER_TLS] if environ["wsgi.url_scheme"] == "https" else headers
