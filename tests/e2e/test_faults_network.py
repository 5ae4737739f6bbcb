"""Faults of the network between an installed agent and an installed nerve center, one after the other on one host.

Of each: it is noticed and told apart in the journal, it is over within moments, and the oracle (`harness.faults`) finds
every record stored once, none of them in a gap.
"""

from __future__ import annotations

import json
import random
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import MakeHost
from harness import dio, faults
from harness.commands import wait_for
from harness.host import Host

from tests.support.place import Place
from tests.support.proxy import FAULTS, PASS, PROBLEMS, FaultProxy
from tests.support.resolver import Resolver
from tests.support.tls import EXPIRED, VALID, Authority

PORT = 8100
NAME = "center.test"
TO_PROXY = f'[nerve_center]\nurl = "http://127.0.0.1:{PORT}"\n'
TO_NAME = f'[nerve_center]\nurl = "http://{NAME}:{PORT}"\nallow_plain_http = true\n'
TO_TLS = f'[nerve_center]\nurl = "https://{NAME}:8000"\n'
DROP_IN = "/etc/dio-agent/agent.toml.d/60-center.toml"
BACK = ("acknowledged_again", "reregistered")
"""What the journal says at the end of a fault: one of these."""
TLS = '[tls]\ncertificate = "/etc/dio-nerve-center/center.pem"\nkey = "/etc/dio-nerve-center/center.key"\n'
_STATUS = r"HTTP {0} from 127\.0\.0\.1:8100"
_STRANGER = r"not a nerve center at 127\.0\.0\.1:8100: HTTP {0} with .*\(check nerve_center\.url\)"
SAID: dict[str, tuple[set[str], str]] = {
    "refuse": ({"refused"}, r"connection refused by 127\.0\.0\.1:8100"),
    "deaf": ({"timeout"}, r"timeout: no (connection to|answer from) 127\.0\.0\.1:8100 within [0-9]+ s"),
    "reset": ({"reset", "broken"}, r"connection (reset by|to) 127\.0\.0\.1:8100"),
    "reset_mid_request": ({"reset", "broken"}, r"connection (reset by|to) 127\.0\.0\.1:8100"),
    "black_hole": ({"timeout"}, r"timeout: no answer from 127\.0\.0\.1:8100 within [0-9]+ s"),
    "half_open": ({"timeout"}, r"timeout: no answer from 127\.0\.0\.1:8100 within [0-9]+ s"),
    "lose_response": ({"reset", "broken"}, r"connection (reset by|to) 127\.0\.0\.1:8100"),
    "truncate_response": ({"broken"}, r"broke before a whole answer came"),
    "delay_response": ({"timeout"}, r"timeout: no answer from 127\.0\.0\.1:8100 within [0-9]+ s"),
    "slow_response": ({"timeout"}, r"timeout: no answer from 127\.0\.0\.1:8100 within [0-9]+ s"),
    "garbage": ({"broken"}, r"what answers at 127\.0\.0\.1:8100 does not speak HTTP"),
    "redirect": ({"not_a_nerve_center"}, _STRANGER.format(302)),
    "portal": ({"not_a_nerve_center"}, _STRANGER.format(200)),
    "json_of_others": ({"not_a_nerve_center"}, _STRANGER.format(200)),
    **{
        f"status_{status}": ({"not_a_nerve_center"}, _STRANGER.format(status))
        for status in (400, 401, 403, 404, 409, 422, 500)
    },
    **{f"status_{status}": ({"status"}, _STATUS.format(status)) for status in (413, 429, 502, 503)},
}
"""Of each fault: the kinds of error that it may be (DIO_ERROR_KIND), and the words for it."""


class Site:
    """A host whose agent reaches its nerve center through a proxy.

    `took_s` has, of each fault, the seconds from its end until reports were acknowledged again.
    """

    def __init__(self, host: Host, proxy: FaultProxy) -> None:
        self.host = host
        self.proxy = proxy
        self.took_s: dict[str, float] = {}
        self.new_entries()

    def new_entries(self) -> list[dict[str, Any]]:
        """What the agent has written into the journal since this was called last."""
        printed = self.host.run(
            f"journalctl -q -b -o json --cursor-file=/run/read-up-to _SYSTEMD_UNIT={dio.AGENT}", timeout_s=30
        )
        return [json.loads(line) for line in printed.splitlines()]

    def failing(self, count: int = 2) -> dict[str, Any]:
        """Wait until so many reports in a row have failed, or the agent registers again."""

        def so() -> dict[str, Any] | None:
            found = faults.asked(self.host)
            many = found and (found["consecutive_failures"] >= count or found["state"] == "offline")
            return found if many else None

        return wait_for("reports fail", so, within_s=faults.HEALED_S) or {}

    def heals(self, fault: str, end: Callable[[], object]) -> list[dict[str, Any]]:
        """End a fault; wait until all is well. What the oracle then says."""
        begun = time.monotonic()
        end()

        def well() -> bool:
            found = faults.asked(self.host)
            return found is not None and found["state"] == "active" and found["consecutive_failures"] == 0

        wait_for(f"active after {fault}", well, within_s=faults.HEALED_S, every_s=0.1)
        self.took_s[fault] = time.monotonic() - begun
        return faults.healed(self.host)

    def told(self, kinds: set[str], words: str, cut_off: bool = False) -> None:
        """The journal since the last time has this fault, each failure once, the way out of it, and nothing else.

        With `cut_off` the end of the fault may have cut off what it held.
        """
        entries = self.new_entries()
        texts = "\n".join(str(entry["MESSAGE"]) for entry in entries)
        failed = [entry for entry in entries if entry["DIO_EVENT"] in ("report_failed", "still_offline")]
        assert failed, texts
        if cut_off and failed[-1]["DIO_ERROR_KIND"] in ("reset", "broken"):
            failed.pop()
        counted = [int(entry["DIO_FAILURES"]) for entry in failed if "DIO_FAILURES" in entry]
        for entry in failed:
            assert entry["DIO_ERROR_KIND"] in kinds, texts
            assert re.search(words, entry["MESSAGE"]), texts
        assert counted == list(range(1, len(counted) + 1)), texts
        assert len(failed) - len(counted) <= len(kinds), texts
        assert sum(entry["DIO_EVENT"] in BACK for entry in entries) == 1, texts

    def report(self) -> None:
        """What a person wants to see of the run."""
        print(", ".join(f"{fault} {took:.1f} s" for fault, took in self.took_s.items()))
        print(f"the slowest: {max(self.took_s.values()):.1f} s until active, {self.host.release}")


def _place(host: Host, address: str = "127.0.0.1") -> Place:
    return Place(address, f"/proc/{host.leader}/ns/net")


@pytest.fixture
def site(make_host: MakeHost) -> Iterator[Site]:
    """Both packages on one host, a proxy between them, and something delivered."""
    host = make_host("alpha", files={**faults.FAST, DROP_IN: TO_PROXY})
    proxy = FaultProxy(8000, random.Random(20260101), _place(host), PORT, delay_s=60)
    try:
        host.run(f"systemctl start {dio.CENTER} {dio.AGENT}")
        dio.wait_acknowledged(host)
        yield Site(host, proxy)
    finally:
        proxy.close()


def test_every_fault_is_known() -> None:
    """Also one that is added later."""
    assert set(SAID) == set(FAULTS)


@pytest.mark.long
@pytest.mark.timeout(900)
def test_exchanges_that_fail(site: Site) -> None:
    """Each way in which an exchange can fail."""
    host, proxy = site.host, site.proxy
    for fault, (kinds, words) in SAID.items():
        proxy.fault = fault
        assert site.failing()["error_kind"] in kinds, fault
        reports = site.heals(fault, lambda: setattr(proxy, "fault", PASS))
        assert faults.in_gaps(reports) == 0, fault
        site.told(kinds, words, cut_off=fault in ("black_hole", "half_open"))
    site.report()
    assert host.prop(dio.AGENT, "NRestarts") == "0"
    (agent,) = dio.Api(host).agents()
    dio.nothing_missing(dio.Api(host).samples(agent["id"]), hole_s=15)
    assert host.messages(dio.AGENT, "-p err") == []


@pytest.mark.timeout(600)
def test_answers_of_a_nerve_center_in_trouble(site: Site) -> None:
    """What it answers to a registration or a report, while `/health` says that it is well."""
    host, proxy = site.host, site.proxy
    for fault in sorted(set(PROBLEMS) - {"problem_401", "problem_403", "problem_413"}):
        proxy.fault = fault
        site.failing()
        reports = site.heals(fault, lambda: setattr(proxy, "fault", PASS))
        assert faults.in_gaps(reports) == 0, fault
        site.told({"status"}, _STATUS.format(fault.removeprefix("problem_")))

    proxy.fault = "problem_413"  # a record that is too large alone is set aside, three in a row at most
    site.failing()
    reports = site.heals("problem_413", lambda: setattr(proxy, "fault", PASS))
    assert 1 <= faults.in_gaps(reports) <= 3
    assert host.prop(dio.AGENT, "NRestarts") == "0"

    for number, fault in enumerate(("problem_401", "problem_403"), 1):
        proxy.fault = fault
        wait_for(
            "it ends", lambda n=number: host.prop(dio.AGENT, "NRestarts") == str(n), within_s=faults.HEALED_S
        )
        reports = site.heals(fault, lambda: setattr(proxy, "fault", PASS))
        assert faults.in_gaps(reports) <= 3, fault
        (entry,) = [entry for entry in site.new_entries() if entry["DIO_EVENT"] == "refused"]
        assert entry["DIO_EXIT_CODE"] == "77"
    site.report()


@pytest.mark.timeout(600)
def test_names_addresses_and_certificates(make_host: MakeHost, tmp_path: Path) -> None:
    """A name that does not resolve, a nerve center that moves, an unknown authority, an expired certificate."""
    resolv_conf = "nameserver 127.0.0.1\noptions timeout:1 attempts:2\n"
    host = make_host("alpha", files={**faults.FAST, DROP_IN: TO_NAME, "/etc/resolv.conf": resolv_conf})
    names = {NAME: "127.0.0.1"}
    resolver = Resolver(_place(host), names)
    here = FaultProxy(8000, random.Random(1), _place(host), PORT)
    there = FaultProxy(8000, random.Random(2), _place(host, "127.0.0.2"), PORT)
    try:
        host.run(f"systemctl start {dio.CENTER} {dio.AGENT}")
        dio.wait_acknowledged(host)
        site = Site(host, here)
        for fault in ("nxdomain", "servfail", "refused", "silent"):
            resolver.fault = fault
            site.failing()
            reports = site.heals(f"dns {fault}", lambda: setattr(resolver, "fault", ""))
            assert faults.in_gaps(reports) == 0, fault
            site.told({"dns"}, rf"DNS: the name {NAME} cannot be resolved")

        here.fault = "refuse"
        site.failing()
        before = there.exchanges
        reports = site.heals("moved", lambda: names.update({NAME: "127.0.0.2"}))
        assert faults.in_gaps(reports) == 0
        assert there.exchanges > before
        site.told({"refused"}, rf"connection refused by {NAME}:{PORT}")
        assert host.prop(dio.AGENT, "NRestarts") == "0"

        names[NAME] = "127.0.0.1"
        _by_tls(site, Authority(tmp_path / "ca", NAME))
        site.report()
    finally:
        for double in (resolver, here, there):
            double.close()


def _by_tls(site: Site, authority: Authority) -> None:
    """The same host, its nerve center with a certificate of an authority of its own."""
    host = site.host
    ca = "/etc/dio-agent/ca.pem"
    host.write("/etc/dio-nerve-center/nerve-center.toml.d/60-tls.toml", TLS)
    _certify(host, authority, "first", VALID)
    host.run(f"systemctl stop {dio.AGENT}; systemctl restart {dio.CENTER}")
    host.write(DROP_IN, TO_TLS)
    site.new_entries()
    host.run(f"systemctl start --no-block {dio.AGENT}")
    unknown = rf"TLS with {NAME}:8000 failed: .*(issuer|self-signed)"
    wait_for("it says that it does not trust", lambda: _health_check_failed(site, unknown), within_s=30)
    assert dio.status(host)["error_kind"] == "tls"
    host.write(ca, authority.certificate.read_text())
    host.write(DROP_IN, f'{TO_TLS}ca_file = "{ca}"\n')
    host.run(f"systemctl restart {dio.AGENT}")
    faults.healed(host)

    site.new_entries()
    _certify(host, authority, "old", EXPIRED)
    host.run(f"systemctl reload {dio.CENTER}")
    site.failing()

    def renew() -> None:
        _certify(host, authority, "renewed", VALID)
        host.run(f"systemctl reload {dio.CENTER}")

    assert faults.in_gaps(site.heals("expired", renew)) == 0
    site.told({"tls"}, rf"TLS with {NAME}:8000 failed: certificate has expired")
    assert host.prop(dio.AGENT, "NRestarts") == host.prop(dio.CENTER, "NRestarts") == "0"


def _certify(host: Host, authority: Authority, name: str, validity: tuple[str, str]) -> None:
    for source, target in zip(authority.certify(name, validity), ("center.pem", "center.key"), strict=True):
        host.write(f"/etc/dio-nerve-center/{target}", source.read_text(), 0o640)
    host.run("chgrp dio-nerve-center /etc/dio-nerve-center/center.*")


def _health_check_failed(site: Site, words: str) -> bool:
    entries = [entry for entry in site.new_entries() if entry["DIO_EVENT"] == "health_check_failed"]
    return any(re.search(words, entry["MESSAGE"]) and entry["PRIORITY"] == "4" for entry in entries)
