"""Registering: the credential first, the enrollment token only where it is needed.

A nerve center that knows the credential accepts it, however often. The token is sent when no center has accepted
this identity yet, or when the center says that it does not know it (its database is gone).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from dio_daemon import __version__, wire
from dio_daemon.center import Center, Registered
from dio_daemon.clock import Clock, rfc3339
from dio_daemon.config import Config
from dio_daemon.errors import Rejected
from dio_daemon.identity import Identity, IdentityFile
from dio_daemon.messages import Kind, about

log = logging.getLogger(__name__)

MAX_TOKEN_BYTES = 512


class Registrar:
    """Registers this agent and keeps its identity up to date.

    Args:
        identity_file: where the identity is kept.
        run_id: of this process start; boot_id: of this boot; place: of the state folder.
        host_facts: what the nerve center is told of the host, asked anew at each registration.
        clock: for `sent_at`.
    """

    def __init__(
        self,
        identity_file: IdentityFile,
        run_id: str,
        boot_id: str | None,
        place: str,
        host_facts: Callable[[], Mapping[str, Any]],
        clock: Clock,
    ) -> None:
        self._file = identity_file
        self._run_id = run_id
        self._boot_id = boot_id
        self._place = place
        self._host_facts = host_facts
        self._clock = clock
        self.identity: Identity = identity_file.open()

    def sender(self, config: Config) -> wire.Sender:
        """Who sends reports."""
        return wire.Sender(
            self.identity.instance_id, self._run_id, self._boot_id, config.agent.interval_s, self._place
        )

    def register(self, center: Center, config: Config) -> Registered:
        """Register once.

        Raises:
            CenterError: it failed or was refused.
        """
        body = wire.registration(
            self.sender(config),
            self.identity.derived_id,
            __version__,
            rfc3339(self._clock.now()),
            {**self._host_facts(), "hostname": hostname(config)},
            config.agent.labels,
        )
        token_file = config.nerve_center.enrollment_token_file
        token = None if self.identity.enrolled else read_token(token_file)
        try:
            answer = center.register(body, self.identity.credential, token)
        except Rejected as error:
            token = read_token(token_file) if error.status == 401 and token is None else None
            if token is None:
                raise
            answer = center.register(body, self.identity.credential, token)
        self.identity = self._file.enrolled(self.identity, answer.agent_id, answer.center_id)
        return answer

    def renew(self) -> None:
        """Take an instance of its own: another live host uses the one that this host has."""
        self.identity = self._file.renewed(self.identity)

    @property
    def moved(self) -> bool:
        """Whether this machine has another machine id than the one its identity was made from."""
        return self._file.moved(self.identity)


def hostname(config: Config) -> str:
    """The host's name: the configured one, or the kernel's."""
    import socket

    from dio_daemon.text import safe

    return config.agent.hostname or safe(socket.gethostname(), 255) or "localhost"


def read_token(path: Path) -> str | None:
    """The enrollment token in a file; None when there is none that could be sent."""
    try:
        with path.open("rb") as stream:
            token = stream.read(MAX_TOKEN_BYTES + 1).strip()
    except FileNotFoundError:
        return None
    except OSError as error:
        log.warning(
            "Cannot read the enrollment token in %s: %s",
            path,
            error.strerror,
            extra=about(Kind.TOKEN_UNUSABLE),
        )
        return None
    if (
        not token
        or len(token) > MAX_TOKEN_BYTES
        or not token.isascii()
        or any(byte <= 0x20 for byte in token)
    ):
        log.warning(
            "The enrollment token in %s is empty or is no single line of printable ASCII",
            path,
            extra=about(Kind.TOKEN_UNUSABLE),
        )
        return None
    return token.decode("ascii")


def refusal(error: Rejected, token_file: Path) -> str:
    """What a person has to do about a refusal."""
    match error.code:
        case "enrollment-token-missing":
            return (
                f"no usable enrollment token: put the nerve center's into {token_file} (dioctl enroll does)"
            )
        case "enrollment-token-invalid":
            return f"the enrollment token in {token_file} is not the nerve center's: put the right one there"
        case "credential-revoked":
            return (
                "this agent's credential was revoked: an operator of the nerve center has to allow it again"
            )
    return str(error)
