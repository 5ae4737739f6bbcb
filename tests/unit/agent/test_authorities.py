"""Where no `ca_file` is named, the system's authorities are believed, found by their names in its folder."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from dio_daemon import transport
from dio_daemon.center import Center, Limits
from dio_daemon.errors import TlsFailed
from dio_daemon.transport import RequestsTransport
from tests.support.deadlines import kept
from tests.support.tls import VALID, Authority, TlsFront
from tests.unit.agent.test_center import HEALTHY, http_server


def test_the_systems_authorities(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    system, authority = tmp_path / "certs", Authority(tmp_path / "ca")
    system.mkdir()
    monkeypatch.setattr(transport, "SYSTEM_CERTIFICATES", system)
    with http_server((200, "application/json", HEALTHY, {})) as url:
        front = TlsFront(int(url.rpartition(":")[2]), authority.issue("server", VALID))
        try:
            with kept() as deadlines:

                def ask(name: str) -> None:
                    through = RequestsTransport(deadlines, None, "", "test")
                    Center(f"https://{name}:{front.port}", through, Limits(5, 5, 5)).check_health()

                with pytest.raises(TlsFailed, match="ca_file must name the authority"):
                    ask("localhost")  # no such folder: by the file of all
                hashed = ["openssl", "x509", "-hash", "-noout", "-in", str(authority.certificate)]
                name = subprocess.run(hashed, check=True, capture_output=True, text=True).stdout.strip()
                link = system / f"{name}.0"
                link.symlink_to(authority.certificate)
                ask("localhost")
                with pytest.raises(TlsFailed, match="url must use"):
                    ask("127.0.0.1")
                link.unlink()
                (system / "00000000.0").symlink_to(authority.certificate)
                with pytest.raises(TlsFailed, match="ca_file must name the authority"):
                    ask("localhost")
        finally:
            front.close()
