"""The nerve center as the agent talks to it: typed calls, typed errors, no retries.

Every way in which an exchange can fail becomes one error of `errors.py` here, told apart for people and for
programs: refused, DNS, TLS, timeout, something else on the port, unhealthy, rejected with a status.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import requests
import urllib3.exceptions

from dio_daemon import wire
from dio_daemon.errors import (
    CenterError,
    NotANerveCenter,
    Rejected,
    TimedOut,
    Unhealthy,
    Unreachable,
)
from dio_daemon.failures import Way, address_of, not_let_through, translate
from dio_daemon.policy import VERSION
from dio_daemon.text import safe
from dio_daemon.transport import Aborted, Answer, AnswerTooLarge, DeadlinePassed, Transport

MAX_RETRY_AFTER_S = 3600.0
"""A nerve center that asks for more patience than this is asked again after it."""


@dataclass(frozen=True)
class Limits:
    """Seconds that exchanges may take: to ask for health, to connect, and a whole exchange."""

    health_s: float
    connect_s: float
    total_s: float


@dataclass(frozen=True)
class Registered:
    """What the nerve center answered to a registration."""

    agent_id: str
    center_id: str


class Center:
    """Client of one nerve center.

    Args:
        url: its base URL, without a trailing slash.
        transport: how it is reached.
        limits: seconds that exchanges may take.
        proxy: URL of the proxy that the transport goes through, "" for none.
    """

    def __init__(self, url: str, transport: Transport, limits: Limits, proxy: str = "") -> None:
        self.url = url
        self._transport = transport
        self._limits = limits
        self._proxy = address_of(proxy) if proxy else ""
        self.server_time = ""
        """The nerve center's clock as the last acknowledgement told it, RFC 3339; empty before the first."""
        self.policy: str | None = ""
        """Version of the policy that holds for this agent, as the last acknowledgement named it; None: nothing is set.
        Empty: it named none, as a nerve center that knows no policies."""
        self.address = address_of(url)

    def check_health(self) -> None:
        """Return when a healthy nerve center answers there.

        Raises:
            CenterError: Unhealthy, NotANerveCenter, or that it could not be reached.
        """
        answer = self._exchange("GET", "/health", {}, None, self._limits.health_s)
        body = _json_object(answer)
        if body is None or body.get("component") != "nerve_center":
            raise self._stranger(answer, body)
        if answer.status != 200 or body.get("status") != "healthy":
            reason = safe(str(body.get("reason") or body.get("status")), 200)
            raise Unhealthy(f"nerve center at {self.address} is unhealthy: {reason}")

    def register(self, body: bytes, credential: str, enrollment_token: str | None) -> Registered:
        """Register, or register again.

        Raises:
            Rejected: the nerve center said no; CenterError: it could not be asked.
        """
        headers = _bearer(credential)
        if enrollment_token is not None:
            headers["DIO-Enrollment-Token"] = enrollment_token
        answer = self._post("/api/v1/agents/register", headers, body, self._limits.total_s)
        fields = self._ok(answer, 200, 201)
        try:
            return Registered(str(fields["agent_id"]), str(fields["center_id"]))
        except KeyError as error:
            raise self._stranger(answer, fields) from error

    def report(self, agent_id: str, body: bytes, credential: str, total_s: float | None = None) -> wire.Mark:
        """Deliver a report; the mark that the nerve center has committed.

        Raises:
            Rejected: the nerve center said no; CenterError: it could not be asked.
        """
        headers = {**_bearer(credential), "Content-Encoding": "gzip"}
        path = f"/api/v1/agents/{agent_id}/reports"
        answer = self._post(path, headers, wire.compress(body), self._within(total_s))
        fields = self._ok(answer, 200)
        mark = mark_in(fields)
        if mark is None:
            raise self._stranger(answer, fields)
        self.server_time = str(fields.get("server_time") or "")
        self.policy = _policy_version(fields)
        return mark

    def fetch_policy(self, agent_id: str, credential: str) -> bytes:
        """The policy that holds for this agent, as the nerve center wrote it.

        Raises:
            Rejected: the nerve center said no; CenterError: it could not be asked.
        """
        path = f"/api/v1/agents/{agent_id}/policy"
        answer = self._exchange("GET", path, _bearer(credential), None, self._limits.total_s)
        self._ok(answer, 200)
        return answer.body

    def goodbye(self, agent_id: str, body: bytes, credential: str, total_s: float) -> None:
        """Say that the agent stops on purpose.

        Raises:
            Rejected: the nerve center said no; CenterError: it could not be asked.
        """
        answer = self._post(
            f"/api/v1/agents/{agent_id}/goodbye", _bearer(credential), body, self._within(total_s)
        )
        if answer.status != 204:
            self._ok(answer, 200)

    def _within(self, total_s: float | None) -> float:
        return self._limits.total_s if total_s is None else min(total_s, self._limits.total_s)

    def _post(self, path: str, headers: Mapping[str, str], body: bytes, total_s: float) -> Answer:
        return self._exchange("POST", path, {**headers, "Content-Type": "application/json"}, body, total_s)

    def _exchange(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes | None, total_s: float
    ) -> Answer:
        try:
            return self._transport.exchange(
                method, self.url + path, headers, body, self._limits.connect_s, total_s
            )
        except DeadlinePassed as error:
            raise TimedOut(f"timeout: no answer from {self.address} within {total_s:g} s") from error
        except Aborted as error:
            raise Unreachable("broken off: the agent stops", kind="aborted") from error
        except AnswerTooLarge as error:
            raise NotANerveCenter(
                f"{self.address} answers with more than a nerve center ever would"
            ) from error
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError, ValueError) as error:
            way = Way(self.address, self._proxy, min(self._limits.connect_s, total_s), total_s)
            raise translate(error, way) from error

    def _ok(self, answer: Answer, *statuses: int) -> dict[str, Any]:
        body = _json_object(answer)
        if answer.status in statuses and body is not None:
            return body
        problem_type = str(body.get("type", "")) if body is not None else ""
        if not problem_type.startswith("urn:dio:problem:"):
            raise self._stranger(answer, body)
        code = problem_type.removeprefix("urn:dio:problem:")
        said = safe(str((body or {}).get("detail") or (body or {}).get("title") or code), 300)
        raise Rejected(
            f"HTTP {answer.status} from {self.address}: {said}",
            answer.status,
            code,
            _retry_after_s(answer.headers),
            body or {},
        )

    def _stranger(self, answer: Answer, body: dict[str, Any] | None) -> CenterError:
        if answer.status == 407 and self._proxy:
            return not_let_through(self._proxy, self.address, "407 Proxy Authentication Required")
        # A proxy in front of a center that is away, or that takes smaller bodies than the center does.
        if answer.status in (413, 429, 502, 503, 504):
            return Rejected(
                f"HTTP {answer.status} from {self.address}, which is no answer of a nerve center",
                answer.status,
                "",
                _retry_after_s(answer.headers),
                {},
            )
        location = answer.headers.get("Location")
        if location and 300 <= answer.status < 400:
            what = f"a redirect to {safe(location, 200)}"
        elif body is None:
            what = safe(answer.headers.get("Content-Type") or "no content type", 80)
        else:
            what = "JSON that is not a nerve center's"
        return NotANerveCenter(
            f"not a nerve center at {self.address}: HTTP {answer.status} with {what} (check nerve_center.url)",
            answer.status,
        )


def _policy_version(fields: Mapping[str, Any]) -> str | None:
    version = fields.get("policy", "")
    return version if version is None or (isinstance(version, str) and VERSION.fullmatch(version)) else ""


def mark_in(body: Mapping[str, Any]) -> wire.Mark | None:
    """The mark that an acknowledgement or a 409 carries; None when there is none."""
    mark = body.get("mark")
    if not isinstance(mark, dict):
        return None
    seq, tag = mark.get("seq"), mark.get("tag")
    if (
        not isinstance(seq, int)
        or isinstance(seq, bool)
        or seq < 0
        or not (tag is None or isinstance(tag, str))
    ):
        return None
    return wire.Mark(seq, tag)


def _bearer(credential: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {credential}"}


def _json_object(answer: Answer) -> dict[str, Any] | None:
    try:
        body = json.loads(answer.body)
    except (ValueError, RecursionError):
        return None
    return body if isinstance(body, dict) else None


def _retry_after_s(headers: Mapping[str, str]) -> float | None:
    value = headers.get("Retry-After", "")
    return min(float(value), MAX_RETRY_AFTER_S) if value.isascii() and value.isdigit() else None
