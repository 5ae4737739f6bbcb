"""Requests made from openapi.yaml by Schemathesis, right ones and wrong ones: every answer is one that it describes."""

from __future__ import annotations

from collections.abc import Iterator
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
from tests.unit.center.harness import CenterUnderTest

EXAMPLES = 20
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]
OPERATIONS = [
    (path, method, mode)
    for path, item in Contract().document["paths"].items()
    for method, operation in item.items()
    if method in ("get", "post")
    for mode in GenerationMode
    # What takes nothing cannot be asked wrongly.
    if mode is GenerationMode.POSITIVE or {"parameters", "requestBody"} & {*item, *operation}
]


@pytest.fixture(scope="module")
def center(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CenterUnderTest]:
    under_test = CenterUnderTest(tmp_path_factory.mktemp("center"))
    agent = under_test.agent()
    agent.deliver(agent.record(1), agent.record(2))
    threat = {"type": "t", "severity": "high", "fingerprint": "f", "state": "open"}
    agent.deliver(agent.record(1, "threat", data=threat), agent.record(2, "event"), stream="events")
    under_test.center.writer.submit(
        lambda connection: tokens.add(connection, "all", auth.hash_of("admin-token"), 0, "admin")
    )
    under_test.center.probe.step()
    yield under_test
    under_test.close()


@pytest.fixture(scope="module")
def schema(center: CenterUnderTest) -> Any:
    return schemathesis.openapi.from_wsgi("/api/v1/openapi.json", center.app)


@pytest.mark.parametrize(("path", "method", "mode"), OPERATIONS)
def test_answers(schema: Any, path: str, method: str, mode: GenerationMode) -> None:
    strategy = schema[path][method.upper()].as_strategy(generation_mode=mode)

    @settings(
        max_examples=EXAMPLES,
        derandomize=True,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=strategy)
    def every(case: Any) -> None:
        response = case.call(headers={"Authorization": "Bearer admin-token"})
        case.validate_response(response, checks=CHECKS)

    every()
