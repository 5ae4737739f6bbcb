"""Rules: when severities begin and end; every shipped rule fires on what it is for, and on nothing else."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dio_daemon.clock import SystemClock
from dio_daemon.collect.collector import HostCollector
from dio_daemon.config import Collect
from dio_daemon.detect.conditions import parse_condition, parse_place
from dio_daemon.detect.finding import Finding
from dio_daemon.detect.rule_files import load_rules
from dio_daemon.detect.rules import Levels, Rule, Rules
from dio_daemon.detect.trend import DiskTrend
from nerve_center.contract import Contract

DISK = {"mount": "/srv", "percent": 50.0, "inodes_percent": 10.0, "free_bytes": 50e9}
CALM: dict[str, Any] = {
    "cpu": {"percent": 5.0},
    "memory": {"percent": 40.0},
    "swap": {"percent": 0.0},
    "load": {"load_5m_per_cpu": 0.2},
    "pressure": {
        "cpu_some_percent": 1.0,
        "memory_some_percent": 0.0,
        "memory_full_percent": 0.0,
        "io_some_percent": 1.0,
        "io_full_percent": 0.5,
    },
    "disks": [DISK, {"mount": "/media/usb", "percent": 100.0, "inodes_percent": None, "free_bytes": 0.0}],
    "disk_io": [{"device": "sda", "busy_percent": 10.0}],
    "network": {"interfaces": [{"name": "eth0", "busy_percent": 3.0, "errors_per_s": 0.0}]},
    "processes": {"count": 200, "zombies": 1, "top": [{"pid": 1, "name": "init"}]},
    "tasks": {"percent": 2.0, "forks_per_s": 20.0},
    "files": {"percent": 1.0, "near_limit": [{"pid": 9, "name": "db", "percent": 55.0}]},
    "temperatures": [{"sensor": "cpu 1", "celsius": 50.0, "critical_percent": 50.0}],
    "clock": {"skew_s": 0.2},
    "units": {"failed": 0, "failed_units": []},
    "reboot": {"pending": False},
}
NEAR = {"pid": 9, "name": "db"}
FIRES: list[tuple[str, str, str, dict[str, Any]]] = [
    ("cpu", "cpu", "low", {"cpu": {"percent": 100.0}}),
    ("cpu", "cpu", "high", {"cpu": {"percent": 96.0}, "pressure": {"cpu_some_percent": 80.0}}),
    ("cpu_pressure", "cpu_pressure", "medium", {"pressure": {"cpu_some_percent": 90.0}}),
    ("memory", "memory", "low", {"memory": {"percent": 91.0}}),
    ("memory", "memory", "high", {"memory": {"percent": 99.0}, "pressure": {"memory_some_percent": 12.0}}),
    ("memory_pressure", "memory_pressure", "high", {"pressure": {"memory_full_percent": 31.0}}),
    ("swap", "swap", "low", {"swap": {"percent": 99.0}}),
    ("io_pressure", "io_pressure", "low", {"pressure": {"io_full_percent": 70.0}}),
    ("disk_space", "/srv", "critical", {"disks": [DISK | {"percent": 99.5}]}),
    ("disk_space", "/srv", "low", {"disks": [DISK | {"percent": 85.0}]}),
    ("disk_inodes", "/srv", "high", {"disks": [DISK | {"inodes_percent": 96.0}]}),
    ("network_rate", "eth0", "low", {"network": {"interfaces": [{"name": "eth0", "busy_percent": 95.0}]}}),
    (
        "network_errors",
        "eth0",
        "medium",
        {"network": {"interfaces": [{"name": "eth0", "errors_per_s": 200.0}]}},
    ),
    ("tasks", "tasks", "critical", {"tasks": {"percent": 97.0}}),
    ("fork_rate", "fork_rate", "low", {"tasks": {"forks_per_s": 6000.0}}),
    ("zombies", "zombies", "low", {"processes": {"zombies": 60}}),
    ("open_files", "open_files", "high", {"files": {"percent": 96.0}}),
    ("process_files", "db", "medium", {"files": {"near_limit": [NEAR | {"percent": 97.0}]}}),
    ("load", "load", "low", {"load": {"load_5m_per_cpu": 9.0}}),
    ("temperature", "cpu 1", "high", {"temperatures": [{"sensor": "cpu 1", "critical_percent": 99.0}]}),
    ("clock_ahead", "clock_ahead", "medium", {"clock": {"skew_s": 90.0}}),
    ("clock_behind", "clock_behind", "low", {"clock": {"skew_s": -6.0}}),
    ("failed_unit", "x.service", "medium", {"units": {"failed_units": ["x.service"]}}),
    ("reboot_pending", "reboot_pending", "low", {"reboot": {"pending": True}}),
]
SHIPPED = load_rules(None)


class Host:
    """Rules, looked at every 10 s."""

    def __init__(self, rules: list[Rule], open_: str | None = None) -> None:
        self.now = 0.0
        self.rules = Rules(rules, lambda fingerprint: open_, DiskTrend().fill_in)

    def look(self, sample: dict[str, Any], for_s: float = 0.0) -> dict[str, str]:
        """Look once, and go on for some time; subject to severity at the end."""
        until = self.now + for_s
        while True:
            said = self.rules.look(sample, self.now)
            self.now += 10.0
            if self.now > until:
                break
        self.last = [each for each in said if isinstance(each, Finding)]
        return {f"{each.type} {each.subject}": each.severity for each in self.last}


@pytest.mark.parametrize(("rule", "subject", "severity", "bad"), FIRES, ids=lambda value: str(value)[:20])
def test_a_shipped_rule(rule: str, subject: str, severity: str, bad: dict[str, Any]) -> None:
    for_s = next(each.for_s for each in SHIPPED if each.name == rule)
    host = Host(SHIPPED)
    assert host.look(CALM, 300) == {}
    sample = CALM | {
        key: CALM[key] | value if isinstance(value, dict) else value for key, value in bad.items()
    }
    if for_s > 10:
        assert f"{rule} {subject}" not in host.look(sample, for_s - 10), "it has to last"
    assert host.look(sample, 30)[f"{rule} {subject}"] == severity
    finding = next(each for each in host.last if each.type == rule)
    assert finding.why and finding.next and "{" not in finding.summary + finding.next.replace("{print", "")
    assert finding.evidence["value"] is not None
    assert host.look(CALM, 120) == {}


def test_how_long_it_had_to_hold_is_said_as_it_was_set() -> None:
    (shipped,) = [each for each in SHIPPED if each.name == "io_pressure"]
    for for_s, said in ((600.0, "for 10 minutes,"), (30.0, "for 30 seconds,"), (3600.0, "for 1 hour,")):
        host = Host([replace(shipped, for_s=for_s)])
        host.look({"pressure": {"io_full_percent": 70.0}}, for_s + 10)
        assert said in host.last[0].summary


def test_every_shipped_rule_is_tried() -> None:
    assert {rule for rule, *_ in FIRES} | {"disk_fills"} == {rule.name for rule in SHIPPED}


def test_every_shipped_rule_is_about_something_that_is_sampled() -> None:
    schemas = Contract().document["components"]["schemas"]
    for rule in SHIPPED:
        schema = schemas["SampleData"]
        for name in rule.value.before:
            schema = schema["properties"][name]
        for name in rule.value.after or ():
            if name != "hours_to_full":  # the trend's
                schema = schema["items"]["properties"][name]
        for place in rule.evidence:
            assert place.before[0] in schemas["SampleData"]["properties"]


def test_a_real_sample_of_a_calm_host_raises_no_error() -> None:
    collector = HostCollector(SystemClock(), Collect())
    collector.prime()
    Host(SHIPPED).look(json.loads(json.dumps(collector.sample())))


@pytest.mark.parametrize(
    "sample", [{}, dict.fromkeys(CALM), {key: {} for key in CALM}, {key: [] for key in CALM}]
)
def test_what_could_not_be_had_is_no_threat(sample: dict[str, Any]) -> None:
    assert Host(SHIPPED).look(sample, 7200) == {}


RULE = Rule(
    name="heat",
    value=parse_place("heat.value"),
    summary="{value:.0f}",
    levels=Levels((("low", 80.0, 70.0), ("high", 95.0, 90.0))),
    for_s=60.0,
    leave_for_s=30.0,
)


def heat(value: float | None) -> dict[str, Any]:
    return {"heat": {"value": value}}


def test_around_a_level_it_stays() -> None:
    host = Host([RULE])
    host.look(heat(85), 100)
    for value in (75, 71, 81, 70, 79) * 10:
        assert host.look(heat(value)) == {"heat heat": "low"}
    assert host.look(heat(69), 20) == {"heat heat": "low"}
    assert host.look(heat(75)) == {"heat heat": "low"}
    assert host.look(heat(69), 40) == {}


def test_one_look_below_begins_the_wait_anew() -> None:
    host = Host([RULE])
    host.look(heat(85), 50)
    host.look(heat(79))
    assert host.look(heat(85), 50) == {}
    assert host.look(heat(85), 10) == {"heat heat": "low"}


def test_severity_follows_the_levels() -> None:
    host = Host([RULE])
    assert host.look(heat(99), 60) == {"heat heat": "high"}
    assert host.look(heat(85), 20) == {"heat heat": "high"}
    assert host.look(heat(85), 30) == {"heat heat": "low"}


def test_what_cannot_be_had_for_a_while_changes_nothing() -> None:
    host = Host([RULE])
    host.look(heat(85), 100)
    assert host.look({}, 1000) == {"heat heat": "low"}
    assert host.look(heat(None), 1000) == {"heat heat": "low"}
    assert host.look(heat(10), 40) == {}


def test_what_is_over_is_told_as_it_was() -> None:
    """And not with the figure that ended it."""
    host = Host([replace(RULE, leave_for_s=60.0)])
    host.look(heat(85), 100)
    host.look(heat(10), 30)
    assert [found.evidence["value"] for found in host.last] == [85]
    host.look(heat(86), 10)
    assert [found.evidence["value"] for found in host.last] == [86]


@pytest.mark.parametrize("whole", [True, False])
def test_what_cannot_be_had_any_more_is_over(whole: bool) -> None:
    """Swap that is switched off, a sensor that is unplugged."""
    host = Host([RULE])
    host.look(heat(85), 100)
    said = {} if whole else heat(None)
    assert host.look(said, 1800) == {"heat heat": "low"}
    assert host.look(said, 1900) == {}


def test_a_hole_begins_every_wait_anew() -> None:
    host = Host([RULE])
    host.look(heat(85), 50)
    host.now += 3600
    assert host.look(heat(85), 50) == {}
    assert host.look(heat(85), 20) == {"heat heat": "low"}


def test_a_long_interval_is_no_hole() -> None:
    host = Host([RULE])
    said = {}
    for _ in range(3):
        host.now += 3590
        said = host.look(heat(85))
    assert said == {"heat heat": "low"}


def test_a_threat_that_was_open_before_a_restart_goes_on() -> None:
    assert Host([RULE], "low").look(heat(75)) == {"heat heat": "low"}
    assert Host([RULE], "medium").look(heat(75)) == {}, "a severity that the rule no longer has"


def test_what_is_over_after_a_restart_is_not_told_with_the_figure_that_ended_it() -> None:
    """Nothing is said of it: the threat stays what it was, and clears as one whose finding is away."""
    host = Host([replace(RULE, leave_for_s=60.0)], "low")
    assert host.look(heat(10), 100) == {}
    host = Host([replace(RULE, leave_for_s=60.0)], "high")
    assert host.look(heat(75), 30) == {"heat heat": "high"}, "what is milder goes on"


def test_levels_of_a_subject() -> None:
    rule = Rule(
        name="disk",
        value=parse_place("disks[*].percent"),
        subject="mount",
        summary="{subject}",
        levels=Levels((("low", 80.0, 80.0),)),
        subjects={"/srv*": Levels((("high", 97.0, 97.0),))},
        ignore=("/mnt/*",),
    )
    disks = [{"mount": path, "percent": 90.0} for path in ("/", "/srv", "/mnt/a", "/srv/b")]
    disks[3]["percent"] = 98.0
    assert Host([rule]).look({"disks": [*disks, {"percent": 99.0}, 5, None]}) == {
        "disk /": "low",
        "disk /srv/b": "high",
    }


def test_a_subject_that_is_gone_is_over() -> None:
    rule = Rule(
        "d", parse_place("disks[*].percent"), "{subject}", Levels((("low", 80.0, 80.0),)), subject="mount"
    )
    host = Host([rule])
    assert host.look({"disks": [{"mount": "/a", "percent": 90.0}]}) == {"d /a": "low"}
    assert host.look({"disks": None}) == {"d /a": "low"}
    assert host.look({"disks": []}) == {}


@pytest.mark.parametrize("text", ["", "cpu..percent", "Cpu", "a[*]b", "a[*].b[*]", "a b", "a" * 300, "[*]"])
def test_no_place(text: str) -> None:
    with pytest.raises(ValueError, match="no place"):
        parse_place(text)


@pytest.mark.parametrize("text", ["", "cpu.percent", "cpu.percent == 1", "cpu.percent > x", "a[*].b > 1"])
def test_no_condition(text: str) -> None:
    with pytest.raises(ValueError, match=r"condition|must be|no place"):
        parse_condition(text)


def disk(used: float, size: float = 100e9) -> dict[str, Any]:
    return {"disks": [{"mount": "/srv", "percent": 100 * used / size, "free_bytes": size - used}]}


def forecast(trend: DiskTrend, now: float, used: float) -> float | None:
    hours: float | None = trend.fill_in(disk(used), now)["disks"][0]["hours_to_full"]
    return hours


def test_a_filesystem_that_fills_is_foreseen() -> None:
    host = Host(SHIPPED)
    said: dict[str, str] = {}
    opened_h = None
    for number in range(6 * 360):  # six hours, 2 GB an hour from 78 GB on
        said = host.look(CALM | disk(78e9 + number / 360 * 2e9))
        if opened_h is None and "disk_fills /srv" in said:
            opened_h = number / 360
    assert opened_h is not None
    assert 3 < opened_h < 3.5
    assert said["disk_fills /srv"] == "medium"
    said = {}
    for _ in range(360):  # an hour after room was made
        said = host.look(CALM | disk(40e9))
    assert said == {}


@pytest.mark.parametrize("kind", ["steady", "to and fro", "empty", "emptied", "short"])
def test_no_forecast_without_a_reason(kind: str) -> None:
    trend = DiskTrend()
    for number in range(12 * 8):
        hour = number / 12
        used = {
            "steady": 80e9,
            "to and fro": 80e9 + (number % 12) * 1e9,
            "empty": 10e9 + hour * 1e9,
            "emptied": 80e9 + hour * 1e9 if hour < 6 else 75e9 - hour,
            "short": 80e9 if hour < 7.5 else 80e9 + hour * 2e9,
        }[kind]
        hours = forecast(trend, number * 300.0, used)
    assert hours is not None and hours > 72, kind


def test_a_forecast_from_less_history() -> None:
    trend = DiskTrend(history_s=60.0)
    found = [forecast(trend, number * 2.0, 80e9 + number * 1e7) for number in range(60)]
    first = next(at for at, hours in enumerate(found) if hours is not None)
    assert first == 30, "after a minute"
    assert found[-1] == pytest.approx((20e9 - 59e7) / 5e6 / 3600, rel=0.02)


def test_the_trend_is_bounded() -> None:
    trend = DiskTrend()
    for number in range(500):
        trend.fill_in(
            {"disks": [{"mount": f"/{number}", "percent": 80.0, "free_bytes": 1.0}]}, number * 300.0
        )
    assert len(trend._mounts) <= 2


def test_the_replay_of_a_recording(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from dio_daemon import ctl

    lines = [
        {
            "time": f"2026-01-01T00:{minute:02}:00Z",
            "kind": "sample",
            "data": CALM | {"cpu": {"percent": busy}},
        }
        for minute, busy in enumerate([5.0] * 5 + [99.0] * 10 + [5.0] * 10)
    ]
    lines.insert(3, {"time": "2026-01-01T00:02:30Z", "kind": "conditions", "data": {}})
    file = tmp_path / "week.jsonl"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines) + "\n")
    config = ["--files", "--config", str(tmp_path / "agent.toml")]
    assert ctl.main(["rules", "test", str(file), *config]) == 0
    said = capsys.readouterr().out.splitlines()
    assert [line.split()[:4] for line in said] == [
        ["2026-01-01T00:10:00Z", "open", "low", "cpu:"],
        ["2026-01-01T00:16:00Z", "cleared", "low", "cpu:"],
    ]
    assert ctl.main(["rules", "test", str(file), "--json", *config]) == 0
    assert len(json.loads(capsys.readouterr().out)["changes"]) == 2
    file.write_text('{"cpu": null}\nnot JSON\n')
    assert ctl.main(["rules", "test", str(file), *config]) == 1
    assert "line 2 is no sample" in capsys.readouterr().err
    assert ctl.main(["rules", "test", str(tmp_path / "none"), *config]) == 1
