"""Every operation of the contract, asked by everybody: who gets through, and who is refused with what."""

from __future__ import annotations

import functools
import secrets
from typing import Any

import pytest
from werkzeug.test import TestResponse

from nerve_center.auth import hash_of
from nerve_center.contract import Contract
from nerve_center.store import tokens
from tests.unit.center.browser import Browser, form_token, person
from tests.unit.center.harness import CenterUnderTest, problem

OPERATIONS = {
    operation["operationId"]: (method, path)
    for path, methods in Contract().document["paths"].items()
    for method, operation in methods.items()
    if method in ("get", "post", "put", "delete", "patch")
}
NEEDS = {
    "anyone": ("health", "openapi"),
    "enrolled": ("register",),
    "credential": ("report", "goodbye"),
    "metrics": ("metrics",),
    "own": ("getAgent", "listSamples", "getSeries", "getContinuity", "getAgentPolicy"),
    "read": (
        *("listAgents", "listThreats", "getThreat", "listTolerances", "listPolicies", "listSilences"),
        "listEvents",
    ),
    "threats": (
        *("acknowledgeThreat", "resolveThreat", "reopenThreat", "commentThreat", "silenceThreat"),
        *("tolerateThreat", "addTolerance", "endTolerance", "endSilence", "silenceAll"),
    ),
    "admin": ("savePolicy", "listAudit"),
}
"""What each operation needs. `own`: what reads, or the agent's own credential."""
READERS = ("read", "threats", "admin", "viewer", "operator", "administrator")
ADMITTED = {
    "anyone": ("nobody", "unknown", "other", "itself", "metrics", *READERS),
    "enrolled": ("itself", "other"),
    "credential": ("itself",),
    "metrics": ("metrics", "read", "threats", "admin"),
    "own": ("itself", *READERS),
    "read": READERS,
    "threats": ("threats", "admin", "operator", "administrator"),
    "admin": ("admin", "administrator"),
}
CODES = {
    "nobody": {"credential-missing"},
    "unknown": {"credential-unknown", "enrollment-token-missing"},
    "other": {"not-your-agent", "api-token-required", "enrollment-token-missing"},
    "itself": {"api-token-required"},
    "metrics": {"scope-required", "credential-unknown", "enrollment-token-missing"},
}
ROLES = {"viewer": "viewer", "operator": "operator", "administrator": "admin"}


class Callers:
    """Everybody who may ask, at one center with one threat."""

    def __init__(self, center: CenterUnderTest) -> None:
        self.center = center
        center.center.probe.step()
        self.agent, self.other = center.agent(), center.agent()
        self.agent.deliver(self.agent.record(1, "threat"), stream="events")
        (self.threat,) = center.get("/api/v1/threats").json["threats"]
        self.tokens = {
            "unknown": secrets.token_hex(32),
            "other": self.other.credential,
            "itself": self.agent.credential,
            **{scope: self._token(scope) for scope in tokens.GRANTS},
        }

    def _token(self, scope: str) -> str:
        made = secrets.token_hex(32)
        now_us = self.center.clock.now_us()
        self.center.center.writer.submit(
            lambda connection: tokens.add(connection, scope, hash_of(made), now_us, scope)
        )
        return made

    @functools.cache  # noqa: B019 - it lives as long as the test
    def _logged_in(self, who: str) -> tuple[Browser, str]:
        person(self.center, who, ROLES[who])
        browser = Browser(self.center)
        browser.login(who)
        return browser, form_token(browser.get("/account").text)

    def ask(self, who: str, operation: str) -> TestResponse:
        """Ask for an operation as somebody, with a body that is none."""
        method, template = OPERATIONS[operation]
        of = self.agent.agent_id if template.startswith("/api/v1/agents") else self.threat["id"]
        path = template.replace("{id}", str(of))
        sent: dict[str, Any] = {"json": {}} if method != "get" else {}
        away = {"REMOTE_ADDR": "192.0.2.1"}  # the center answers with its own figures to loopback
        if who in ROLES:
            browser, token = self._logged_in(who)
            headers = {"X-CSRF-Token": token}
            return browser.client.open(
                path, method=method, base_url=browser.base, headers=headers, environ_overrides=away, **sent
            )
        headers = {"Authorization": f"Bearer {self.tokens[who]}"} if who in self.tokens else {}
        return self.center.client.open(path, method=method, headers=headers, environ_overrides=away, **sent)


def test_what_every_operation_needs_is_known() -> None:
    named = [operation for operations in NEEDS.values() for operation in operations]
    assert sorted(named) == sorted(OPERATIONS)


@pytest.mark.databases("sqlite")
@pytest.mark.parametrize("who", ADMITTED["anyone"])
def test_who_gets_through(center: CenterUnderTest, who: str) -> None:
    callers = Callers(center)
    for need, operations in NEEDS.items():
        for operation in operations:
            answer = callers.ask(who, operation)
            if who in ADMITTED[need] or operation == "health":
                assert answer.status_code not in (401, 403), (operation, answer.text)
                continue
            assert answer.status_code in (401, 403), (operation, answer.status_code, answer.text)
            code = problem(answer)
            if who in ("nobody", *ROLES):
                expected = {"credential-missing", "role-required"}
            else:
                expected = CODES.get(who, {"scope-required", *CODES["metrics"]})
            assert code in expected, (operation, code)
