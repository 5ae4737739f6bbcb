"""Rules as they are written: drop-ins win key by key, errors have file and line, and bad files change nothing."""

import json
from pathlib import Path

import pytest

from dio_daemon import ctl
from dio_daemon.detect.rule_files import folder_of, load_rules
from dio_daemon.detect.rules import Rule
from dio_daemon.errors import ConfigError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = folder_of(tmp_path / "agent.toml")
    folder.mkdir()
    return folder


def rule(folder: Path, name: str) -> Rule:
    return next(rule for rule in load_rules(folder) if rule.name == name)


def errors(folder: Path) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load_rules(folder)
    return [f"{Path(each.file).name}:{each.line}: {each.message}" for each in caught.value.findings]


def test_a_later_file_wins_key_by_key(folder: Path) -> None:
    (folder / "10.toml").write_text(
        '[disk_space]\nenter = { high = 97 }\nleave = { high = 95 }\nignore = ["/a"]\n'
    )
    (folder / "20.toml").write_text('[disk_space]\nfor_s = 5\nignore = ["/b"]\n[load]\nenabled = false\n')
    disk_space = rule(folder, "disk_space")
    assert disk_space.levels.steps == (("high", 97.0, 95.0),)
    assert (disk_space.for_s, disk_space.ignore) == (5.0, ("/b",))
    assert rule(folder, "swap").only_if
    (folder / "30.toml").write_text("[swap]\nenter = { low = 99 }\n")
    assert (rule(folder, "swap").levels.steps, rule(folder, "swap").only_if) == ((("low", 99.0, 99.0),), {})
    assert disk_space.title == "Filesystem nearly full"
    assert Path(disk_space.source).parent == folder
    assert not rule(folder, "load").enabled
    assert rule(folder, "cpu").source == "default"


def test_a_rule_of_its_own(folder: Path) -> None:
    (folder / "own.toml").write_text(
        '[web_disks]\nvalue = "disk_io[*].busy_percent"\nsubject = "device"\nenter = { low = 95 }\n'
        'summary = "{subject} {value:.0f} {{}}"\nsubjects = { "sd*" = { enter = { high = 99 } } }\n'
    )
    own = rule(folder, "web_disks")
    assert own.value.text == "disk_io[*].busy_percent"
    assert own.levels_of("sda").steps == (("high", 99.0, 99.0),)
    assert own.levels_of("nvme0").steps == (("low", 95.0, 95.0),)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            "[cpu]\nenter = { low = 90, high = 80 }\n",
            "x.toml:2: cpu: high is entered at 80, before low",
        ),
        ("[cpu]\n\nleave = { low = 99 }\n", "x.toml:3: cpu: low is entered at 80 and would be left at 99"),
        ("[cpu]\nlevels = 3\n", "x.toml:2: cpu has no key levels; known: "),
        ("[cpu]\nfor_s = -1\n", "x.toml:2: cpu.for_s must be from 0"),
        ("[cpu]\nfor_s = inf\n", "x.toml:2: cpu.for_s must be a number"),
        ("[cpu]\nvalue = 'cpu percent'\n", "x.toml:2: cpu.value 'cpu percent' is no place"),
        ("[cpu]\nsummary = '{value.__class__}'\n", "x.toml:2: cpu.summary may name"),
        ("[cpu]\nsummary = '{held:.0f}'\n", "x.toml:2: cpu.summary may name"),
        ("[cpu]\nsummary = '{'\n", "x.toml:2: cpu.summary may name"),
        ("[cpu]\nsummary = '{other}'\n", "x.toml:2: cpu.summary may name"),
        ("[cpu]\nenter = { bad = 1 }\n", "x.toml:2: cpu.enter must be a table of severities"),
        ("[cpu]\nenter = { low = 'x' }\n", "x.toml:2: cpu.enter must hold numbers"),
        ("[cpu]\nenter = {}\n", "x.toml:2: cpu.enter needs at least one"),
        ("[cpu]\nonly_if = { low = 'x' }\n", "x.toml:2: cpu.only_if 'x' is no condition"),
        ("[cpu]\nonly_if = { critical = 'a > 1' }\n", "x.toml:2: cpu.only_if names a severity"),
        ("[cpu]\nsubjects = { a = 1 }\n", "x.toml:2: cpu.subjects must be a table of patterns"),
        ("[new]\nvalue = 'a.b'\n", "x.toml:1: new needs enter"),
        ("[new]\nvalue = 'a[*].b'\nenter = {low = 1}\nsummary = 's'\n", "x.toml:2: new needs subject"),
        ("[New]\n", "x.toml:1: 'New' is no name of a rule"),
        ("cpu = 1\n", "x.toml:1: cpu must be a rule"),
        ("[cpu\n", "x.toml:1: not valid TOML"),
    ],
)
def test_errors_have_file_and_line(folder: Path, text: str, says: str) -> None:
    (folder / "x.toml").write_text(text)
    assert any(each.startswith(says) for each in errors(folder)), errors(folder)


def test_all_errors_of_all_files_at_once(folder: Path) -> None:
    (folder / "a.toml").write_text("[cpu]\nfor_s = 'x'\nop = '='\n[load]\nenabled = 1\n")
    (folder / "b.toml").write_bytes(b"\xff")
    (folder / "c.toml").write_text("#" * (1 << 20) + "\n")
    assert len(errors(folder)) == 5


def test_no_folder_is_no_error(tmp_path: Path) -> None:
    assert load_rules(tmp_path / "none") == load_rules(None)


def test_the_commands(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = ["--config", str(tmp_path / "agent.toml")]
    assert ctl.main(["rules", "check", *config]) == 0
    assert "no errors" in capsys.readouterr().out
    new = tmp_path / "new.toml"
    new.write_text("[cpu]\nfor_s = -1\n")
    assert ctl.main(["rules", "check", str(new), *config]) == 78
    assert capsys.readouterr().err.startswith(f"{new}:2: cpu.for_s")
    assert ctl.main(["rules", "check", str(new), "--json", *config]) == 78
    assert json.loads(capsys.readouterr().out)["errors"][0]["line"] == 2
    (folder / "own.toml").write_text("[load]\nenabled = false\n")
    assert ctl.main(["rules", "list", "--files", *config]) == 0
    said = capsys.readouterr().out
    assert [line.split()[3] for line in said.splitlines() if line.startswith("load")] == ["off"]
    assert ctl.main(["rules", "list", "--files", "--json", *config]) == 0
    assert {each["name"] for each in json.loads(capsys.readouterr().out)["rules"]} == {
        each.name for each in load_rules(None)
    }
