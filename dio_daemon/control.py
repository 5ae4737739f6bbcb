"""What the control socket offers: one function a path, on top of the agent's parts.

Reads answer from snapshots. Changes are put where the thread that owns the matter finds them; the ones that an
operator waits for (reload, flush) answer when they are done, or say how far they got.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from typing import Any

from dio_daemon import __version__, journal, prometheus, status
from dio_daemon.board import Board
from dio_daemon.clock import Clock
from dio_daemon.config import Config, describe
from dio_daemon.detect.book import ThreatBook
from dio_daemon.feed import MAX_FOLLOWERS, Feed
from dio_daemon.heartbeat import Heartbeat
from dio_daemon.ipc.routes import BadBody, Route, body_of, change, read
from dio_daemon.ipc.server import Request, Response, problem
from dio_daemon.link import Link
from dio_daemon.maintenance import MAX_S, Maintenance
from dio_daemon.policy_keeper import PolicyKeeper
from dio_daemon.safe_spool import SafeSpool
from dio_daemon.sampler import Sampler
from dio_daemon.submissions import BadSubmission, Submissions, TooMany
from dio_daemon.text import safe
from dio_daemon.wire import SAMPLES

log = logging.getLogger(__name__)

RECENT_S = 900.0
MOST_RECENT = 900
FLUSH_S = 10.0
LEVELS = ("debug", "info", "warning", "error")


class Control:
    """The routes of `/v1`.

    Args:
        board, spool, sampler, link, heartbeats, maintenance, submissions, feed, book, policy: the agent's parts.
        change_window: the announced change, as it is shown; None without one.
        config: the configuration in force.
        reload: reads it again; the findings when it is bad, None when the agent did not get to it.
        clock: for ages and for waiting.
    """

    def __init__(
        self,
        board: Board,
        spool: SafeSpool,
        sampler: Sampler,
        link: Link,
        heartbeats: list[Heartbeat],
        maintenance: Maintenance,
        submissions: Submissions,
        feed: Feed,
        book: ThreatBook,
        change_window: Callable[[], dict[str, Any] | None],
        policy: PolicyKeeper,
        config: Callable[[], Config],
        reload: Callable[[], list[str] | None],
        clock: Clock,
    ) -> None:
        self._board = board
        self._spool = spool
        self._sampler = sampler
        self._link = link
        self._heartbeats = heartbeats
        self._maintenance = maintenance
        self._submissions = submissions
        self._feed = feed
        self._book = book
        self._change_window = change_window
        self._policy = policy
        self._config = config
        self._reload = reload
        self._clock = clock

    def routes(self) -> Mapping[str, Route]:
        """Path to route."""
        return {
            "/v1/status": read(self._status),
            "/v1/sample": read(lambda: self._sampler.latest),
            "/v1/samples": read(self._samples),
            "/v1/spool": read(lambda: status.spool_document(self._spool.stats())),
            "/v1/threats": read(self._threats),
            "/v1/policy": read(lambda: status.policy_document(self._policy, self._book.tolerated())),
            "/v1/config": read(lambda: {"settings": describe(self._config())}),
            "/v1/threads": read(lambda: status.threads_document(self._heartbeats)),
            "/v1/metrics": read(self._metrics),
            "/v1/events": Route("GET", self._follow),
            "/v1/report/event": Route("POST", self._submit(self._submissions.event)),
            "/v1/report/metrics": Route("POST", self._submit(self._submissions.metrics)),
            "/v1/reload": change(self._do_reload),
            "/v1/flush": change(self._flush),
            "/v1/reregister": change(self._reregister),
            "/v1/log-level": change(self._log_level),
            "/v1/pause": change(self._pause),
            "/v1/resume": change(self._resume),
        }

    def _status(self) -> dict[str, Any]:
        document = status.status_document(self._board.snapshot, self._spool, self._heartbeats, self._clock)
        window = self._maintenance.window
        document["maintenance"] = None if window is None else {"until": window.until, "reason": window.reason}
        document["change"] = self._change_window()
        document["threats"] = self._book.open_by_severity()
        return document

    def _samples(self) -> bytes:
        return status.samples_json(self._spool.recent(SAMPLES, "sample", RECENT_S, MOST_RECENT))

    def _threats(self) -> dict[str, Any]:
        threats = self._book.open_threats()
        return {"threats": [{"time": each.opened_at, "data": each.data()} for each in threats]}

    def _metrics(self) -> str:
        return prometheus.exposition(
            self._board.snapshot,
            status.spool_document(self._spool.stats()),
            status.threads_document(self._heartbeats),
            self._sampler.latest,
            __version__,
            self._maintenance.left_s(),
            self._clock.monotonic(),
        )

    def _follow(self, request: Request) -> Response:
        lines = self._feed.follow()
        if lines is None:
            busy = f"{MAX_FOLLOWERS} others follow already"
            return problem(503, "busy", busy, (("Retry-After", "5"),))
        return Response(200, None, stream=lines)

    def _submit(self, take: Callable[[int, dict[str, Any]], int]) -> Callable[[Request], Response]:
        def handle(request: Request) -> Response:
            try:
                seq = take(request.uid, body_of(request))
            except (BadBody, BadSubmission) as error:
                return problem(422, "bad-submission", str(error))
            except TooMany as error:
                return problem(429, "too-many", str(error), (("Retry-After", str(error.retry_after_s)),))
            self._link.records_waiting()
            return Response(202, {"accepted": True, "seq": seq})

        return handle

    def _do_reload(self, request: Request) -> Response:
        findings = self._reload()
        if findings is None:
            return problem(504, "timeout", "the agent did not get to reloading in time")
        if findings:
            return problem(422, "bad-configuration", "\n".join(findings))
        return Response(200, {"reloaded": True})

    def _flush(self, request: Request) -> Response:
        if (window := self._maintenance.window) is not None:
            return problem(
                409, "paused", f"reporting is paused until {window.until}: dioctl resume ends that"
            )
        self._link.try_now()
        deadline = self._clock.monotonic() + FLUSH_S
        never = threading.Event()
        while self._spool.pending and self._clock.monotonic() < deadline:
            self._clock.wait(never, 0.05)
        pending = self._spool.pending
        if pending:
            why = self._board.snapshot.reason or self._board.snapshot.state.value
            return problem(503, "not-delivered", f"{pending} records still wait: {why}")
        return Response(200, {"pending": 0})

    def _reregister(self, request: Request) -> Response:
        self._link.reregister()
        return Response(202, {"accepted": True})

    def _log_level(self, request: Request) -> Response:
        try:
            level = body_of(request).get("level")
        except BadBody as error:
            return problem(422, "bad-request", str(error))
        if level not in LEVELS:
            return problem(422, "bad-request", '"level" must be one of: ' + ", ".join(LEVELS))
        journal.set_level(level)
        log.info("Log level is %s until the next reload or start", level)
        return Response(200, {"level": level})

    def _pause(self, request: Request) -> Response:
        try:
            body = body_of(request)
        except BadBody as error:
            return problem(422, "bad-request", str(error))
        for_s, reason = body.get("for_s"), body.get("reason", "")
        if isinstance(for_s, bool) or not isinstance(for_s, (int, float)) or not 1 <= for_s <= MAX_S:
            return problem(422, "bad-request", f'"for_s" must be seconds from 1 to {MAX_S:.0f}')
        if not isinstance(reason, str) or len(reason) > 200:
            return problem(422, "bad-request", '"reason" must be a text of at most 200 characters')
        window = self._maintenance.begin(float(for_s), safe(reason, 200))
        self._link.maintenance_changed()
        return Response(200, {"until": window.until})

    def _resume(self, request: Request) -> Response:
        was = self._maintenance.end()
        self._link.maintenance_changed()
        return Response(200, {"was_paused": was})
