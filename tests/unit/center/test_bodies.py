import gzip
import io
import json
import zlib

import pytest

from tests.unit.center.harness import CenterUnderTest, problem

pytestmark = pytest.mark.databases("sqlite")  # what is tested comes before the store

MIB = 1024 * 1024


def test_larger_than_allowed_as_it_comes(center: CenterUnderTest) -> None:
    agent = center.agent()
    response = agent.send(None, b" " * (MIB + 1))
    assert (response.status_code, problem(response)) == (413, "too-large")


def test_a_chunked_body_is_bounded_as_well(center: CenterUnderTest) -> None:
    agent = center.agent()
    endless = io.BytesIO(b" " * (3 * MIB))
    response = center.client.open(
        f"/api/v1/agents/{agent.agent_id}/reports",
        method="POST",
        input_stream=endless,
        headers={"Authorization": f"Bearer {agent.credential}", "Content-Type": "application/json"},
        environ_overrides={"wsgi.input_terminated": True, "HTTP_TRANSFER_ENCODING": "chunked"},
    )
    assert (response.status_code, problem(response)) == (413, "too-large")
    assert endless.tell() < 2 * MIB


@pytest.mark.parametrize("members", [1, 3])
def test_a_gzip_bomb(center: CenterUnderTest, members: int) -> None:
    agent = center.agent()
    bomb = gzip.compress(b" " * (9 * MIB // members + 1)) * members
    response = agent.send(None, bomb, Content_Encoding="gzip")
    assert (response.status_code, problem(response)) == (413, "too-large")


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"no gzip",
        gzip.compress(b"{}", mtime=0)[:-9],
        zlib.compress(b"{}"),
        gzip.compress(b"{}", mtime=0) + b"rest",
        gzip.compress(b"{}", mtime=0)[:-8] + bytes(8),
    ],
)
def test_bad_gzip(center: CenterUnderTest, raw: bytes) -> None:
    agent = center.agent()
    response = agent.send(None, raw, Content_Encoding="gzip")
    assert response.status_code == 400
    assert problem(response) in ("bad-encoding", "not-json")


@pytest.mark.parametrize(
    "headers",
    [
        {"Content_Type": "text/plain"},
        {"Content_Type": ""},
        {"Content_Encoding": "br"},
        {"Content_Encoding": "gzip, gzip"},
        {"Content_Type": "application/json-seq"},
    ],
)
def test_other_media_types(center: CenterUnderTest, headers: dict[str, str]) -> None:
    agent = center.agent()
    response = agent.send({}, **headers)
    assert (response.status_code, problem(response)) == (415, "unsupported-media-type")


def test_a_charset_beside_the_media_type(center: CenterUnderTest) -> None:
    agent = center.agent()
    assert agent.send(agent.report([]), Content_Type="application/json; charset=utf-8").status_code == 200


@pytest.mark.parametrize("raw", [b"", b"{", b"[NaN]", b"[" * 50000, b'{"a":1,"a":2}', b"\xff"])
def test_not_json(center: CenterUnderTest, raw: bytes) -> None:
    agent = center.agent()
    response = agent.send(None, raw)
    assert (response.status_code, problem(response)) == (400, "not-json")


@pytest.mark.parametrize("body", [None, 1, "text", [], {}])
def test_json_of_another_shape(center: CenterUnderTest, body: object) -> None:
    agent = center.agent()
    for response in (agent.send(body), center.post("/api/v1/agents/register", body, agent.credential)):
        assert (response.status_code, problem(response)) == (422, "invalid-body")
        assert len(response.data) < 2000


def test_strangers_make_no_work(center: CenterUnderTest) -> None:
    """Who asks is settled before the body is looked at."""
    agent = center.agent()
    agent.credential = "0" * 64
    assert problem(agent.send(None, b"{")) == "credential-unknown"
    assert problem(center.post("/api/v1/agents/register", None, "0" * 64, b"{")) == "enrollment-token-missing"


def test_a_body_that_is_shorter_than_it_said(center: CenterUnderTest) -> None:
    agent = center.agent()
    response = center.client.open(
        f"/api/v1/agents/{agent.agent_id}/reports",
        method="POST",
        input_stream=io.BytesIO(b"{"),
        headers={
            "Authorization": f"Bearer {agent.credential}",
            "Content-Type": "application/json",
        },
        environ_overrides={"CONTENT_LENGTH": "100"},
    )
    assert response.status_code == 400
    assert problem(response) == "incomplete"


def test_memory_for_bodies_is_shared_and_given_back(center: CenterUnderTest) -> None:
    agent = center.agent()
    with center.center.budget.share() as others:
        others.take(128 * MIB)
        response = agent.send(agent.report([]))
        assert (response.status_code, problem(response)) == (503, "overloaded")
        assert int(response.headers["Retry-After"]) > 0
    assert agent.send(agent.report([])).status_code == 200


def test_long_names_do_not_come_back_at_length(center: CenterUnderTest) -> None:
    agent = center.agent()
    body = {**agent.registration(), "labels": {"k" * 100_000: 5}}
    response = agent.send(None, json.dumps(body).encode())
    assert len(response.data) < 2000
    response = center.post("/api/v1/agents/register", body, agent.credential)
    assert (problem(response), len(response.data) < 2000) == ("invalid-body", True)
