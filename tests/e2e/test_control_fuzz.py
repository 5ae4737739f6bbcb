"""Callers of every bad kind on the socket of the installed unit: it neither grows nor leaks nor stops reporting."""

from __future__ import annotations

import json

import pytest
from conftest import MakeHost
from harness import dio
from harness.commands import wait_for
from harness.host import Host
from harness.roots import REPOSITORY

FUZZ_S = 45
MOST_GROWTH_KIB = 16 * 1024
CALLERS = (REPOSITORY / "tests/support/bad_callers.py").read_text()
FAST = {"/etc/dio-agent/agent.toml.d/20-fast.toml": "[agent]\ninterval_s = 1\n"}


def _figures(host: Host) -> tuple[int, int, int]:
    """The agent's own memory in KiB, its threads and its open descriptors."""
    pid = host.prop(dio.AGENT, "MainPID")
    printed = host.run(f"grep -hE '^(RssAnon|Threads):' /proc/{pid}/status; ls /proc/{pid}/fd | wc -l")
    memory, threads, descriptors = (int(word) for word in printed.split() if word.isdigit())
    return memory, threads, descriptors


def _fuzz(host: Host, seconds: int) -> list[dict[str, int]]:
    """Root and a member call at once; how each was answered."""
    member = "setpriv --reuid=member --regid=member --init-groups"
    started = [
        host.start(
            f"{user} python3 /srv/bad_callers.py /run/dio-agent/agent.sock {seed} {seconds} > /srv/said.{seed}"
        )
        for user, seed in (("", 1), (member, 1000))
    ]
    assert [each.wait(seconds + 60) for each in started] == [0, 0]
    return [json.loads(host.run(f"cat /srv/said.{seed}"))["answers"] for seed in (1, 1000)]


@pytest.mark.long
@pytest.mark.parametrize("release", ["trixie"], indirect=True)
def test_bad_callers_for_a_minute(make_host: MakeHost) -> None:
    """Eight callers at once, root's and a member's; then all is as it was, and nothing was left out of the reports."""
    host = make_host("alpha", files={**FAST, "/srv/bad_callers.py": CALLERS})
    host.run(f"useradd --groups dio member; systemctl start {dio.CENTER} {dio.AGENT}")
    dio.wait_acknowledged(host)
    pid = host.prop(dio.AGENT, "MainPID")
    _fuzz(host, 5)  # warming up
    quiet = wait_for("quiet", lambda: (seen := _figures(host))[1] <= 5 and seen, within_s=60)
    reported = dio.status(host)["spool"]["streams"]["samples"]["acknowledged_seq"]
    root, member = _fuzz(host, FUZZ_S)
    assert root["202"] > 0 and root["200"] > 0 and root["400"] > 0, root
    assert member["403"] > 0 and member["200"] > 0, member
    after = wait_for(
        "quiet again", lambda: (seen := _figures(host))[1] <= 5 and seen[2] <= quiet[2] and seen, within_s=60
    )
    assert after[0] - quiet[0] < MOST_GROWTH_KIB, (quiet, after)
    dio.wait_acknowledged(host)
    assert dio.status(host)["spool"]["streams"]["samples"]["acknowledged_seq"] > reported + FUZZ_S / 3
    assert (host.prop(dio.AGENT, "MainPID"), host.prop(dio.AGENT, "NRestarts")) == (pid, "0")
    lines = host.messages(dio.AGENT)
    assert not any("Traceback" in line or not line.isprintable() for line in lines), lines
    api = dio.Api(host)
    (agent,) = api.agents()
    dio.nothing_missing(api.samples(agent["id"]), hole_s=15)
