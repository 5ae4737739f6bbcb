"""Passwords: scrypt, and nothing that tells an unknown name from a wrong password.

A hash is kept as `scrypt$N$r$p$salt$key`, salt and key in base64, so that its cost can be raised later: old hashes
go on with theirs. One hash takes about a fifth of a second and 16 MiB, on purpose. It runs where `apart` puts it (a
real thread, in a gevent worker), and no more than a few wait for that at once: strangers who guess must not keep
agents from reporting.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import threading
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass

from nerve_center.errors import DatabaseUnavailable

LEAST, MOST = 10, 1024
"""Bounds of a password's length in characters."""
_MOST_AT_ONCE = 8
_KEY_BYTES = 32


@dataclass(frozen=True)
class Cost:
    """scrypt's parameters: memory is 128 * n * r bytes."""

    n: int
    r: int
    p: int


# The OWASP Password Storage Cheat Sheet names this among its equals; it takes the least memory of those.
USUAL = Cost(n=2**14, r=8, p=5)


class Passwords:
    """Makes and checks hashes.

    Args:
        cost: of hashes that are made, and of checking a name that is not there.
        apart: runs a function and returns its result; for a thread pool.
    """

    def __init__(
        self, cost: Cost = USUAL, apart: Callable[[Callable[[], bytes]], bytes] | None = None
    ) -> None:
        self._cost = cost
        self.apart = apart or (lambda work: work())
        self._places = threading.Semaphore(_MOST_AT_ONCE)

    def make(self, password: str) -> str:
        """The hash to keep of a password."""
        salt = os.urandom(16)
        return _text(self._cost, salt, self._key(password, salt, self._cost))

    def check(self, password: str, kept: str | None) -> bool:
        """Whether this is the password; None, for a name that is not there, takes as long and is false.

        Raises DatabaseUnavailable (kind `busy`) where too many are being checked.
        """
        if not self._places.acquire(blocking=False):
            raise DatabaseUnavailable("busy", "too many people log in at once", 5)
        try:
            cost, salt, wanted = (self._cost, b"no such name", b"") if kept is None else _parsed(kept)
            return hmac.compare_digest(self._key(password, salt, cost), wanted)
        finally:
            self._places.release()

    def _key(self, password: str, salt: bytes, cost: Cost) -> bytes:
        secret = unicodedata.normalize("NFC", password).encode("utf-8", "surrogatepass")
        memory = 256 * cost.n * cost.r  # twice what is needed; OpenSSL counts a little more than 128
        return self.apart(
            lambda: hashlib.scrypt(
                secret, salt=salt, n=cost.n, r=cost.r, p=cost.p, maxmem=memory, dklen=_KEY_BYTES
            )
        )


def why_not(password: str, name: str) -> str | None:
    """Why a new password is not taken, or None."""
    if len(password) < LEAST:
        return f"must have at least {LEAST} characters"
    if len(password) > MOST:
        return f"must have at most {MOST} characters"
    if password.casefold() == name.casefold():
        return "must not be the name"
    if len(set(password)) < 4:
        return "must not repeat the same characters"
    return None


def _text(cost: Cost, salt: bytes, key: bytes) -> str:
    encoded = [base64.b64encode(part).decode("ascii") for part in (salt, key)]
    return "$".join(["scrypt", str(cost.n), str(cost.r), str(cost.p), *encoded])


def _parsed(kept: str) -> tuple[Cost, bytes, bytes]:
    _, n, r, p, salt, key = kept.split("$")
    return Cost(int(n), int(r), int(p)), base64.b64decode(salt), base64.b64decode(key)
