"""Where a request came from and by which way, when a proxy stands in front.

`X-Forwarded-For` and `X-Forwarded-Proto` are believed only from `[server] trusted_proxies`: from anybody else they are
what a stranger wrote. Of a chain of addresses the last one that is no trusted proxy counts.
"""

from __future__ import annotations

import functools
import ipaddress
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

_Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_MOST_HOPS = 32
_MOST_KNOWN = 1024
"""Addresses whose answer is kept: to parse one takes a hundredth of a report."""


class Proxied:
    """A WSGI application that knows the client.

    Args:
        app: the application behind.
        trusted: addresses and networks of proxies.
        tls: the center itself speaks TLS.
    """

    def __init__(self, app: WSGIApplication, trusted: Sequence[str], tls: bool) -> None:
        self._app = app
        self._trusted = [ipaddress.ip_network(item, strict=False) for item in trusted]
        self._tls = tls
        self._is_trusted = functools.lru_cache(_MOST_KNOWN)(self._find_trusted)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if self._tls:
            environ["wsgi.url_scheme"] = "https"
        if self._is_trusted(environ.get("REMOTE_ADDR", "")):
            proto = environ.get("HTTP_X_FORWARDED_PROTO", "").rpartition(",")[2].strip().lower()
            if proto in ("http", "https"):
                environ["wsgi.url_scheme"] = proto
            chain = environ.get("HTTP_X_FORWARDED_FOR")
            client = self._client(chain) if chain else None
            if client is not None:
                environ["REMOTE_ADDR"] = client
        return self._app(environ, start_response)

    def _client(self, chain: str) -> str | None:
        for hop in reversed(chain.split(",")[-_MOST_HOPS:]):
            address = _address(hop)
            if address is None:
                return None
            if not self._is_trusted(address):
                return address
        return None

    def _find_trusted(self, address: str) -> bool:
        try:
            parsed = ipaddress.ip_address(address)
        except ValueError:
            return False
        mapped = getattr(parsed, "ipv4_mapped", None)
        return any((mapped or parsed) in network for network in self._trusted)


def _address(hop: str) -> str | None:
    """The address in one entry of X-Forwarded-For, which may have a port; None where it is none."""
    text = hop.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        return None
