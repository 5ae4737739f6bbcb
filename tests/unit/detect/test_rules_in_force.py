"""The commands about rules have those of the nerve center's policy on top, when an agent is there to ask."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import pytest

from dio_daemon.cli import rules
from dio_daemon.ipc.client import Client, NoPermission, NotRunning, Refused

POLICY = {
    "version": "0123456789abcdef",
    "rules": [
        {"of": "fleet", "toml": "[cpu]\nfor_s = 10\n"},
        {"of": "role=\x1bweb", "toml": "[load]\nenabled = false\n[cpu]\nfor_s = 20\n"},
    ],
}
BUSY = {"cpu": {"percent": 85.0}}


class Agent(Client):
    """Answers with a policy, or as one that cannot."""

    def __init__(self, answer: Any) -> None:
        super().__init__("/nowhere")
        self._answer = answer

    def call(self, method: str, path: str, body: Any = None, timeout_s: float = 10.0) -> Any:
        """The policy."""
        assert (method, path) == ("GET", "/v1/policy")
        if isinstance(self._answer, Exception):
            raise self._answer
        return self._answer


def options(tmp_path: Path, **more: Any) -> argparse.Namespace:
    """As the command line has them."""
    defaults = {"config": tmp_path / "agent.toml", "files": False, "json": True}
    return argparse.Namespace(**(defaults | more))


def listed(client: Client, asked: argparse.Namespace, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    """Rules by name."""
    assert rules.list_(client, asked) == 0
    return {each["name"]: each for each in json.loads(capsys.readouterr().out)["rules"]}


def test_the_policy_is_on_top(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "rules.d").mkdir()
    (tmp_path / "rules.d/own.toml").write_text("[cpu]\nfor_s = 30\nleave_for_s = 7\n")
    found = listed(Agent(POLICY), options(tmp_path), capsys)
    assert (found["cpu"]["for_s"], found["cpu"]["leave_for_s"], found["load"]["enabled"]) == (20, 7, False)
    assert (
        found["load"]["source"].startswith("policy 0123456789abcdef (role=")
        and "\x1b" not in found["load"]["source"]
    )
    alone = listed(Agent(POLICY), options(tmp_path, files=True), capsys)
    assert (alone["cpu"]["for_s"], alone["load"]["enabled"]) == (30, True)


@pytest.mark.parametrize(
    "error", [NotRunning("nobody answers"), NoPermission("not for you"), Refused("no such path", 404)]
)
def test_without_an_answer_the_files_stand_alone(
    error: Exception, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert rules.list_(Agent(error), options(tmp_path)) == 0
    said = capsys.readouterr()
    assert f"{error}; rules of a policy are not among these" in said.err
    assert {each["source"] for each in json.loads(said.out)["rules"]} == {"default"}


def test_a_recording_is_replayed_with_the_policy(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What the rule of the files says after 300 s, that of the policy says after 20."""
    file = tmp_path / "busy.jsonl"
    file.write_text("".join(json.dumps(BUSY) + "\n" for _ in range(5)))
    for policy, told in ((POLICY, ["cpu"]), ({"version": None, "rules": []}, [])):
        assert rules.test(Agent(policy), options(tmp_path, file=file)) == 0
        changes = json.loads(capsys.readouterr().out)["changes"]
        assert [each["data"]["type"] for each in changes] == told
