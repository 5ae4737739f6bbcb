"""What every view knows: the center that it serves, who is logged in, and where the request came from.

The cookie of a session is `__Host-dio` where the request came by TLS, so that no other host of the domain can set
it, and `dio` where it came in clear. A form is taken only with the session's own token in `csrf`, and only where
the browser does not say that it was sent from another site.
"""

from __future__ import annotations

import hmac
from urllib.parse import urlsplit

from flask import Flask, Response, abort, current_app, g, request

from nerve_center.center import Center
from nerve_center.errors import Refused
from nerve_center.people import Person

EXTENSION = "nerve_center"
_MOST_COOKIE = 128
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "font-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # Forms need their Origin: browsers say "null" under `no-referrer`, and no Sec-Fetch-Site without TLS.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
"""On every answer."""
OVER_TLS = ("Cross-Origin-Opener-Policy", "same-origin")
"""And this one: in clear, browsers ignore it and call it an error."""


def center() -> Center:
    """The center that this app serves."""
    found: Center = current_app.extensions[EXTENSION]
    return found


def secure(app: Flask) -> None:
    """Put the headers that keep browsers safe on every answer; a view's own word on caching holds.

    And answer each address by one spelling: what does not begin with one slash is not found.
    """

    @app.before_request
    def one_slash() -> None:
        if request.environ["PATH_INFO"].startswith("//"):  # which werkzeug reads as one, whatever it is told
            abort(404)

    @app.after_request
    def headers(response: Response) -> Response:
        there = {name.lower() for name, _ in response.headers}
        response.headers.extend([item for item in HEADERS.items() if item[0].lower() not in there])
        if request.is_secure:
            response.headers.set(*OVER_TLS)
        return response


def take_turns(app: Flask, blueprints: frozenset[str], apart: frozenset[str]) -> None:
    """Let requests that read these blueprints take turns (see `turns`), but for the endpoints that stand `apart`."""

    @app.before_request
    def wait() -> None:
        reads = request.method in ("GET", "HEAD") and request.blueprint in blueprints
        if reads and request.endpoint not in apart:
            center().turns.enter()
            g.turn = True

    @app.teardown_request
    def done(_error: BaseException | None) -> None:
        if "turn" in g:
            center().turns.leave()


def cookie_name() -> str:
    """The session's cookie, for the way that this request came."""
    return "__Host-dio" if request.is_secure else "dio"


def person() -> Person | None:
    """Who is logged in, asked once a request and kept in `g.person`. Raises DatabaseUnavailable."""
    if "person" not in g:
        token = request.cookies.get(cookie_name(), "")
        usable = 32 <= len(token) <= _MOST_COOKIE and token.isascii()
        g.person = center().people.person(token) if usable else None
    found: Person | None = g.person
    return found


def address() -> str:
    """The client's address as text."""
    return request.remote_addr or "unknown"


def check_form(expected: str) -> None:
    """Let only our own forms through. Raises Refused (403 `form-forged`)."""
    same_site = request.headers.get("Sec-Fetch-Site")
    origin = request.headers.get("Origin")
    foreign = same_site not in (None, "same-origin", "none") or (
        # Where the browser said that, an Origin adds nothing; behind a proxy that renames the host it would mislead.
        same_site is None and origin is not None and urlsplit(origin).netloc != request.host
    )
    sent = request.form.get("csrf") or request.headers.get("X-CSRF-Token") or ""
    if foreign or not hmac.compare_digest(sent.encode("utf-8", "surrogatepass"), expected.encode()):
        raise Refused(
            403,
            "form-forged",
            "This form is not one of this session.",
            "Go back, load the page again, and send it from there.",
        )
