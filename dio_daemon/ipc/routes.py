"""What can be asked on the control socket, and by whom.

The socket's mode decides who gets in at all: root and members of its group. They may read, and submit events and
metrics of their own. Changes are root's, and the agent's own user's.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from dio_daemon.errors import SpoolClosed
from dio_daemon.ipc.server import Request, Response, problem

Handler = Callable[[Request], Response]


@dataclass(frozen=True)
class Route:
    """One path: its method, who may, and what answers."""

    method: str
    handle: Handler
    root_only: bool = False


def read(answer: Callable[[], Any]) -> Route:
    """A path that answers a JSON value (or a text) to everybody who gets in."""
    return Route("GET", lambda request: Response(200, answer()))


def change(handle: Handler) -> Route:
    """A path that changes the agent."""
    return Route("POST", handle, root_only=True)


class Routes:
    """Answers requests.

    Args:
        routes: what is at each path.
    """

    def __init__(self, routes: Mapping[str, Route]) -> None:
        self._routes = routes

    def handle(self, request: Request) -> Response:
        """Answer one request."""
        route = self._routes.get(request.path)
        if route is None:
            known = ", ".join(self._routes)
            return problem(404, "not-found", f"there is no {request.path[:200]}; there are: {known}")
        allowed = ("GET", "HEAD") if route.method == "GET" else (route.method,)
        if request.method not in allowed:
            return problem(405, "method-not-allowed", f"use {route.method}", (("Allow", ", ".join(allowed)),))
        if route.root_only and request.uid not in (0, os.geteuid()):
            return problem(403, "root-only", "only root may change the agent: use sudo")
        try:
            return route.handle(request)
        except SpoolClosed as error:
            return problem(503, "stopping", str(error), (("Retry-After", "2"),))


class BadBody(ValueError):
    """A request's body is not what the path takes; the text says what it takes."""


def body_of(request: Request) -> dict[str, Any]:
    """The JSON object of a request's body; an empty body is an empty object. Raises BadBody."""
    if not request.body:
        return {}
    try:
        value = json.loads(request.body)
    except (ValueError, RecursionError) as error:
        raise BadBody("the body must be JSON") from error
    if not isinstance(value, dict):
        raise BadBody("the body must be a JSON object")
    return value
