"""What intruders do on Linux: every emulation is told rightly; the drill sees its own."""

from __future__ import annotations

import json

import pytest
from conftest import MakeHost
from harness import dio
from harness.commands import wait_for
from harness.emulate import Stage
from harness.emulations import EMULATIONS

LOWERED = """
[cpu]
enter = { low = 50 }
leave = { low = 40 }
for_s = 5
"""


@pytest.mark.long
def test_what_intruders_do_is_told(make_host: MakeHost) -> None:
    """All at once, for the sake of time; `python3 -m harness.emulate` plays them one by one."""
    stage = Stage(make_host("alpha"))
    outcomes = stage.play(EMULATIONS)
    print("\n".join(each.row() for each in outcomes))
    assert [each.emulation.name for each in outcomes if each.threat is None] == []
    (shell,) = [stage.evidence(each) for each in outcomes if each.emulation.name == "reverse shell"]
    assert shell["unit"].startswith("emulated-reverse-shell")


def test_the_drill_sees_all_that_it_plays(make_host: MakeHost) -> None:
    """From the installed package; the rule for cpu is made quicker, its default takes minutes."""
    host = make_host("alpha", files={"/etc/dio-agent/rules.d/quick.toml": LOWERED})
    host.run(f"systemctl start {dio.CENTER} {dio.AGENT}; sleep 15")
    played = host.run_full("dioctl drill --yes --json", check=False, timeout_s=300)
    imitations = json.loads(played.stdout)["imitations"]
    print([(each["name"], each["seen_after_s"], each["threat"], each["impossible"]) for each in imitations])
    assert [each["name"] for each in imitations if not each["seen"] and not each["impossible"]] == []
    assert played.returncode == 0, played.stderr

    def left() -> str:
        return host.run(
            "find / -xdev -name '*[d]io-drill*' -not -path '/proc/*';"
            " grep -ls '[d]io-drill' /proc/[0-9]*/cmdline || true"
        )

    assert left() == ""
    for end in ("KILL", "HUP"):
        drilled = host.start("dioctl drill --yes & echo $! > /run/drill; wait")
        wait_for("it plays", lambda: host.exists("/usr/local/bin/dio-drill"), within_s=60)
        host.run(f"kill -{end} $(cat /run/drill)")
        drilled.wait(60)
        wait_for(f"nothing is left after {end}", lambda: left() == "", within_s=60)
