"""Announcing changes on the control socket: root says that what changes now is meant.

`begin` opens a window, `end` closes it, `accept` takes all that is told of this host's body now as well.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from dio_daemon.detect.integrity.window import MOST_S, ChangeWindow
from dio_daemon.ipc.routes import BadBody, Route, body_of, change, read
from dio_daemon.ipc.server import Request, Response, problem
from dio_daemon.text import safe


class Changes:
    """The routes of `/v1/change`.

    Args:
        window: the announced change window.
        wake: has the detectors look at once.
    """

    def __init__(self, window: ChangeWindow, wake: Callable[[], None]) -> None:
        self._window = window
        self._wake = wake

    def routes(self) -> Mapping[str, Route]:
        """Path to route."""
        return {
            "/v1/change": read(lambda: {"window": self._window.document()}),
            "/v1/change/begin": change(self._begin),
            "/v1/change/end": change(self._end),
            "/v1/change/accept": change(self._accept),
        }

    def _begin(self, request: Request) -> Response:
        try:
            body = body_of(request)
        except BadBody as error:
            return problem(422, "bad-request", str(error))
        for_s, reason = body.get("for_s"), body.get("reason", "")
        if isinstance(for_s, bool) or not isinstance(for_s, (int, float)) or not 1 <= for_s <= MOST_S:
            return problem(422, "bad-request", f'"for_s" must be seconds from 1 to {MOST_S:.0f}')
        if not isinstance(reason, str) or len(reason) > 200:
            return problem(422, "bad-request", '"reason" must be a text of at most 200 characters')
        try:
            return Response(200, self._window.begin(float(for_s), safe(reason, 200)))
        except OSError as error:
            return problem(503, "not-kept", f"the change window cannot be kept: {error.strerror}")

    def _end(self, request: Request) -> Response:
        was = self._window.end()
        self._wake()
        return Response(200, {"was_open": was})

    def _accept(self, request: Request) -> Response:
        self._window.accept_asked = True
        self._wake()
        return Response(202, {"accepted": True})
