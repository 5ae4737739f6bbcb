import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from nerve_center.nervectl import main
from nerve_center.store import migrate
from tests.unit.center.harness import API_TOKEN, TOKEN, AgentUnderTest, CenterUnderTest, FakeClock, problem


def run(center: CenterUnderTest, *arguments: str) -> Result:
    file = center.configuration()
    return CliRunner().invoke(main, ["--config", str(file), *arguments])


def test_the_token(center: CenterUnderTest) -> None:
    assert run(center, "token", "show").output == TOKEN + "\n"
    file = center.settings.enrollment.token_file
    file.chmod(0o640)
    new = run(center, "token", "rotate").output.strip()
    assert new == file.read_text().strip() != TOKEN
    assert file.stat().st_mode & 0o777 == 0o640
    assert sorted(entry.name for entry in file.parent.glob("*token*")) == ["token"]
    assert AgentUnderTest(center).register(new).status_code == 201


def test_rotating_behind_a_link_changes_what_it_points_to(center: CenterUnderTest) -> None:
    file = center.settings.enrollment.token_file
    real = file.with_name("real")
    file.rename(real)
    file.symlink_to(real)
    new = run(center, "token", "rotate").output.strip()
    assert (file.is_symlink(), real.read_text().strip()) == (True, new)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_rotating_keeps_owner_and_group(center: CenterUnderTest) -> None:
    file = center.settings.enrollment.token_file
    os.chown(file, 0, 65534)
    run(center, "token", "rotate")
    assert (file.stat().st_uid, file.stat().st_gid) == (0, 65534)


def test_a_token_that_is_not_there(center: CenterUnderTest) -> None:
    center.settings.enrollment.token_file.unlink()
    shown = run(center, "token", "show")
    assert shown.exit_code == 1
    assert "No such file" in shown.output
    assert run(center, "token", "rotate").exit_code == 0
    assert run(center, "token", "show").exit_code == 0


def test_the_agents(center: CenterUnderTest) -> None:
    assert "No agent has enrolled yet" in run(center, "agents").output
    agent = center.agent(hostname="a\x1b[31mb")
    agent.deliver(agent.record(1), agent.record(2))
    head, line = run(center, "agents").output.splitlines()
    assert head.split() == ["ID", "HOSTNAME", "STATE", "LAST", "REPORT", "VERSION", "SAMPLES"]
    assert line.startswith(f"{agent.agent_id}  a?[31mb")
    assert line.endswith("0.1.0    2")
    (shown,) = json.loads(run(center, "agents", "--json").output)["agents"]
    assert (shown["id"], shown["records"]["samples"]) == (agent.agent_id, 2)


def test_api_tokens(center: CenterUnderTest) -> None:
    made = run(center, "api-token", "add", "grafana").output.strip()
    assert center.get("/api/v1/agents", made).status_code == 200
    again = run(center, "api-token", "add", "grafana")
    assert (again.exit_code, "already" in again.output) == (1, True)
    assert [line.split()[0] for line in run(center, "api-token", "list").output.splitlines()] == [
        "NAME",
        "grafana",
        "test",
    ]
    listed = run(center, "api-token", "list", "--json").output
    assert made not in listed
    assert [item["name"] for item in json.loads(listed)["api_tokens"]] == ["grafana", "test"]
    logged = run(center, "audit").output
    assert "scope=read" in logged and "None" not in logged
    assert run(center, "api-token", "remove", "grafana").exit_code == 0
    assert problem(center.get("/api/v1/agents", made)) == "credential-unknown"
    assert center.get("/api/v1/agents", API_TOKEN).status_code == 200
    assert run(center, "api-token", "remove", "grafana").exit_code == 1


@pytest.mark.parametrize("name", ["", "a b", "x" * 65, "-x", "a/b"])
def test_names_of_tokens(center: CenterUnderTest, name: str) -> None:
    result = run(center, "api-token", "add", "--", name)
    assert (result.exit_code, "no name" in result.output) == (1, True)


def test_before_the_first_start_of_the_center(tmp_path: Path) -> None:
    file = tmp_path / "nerve-center.toml"
    file.write_text(f'[database]\npath = "{tmp_path}/none.db"\n')
    result = CliRunner().invoke(main, ["--config", str(file), "agents"])
    assert result.exit_code == 1
    assert "start the nerve center once" in result.output
    assert not (tmp_path / "none.db").exists()


def test_a_bad_configuration(tmp_path: Path) -> None:
    file = tmp_path / "nerve-center.toml"
    file.write_text("[server]\nport = 'x'\n")
    result = CliRunner().invoke(main, ["--config", str(file), "agents"])
    assert result.exit_code == 78
    assert f"{file}:1" in result.output or f"{file}:2" in result.output


def test_help_is_there_for_everything() -> None:
    for command in (
        [],
        ["token"],
        ["token", "show"],
        ["token", "rotate"],
        ["agents"],
        ["api-token"],
        ["api-token", "add"],
        ["api-token", "list"],
        ["api-token", "remove"],
    ):
        result = CliRunner().invoke(main, [*command, "--help"])
        assert result.exit_code == 0
        assert "Usage:" in result.output


@pytest.fixture
def others_folder() -> Iterator[Path]:
    """A state folder of another user, in a place that this user can reach."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        state = folder / "state"
        state.mkdir(mode=0o700)
        migrate.prepare(state / "nerve-center.db", FakeClock())
        (folder / "nerve-center.toml").write_text('[database]\npath = "state/nerve-center.db"\n')
        for entry in (state, *state.iterdir()):
            os.chown(entry, 65534, 65534)
        yield folder


@pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes another user")
def test_as_root_no_file_of_the_database_becomes_roots(others_folder: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "nerve_center.nervectl",
        "--config",
        str(others_folder / "nerve-center.toml"),
    ]
    done = subprocess.run(
        [*command, "api-token", "add", "x"],
        cwd=Path(migrate.__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert {entry.stat().st_uid for entry in (others_folder / "state").iterdir()} == {65534}
