"""What can be asked on the control socket, and by whom.

The socket's mode decides who may read (root and its group). Changes are root's, and the agent's own user's.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

from dio_daemon.ipc.server import Request, Response, problem

Read = Callable[[], Any]
Change = Callable[[], Response]


class Routes:
    """Answers requests.

    Args:
        reads: path to a function that returns a JSON value.
        changes: path to a function that does something and answers.
    """

    def __init__(self, reads: Mapping[str, Read], changes: Mapping[str, Change]) -> None:
        self._reads = reads
        self._changes = changes

    def handle(self, request: Request) -> Response:
        """Answer one request."""
        if request.path in self._reads:
            if request.method not in ("GET", "HEAD"):
                return problem(405, "method-not-allowed", "use GET", (("Allow", "GET, HEAD"),))
            return Response(200, self._reads[request.path]())
        if request.path in self._changes:
            if request.method != "POST":
                return problem(405, "method-not-allowed", "use POST", (("Allow", "POST"),))
            if request.uid not in (0, os.geteuid()):
                return problem(403, "root-only", "only root may change the agent")
            return self._changes[request.path]()
        known = ", ".join([*self._reads, *self._changes])
        return problem(404, "not-found", f"there is no {request.path}; there are: {known}")
