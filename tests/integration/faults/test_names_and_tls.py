"""Names that do not resolve, a nerve center that moves, and certificates that expire."""

from pathlib import Path

import pytest

from tests.integration.faults.conftest import QUICK, MakeHost
from tests.support.oracle import settled
from tests.support.processes import RealCenter
from tests.support.tls import EXPIRED, VALID, Authority, TlsFront


def test_a_name_that_fails_and_heals(calm_center: RealCenter, make_host: MakeHost, tmp_path: Path) -> None:
    host = make_host(
        calm_center, settings=f"{QUICK}[nerve_center]\nallow_plain_http = true\n", url="http://center.test"
    )
    names = tmp_path / "names"
    host.agent.environ["DIO_TEST_NAMES"] = str(names)
    names.write_text(f"center.test 127.0.0.1 {calm_center.port}\n")
    host.started()
    names.write_text("")
    status = host.failing()
    assert status["error_kind"] == "dns"
    assert "center.test" in status["reason"]
    names.write_text(f"center.test 127.0.0.1 {calm_center.port}\n")
    settled(calm_center, host)
    assert host.exits == []


def test_a_name_that_fails_at_the_start(calm_center: RealCenter, make_host: MakeHost, tmp_path: Path) -> None:
    host = make_host(
        calm_center, settings=f"{QUICK}[nerve_center]\nallow_plain_http = true\n", url="http://center.test"
    )
    names = tmp_path / "names"
    host.agent.environ["DIO_TEST_NAMES"] = str(names)
    names.write_text("")
    host.start()
    host.wait(
        lambda status: status["state"] == "waiting" and status["error_kind"] == "dns", "waiting for DNS"
    )
    host.pending(2)
    names.write_text(f"center.test 127.0.0.1 {calm_center.port}\n")
    settled(calm_center, host)


def test_the_center_moves(calm_center: RealCenter, make_host: MakeHost, tmp_path: Path) -> None:
    host = make_host(
        calm_center, settings=f"{QUICK}[nerve_center]\nallow_plain_http = true\n", url="http://center.test"
    )
    names = tmp_path / "names"
    host.agent.environ["DIO_TEST_NAMES"] = str(names)
    names.write_text(f"center.test 127.0.0.1 {host.proxy.port}\n")
    host.started()
    host.proxy.fault = "refuse"
    host.failing()
    exchanges = host.proxy.exchanges  # now that none can come any more
    assert exchanges > 0
    names.write_text(f"center.test 127.0.0.2 {calm_center.port}\n")
    status = host.failing()
    assert status["error_kind"] == "refused"  # nobody listens there either
    names.write_text(f"center.test 127.0.0.1 {calm_center.port}\n")
    settled(calm_center, host)
    assert host.proxy.exchanges == exchanges


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "ca")


def test_a_certificate_expires_and_is_renewed(
    calm_center: RealCenter, make_host: MakeHost, authority: Authority
) -> None:
    front = TlsFront(calm_center.port, authority.issue("first", VALID))
    try:
        settings = f'{QUICK}[nerve_center]\nca_file = "{authority.certificate}"\n'
        host = make_host(calm_center, settings=settings, url=f"https://localhost:{front.port}")
        host.started()
        front.context = authority.issue("old", EXPIRED)
        status = host.failing()
        assert status["error_kind"] == "tls"
        assert "expired" in status["reason"]
        host.pending(2)
        front.context = authority.issue("renewed", VALID)
        settled(calm_center, host)
        assert host.exits == []
    finally:
        front.close()
