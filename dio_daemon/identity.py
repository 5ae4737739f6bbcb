"""Who this agent is, made by the agent itself and on disk before anybody hears of it.

`agent-<16 hex>` comes from the machine id by the application-specific HMAC that machine-id(5) asks for, so it
is stable across reinstalls and tells nobody the machine id. Beside it stand a random instance id and the
credential. The enrollment token vouches for them once; registering the same identity again changes nothing.
A state folder that was copied to another machine is noticed by the id and gets an instance of its own.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import os
import secrets
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from dio_daemon.errors import IdentityError
from dio_daemon.files import replace_file
from dio_daemon.messages import Kind, about

log = logging.getLogger(__name__)

APPLICATION_ID = bytes.fromhex("6f0b1c3ad2f94b7e9a8d5e1470c2b3f8")
"""DIO's id for sd_id128_get_machine_app_specific(3); made once with systemd-id128."""


@dataclass(frozen=True)
class Identity:
    """What `identity.json` holds.

    Attributes: `agent_id`, the name the nerve center knows (it may give another one to a duplicate);
    `derived_id`, what this machine's id gave; `instance_id`; `credential` (secret); `enrolled`, whether a
    nerve center has accepted the credential; `center_id`, which one.
    """

    agent_id: str
    derived_id: str
    instance_id: str
    credential: str
    enrolled: bool = False
    center_id: str | None = None

    def __repr__(self) -> str:
        return f"Identity({self.agent_id}, instance {self.instance_id})"


def derive_agent_id(machine_id: str) -> str | None:
    """The agent's id for a machine id (32 hex); None when that is no machine id."""
    try:
        key = bytes.fromhex(machine_id.strip())
    except ValueError:
        return None
    if len(key) != 16 or not any(key):
        return None
    digest = bytearray(hmac.new(key, APPLICATION_ID, hashlib.sha256).digest()[:16])
    digest[6] = digest[6] & 0x0F | 0x40  # as systemd does: the result is a valid random UUID
    digest[8] = digest[8] & 0x3F | 0x80
    return f"agent-{digest.hex()[:16]}"


class IdentityFile:
    """The identity on disk.

    Args:
        path: `identity.json` in the state folder.
        machine_id_path: usually /etc/machine-id. A host without one (a bare container) gets a random id that
            lasts as long as the state folder does.
    """

    def __init__(self, path: Path, machine_id_path: Path = Path("/etc/machine-id")) -> None:
        self._path = path
        self._machine_id_path = machine_id_path

    def open(self) -> Identity:
        """The identity of this host, made and written when there is none yet.

        Raises:
            IdentityError: the file is there and cannot be read, or cannot be written.
        """
        known = self._read()
        derived = self._derived_id()
        if known is not None and derived in (None, known.derived_id):
            return known
        derived = derived or f"agent-{secrets.token_hex(8)}"
        identity = Identity(derived, derived, secrets.token_hex(16), secrets.token_urlsafe(32))
        self.save(identity)
        return identity

    def renewed(self, identity: Identity) -> Identity:
        """A new instance with a credential of its own, for a host that shares its identity with another; written."""
        fresh = Identity(
            identity.derived_id, identity.derived_id, secrets.token_hex(16), secrets.token_urlsafe(32)
        )
        self.save(fresh)
        return fresh

    def moved(self, identity: Identity) -> bool:
        """Whether this machine's id is no longer the one that the identity was made from."""
        return self._derived_id() not in (None, identity.derived_id)

    def save(self, identity: Identity) -> None:
        """Write the identity: aside, fsynced, renamed.

        Raises:
            IdentityError: it cannot be written.
        """
        try:
            replace_file(self._path, json.dumps(asdict(identity), indent=1).encode(), 0o600)
        except OSError as error:
            raise IdentityError(f"Cannot write {self._path}: {error.strerror}") from error

    def enrolled(self, identity: Identity, agent_id: str, center_id: str) -> Identity:
        """The identity after a nerve center accepted it; written when that is news.

        A disk that does not take it now does not end the registration: the credential itself is on disk, and what
        is added here comes again with the next registration.
        """
        accepted = replace(identity, agent_id=agent_id, enrolled=True, center_id=center_id)
        if accepted != identity:
            try:
                self.save(accepted)
            except IdentityError as error:
                log.warning("%s; it will be written with the next registration", error)
        return accepted

    def _read(self) -> Identity | None:
        try:
            fields = json.loads(self._path.read_bytes())
            identity = Identity(**fields)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise IdentityError(f"Cannot read {self._path}: {error.strerror}") from error
        except (ValueError, TypeError) as error:
            aside = self._path.with_name(self._path.name + ".damaged")
            self._path.replace(aside)
            log.warning(
                "%s is damaged (%s): set aside as %s, enrolling anew",
                self._path,
                error,
                aside,
                extra=about(Kind.IDENTITY_DAMAGED),
            )
            return None
        return identity

    def _derived_id(self) -> str | None:
        try:
            return derive_agent_id(self._machine_id_path.read_text("ascii"))
        except (OSError, ValueError):
            return None


def boot_id() -> str | None:
    """The kernel's id of this boot; None where there is no /proc."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    except OSError:
        return None


def place_of(folder: Path, boot: str | None) -> str:
    """A hash of where a state folder is: this boot and this very folder on its filesystem.

    A restart finds itself in the same place; a copy of the folder, or another machine's, is in another one.

    Raises:
        OSError: the folder cannot be looked at.
    """
    found = folder.stat()
    return hashlib.sha256(f"{boot}/{found.st_dev}/{found.st_ino}".encode()).hexdigest()[:32]


def new_run_id() -> str:
    """A random id of this process start."""
    return os.urandom(16).hex()
