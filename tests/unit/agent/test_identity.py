"""Identity: stable, private, on disk before anybody hears of it."""

import json
import stat
from pathlib import Path

import pytest

from dio_daemon.errors import IdentityError
from dio_daemon.identity import IdentityFile, derive_agent_id

MACHINE = "0123456789abcdef0123456789abcdef"


@pytest.fixture
def machine_id(tmp_path: Path) -> Path:
    path = tmp_path / "machine-id"
    path.write_text(MACHINE + "\n")
    return path


def test_the_id_is_the_one_that_systemd_derives() -> None:
    # systemd-id128 machine-id --app-specific=6f0b1c3ad2f94b7e9a8d5e1470c2b3f8 on a machine with this id
    assert derive_agent_id(MACHINE) == "agent-ce2ef9c194524357"


@pytest.mark.parametrize("text", ["", "uninitialized", "0" * 32, "ab" * 8, "zz" * 16])
def test_what_is_no_machine_id(text: str) -> None:
    assert derive_agent_id(text) is None


def test_made_once_and_kept_with_0600(tmp_path: Path, machine_id: Path) -> None:
    path = tmp_path / "identity.json"
    first = IdentityFile(path, machine_id).open()
    assert IdentityFile(path, machine_id).open() == first
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert first.credential not in repr(first)
    assert MACHINE not in path.read_text()


def test_a_copied_folder_on_another_machine_gets_an_identity_of_its_own(
    tmp_path: Path, machine_id: Path
) -> None:
    path = tmp_path / "identity.json"
    first = IdentityFile(path, machine_id).open()
    machine_id.write_text("f" * 32)
    second = IdentityFile(path, machine_id).open()
    assert second.agent_id != first.agent_id
    assert second.instance_id != first.instance_id
    assert second.credential != first.credential


def test_a_host_without_machine_id_keeps_a_random_one(tmp_path: Path) -> None:
    path = tmp_path / "identity.json"
    first = IdentityFile(path, tmp_path / "none").open()
    assert IdentityFile(path, tmp_path / "none").open() == first


def test_the_centers_word_is_kept(tmp_path: Path, machine_id: Path) -> None:
    file = IdentityFile(tmp_path / "identity.json", machine_id)
    identity = file.enrolled(file.open(), "agent-" + "1" * 16, "c" * 32)
    assert identity.enrolled
    assert file.open() == identity
    assert identity.derived_id == derive_agent_id(MACHINE)


def test_a_damaged_file_is_set_aside(tmp_path: Path, machine_id: Path) -> None:
    path = tmp_path / "identity.json"
    for content in (b"{", b"[]", b'{"agent_id": 1}', json.dumps({"x": 1}).encode()):
        path.write_bytes(content)
        IdentityFile(path, machine_id).open()
        assert (tmp_path / "identity.json.damaged").read_bytes() == content


def test_an_unwritable_folder_is_an_identity_error(tmp_path: Path, machine_id: Path) -> None:
    with pytest.raises(IdentityError, match="Cannot write"):
        IdentityFile(tmp_path / "missing" / "identity.json", machine_id).open()


def test_an_answer_that_cannot_be_written_is_kept_in_memory(
    tmp_path: Path, machine_id: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "state"
    folder.mkdir()
    file = IdentityFile(folder / "identity.json", machine_id)
    identity = file.open()
    folder.rename(tmp_path / "gone")
    accepted = file.enrolled(identity, identity.agent_id, "c" * 32)
    assert accepted.enrolled
    assert "next registration" in caplog.text
