"""Runs a nerve center with its keeper, and an agent, here, without systemd, and shows what the agent sees.

    python scripts/run.py [--folder FOLDER] [--port PORT]

Everything is kept in the folder (.run/): the database, the enrollment token, the configurations, the logs.
The programs are the real ones and get a real notify socket each, as systemd would give them; what they say
there is printed as it comes. Then the host's samples are shown, as the nerve center answers them. Ctrl-C stops them;
when one ends by itself, its last log lines are shown and this ends with 1.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import live_view
import service

PREFERRED_PORT = 8000
INTERVAL_S = 2
READY_WITHIN_S = 90
VIEWER = "make-run"
"""The name of the API token that the live view asks with."""


class Failure(Exception):
    """Something that a person has to know before this ends with 1."""


def main() -> int:
    """Run until Ctrl-C; the exit code."""
    parser = argparse.ArgumentParser(description="Run a nerve center and an agent here, without systemd.")
    default = Path(__file__).resolve().parents[1] / ".run"
    parser.add_argument(
        "--folder", type=Path, default=default, help="where everything is kept (default: %(default)s)"
    )
    parser.add_argument(
        "--port",
        type=int,
        default=PREFERRED_PORT,
        help="the nerve center's port, if it is free (default: %(default)s)",
    )
    options = parser.parse_args()
    folder = options.folder.absolute()
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: stop.set())
    try:
        # Sockets lie apart: the path of one may have no more than 107 bytes.
        with hold(folder), tempfile.TemporaryDirectory(prefix="dio-run-") as sockets:
            run(stop, folder, Path(sockets), options.port)
    except Failure as failure:
        print(f"make run: {failure}", file=sys.stderr)
        return 1
    except BrokenPipeError:  # whoever read this went away, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


@contextlib.contextmanager
def hold(folder: Path) -> Iterator[None]:
    """Make the folder and hold it: two agents with one identity would take each other for a clone."""
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        lock = (folder / "lock").open("w")
    except OSError as error:
        raise Failure(f"cannot write {folder} ({error.strerror}); was it made by another user?") from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise Failure(f"another `make run` is at work in {folder}; stop that one first") from None
        yield


def run(stop: threading.Event, folder: Path, sockets: Path, preferred_port: int) -> None:
    """Start them, show what they see until `stop`, stop them. Raises Failure."""
    port = free_port(preferred_port)
    configure(port, folder, sockets)
    url = f"http://127.0.0.1:{port}"
    center_command = [command("dio-nerve-center"), "--config", str(folder / "nerve-center.toml")]
    keeper_command = [command("dio-nerve-center-keeper"), "--config", str(folder / "nerve-center.toml")]
    agent_command = [command("dio-agent"), "--config", str(folder / "agent.toml")]
    with contextlib.ExitStack() as stack:
        center = stack.enter_context(service.Service("nerve center", center_command, folder, sockets))
        if not wait_ready(center, [center], stop):
            return
        keeper = stack.enter_context(service.Service("keeper", keeper_command, folder, sockets))
        agent = stack.enter_context(service.Service("agent", agent_command, folder, sockets))
        running = [center, keeper, agent]
        if not (wait_ready(keeper, running, stop) and wait_ready(agent, running, stop)):
            return
        service.say(f"All are ready. Logs, database and configuration: {folder}")
        page = page_of(folder, url)
        service.say(page)
        view = live_view.LiveView(url, api_token(folder), sys.stdout, page.splitlines())
        while not stop.is_set():
            check(running)
            view.show([f"{each.name}: {each.status}" for each in running])
            stop.wait(1.0)
        service.say("\nStopping; the agent says goodbye first.")


def wait_ready(awaited: service.Service, running: list[service.Service], stop: threading.Event) -> bool:
    """Wait until it is ready, printing what it says; False when `stop` came first. Raises Failure."""
    for _ in range(READY_WITHIN_S * 10):
        if awaited.wait_ready(0.1):
            return True
        check(running)
        if stop.is_set():
            return False
    raise Failure(f"the {awaited.name} is not ready after {READY_WITHIN_S} s.\n{awaited.last_lines()}")


def check(running: list[service.Service]) -> None:
    """Raise Failure when one has ended."""
    for each in running:
        code = each.ended()
        if code is not None:
            raise Failure(
                f"the {each.name} ended by itself with code {code}. Its last lines:\n{each.last_lines()}"
            )


def free_port(preferred: int) -> int:
    """Return the preferred port, or any other when that is taken."""
    for port in (preferred, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                service.say(f"Port {port} is taken, using another one.")
                continue
            return int(probe.getsockname()[1])
    raise Failure("no free port on 127.0.0.1")


def configure(port: int, folder: Path, sockets: Path) -> None:
    """Write both configurations, and the token when there is none yet."""
    token = folder / "enrollment-token"
    if not token.exists():
        write_secret(token, secrets.token_urlsafe(32))
    (folder / "agent").mkdir(mode=0o700, exist_ok=True)
    (folder / "nerve-center.toml").write_text(
        f"[server]\nport = {port}\n"
        f'[database]\npath = "{folder}/nerve-center.db"\n'
        f'[enrollment]\ntoken_file = "{token}"\n'
    )
    (folder / "agent.toml").write_text(
        f'[nerve_center]\nurl = "http://127.0.0.1:{port}"\nenrollment_token_file = "{token}"\n'
        f"[agent]\ninterval_s = {INTERVAL_S}\n"
        f'[paths]\nstate_dir = "{folder}/agent"\nsocket = "{sockets}/agent.sock"\n'
    )


def api_token(folder: Path) -> str:
    """Return a new API token of the nerve center. Raises Failure."""
    nervectl = [command("nervectl"), "--config", str(folder / "nerve-center.toml"), "api-token"]
    subprocess.run([*nervectl, "remove", VIEWER], capture_output=True, check=False)
    added = subprocess.run([*nervectl, "add", VIEWER], capture_output=True, text=True, check=False)
    words = added.stdout.split()
    if added.returncode != 0 or not words:
        raise Failure(f"`nervectl api-token add` failed: {added.stderr.strip() or added.stdout.strip()}")
    return words[-1]


def page_of(folder: Path, url: str) -> str:
    """Where the page is, with a link that logs in once; where nobody is called `admin` any more, without one."""
    nervectl = [command("nervectl"), "--config", str(folder / "nerve-center.toml"), "user"]
    subprocess.run([*nervectl, "first"], capture_output=True, check=False)
    made = subprocess.run([*nervectl, "login-link", "admin"], capture_output=True, text=True, check=False)
    if made.returncode != 0:
        return f"The page: {url}/"
    return f"The page; this logs in as admin, once, within 5 minutes:\n{url}{made.stdout.strip()}"


def write_secret(path: Path, text: str) -> None:
    """Write a file that only its owner may read."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text + "\n")


def command(name: str) -> str:
    """Return the path of one of DIO's commands in the virtual environment that this runs in."""
    return str(Path(sys.executable).with_name(name))


if __name__ == "__main__":
    sys.exit(main())
