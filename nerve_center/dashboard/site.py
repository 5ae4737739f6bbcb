"""The blueprint that every page is on, and what holds for all of them.

`@requires("viewer")` stands between a view and strangers: whoever is not logged in comes to the login page and back,
whoever has too small a role gets 403. A request that changes something is let through only with the session's form
token, which `{{ csrf() }}` puts into a form; no view has to think of it, and none can forget it. What goes
wrong is answered with a page, not with a problem document.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar, cast
from urllib.parse import quote

from flask import (
    Blueprint,
    Response,
    current_app,
    g,
    make_response,
    redirect,
    render_template,
    request,
    url_for,
)
from markupsafe import Markup
from werkzeug.exceptions import HTTPException
from werkzeug.wrappers import Response as AnyResponse

from nerve_center import __version__, web
from nerve_center.dashboard.shown import FILTERS
from nerve_center.errors import DatabaseUnavailable, Refused
from nerve_center.people import Person
from nerve_center.turns import breathe

blueprint = Blueprint(
    "dashboard", __name__, template_folder="templates", static_folder="static", static_url_path="/static"
)
View = TypeVar("View", bound=Callable[..., Any])
_SAFE = ("GET", "HEAD", "OPTIONS")
_OWN_CHECK = ("dashboard.login", "dashboard.use_link")
_PIECES_A_BREATH = 200
_MOST_FORM_BYTES = 64 * 1024
PAGES = (
    ("dashboard.fleet", "fleet", "Fleet", "viewer"),
    ("dashboard.threats", "threats", "Threats", "viewer"),
    ("dashboard.events", "events", "Events", "viewer"),
    ("dashboard.show_policies", "policies", "Policies", "viewer"),
    ("dashboard.enroll", "enroll", "Enroll", "operator"),
    ("dashboard.notifications", "notifications", "Notifications", "admin"),
    ("dashboard.people", "people", "People", "admin"),
)
"""What the head of every page links to: endpoint, key, name, and the role that it needs."""


@blueprint.record
def filters(state: Any) -> None:
    """Give the templates their filters."""
    state.app.jinja_env.filters.update(FILTERS)


def requires(role: str) -> Callable[[View], View]:
    """Let only people with this role, or more, at a view."""

    def around(view: View) -> View:
        @functools.wraps(view)
        def checked(*args: Any, **kwargs: Any) -> Any:
            person = web.person()
            if person is None:
                return to_login()
            if not person.may(role):
                raise Refused(
                    403, "role-required", f"This needs the role {role}.", f"Yours is {person.role}."
                )
            return view(*args, **kwargs)

        return cast(View, checked)

    return around


def me() -> Person:
    """Who is logged in, in a view with `@requires`."""
    person: Person = g.person
    return person


def to_login() -> AnyResponse:
    """The login page, and from there back to what was asked for."""
    if request.method != "GET" or request.path == "/":
        return redirect(url_for("dashboard.login"), 303)
    asked = request.full_path.rstrip("?")
    return redirect(f"{url_for('dashboard.login')}?next={quote(asked)}", 303)


def local_path(text: str) -> str:
    """`text` where it is a place on this site, else the front page: nobody is sent elsewhere after logging in."""
    plain = text.isascii() and text.isprintable() and not any(char in text for char in "\\ ")
    return text if plain and text.startswith("/") and not text.startswith("//") and len(text) < 2048 else "/"


@blueprint.before_request
def guard() -> None:
    """Bound what is read, and let no foreign form through."""
    if request.method in _SAFE:
        return
    if (request.content_length or 0) > _MOST_FORM_BYTES or "Transfer-Encoding" in request.headers:
        raise Refused(413, "too-large", "The form is too large.")
    if request.endpoint in _OWN_CHECK:
        return
    person = web.person()
    if person is not None:  # without one, `requires` asks for a login
        web.check_form(person.csrf)


@blueprint.context_processor
def for_templates() -> dict[str, Any]:
    """`person`, `csrf()` and `version` in every template of a page."""
    person: Person | None = g.get("person")

    def csrf() -> Markup:
        return hidden("csrf", person.csrf if person is not None else "")

    pages = [page for page in PAGES if person is not None and person.may(page[3])]
    return {
        "person": person,
        "csrf": csrf,
        "version": __version__,
        "pages": [page[:3] for page in pages],
    }


def render(name: str, **context: Any) -> str:
    """A large page: as `render_template`, with breaths between its pieces (see `turns`)."""
    current_app.update_template_context(context)
    pieces: list[str] = []
    for number, piece in enumerate(current_app.jinja_env.get_template(name).generate(context)):
        pieces.append(piece)
        if not number % _PIECES_A_BREATH:
            breathe()
    return "".join(pieces)


def hidden(name: str, value: str) -> Markup:
    """A hidden field of a form."""
    return Markup('<input type="hidden" name="{}" value="{}">').format(name, value)


@blueprint.errorhandler(Refused)
def refused(error: Refused) -> Response:
    """Why it is refused, as a page."""
    return problem(error.status, error.title, error.detail, error.headers)


@blueprint.errorhandler(DatabaseUnavailable)
def unavailable(error: DatabaseUnavailable) -> Response:
    """The database does not answer."""
    headers = {"Retry-After": str(error.retry_after_s)}
    return problem(503, "The nerve center cannot do this now.", error.reason, headers)


@blueprint.errorhandler(HTTPException)
def http(error: HTTPException) -> Response:
    """What Flask itself refuses."""
    return problem(error.code or 500, error.name, None, {})


def problem_page(status: int, title: str, detail: str | None) -> Response:
    """The same where no view of these pages was reached."""
    page = render_template("problem.html", status=status, title=title, detail=detail, **for_templates())
    return make_response(page, status)


def problem(status: int, title: str, detail: str | None, headers: Any) -> Response:
    """A page that says what is wrong."""
    page = render_template("problem.html", status=status, title=title, detail=detail)
    response = make_response(page, status)
    response.headers.extend(dict(headers))
    return response
