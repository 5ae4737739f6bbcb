"""Several installed hosts: the same finding on them is one outbreak, which clears with them; a reboot is no absence."""

from __future__ import annotations

from typing import Any

import pytest
from conftest import MakeHost, Note
from harness import dio
from harness.commands import wait_for

CENTER_FILES = {
    "/etc/dio-nerve-center/nerve-center.toml.d/10-all.toml": '[server]\nhost = "0.0.0.0"\n',
    "/etc/dio-nerve-center/notify.toml": "outbreak_hosts = 2\n",
}
ENTRY = "/etc/cron.d/spreads"
WITHIN_S = 90.0
"""A guard against hanging; how long it really took is noted."""


@pytest.mark.parametrize("release", ["bookworm"], indirect=True)
def test_an_outbreak_and_a_reboot(make_host: MakeHost, note: Note) -> None:
    alpha = make_host("alpha", files=CENTER_FILES)
    alpha.run(
        "chgrp dio-nerve-center /etc/dio-nerve-center/notify.toml; chmod 0640 /etc/dio-nerve-center/notify.toml"
    )
    alpha.run(f"systemctl start {dio.CENTER} {dio.KEEPER} {dio.AGENT}")
    beta = make_host("beta")
    dio.enroll(beta, alpha)
    beta.run(f"systemctl enable --now {dio.AGENT}")
    api = dio.Api(alpha)

    def baselines() -> bool:
        events = api.get("events?kind=event&limit=1000")["events"]
        return sum(each["data"]["type"] == "integrity_baseline" for each in events) == 2

    def threats(type_: str, state: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = api.get(f"threats?type={type_}&state={state}")["threats"]
        return found

    wait_for("both baselines are taken", baselines, within_s=WITHIN_S, every_s=1)
    for host in (alpha, beta):
        host.run(f"echo '@yearly root true' > {ENTRY}")
    (outbreak,) = wait_for("the outbreak", lambda: threats("outbreak", "open"), within_s=WITHIN_S)
    assert outbreak["severity"] == "high" and outbreak["hostname"] is None
    assert {"alpha", "beta"} <= set(outbreak["summary"].replace(".", " ").replace(",", " ").split())
    assert ENTRY in outbreak["summary"]
    evidence = api.get(f"threats/{outbreak['id']}")["evidence"]
    assert sorted(each["hostname"] for each in evidence["hosts"]) == ["alpha", "beta"]
    for host in (alpha, beta):
        host.run(f"rm {ENTRY}")
    wait_for("it is over", lambda: threats("outbreak", "cleared"), within_s=WITHIN_S, every_s=1)
    assert len(threats("cron_changed", "cleared")) == 2

    def registered() -> str:
        """When the other host registered last; nothing while it does not count as active."""
        (known,) = (each for each in api.agents() if each["hostname"] == "beta")
        return str(known["last_registered_at"]) if known["state"] == "active" else ""

    before = registered()
    assert before
    beta.reboot()
    after = wait_for(
        "it is back", lambda: registered() not in ("", before) and registered(), within_s=WITHIN_S, every_s=1
    )
    note("a reboot that nobody is told of", f"registered {before}, {after}")
    assert api.get("threats?type=offline")["threats"] == [], "a reboot is no absence"
