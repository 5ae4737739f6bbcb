"""Settings that are settled say what gunicorn's own say."""

from gunicorn.config import Config

from nerve_center.settled import Settled


def test_every_setting_is_what_it_was() -> None:
    config = Config()
    config.set("keepalive", 75)
    config.set("secure_scheme_headers", {})
    settled = Settled(config)
    names = {*config.settings, *(name for name in vars(Config) if not name.startswith("_"))}
    assert {"keepalive", "is_ssl", "sendfile", "address", "forwarded_allow_ips"} <= names
    for name in names:
        assert getattr(settled, name) == getattr(config, name), name


def test_what_requests_ask_for_is_there_without_a_search() -> None:
    settled = Settled(Config())
    asked = {"limit_request_fields", "limit_request_field_size", "forwarded_allow_ips", "keepalive"}
    assert {*asked, "secure_scheme_headers", "is_ssl", "sendfile"} <= vars(settled).keys()
