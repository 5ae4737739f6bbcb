"""The nerve center among its neighbours: the proxies as the documentation has them, Prometheus, a backup and back."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from conftest import MakeHost
from harness import dio
from harness.commands import wait_for
from harness.host import Host

DOCS = Path(__file__).resolve().parents[2] / "docs"
NAME, PASSWORD = "ann", "correct horse battery"
WITHIN_S = 90.0
"""A guard against hanging."""
FAST = {"/etc/dio-agent/agent.toml.d/20-fast.toml": "[agent]\ninterval_s = 1\n"}
CADDY_CA = "/var/lib/caddy/.local/share/caddy/pki/authorities/local/root.crt"
CENTER_PEM = "/etc/ssl/certs/center.pem"
_OF_CADDY = "{\n\tlocal_certs\n\tskip_install_trust\n}\n"
"""Certificates of its own, for want of the world."""
PROXIES = {"Caddy": (443, CADDY_CA), "nginx": (8443, CENTER_PEM), "HAProxy": (8443, CENTER_PEM)}

_BROWSER = """
import http.cookiejar, json, re, ssl, sys, urllib.error, urllib.parse, urllib.request

url, name, password = sys.argv[1:4]
headers = dict(json.loads(sys.argv[4]))

class Stay(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *arguments):
        return None

context = ssl.create_default_context(cafile=sys.argv[5] or None)
jar = http.cookiejar.CookieJar()
opener = urllib.request.build_opener(
    urllib.request.HTTPSHandler(context=context), urllib.request.HTTPCookieProcessor(jar), Stay)

def ask(path, form=None):
    data = None if form is None else urllib.parse.urlencode(form).encode()
    request = urllib.request.Request(url + path, data, headers)
    try:
        with opener.open(request, timeout=60) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()

def log_in(name, password):
    token = re.search('name="csrf" value="([^"]*)"', ask("/login")[1])[1]
    return ask("/login", {"csrf": token, "name": name, "password": password, "next": "/account"})[0]

print(json.dumps({
    "login": log_in(name, password),
    "cookies": {cookie.name: cookie.secure for cookie in jar},
    "account": ask("/account"),
    "fleet": ask("/")[0],
    "metrics": ask("/metrics")[0],
    "health": ask("/health")[0],
}))
"""


def documented(file: str, after: str) -> str:
    """The indented block of the documentation that follows a line beginning with `after`."""
    text = (DOCS / file).read_text()
    found = re.search(rf"^{re.escape(after)}.*\n\n((?:(?: {{4}}.*)?\n)+)", text, re.MULTILINE)
    assert found, after
    return re.sub(r"^ {4}", "", found[1], flags=re.MULTILINE).strip() + "\n"


def start(host: Host, unit: str) -> None:
    """Start a neighbour; where it does not, its journal says why."""
    if host.run_full(f"systemctl start {unit}", check=False).returncode:
        raise AssertionError(host.run(f"journalctl -q -u {unit} -n 30 --no-pager"))


def browse(host: Host, url: str, ca: str, **headers: str) -> dict[str, Any]:
    """Log in and look around."""
    command = ["python3", "-", url, NAME, PASSWORD, json.dumps(headers), ca]
    found: dict[str, Any] = json.loads(host.run(shlex.join(command), stdin=_BROWSER))
    return found


@pytest.mark.long
@pytest.mark.parametrize("release", ["bookworm"], indirect=True)
def test_proxies_and_prometheus_as_documented(make_host: MakeHost) -> None:
    """Each proxy with its block from the documentation: who asks, by TLS, pages and agents; and Prometheus scrapes."""
    host = make_host("center", boot=False, files=FAST)
    names = "caddy nginx haproxy prometheus"
    host.offline(
        f"apt-get update -q && apt-get install -y -q --no-install-recommends {names} openssl curl"
        f" && systemctl disable {names} && rm -f /etc/nginx/sites-enabled/default"
    )
    host.boot()
    host.run(f"printf '127.0.0.1 localhost\\n{host.address} center.example\\n' >> /etc/hosts")
    host.run(
        "openssl req -x509 -newkey rsa:2048 -nodes -days 30 -subj /CN=center.example"
        " -addext subjectAltName=DNS:center.example"
        f" -keyout /etc/ssl/private/center.key -out {CENTER_PEM} 2>/dev/null"
        f" && cat {CENTER_PEM} /etc/ssl/private/center.key > /etc/haproxy/center.pem"
    )
    host.write(
        "/etc/caddy/Caddyfile",
        "{\n\tlocal_certs\n\tskip_install_trust\n}\n" + documented("install.md", "Caddy,"),
    )
    host.write("/etc/nginx/conf.d/dio.conf", documented("install.md", "nginx,"))
    # Debian's unit wants CAP_NET_ADMIN as well, for larger buffers of QUIC; a container has it not to give.
    host.write(
        "/etc/systemd/system/caddy.service.d/container.conf",
        "[Service]\nAmbientCapabilities=\nAmbientCapabilities=CAP_NET_BIND_SERVICE\n",
    )
    haproxy = host.run("cat /etc/haproxy/haproxy.cfg")
    host.write("/etc/haproxy/haproxy.cfg", haproxy + "\n" + documented("install.md", "HAProxy,"))
    host.run(f"systemctl daemon-reload && systemctl start {dio.CENTER} {dio.KEEPER}")
    host.run(f"nervectl user add {NAME} --role admin --password-file -", stdin=PASSWORD + "\n")

    for proxy, (port, ca) in PROXIES.items():
        unit = proxy.lower()
        start(host, unit)
        url = f"https://center.example:{port}" if port != 443 else "https://center.example"
        wait_for(
            f"{proxy} answers",
            lambda url=url, ca=ca: host.run(f"curl -sf --cacert {ca} {url}/health", check=False),
            within_s=WITHIN_S,
        )
        seen = browse(host, url, ca)
        assert (seen["login"], seen["account"][0], seen["fleet"], seen["health"]) == (303, 200, 200, 200), (
            proxy
        )
        assert seen["cookies"].get("__Host-dio") is True, proxy
        assert f"<td>{host.address}</td>" in re.sub(r"<td [^>]*>", "<td>", seen["account"][1]), proxy
        assert seen["metrics"] == 401, f"{proxy}: what is forwarded is not taken for loopback"
        forged = browse(host, url, ca, **{"X-Forwarded-For": "203.0.113.9", "X-Forwarded-Proto": "http"})
        assert "203.0.113.9" not in forged["account"][1], proxy
        assert forged["cookies"].get("__Host-dio") is True, proxy

        host.write(
            "/etc/dio-agent/agent.toml.d/30-center.toml",
            f'[nerve_center]\nurl = "{url}"\nca_file = "/etc/dio-agent/ca.pem"\n',
        )
        host.run(
            f"install -m 0644 {ca} /etc/dio-agent/ca.pem && systemctl restart {dio.AGENT}", timeout_s=WITHIN_S
        )
        dio.wait_acknowledged(host, within_s=WITHIN_S)
        host.run(f"systemctl stop {unit}")

    host.run(
        f"rm /etc/dio-agent/agent.toml.d/30-center.toml && systemctl restart {dio.AGENT}", timeout_s=WITHIN_S
    )
    prometheus_scrapes(host)


def prometheus_scrapes(host: Host) -> None:
    """promtool finds nothing to say, and a real Prometheus has the host's figures."""
    token = host.run("nervectl api-token add prometheus").split()[-1]
    bearer = f"-H 'Authorization: Bearer {token}'"
    for header in ("", bearer):
        host.run(
            f"curl -sf {header} {dio.CENTER_URL}/metrics > /root/metrics && promtool check metrics < /root/metrics"
        )
    host.write("/etc/prometheus/dio-token", token)
    host.write(
        "/etc/prometheus/prometheus.yml",
        "global: {scrape_interval: 1s}\n" + documented("operate.md", "also has the newest"),
    )
    host.run("promtool check config /etc/prometheus/prometheus.yml")
    start(host, "prometheus")

    def up() -> Any:
        asked = "curl -sf 'http://127.0.0.1:9090/api/v1/query?query=dio_host_up'"
        text = host.run(asked, check=False)
        found = json.loads(text)["data"]["result"] if text else []
        return [item for item in found if item["value"][1] == "1"]

    (series,) = wait_for("Prometheus has the host", up, within_s=WITHIN_S)
    assert series["metric"]["hostname"] == host.name
    panels = [
        (panel["title"], target["expr"].replace("$hostname", ".*"))
        for panel in json.loads((DOCS / "grafana" / "dio-fleet.json").read_text())["panels"]
        for target in panel.get("targets", [])
    ]
    for title, query in panels:
        wait_for(f"{title} has data", lambda query=query: answered(host, query), within_s=WITHIN_S)


def answered(host: Host, query: str) -> bool:
    """Whether Prometheus answers a query of the dashboard with data; one that shows what is wrong may have none."""
    asked = f"curl -sf -G http://127.0.0.1:9090/api/v1/query --data-urlencode {shlex.quote('query=' + query)}"
    found = json.loads(host.run(asked))
    return found["status"] == "success" and bool(found["data"]["result"] or re.search("(== 0|> 0)", query))


@pytest.mark.parametrize("release", ["trixie"], indirect=True)
def test_a_backup_while_agents_report_and_back(make_host: MakeHost) -> None:
    """By root, as an operator does: the backup is whole, and after it is put back nothing is missing in the end."""
    host = make_host("center", files=FAST)
    host.run(f"systemctl start {dio.CENTER} {dio.KEEPER} && systemctl start {dio.AGENT}", timeout_s=WITHIN_S)
    dio.wait_acknowledged(host)
    host.run("nervectl database backup /root/copy.db && nervectl database check")
    (agent,) = dio.Api(host).agents()
    before = agent["records"]["samples"]
    wait_for(
        "more samples after the backup",
        lambda: dio.Api(host).agents()[0]["records"]["samples"] >= before + 5,
        within_s=WITHIN_S,
    )
    refused = host.run_full("nervectl database restore /root/copy.db", check=False)
    assert refused.returncode != 0, "not under a running nerve center"
    host.run(f"systemctl stop {dio.CENTER} {dio.KEEPER} && nervectl database restore /root/copy.db")
    host.run(f"systemctl start {dio.CENTER} {dio.KEEPER}")
    owner = host.run("stat -c %U:%a /var/lib/dio-nerve-center/nerve-center.db").strip()
    assert owner == "dio-nerve-center:600", owner

    def whole() -> bool:
        (found,) = dio.Api(host).agents()
        report = dio.Api(host).get(f"agents/{found['id']}/continuity")
        return bool(found["records"]["samples"] >= before + 5 and report["complete"])

    wait_for("the agent has filled the center up again", whole, within_s=WITHIN_S)
    dio.nothing_missing(dio.Api(host).samples(agent["id"]), hole_s=WITHIN_S)
