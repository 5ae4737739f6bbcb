"""The agent's way to a nerve center: TLS, a certificate of its own, a proxy. What is wrong with it is told in words."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from conftest import MakeHost, Note
from harness import dio
from harness.commands import wait_for
from harness.host import Host

from tests.support.tls import Authority

NAME = "center.test"
PROXY = "127.0.0.1:3128"
CENTER = "/etc/dio-nerve-center"
AGENT = "/etc/dio-agent"
TLS = f"""[tls]
certificate = "{CENTER}/center.pem"
key = "{CENTER}/center.key"
client_ca = "{CENTER}/ca.pem"
"""
TINYPROXY = """Port 3128
Listen 127.0.0.1
User tinyproxy
Group tinyproxy
Syslog On
LogLevel Connect
BasicAuth dio a.long-secret
ConnectPort 8000
"""
KNOWN = f'ca_file = "{AGENT}/ca.pem"\n'
SHOWN = f'client_certificate = "{AGENT}/agent.pem"\nclient_key = "{AGENT}/agent.key"\n'
THROUGH = f'proxy = "http://{PROXY}"\n'
WRONG = {
    f'ca_file = "{AGENT}/none.pem"\n': rf"ca_file {AGENT}/none\.pem cannot be read: No such file or directory",
    "": rf"TLS with {NAME}:8000 failed: .*; ca_file must name the authority that signed it",
    f'{KNOWN}client_certificate = "{AGENT}/ca.pem"\nclient_key = "{AGENT}/agent.key"\n': (
        "client_key is not the key of client_certificate"
    ),
    KNOWN: rf"HTTP 403 from {NAME}:8000: Set client_certificate and client_key",
    KNOWN + SHOWN + 'proxy = "http://127.0.0.1:3129"\n': r"connection refused by the proxy 127\.0\.0\.1:3129",
    KNOWN
    + SHOWN
    + 'proxy = "http://proxy.test:3128"\n': r"DNS: the name proxy\.test of the proxy cannot be resolved",
    KNOWN + SHOWN + THROUGH: (
        rf"the proxy {re.escape(PROXY)} did not connect to {NAME}:8000: 407 .*; it wants a login \(proxy_login_file\)"
    ),
    KNOWN + SHOWN + THROUGH + f'proxy_login_file = "{AGENT}/no-login"\n': (
        rf"proxy_login_file {AGENT}/no-login does not hold USER:PASSWORD"
    ),
}
"""Settings of the agent's [nerve_center] that cannot do, and what it says."""


@pytest.mark.parametrize("release", ["bookworm"], indirect=True)
def test_by_tls_and_through_a_proxy(make_host: MakeHost, note: Note, tmp_path: Path) -> None:
    host = make_host("alpha", boot=False, files={f"{CENTER}/nerve-center.toml.d/60-tls.toml": TLS})
    host.offline("apt-get update -q && apt-get install -y -q --no-install-recommends tinyproxy")
    host.boot()
    host.run(f"printf '127.0.0.1 localhost {NAME}\\n' > /etc/hosts")
    host.write("/etc/tinyproxy/tinyproxy.conf", TINYPROXY)
    host.write(f"{AGENT}/login", "dio:a.long-secret\n", 0o640)
    host.write(f"{AGENT}/no-login", "dio\n", 0o640)
    authority = Authority(tmp_path / "ca", NAME)
    for folder, name, group in ((CENTER, "center", "dio-nerve-center"), (AGENT, "agent", "dio-agent")):
        made, key = authority.certify(name)
        host.write(f"{folder}/{name}.pem", made.read_text())
        host.write(f"{folder}/{name}.key", key.read_text(), 0o640)
        host.write(f"{folder}/ca.pem", authority.certificate.read_text())
        host.run(f"chgrp {group} {folder}/*.key")
    host.run(f"chgrp dio-agent {AGENT}/login {AGENT}/no-login; systemctl restart tinyproxy {dio.CENTER}")

    for settings, words in WRONG.items():
        told = _told(host, settings, words)
        note(words, told)
    said = host.run("journalctl -q -b -o cat -u dio-agent")
    assert "a.long-secret" not in said, "the proxy's password"

    _begin(host, f'{KNOWN}{SHOWN}{THROUGH}proxy_login_file = "{AGENT}/login"\n')
    dio.wait_acknowledged(host, within_s=60)
    assert host.active(dio.AGENT)
    assert f"CONNECT {NAME}:8000" in host.run("journalctl -q -b -o cat -u tinyproxy")


def _begin(host: Host, settings: str) -> str:
    """Start the agent anew with other settings; the journal's cursor before that."""
    host.write(
        f"{AGENT}/agent.toml.d/60-center.toml", f'[nerve_center]\nurl = "https://{NAME}:8000"\n{settings}'
    )
    host.run(f"systemctl stop {dio.AGENT}")
    cursor = host.run("journalctl -q -n 1 --show-cursor -o cat").rpartition("-- cursor: ")[2].strip()
    host.run(f"systemctl reset-failed {dio.AGENT}; systemctl start --no-block {dio.AGENT}")
    return cursor


def _told(host: Host, settings: str, words: str) -> str:
    """The line of the journal that says what is wrong; nothing else may have to be known for it."""
    cursor = _begin(host, settings)

    def said() -> str:
        lines = host.messages(dio.AGENT, f"--after-cursor='{cursor}'")
        return next((line for line in lines if re.search(words, line)), "")

    return str(wait_for(words, said, within_s=30))
