"""Rules on an installed host: a real cause opens a threat at the nerve center, and its end clears it."""

from __future__ import annotations

import time
from typing import Any

import pytest
from conftest import MakeHost, Note
from harness import causes, dio
from harness.commands import wait_for
from harness.network import Network

FILES = causes.FILES_OF_CAUSES | {"/etc/dio-agent/agent.toml.d/20-fast.toml": "[agent]\ninterval_s = 2\n"}
WITHIN_S = 180.0
"""A guard against hanging: some is asked once a minute only."""


@pytest.mark.long
def test_each_opens_and_clears(make_host: MakeHost, network: Network, note: Note) -> None:
    host = make_host("alpha", files=FILES)
    network.tunnel_to_nowhere(host.address)
    causes.prepare(host)
    host.run(f"systemctl start {dio.CENTER} {dio.AGENT}")
    api = dio.Api(host)
    dio.wait_acknowledged(host)

    def of_rules(state: str) -> dict[str, dict[str, Any]]:
        """The threats of the rules that are tried, by type."""
        found = api.get(f"threats?state={state}&limit=200")["threats"]
        return {each["type"]: each for each in found if each["type"] in types}

    def watch(state: str) -> None:
        """Wait until all are there, and note when each was."""
        begun, seen = time.monotonic(), set[str]()

        def all_there() -> bool:
            for type_ in of_rules(state).keys() - seen:
                note(f"{type_}: {state} after, seconds", round(time.monotonic() - begun))
                seen.add(type_)
            return seen == types

        wait_for(f"all are {state}", all_there, within_s=WITHIN_S, every_s=1)

    types = {each.type for each in causes.CAUSES}
    assert not of_rules("open")
    for cause in causes.CAUSES:
        host.run(cause.begin)
    watch("open")
    said = of_rules("open")
    for cause in causes.CAUSES:
        whole = api.get(f"threats/{said[cause.type]['id']}")
        assert cause.subject in whole["subject"] and cause.says in whole["summary"], whole["summary"]
    for type_, place in (("zombies", "parents_of_zombies"), ("process_files", "processes_concerned")):
        evidence = api.get(f"threats/{said[type_]['id']}")["evidence"]
        assert [each["unit"] for each in evidence[place]] == [f"{type_.removeprefix('process_')}.service"]

    for cause in causes.CAUSES:
        host.run(cause.end)
    watch("cleared")
    assert not of_rules("open")
    for cause in causes.CAUSES:
        over = of_rules("cleared")[cause.type]
        assert cause.says in over["summary"], f"told as it was: {over['summary']}"
