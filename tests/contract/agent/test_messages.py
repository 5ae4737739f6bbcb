"""What the agent sends, held against the contract that nerve centers enforce.

`golden/` keeps messages of every released version as they went over the wire: a contract that stops taking
one of them would lock out agents in the field.
"""

import json
import re
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dio_daemon import __version__, wire
from dio_daemon.clock import SystemClock, rfc3339
from dio_daemon.collect.collector import HostCollector
from dio_daemon.collect.facts import host_facts
from dio_daemon.config import Collect
from dio_daemon.detect.finding import fingerprint
from dio_daemon.identity import Identity, IdentityFile, boot_id, new_run_id
from dio_daemon.spool import Budget, Spool
from nerve_center.contract import Contract
from nerve_center.store import tolerances

GOLDEN = Path(__file__).parent / "golden"
SCHEMAS = {"registration": "Registration", "report": "Report", "goodbye": "Goodbye"}


@pytest.fixture(scope="module")
def contract() -> Contract:
    return Contract()


@pytest.fixture
def identity(tmp_path: Path) -> Identity:
    return IdentityFile(tmp_path / "identity.json").open()


@pytest.fixture
def sender(identity: Identity) -> wire.Sender:
    return wire.Sender(identity.instance_id, new_run_id(), boot_id(), 10.0, "9" * 32)


def now() -> str:
    return rfc3339(SystemClock().now())


def check_report(contract: Contract, report: dict[str, object]) -> None:
    contract.check("Report", report)
    records = report["records"]
    assert isinstance(records, list)
    for record in records:
        contract.check_data(record["kind"], record["data"])


def test_a_registration(contract: Contract, identity: Identity, sender: wire.Sender) -> None:
    facts = {**host_facts(), "hostname": "host.example.org"}
    body = wire.registration(sender, identity.derived_id, __version__, now(), facts, {"role": "web"})
    contract.check("Registration", json.loads(body))


def test_a_report_with_a_real_sample_and_with_gaps(
    contract: Contract, sender: wire.Sender, tmp_path: Path
) -> None:
    clock = SystemClock()
    collector = HostCollector(clock, Collect())
    collector.prime()
    spool = Spool(tmp_path / "spool.db", Budget(1 << 24, 1e9, 1e9))
    for number in range(6):
        spool.append("samples", "sample", now(), wire.to_json(collector.sample()), 10.0 * number)
    spool.reconfigure(Budget(1, 1e9, 1e9))
    spool.trim()
    spool.append("samples", "sample", now(), wire.to_json(collector.sample()), 10.0)
    batch = spool.batch("samples", 100)
    spool.close()
    assert {record.kind for record in batch.records} == {"sample", "gap"}
    check_report(contract, json.loads(wire.report(sender, now(), batch)))


def test_a_report_that_tells_of_a_policy(contract: Contract, sender: wire.Sender) -> None:
    said = {"version": None, "refused": {"version": "1" * 16, "why": "x"}}
    batch = wire.Batch("0" * 16, "events", wire.Mark(0, None), ())
    report = json.loads(wire.report(replace(sender, policy=said), now(), batch))
    assert report["policy"] == said
    check_report(contract, report)


def test_the_fingerprint_of_an_agent_is_the_one_that_the_nerve_center_makes() -> None:
    for type_, subject in (("cron", "/etc/crontab"), ("listening_socket", "tcp 0.0.0.0:80 ü")):
        assert tolerances.finding(type_, subject).fingerprint == fingerprint(type_, subject)


def test_a_report_that_only_asks(contract: Contract, sender: wire.Sender) -> None:
    batch = wire.Batch("0" * 16, "events", wire.Mark(0, None), ())
    check_report(contract, json.loads(wire.report(sender, now(), batch)))


def test_a_goodbye(contract: Contract, sender: wire.Sender) -> None:
    contract.check("Goodbye", json.loads(wire.goodbye(sender, now(), "stopped")))


@given(st.datetimes())
def test_every_time_that_the_agent_can_write(contract: Contract, moment: datetime) -> None:
    pattern = contract.document["components"]["schemas"]["Time"]["pattern"]
    assert re.search(pattern, rfc3339(moment.replace(tzinfo=UTC)))


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("*/*.json")), ids=lambda p: f"{p.parent.name}-{p.stem}")
def test_messages_of_every_released_version_are_still_taken(contract: Contract, path: Path) -> None:
    message = json.loads(path.read_bytes())
    if path.stem == "report":
        check_report(contract, message)
    else:
        contract.check(SCHEMAS[path.stem], message)


def test_the_golden_messages_are_those_of_this_version() -> None:
    assert {path.stem for path in (GOLDEN / __version__).glob("*.json")} == set(SCHEMAS)
