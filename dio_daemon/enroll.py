"""Enrolling this host: where the nerve center is, and the token that vouches for it once."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from dio_daemon import config
from dio_daemon.checks import http_url
from dio_daemon.errors import DioError
from dio_daemon.files import replace_file
from dio_daemon.registrar import MAX_TOKEN_BYTES
from dio_daemon.unit import UNIT

DROP_IN = "50-enrolled.toml"


class EnrollError(DioError):
    """Enrolling cannot be done like this."""


def enroll(url: str, token_file: Path | None, main: Path, allow_plain_http: bool, start: bool) -> int:
    """Write the drop-in and the token, check the whole configuration, start the agent.

    Args:
        url: of the nerve center.
        token_file: where to read the token; standard input when None.
        main: the agent's configuration file; it is never changed itself.
        allow_plain_http: whether the credential may go to another host unencrypted.
        start: whether to start the unit afterwards.

    Returns:
        The exit code: 0, or what `systemctl start` returned.

    Raises:
        EnrollError, ConfigError: nothing was changed.
    """
    try:
        url = http_url(url)
    except ValueError as error:
        raise EnrollError(f"the URL {error}") from error
    if url.startswith("http:") and not allow_plain_http and not config.is_loopback(url):
        raise EnrollError(
            f"{url} would send this agent's credential unencrypted to another host: use https, "
            "or say --allow-plain-http on a network that you trust"
        )
    token = _token(token_file)
    drop_in = main.with_name(main.name + ".d") / DROP_IN
    lines = ["# Written by dioctl enroll.", "[nerve_center]", f'url = "{url}"']
    if allow_plain_http:
        lines.append("allow_plain_http = true")
    before = drop_in.read_bytes() if drop_in.exists() else None
    try:
        drop_in.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        replace_file(drop_in, ("\n".join(lines) + "\n").encode(), 0o644)
        try:
            settings = config.load(main)
            target = settings.nerve_center.enrollment_token_file
            replace_file(target, token.encode("ascii") + b"\n", 0o600)
        except BaseException:
            _restore(drop_in, before)
            raise
    except OSError as error:
        hint = " (run as root)" if isinstance(error, PermissionError) and os.geteuid() != 0 else ""
        raise EnrollError(f"cannot write {error.filename}: {error.strerror}{hint}") from error
    print(f"Wrote {drop_in} and {target}")
    if not start or not Path("/run/systemd/system").is_dir():
        return 0
    print(f"Starting {UNIT}; it is ready when {url} has accepted this host")
    sys.stdout.flush()
    return subprocess.run(["systemctl", "restart", UNIT], check=False).returncode


def _token(path: Path | None) -> str:
    if path is None:
        if sys.stdin.isatty():
            print("Enrollment token (nervectl token show at the nerve center): ", end="", flush=True)
        raw = sys.stdin.buffer.readline(MAX_TOKEN_BYTES + 2)
    else:
        try:
            with path.open("rb") as stream:
                raw = stream.read(MAX_TOKEN_BYTES + 2)
        except OSError as error:
            raise EnrollError(f"cannot read the token in {path}: {error.strerror}") from error
    token = raw.strip()
    if not token:
        raise EnrollError("no token: give it on standard input or with --token-file FILE")
    if (
        len(token) > MAX_TOKEN_BYTES
        or not token.isascii()
        or any(byte <= 0x20 or byte == 0x7F for byte in token)
    ):
        raise EnrollError("that is no enrollment token: it is one line of printable ASCII without spaces")
    return token.decode("ascii")


def _restore(path: Path, content: bytes | None) -> None:
    if content is None:
        path.unlink(missing_ok=True)
    else:
        replace_file(path, content, 0o644)
