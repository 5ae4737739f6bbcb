"""What fails on the way to a nerve center, as one of our errors, with what to do where that is known.

requests and urllib3 wrap what happened several times over; the most telling exception of the chain decides. With a
proxy in between, it is said which of the two did not answer.
"""

from __future__ import annotations

import errno
import http.client
import os
import re
import socket
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

import requests
import urllib3.exceptions

from dio_daemon.errors import CenterError, NameNotResolved, TimedOut, TlsFailed, Unreachable
from dio_daemon.text import safe
from dio_daemon.transport import UnusableFile

_UNKNOWN = "ca_file must name the authority that signed it"
_BY_CODE = {
    9: "check this host's clock",
    10: "the nerve center needs a new one, or this host's clock is wrong",
    18: _UNKNOWN,
    19: _UNKNOWN,
    20: _UNKNOWN,
    21: _UNKNOWN,
    62: "url must use a name that the certificate has",
    64: "url must use an address that the certificate has",
}
"""What helps, by OpenSSL's code of why a certificate is not trusted (X509_V_ERR_...)."""
_NOT_OURS = "it does not accept this host's client_certificate"
_BY_REASON = {
    "TLSV1_ALERT_UNKNOWN_CA": f"{_NOT_OURS}: client_ca there is another authority",
    "SSLV3_ALERT_CERTIFICATE_EXPIRED": "this host's client_certificate has expired",
    "SSLV3_ALERT_BAD_CERTIFICATE": _NOT_OURS,
    "SSLV3_ALERT_CERTIFICATE_UNKNOWN": _NOT_OURS,
    "TLSV13_ALERT_CERTIFICATE_REQUIRED": "it wants client_certificate and client_key",
    "KEY_VALUES_MISMATCH": "client_key is not the key of client_certificate",
    "NO_CERTIFICATE_OR_CRL_FOUND": "ca_file holds no certificate",
    "NO_START_LINE": "client_certificate or client_key is no PEM file",
    "WRONG_VERSION_NUMBER": "what answers there speaks no TLS",
    "HTTP_REQUEST": "what answers there speaks no TLS",
}
"""What helps, by OpenSSL's word for why the handshake failed."""
_ENDED = "the other side ended it; where this host shows a client_certificate, it may not be accepted"


@dataclass(frozen=True)
class Way:
    """How a nerve center is reached: its HOST:PORT, that of the proxy ("" for none), seconds to connect and in all."""

    address: str
    proxy: str
    connect_s: float
    total_s: float


def address_of(url: str) -> str:
    """HOST:PORT of a URL."""
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    host = parts.hostname or ""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def translate(error: BaseException, way: Way) -> CenterError:
    """A foreign exception as one of ours, by the most telling exception in its chain."""
    chain = list(_chain(error))
    for cause in chain:
        if isinstance(cause, UnusableFile):
            return TlsFailed(str(cause))
    peer, kind = _peer(chain, way)
    for cause in chain:
        if isinstance(cause, socket.gaierror):
            host = (way.proxy if kind else way.address).rpartition(":")[0]
            whose = " of the proxy" if kind else ""
            return NameNotResolved(f"DNS: the name {host}{whose} cannot be resolved ({cause.strerror})")
    for cause in chain:
        if isinstance(cause, ssl.SSLError):
            return TlsFailed(f"TLS with {way.address} failed: {_tls(cause)}")
        if isinstance(cause, ConnectionRefusedError):
            return Unreachable(f"connection refused by {peer}", kind or "refused")
        if found := re.search(r"Tunnel connection failed: ([^']*)", str(cause)) if way.proxy else None:
            return not_let_through(way.proxy, way.address, found[1])
    for cause in chain:
        if isinstance(cause, urllib3.exceptions.NewConnectionError):
            continue  # by its class a timeout, whatever it was; its cause says more
        if isinstance(cause, (requests.ConnectTimeout, urllib3.exceptions.ConnectTimeoutError)):
            return TimedOut(f"timeout: no connection to {peer} within {way.connect_s:g} s")
        if isinstance(cause, (TimeoutError, requests.Timeout, urllib3.exceptions.TimeoutError)):
            return TimedOut(f"timeout: no answer from {way.address} within {way.total_s:g} s")
        if isinstance(cause, (ConnectionResetError, BrokenPipeError)):
            return Unreachable(f"connection reset by {way.address}", kind="reset")
        if isinstance(cause, OSError) and cause.errno in (
            errno.ENETUNREACH,
            errno.EHOSTUNREACH,
            errno.ENETDOWN,
        ):
            return Unreachable(f"no route to {peer}: {os.strerror(cause.errno)}", kind="unreachable")
    for cause in chain:
        if isinstance(cause, requests.exceptions.SSLError):
            return TlsFailed(f"TLS with {way.address} failed: {safe(str(cause), 200)}")
        if isinstance(cause, requests.exceptions.ProxyError):
            return not_let_through(way.proxy, way.address, str(cause))
        if (
            isinstance(cause, OSError)
            and cause.errno is not None
            and not isinstance(cause, requests.RequestException)
        ):
            return Unreachable(
                f"connection to {peer} failed: {os.strerror(cause.errno)}", kind or "unreachable"
            )
    for cause in chain:
        if isinstance(cause, http.client.BadStatusLine) and not _begins_an_answer(str(cause)):
            return Unreachable(f"what answers at {way.address} does not speak HTTP", kind="broken")
    return Unreachable(f"connection to {way.address} broke before a whole answer came", kind="broken")


def not_let_through(proxy: str, address: str, why: str) -> Unreachable:
    """The proxy answers, and does not connect to the nerve center."""
    hint = "; it wants a login (proxy_login_file)" if why.startswith("407") else ""
    return Unreachable(
        f"the proxy {proxy} did not connect to {address}: {safe(why, 200)}{hint}", kind="proxy"
    )


def _peer(chain: list[BaseException], way: Way) -> tuple[str, str]:
    """Who was not connected to, and the kind of error where that is the proxy."""
    at_proxy = (requests.exceptions.ProxyError, urllib3.exceptions.ProxyError, requests.ConnectTimeout)
    if way.proxy and any(isinstance(cause, at_proxy) for cause in chain):
        return f"the proxy {way.proxy}", "proxy"
    return way.address, ""


def _tls(error: ssl.SSLError) -> str:
    """OpenSSL's words, and what helps."""
    reason = getattr(error, "reason", None) or ""
    said = getattr(error, "verify_message", "") or reason or str(error)
    hint = _BY_CODE.get(getattr(error, "verify_code", 0)) or _BY_REASON.get(reason)
    if hint is None and isinstance(error, ssl.SSLEOFError):
        hint = _ENDED
    text = safe(str(said), 200).rstrip(".")
    return f"{text}; {hint}" if hint else text


def _begins_an_answer(line: str) -> bool:
    return line.startswith("HTTP/") or "HTTP/".startswith(line.strip())


def _chain(error: BaseException) -> Iterator[BaseException]:
    """An exception and all that it was made from: causes, contexts, and what requests hides in `args`."""
    pending: list[BaseException] = [error]
    seen: set[int] = set()
    while pending:
        current = pending.pop(0)
        if id(current) in seen:
            continue
        seen.add(id(current))
        yield current
        related = [current.__cause__, current.__context__, getattr(current, "reason", None), *current.args]
        pending += [item for item in related if isinstance(item, BaseException)]
