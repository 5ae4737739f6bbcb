"""What systemd sees of the nerve center: ready, healthy, stopped, reloaded, failed."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.integration.center.conftest import CenterProcess, children, is_alive, port_is_free, read_answer
from tests.support.processes import wait_for


def test_ready_means_healthy(running: CenterProcess) -> None:
    status, body = running.health()
    assert (status, body["status"], body["component"]) == (200, "healthy", "nerve_center")
    said = [line for _, line in running.said.messages]
    assert said.count("READY=1") == 1
    before = said[: said.index("READY=1")]
    assert before[0].startswith("STATUS=starting")
    assert before[-1].startswith(f"STATUS=healthy: 0 agents, listening on 127.0.0.1:{running.port}")
    assert all(line.isascii() for line in said)


def test_not_ready_before_the_database_takes_writes(center: CenterProcess) -> None:
    center.make_database()
    with center.store.locked():
        center.start()
        wait_for(lambda: center.said.lines("STATUS=unhealthy: database is locked"), "the status says so")
        assert center.health()[0] == 503
        assert not center.said.lines("READY=1")
    center.wait_ready()


def test_a_lock_in_operation(running: CenterProcess) -> None:
    def answers_of_both_workers() -> set[int]:
        return {running.health()[0] for _ in range(8)}

    with running.store.locked():
        wait_for(lambda: answers_of_both_workers() == {503}, "unhealthy", within_s=60)
        _, body = running.health()  # does not wait for the lock, which is held
        assert body["status"] == "unhealthy"
        assert body["reason"].startswith("database is locked")
    wait_for(lambda: answers_of_both_workers() == {200}, "healthy again", within_s=60)


def test_the_watchdog_is_fed_while_unhealthy_and_by_the_same_question(center: CenterProcess) -> None:
    center.start(WATCHDOG_USEC="1500000")
    center.wait_ready()
    with center.store.locked():
        wait_for(lambda: center.health()[0] == 503, "unhealthy")
        wait_for(lambda: center.said.lines("STATUS=unhealthy: database is locked"), "the status says so")
        fed = len(center.said.lines("WATCHDOG=1"))
        wait_for(lambda: len(center.said.lines("WATCHDOG=1")) >= fed + 3, "fed", within_s=60)
    for worker in children(center.master):
        os.kill(worker, signal.SIGSTOP)
    wait_for(lambda: center.said.lines("STATUS=unhealthy: 127.0.0.1"), "no answer is told")
    fed = len(center.said.lines("WATCHDOG=1"))
    threading.Event().wait(2)
    assert len(center.said.lines("WATCHDOG=1")) <= fed + 1
    for worker in children(center.master):
        os.kill(worker, signal.SIGCONT)
    wait_for(lambda: len(center.said.lines("WATCHDOG=1")) > fed + 1, "fed again")


def opened_by(pid: int) -> list[str]:
    found = []
    for each in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed in the meantime
            found.append(str(each.readlink()))
    return found


def test_the_workers_sign_of_life_is_in_the_runtime_folder(center: CenterProcess, tmp_path: Path) -> None:
    center.start(RUNTIME_DIRECTORY=str(tmp_path))
    center.wait_ready()
    for pid in center.workers():
        beats = [each for each in opened_by(pid) if "wgunicorn-" in each]
        assert beats and all(each.startswith(f"{tmp_path}/") for each in beats)


def test_stopping_is_quick_and_quiet(running: CenterProcess) -> None:
    idle = running.connect()
    idle.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
    assert read_answer(idle).startswith(b"HTTP/1.1 200")
    silent = running.connect()
    assert running.process is not None
    running.process.send_signal(signal.SIGTERM)
    assert running.process.wait(60) == 0  # an idle connection could hold it for 75 s
    wait_for(lambda: "STOPPING=1" in running.said.lines(), "systemd was told")
    assert idle.recv(100) == b""
    for connection in (idle, silent):
        connection.close()
    assert running.complaints() == []
    assert port_is_free(running.port)


def test_a_signal_for_the_whole_group_ends_it_as_quietly(running: CenterProcess) -> None:
    assert running.process is not None
    master = running.master
    pids = [running.process.pid, master, *running.workers()]
    for pid in pids:
        os.kill(pid, signal.SIGTERM)
    assert running.ended() == 0
    assert running.complaints() == []


def test_a_signal_right_after_the_start(center: CenterProcess) -> None:
    center.start()
    wait_for(lambda: center.said.lines("STATUS=starting"), "started")
    center.kill(signal.SIGTERM)
    assert center.process is not None
    assert center.process.returncode == 0
    assert not any("Traceback" in line for line in center.complaints())


def test_reloading_takes_the_new_configuration(running: CenterProcess) -> None:
    workers = running.workers()
    running.configure("[limits]\nbody_mib = 0.01\n")
    assert running.process is not None
    running.process.send_signal(signal.SIGHUP)
    wait_for(lambda: running.said.lines("RELOADING=1"), "reloading")
    wait_for(lambda: len(running.said.lines("READY=1")) == 2, "ready again")
    said = [line for _, line in running.said.messages]
    assert said[said.index("RELOADING=1") + 1].startswith("MONOTONIC_USEC=")
    wait_for(lambda: not any(is_alive(pid) for pid in workers), "the old workers are gone")
    assert running.health()[0] == 200
    assert running.complaints() == []


def test_reloading_a_bad_configuration_keeps_the_old_one(running: CenterProcess) -> None:
    workers = running.workers()
    running.configure("[server]\nport = 'x'\n")
    assert running.process is not None
    running.process.send_signal(signal.SIGHUP)
    wait_for(lambda: len(running.said.lines("READY=1")) == 2, "ready again")
    assert "10-test.toml:2: server.port must be a whole number" in running.log()
    assert children(running.master) == workers
    assert running.health()[0] == 200


def test_a_killed_worker_is_replaced(running: CenterProcess) -> None:
    victim = running.workers()[0]
    os.kill(victim, signal.SIGKILL)
    wait_for(lambda: victim not in running.workers(), "replaced")
    for _ in range(20):
        assert running.health()[0] == 200
    assert running.process is not None
    assert running.process.poll() is None


def test_a_killed_master_ends_the_service_at_once(running: CenterProcess) -> None:
    workers = running.workers()
    os.kill(running.master, signal.SIGKILL)
    assert running.process is not None
    assert running.process.wait(60) == 1
    wait_for(lambda: not any(is_alive(pid) for pid in workers), "the workers are gone", within_s=60)
    assert port_is_free(running.port)


def test_a_killed_supervisor_leaves_nothing_behind(running: CenterProcess) -> None:
    master = running.master
    pids = [master, *running.workers()]
    assert running.process is not None
    running.process.kill()
    running.process.wait()
    wait_for(lambda: not any(is_alive(pid) for pid in pids), "everything ended", within_s=60)


def failed_start(center: CenterProcess) -> tuple[int, list[str]]:
    center.start()
    code = center.ended()
    return code, center.log().splitlines()


def test_a_port_that_is_taken(center: CenterProcess) -> None:
    with socket.create_server(("127.0.0.1", center.port)):
        code, lines = failed_start(center)
    assert (code, len(lines)) == (1, 1)
    assert f"cannot listen on 127.0.0.1:{center.port}: another program listens there" in lines[0]


@pytest.mark.sqlite("where its file is")
def test_a_database_that_cannot_be_opened(center: CenterProcess) -> None:
    center.configure('[database]\npath = "/nonexistent/n.db"\n')
    code, lines = failed_start(center)
    assert (code, len(lines)) == (1, 1)
    assert "cannot open the database /nonexistent/n.db: there is no folder /nonexistent" in lines[0]


def test_a_bad_configuration(center: CenterProcess) -> None:
    center.configure("[server]\nport = 0\nhots = 1\n")
    code, lines = failed_start(center)
    assert (code, len(lines)) == (78, 2)
    assert all("10-test.toml:" in line for line in lines)


@pytest.mark.parametrize(
    ("arguments", "code"), [(["--check-config"], 0), (["--version"], 0), (["--wrong"], 2)]
)
def test_the_command_line(center: CenterProcess, arguments: list[str], code: int) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "nerve_center.serve", "--config", str(center.config), *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code
    assert "Traceback" not in done.stderr


def test_lines_for_the_journal_begin_with_their_priority(center: CenterProcess) -> None:
    center.log_path.touch()
    found = center.log_path.stat()
    center.start(JOURNAL_STREAM=f"{found.st_dev}:{found.st_ino}")
    center.wait_ready()
    os.kill(children(center.master)[0], signal.SIGKILL)
    wait_for(lambda: "Perhaps" in center.log() or "signal 9" in center.log(), "the log tells it")
    center.kill(signal.SIGTERM)
    lines = center.log().splitlines()
    assert all(line[:3] in ("<6>", "<4>", "<3>") for line in lines)
    assert lines[0].startswith("<6>Starting gunicorn")


def test_errors_of_the_configuration_are_errors_in_the_journal(center: CenterProcess) -> None:
    center.config.write_text("[server]\nport = 0\nprot = 1\n")
    center.log_path.touch()
    found = center.log_path.stat()
    center.start(JOURNAL_STREAM=f"{found.st_dev}:{found.st_ino}")
    assert center.ended() == 78
    lines = center.log().splitlines()
    assert len(lines) == 2
    assert all(line.startswith("<3>") for line in lines)


def test_without_systemd_it_runs_just_as_well(center: CenterProcess) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "NOTIFY_SOCKET"}
    with center.log_path.open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "nerve_center.serve", "--config", str(center.config)],
            env=environment,
            stderr=log,
        )
    wait_for(lambda: "ready: listening on" in center.log(), "ready")
    assert center.health()[0] == 200
    process.send_signal(signal.SIGINT)
    assert process.wait(15) == 0
    assert center.complaints() == []


@pytest.mark.sqlite("modes of files")
def test_the_database_is_for_its_owner_alone(running: CenterProcess) -> None:
    files = list(running.database.parent.glob("nerve-center.db*"))
    assert running.database in files
    for file in files:
        assert file.stat().st_mode & 0o077 == 0


BROKEN_WORKER = """
import sys
from importlib.machinery import PathFinder


class Finder(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        spec = super().find_spec(name, path, target) if name == "nerve_center.worker" else None
        if spec is not None:
            load = spec.loader.exec_module

            def exec_module(module):
                load(module)

                def init_process(worker):
                    raise RuntimeError("no worker today")

                module.BoundedWorker.init_process = init_process

            spec.loader.exec_module = exec_module
        return spec


sys.meta_path.insert(0, Finder)
"""


def test_workers_that_cannot_start_end_the_service_quickly(center: CenterProcess, tmp_path: Path) -> None:
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(BROKEN_WORKER)
    paths = os.pathsep.join([str(tmp_path / "site"), *filter(None, [os.environ.get("PYTHONPATH")])])
    center.start(PYTHONPATH=paths)
    assert center.ended() != 0
    assert "a worker cannot start" in center.log()
