"""What a proxy says is believed from a proxy alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from nerve_center import config, tls
from nerve_center.errors import ConfigError
from nerve_center.proxied import Proxied
from tests.support.tls import Authority
from tests.unit.center.browser import Browser, person
from tests.unit.center.harness import CenterUnderTest


def through(
    environ: dict[str, Any], trusted: tuple[str, ...] = ("127.0.0.1", "10.0.0.0/8"), by_tls: bool = False
) -> str:
    """Where a request seems to come from, and by which scheme."""
    seen: dict[str, Any] = {"wsgi.url_scheme": "http", **environ}
    Proxied(lambda got, _: [], trusted, by_tls)(seen, lambda *_: lambda _: None)
    return f"{seen['wsgi.url_scheme']} {seen['REMOTE_ADDR']}"


@pytest.mark.parametrize(
    ("peer", "chain", "proto", "wanted"),
    [
        ("127.0.0.1", "192.0.2.1", "https", "https 192.0.2.1"),
        ("127.0.0.1", "", "", "http 127.0.0.1"),
        ("192.0.2.9", "192.0.2.1", "https", "http 192.0.2.9"),
        ("::ffff:127.0.0.1", "192.0.2.1", "https", "https 192.0.2.1"),
        ("127.0.0.1", "6.6.6.6, 192.0.2.1", "http", "http 192.0.2.1"),
        ("127.0.0.1", "6.6.6.6, 192.0.2.1, 10.1.2.3", "https", "https 192.0.2.1"),
        ("127.0.0.1", "10.1.2.3", "https", "https 127.0.0.1"),
        ("127.0.0.1", "192.0.2.1:5555", "https", "https 192.0.2.1"),
        ("127.0.0.1", "[2001:db8::1]:5555", "https", "https 2001:db8::1"),
        ("127.0.0.1", "2001:db8::1", "http, https", "https 2001:db8::1"),
        ("127.0.0.1", "192.0.2.1, <script>", "ftp", "http 127.0.0.1"),
        ("127.0.0.1", "1," * 5000 + "192.0.2.1", "https", "https 192.0.2.1"),
        ("", "192.0.2.1", "https", "http "),
    ],
)
def test_who_asks(peer: str, chain: str, proto: str, wanted: str) -> None:
    environ = {"REMOTE_ADDR": peer, "HTTP_X_FORWARDED_FOR": chain, "HTTP_X_FORWARDED_PROTO": proto}
    assert through(environ) == wanted


def test_tls_of_ones_own() -> None:
    assert through({"REMOTE_ADDR": "192.0.2.1"}, by_tls=True) == "https 192.0.2.1"


def test_behind_a_proxy_cookies_are_for_tls_and_sessions_tell_the_client(center: CenterUnderTest) -> None:
    person(center)
    browser = Browser(center, "127.0.0.1")
    told = {"X_Forwarded_For": "192.0.2.7", "X_Forwarded_Proto": "https"}
    answer = browser.get("/login", **told)
    assert answer.headers["Set-Cookie"].startswith("__Host-dio-form=")
    assert "Secure" in answer.headers["Set-Cookie"]
    stranger = Browser(center, "192.0.2.9").get("/login", **told)
    assert stranger.headers["Set-Cookie"].startswith("dio-form=")
    browser.login()
    assert [item.address for item in center.center.people.sessions("ann")] == ["127.0.0.1"]


def errors_of(folder: Path, text: str) -> list[str]:
    file = folder / "nerve-center.toml"
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        config.load(file)
    return list(caught.value.errors)


def test_settings_that_do_not_fit(tmp_path: Path) -> None:
    file = tmp_path / "nerve-center.toml"
    assert errors_of(tmp_path, '[tls]\ncertificate = "x"\n') == [
        f"{file}: tls.certificate and tls.key go together; set both, or neither"
    ]
    assert "needs tls.certificate" in errors_of(tmp_path, '[tls]\nclient_ca = "x"\n')[0]
    for value in ("'x'", "[1]", "['x']", "['10.0.0.0/33']", "['']", str(["::1"] * 101)):
        (error,) = errors_of(tmp_path, f"[server]\ntrusted_proxies = {value}\n")
        assert f"{file}:2: server.trusted_proxies must" in error
    file.write_text('[server]\ntrusted_proxies = []\n[tls]\ncertificate = ""\n')
    found = config.load(file)
    assert (found.server.trusted_proxies, found.tls.on) == ((), False)


def test_a_later_file_takes_tls_away_again(tmp_path: Path) -> None:
    file = tmp_path / "nerve-center.toml"
    file.write_text('[tls]\ncertificate = "a"\nkey = "b"\n')
    assert config.load(file).tls == config.Tls(tmp_path / "a", tmp_path / "b")
    later = tmp_path / "nerve-center.toml.d"
    later.mkdir()
    (later / "20.toml").write_text('[tls]\ncertificate = ""\nkey = ""\n')
    assert not config.load(file).tls.on


def test_certificates_that_cannot_be_used(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "ca")
    certificate, key = authority.certify("one")
    other = Authority(tmp_path / "other").certify("other")[1]
    nothing = tmp_path / "nothing"
    nothing.write_text("nothing of the kind\n")
    assert tls.context(config.Tls()) is None
    assert tls.context(config.Tls(certificate, key, authority.certificate)) is not None
    for settings, told in (
        (config.Tls(tmp_path / "none", key), "No such file"),
        (config.Tls(certificate, other), "not that of the certificate"),
        (config.Tls(nothing, key), "not a PEM file"),
        (config.Tls(certificate, key, nothing), "client_ca"),
    ):
        with pytest.raises(ConfigError, match=told) as caught:
            tls.context(settings)
        assert len(caught.value.errors) == 1
