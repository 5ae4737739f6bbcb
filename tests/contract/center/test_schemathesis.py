"""Requests made from openapi.yaml by Schemathesis, right ones and wrong ones: every answer is one that it describes.

On an installed nerve center (see `tests.support.installed`) they go over the network, with a token of each scope.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from nerve_center import auth
from nerve_center.contract import Contract
from nerve_center.store import tokens
from tests.support.installed import THERE, InstalledCenter
from tests.unit.center.harness import CenterUnderTest

EXAMPLES = 20
EXAMPLES_OF_LESSER_SCOPES = 3
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]
SCOPES = tuple(tokens.GRANTS) if THERE else ("admin",)
OPERATIONS = [
    (path, method, mode)
    for path, item in Contract().document["paths"].items()
    for method, operation in item.items()
    if method in ("get", "post", "put")
    for mode in GenerationMode
    # What takes nothing cannot be asked wrongly.
    if mode is GenerationMode.POSITIVE or {"parameters", "requestBody"} & {*item, *operation}
]


@dataclass(frozen=True)
class Asked:
    """What is asked: the schema of a nerve center, and a token of each scope."""

    schema: Any
    tokens: dict[str, str]


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asked]:
    if THERE:
        center = InstalledCenter()
        given = {
            scope: center.control("api-token", "add", f"ask-{scope}", "--scope", scope).split()[-1]
            for scope in SCOPES
        }
        yield Asked(schemathesis.openapi.from_url(f"{center.url}/api/v1/openapi.json"), given)
        return
    under_test = CenterUnderTest(tmp_path_factory.mktemp("center"))
    agent = under_test.agent()
    agent.deliver(agent.record(1), agent.record(2))
    threat = {"type": "t", "severity": "high", "fingerprint": "f", "state": "open"}
    agent.deliver(agent.record(1, "threat", data=threat), agent.record(2, "event"), stream="events")
    under_test.center.writer.submit(
        lambda connection: tokens.add(connection, "all", auth.hash_of("admin-token"), 0, "admin")
    )
    under_test.center.probe.step()
    schema = schemathesis.openapi.from_wsgi("/api/v1/openapi.json", under_test.app)
    yield Asked(schema, {"admin": "admin-token"})
    under_test.close()


@pytest.mark.parametrize(
    ("path", "method", "mode", "scope"),
    [
        (*operation, scope)
        for operation in OPERATIONS
        for scope in SCOPES
        if scope == "admin" or operation[2] is GenerationMode.POSITIVE
    ],
)
def test_answers(asked: Asked, path: str, method: str, mode: GenerationMode, scope: str) -> None:
    strategy = asked.schema[path][method.upper()].as_strategy(generation_mode=mode)
    token = asked.tokens[scope]

    @settings(
        max_examples=EXAMPLES if scope == "admin" else EXAMPLES_OF_LESSER_SCOPES,
        derandomize=True,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=strategy)
    def every(case: Any) -> None:
        response = case.call(headers={"Authorization": f"Bearer {token}"})
        if THERE and response.status_code == 431:  # of the web server, for any address that is too long
            assert response.json()["type"] == "urn:dio:problem:bad-request"
            return
        case.validate_response(response, checks=CHECKS)

    every()
