"""Configuration: everything wrong is reported at once with its line, and nothing wrong is used."""

from pathlib import Path

import pytest

from dio_daemon import config, toml_lines
from dio_daemon.errors import ConfigError


def write(folder: Path, text: str, **drop_ins: str) -> Path:
    main = folder / "agent.toml"
    main.write_text(text)
    for name, content in drop_ins.items():
        folder.joinpath("agent.toml.d").mkdir(exist_ok=True)
        folder.joinpath("agent.toml.d", f"{name}.toml").write_text(content)
    return main


def findings(path: Path) -> list[tuple[str, int | None, str]]:
    with pytest.raises(ConfigError) as caught:
        config.load(path)
    return [(Path(f.file).name, f.line, f.message) for f in caught.value.findings]


def test_several_centers(tmp_path: Path) -> None:
    assert config.load(write(tmp_path, "")).nerve_center.all_urls == ("http://127.0.0.1:8000",)
    text = '[nerve_center]\nurl = "https://a"\nurls = ["https://b/", "https://c"]'
    assert config.load(write(tmp_path, text)).nerve_center.all_urls == ("https://b", "https://c")
    for wrong, said in [
        ('["https://b", "https://b/"]', "must not name a URL twice"),
        ('"https://b"', "must be a list of at most 16 URLs"),
        ('["https://b", "http://far.example"]', "would send this agent's credential in clear"),
    ]:
        with pytest.raises(ConfigError, match=said) as caught:
            config.load(write(tmp_path, f"[nerve_center]\nurls = {wrong}"))
        assert caught.value.findings[0].line == 2


def test_no_file_means_defaults(tmp_path: Path) -> None:
    assert config.load(write(tmp_path, "")) == config.Config()


def test_a_named_file_that_is_missing_is_an_error(tmp_path: Path) -> None:
    assert findings(tmp_path / "other.toml") == [
        ("other.toml", None, "cannot be read: No such file or directory")
    ]


def test_later_files_win_key_by_key_and_sources_tell(tmp_path: Path) -> None:
    main = write(
        tmp_path,
        '[agent]\ninterval_s = 20\nhostname = "a"\n',
        b="[agent]\ninterval_s = 40\n",
        a="[agent]\ninterval_s = 30\n",
    )
    loaded = config.load(main)
    assert (loaded.agent.interval_s, loaded.agent.hostname) == (40, "a")
    assert loaded.sources["agent.interval_s"] == (str(tmp_path / "agent.toml.d/b.toml"), 2)
    assert loaded.sources["agent.hostname"] == (str(main), 3)


def test_every_error_of_every_file_with_its_line(tmp_path: Path) -> None:
    main = write(
        tmp_path,
        "\n".join(
            [
                "[nerve_center]",
                'url = "http://192.0.2.1:8000"',
                "[agent]",
                "interval_s = 0",
                "intervall = 3",
                "hostname = ",
                "[startup]",
                'health_waits_s = [1, "a"]',
                "[bogus]",
                'x = "unterminated',
            ]
        ),
        z="[log]\nlevel = 3\n",
    )
    found = findings(main)
    assert [(file, line) for file, line, _ in found] == [
        ("agent.toml", 2),
        ("agent.toml", 4),
        ("agent.toml", 5),
        ("agent.toml", 6),
        ("agent.toml", 8),
        ("agent.toml", 9),
        ("agent.toml", 10),
        ("z.toml", 2),
    ]
    assert "allow_plain_http" in found[0][2]
    assert "did you mean interval_s" in found[2][2]


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ('[agent]\ninterval_s = "10"', "must be a number"),
        ("[agent]\ninterval_s = nan", "must be a number"),
        ("[agent]\ninterval_s = true", "must be a number"),
        ("[agent]\ninterval_s = 3601", "from 1 to 3600"),
        ("[startup]\nregister_attempts = 2.5", "whole number"),
        ("[startup]\nregister_attempts = 0", "from 1 to 100"),
        ("[nerve_center]\nallow_plain_http = 1", "true or false"),
        ('[nerve_center]\nurl = "ftp://a"', "must be a URL"),
        ('[nerve_center]\nurl = "http://a:99999"', "must be a URL"),
        ('[nerve_center]\nurl = "https://user:pw@a"', "no user"),
        ('[nerve_center]\nca_file = "ca.pem"', "absolute path"),
        ('[nerve_center]\nclient_key = "key.pem"', "absolute path"),
        ('[nerve_center]\nclient_certificate = "/a.pem"', "go together"),
        ('[paths]\nstate_dir = "var"', "absolute path"),
        ('[agent]\nhostname = "a\\nb"', "printable"),
        ("[agent]\nlabels = {a = 1}", "label 'a'"),
        ("[startup]\nhealth_waits_s = []", "list of 1 to 20"),
        ('[log]\nlevel = "loud"', "one of: debug"),
        ("agent = 3", "must be a section"),
        ("[delivery]\nconnect_timeout_s = 31", "must not be larger"),
    ],
)
def test_wrong_values(tmp_path: Path, text: str, part: str) -> None:
    (found,) = findings(write(tmp_path, text))
    assert part in found[2]
    assert found[1] == text.count("\n") + 1


def test_plain_http_is_for_loopback_unless_told(tmp_path: Path) -> None:
    for url in (
        "http://127.0.0.1:8000",
        "http://localhost",
        "http://[::1]:8000",
        "https://center.example.org",
    ):
        assert config.load(write(tmp_path, f'[nerve_center]\nurl = "{url}/"')).nerve_center.url == url
    told = '[nerve_center]\nallow_plain_http = true\nurl = "http://center.example.org"'
    assert config.load(write(tmp_path, told)).nerve_center.allow_plain_http


def test_a_huge_or_binary_file_is_refused(tmp_path: Path) -> None:
    main = tmp_path / "agent.toml"
    main.write_bytes(b"#" * (toml_lines.MAX_FILE_BYTES + 1))
    assert "larger than" in findings(main)[0][2]
    main.write_bytes(b"\xff\xfe")
    assert "cannot be read" in findings(main)[0][2]
