"""TLS that the center speaks itself.

The context is made before gunicorn forks, so that workers share the keys of session tickets, and made anew at a reload:
that is how a renewed certificate is taken. Clients need no certificate to connect, since people's browsers and the
supervisor's probe have none; where `client_ca` is set, agents are held to one by the views that take reports.
"""

from __future__ import annotations

import ssl

from nerve_center.config import Tls
from nerve_center.errors import ConfigError


def context(settings: Tls) -> ssl.SSLContext | None:
    """The server's side, TLS 1.2 at the least; None where the center speaks plain HTTP. Raises ConfigError."""
    if settings.certificate is None:
        return None
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    made.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    made.set_alpn_protocols(["http/1.1"])
    try:
        made.load_cert_chain(settings.certificate, settings.key)
    except OSError as exc:
        raise ConfigError([f"tls: {settings.certificate} and {settings.key}: {_why(exc)}"]) from exc
    if settings.client_ca is not None:
        try:
            made.load_verify_locations(settings.client_ca)
        except OSError as exc:
            raise ConfigError([f"tls: client_ca {settings.client_ca}: {_why(exc)}"]) from exc
        made.verify_mode = ssl.CERT_OPTIONAL
    return made


def probe_context() -> ssl.SSLContext:
    """For asking the center on this machine how it is: whose certificate it is does not matter there."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.check_hostname = False
    made.verify_mode = ssl.CERT_NONE
    return made


def _why(exc: OSError) -> str:
    if isinstance(exc, ssl.SSLError):
        if exc.reason == "KEY_VALUES_MISMATCH":
            return "the key is not that of the certificate"
        return f"not a PEM file as it should be ({(exc.reason or 'unreadable').replace('_', ' ').lower()})"
    as_whom = (
        "; the group dio-nerve-center must be able to read it" if isinstance(exc, PermissionError) else ""
    )
    return f"cannot be read: {exc.strerror}{as_whom}"
