from pathlib import Path

import pytest

from nerve_center import config
from nerve_center.errors import ConfigError


def write(folder: Path, text: str, name: str = "nerve-center.toml") -> Path:
    file = folder / name
    file.parent.mkdir(exist_ok=True)
    file.write_text(text)
    return file


def errors_of(file: Path) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        config.load(file)
    return list(caught.value.errors)


def test_an_empty_file_means_the_defaults(tmp_path: Path) -> None:
    found = config.load(write(tmp_path, ""))
    assert found == config.Config()
    assert (found.server.host, found.server.port, found.server.workers) == ("127.0.0.1", 8000, 2)


def test_later_files_win_in_the_order_of_their_names(tmp_path: Path) -> None:
    main = write(tmp_path, "[server]\nport = 1\nworkers = 3\n")
    write(tmp_path, "[server]\nport = 3\n", "nerve-center.toml.d/20.toml")
    write(tmp_path, "[server]\nport = 2\n", "nerve-center.toml.d/10.toml")
    write(tmp_path, "[server]\nport = 4\n", "nerve-center.toml.d/30.toml.dpkg-old")
    found = config.load(main)
    assert (found.server.port, found.server.workers) == (3, 3)


def test_relative_paths_count_from_the_file(tmp_path: Path) -> None:
    found = config.load(write(tmp_path, '[database]\npath = "here.db"\n'))
    assert found.database.path == tmp_path / "here.db"


def test_every_mistake_is_told_with_its_line(tmp_path: Path) -> None:
    main = write(
        tmp_path,
        "# a comment\n[server]\nport = 70000\nworkes = 2\nhost = 7\nrequest_timeout_s = nan\n\n"
        '[dtabase]\npath = "x"\n\n[log]\nlevel = "loud"\n\n[limits]\nbody_mib = true\n',
    )
    write(tmp_path, "server = 4\n", "nerve-center.toml.d/10.toml")
    assert errors_of(main) == [
        f"{main}:3: server.port must be 1 to 65535, not 70000",
        f"{main}:4: unknown key workes in [server]; did you mean workers?",
        f"{main}:5: server.host must be text in quotes, not 7",
        f"{main}:6: server.request_timeout_s must be 1 to 3600, not nan",
        f"{main}:8: unknown section [dtabase]; did you mean database?",
        f"{main}:12: log.level must be one of debug, info, warning, error, not 'loud'",
        f"{main}:15: limits.body_mib must be a number, not True",
        f"{tmp_path}/nerve-center.toml.d/10.toml:1: server must be a section: write [server]",
    ]


def test_dotted_keys_have_lines_too(tmp_path: Path) -> None:
    main = write(tmp_path, "\nserver.port = 'x'\n")
    assert errors_of(main) == [f"{main}:2: server.port must be a whole number, not 'x'"]


def test_a_syntax_error_has_its_line(tmp_path: Path) -> None:
    main = write(tmp_path, "[server]\nport = = 3\n")
    (error,) = errors_of(main)
    assert error.startswith(f"{main}:2: ")


def test_a_file_that_was_named_must_be_there(tmp_path: Path) -> None:
    (error,) = errors_of(tmp_path / "no.toml")
    assert "no such file" in error


@pytest.mark.parametrize("content", [b"\xff\xfe", b"a = " + b"[" * 5000, b"\0"])
def test_odd_bytes_are_an_error_and_no_traceback(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "x.toml"
    file.write_bytes(content)
    assert len(errors_of(file)) == 1


def test_an_empty_text_is_refused(tmp_path: Path) -> None:
    main = write(tmp_path, '[database]\npath = ""\n')
    assert errors_of(main) == [f"{main}:2: database.path must not be empty"]
