"""The file of notifications, checked whole, and maintenance windows across summer time."""

from __future__ import annotations

from datetime import UTC, datetime, time
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from nerve_center.alerts.routes import Plan, load
from nerve_center.alerts.windows import DAYS, Window
from nerve_center.errors import ConfigError


def written(folder: Path, text: str, mode: int = 0o640) -> Path:
    path = folder / "notify.toml"
    path.write_text(text)
    path.chmod(mode)
    return path


def errors(path: Path) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(path)
    return [line.removeprefix(f"{path}") for line in caught.value.errors]


def test_everything_that_can_be_set(tmp_path: Path) -> None:
    plan = load(
        written(
            tmp_path,
            """
offline_after_s = 60
group_s = 0
outbreak_hosts = 9
[[route]]
name = "ops"
urls = ["ntfys://ntfy.example/dio", "mailto://a:b@example.com"]
severity = "critical"
labels = {role = "web"}
types = ["offline"]
cleared = false
remind_every_h = 1.5
[[maintenance]]
name = "night"
days = ["sat", "sun"]
begin = "22:00"
end = "02:00"
zone = "Europe/Berlin"
labels = {role = "web"}
""",
        )
    )
    (route,), (window,) = plan.routes, plan.windows
    assert (plan.offline_after_s, plan.group_s, plan.outbreak_hosts) == (60, 0, 9)
    assert [target.shown for target in route.targets] == ["ntfys://…", "mailto://…"]
    assert (route.name, route.rank, route.cleared, route.remind_every_h) == ("ops", 4, False, 1.5)
    assert (route.labels, route.types) == ({"role": "web"}, {"offline"})
    assert (window.begin, window.end, window.days) == (time(22), time(2), {"sat", "sun"})
    assert (window.zone.key, window.labels) == ("Europe/Berlin", {"role": "web"})


def test_no_file_tells_nobody(tmp_path: Path) -> None:
    assert load(tmp_path / "none.toml") == Plan()


def test_a_file_with_secrets_that_others_may_read(tmp_path: Path) -> None:
    assert "run: chmod o=" in errors(written(tmp_path, "", 0o644))[0]


def test_every_mistake_with_its_line_and_no_secret(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        """[[route]]
name = "a"
urls = ["json://hidden@example.com"]
labels = {role = 1}
[[route]]
name = "a"
urls = ["hidden", 5]
severity = "bad"
types = "offline"
cleared = "yes"
remind_every_h = -1
secret = "hidden"
[[route]]
name = "b"
urls = ["json://x"]
[[route]]
name = "b"
urls = ["json://x"]
[[maintenance]]
name = ""
days = ["someday"]
begin = "24:00"
zone = "Mars/Phobos"
""",
    )
    found = errors(path)
    assert not [line for line in found if "hidden" in line]
    assert len([line for line in found if line.startswith(":1: labels")]) == 1
    assert len([line for line in found if line.startswith(":5: ")]) == 7
    assert len([line for line in found if line.startswith(":19: ")]) == 5
    assert len([line for line in found if "two routes have the name 'b'" in line]) == 1


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("x = 1", "unknown key x"),
        ('center_url = "center.example"', "center_url must be an address"),
        ('center_url = "javascript://x"', "center_url must be an address"),
        ("route = 1", "must be tables"),
        ("group_s = true", "group_s must be a number"),
        ("outbreak_hosts = 1", "outbreak_hosts must be a number"),
        ("a = [", ""),
        ("a = " + "[" * 5000, ""),
        ("#" * 300_000, "larger than"),
        (
            '[[maintenance]]\nname = "x"\nbegin = "1:00"\nend = "2:00"\nzone = "../../etc/passwd"',
            "zone must be",
        ),
    ],
)
def test_other_mistakes(tmp_path: Path, text: str, wanted: str) -> None:
    assert any(wanted in line for line in errors(written(tmp_path, text)))


def at(text: str) -> int:
    """A moment in UTC, in microseconds."""
    return round(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1e6)


def window(begin: str, end: str, days: str = " ".join(DAYS), zone: str = "Europe/Berlin") -> Window:
    return Window(
        "w", frozenset(days.split()), time.fromisoformat(begin), time.fromisoformat(end), ZoneInfo(zone), {}
    )


@pytest.mark.parametrize(
    ("what", "inside", "outside"),
    [
        # Berlin is an hour ahead of UTC in winter, two in summer.
        (
            window("02:00", "04:00"),
            ["2026-01-10T01:00", "2026-01-10T02:59"],
            ["2026-01-10T00:59", "2026-01-10T03:00"],
        ),
        (
            window("02:00", "04:00"),
            ["2026-07-10T00:00", "2026-07-10T01:59"],
            ["2026-07-09T23:59", "2026-07-10T02:00"],
        ),
        # Over midnight, it belongs to the day on which it begins: 2026-01-10 is a Saturday.
        (
            window("22:00", "02:00", "sat"),
            ["2026-01-10T21:00", "2026-01-11T00:59"],
            ["2026-01-09T22:00", "2026-01-10T00:00", "2026-01-11T01:00", "2026-01-11T21:30"],
        ),
        # The night of 29 March 2026 has no 02:00 to 03:00: one hour is left of this window.
        (
            window("01:00", "04:00"),
            ["2026-03-29T00:00", "2026-03-29T01:59"],
            ["2026-03-29T02:00", "2026-03-28T23:59"],
        ),
        # The night of 25 October 2026 has 02:00 to 03:00 twice: it ends with the second.
        (
            window("01:00", "02:30"),
            ["2026-10-24T23:00", "2026-10-25T00:45", "2026-10-25T01:29"],
            ["2026-10-25T01:30", "2026-10-24T22:59"],
        ),
        (window("00:00", "00:00", "sun"), ["2026-01-10T23:00", "2026-01-11T22:59"], ["2026-01-11T23:00"]),
    ],
)
def test_windows(what: Window, inside: list[str], outside: list[str]) -> None:
    assert [what.covers({}, at(moment)) for moment in inside] == [True] * len(inside)
    assert [what.covers({}, at(moment)) for moment in outside] == [False] * len(outside)


def test_a_window_for_some_hosts() -> None:
    always = Window("w", frozenset(DAYS), time(0), time(0), ZoneInfo("UTC"), {"role": "web"})
    assert always.covers({"role": "web", "x": "y"}, 0)
    assert not always.covers({"role": "db"}, 0)
    assert not always.covers({}, 0)
