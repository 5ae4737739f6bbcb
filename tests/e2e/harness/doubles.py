"""What may stand on the nerve center's port instead of it: small servers that run inside a host."""

from __future__ import annotations

from .host import Host

_PAGE = """
import http.server
class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = b"<html><body>It works!</body></html>"
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    do_POST = do_GET
    def log_message(self, *words):
        pass
http.server.ThreadingHTTPServer(("127.0.0.1", 8000), Page).serve_forever()
"""
_SILENT = """
import socket
listener = socket.create_server(("127.0.0.1", 8000))
held = []
while True:
    held.append(listener.accept())
"""
_UNHEALTHY = """
import http.server, json
class Unhealthy(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = json.dumps({
            "status": "unhealthy", "component": "nerve_center", "agents_connected": None, "threats_active": None,
            "timestamp": "2026-01-01T00:00:00Z", "reason": "the database takes no writes",
        }).encode()
        self.send_response(503)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    do_POST = do_GET
    def log_message(self, *words):
        pass
http.server.ThreadingHTTPServer(("127.0.0.1", 8000), Unhealthy).serve_forever()
"""
SCRIPTS = {"page": _PAGE, "silent": _SILENT, "unhealthy": _UNHEALTHY}
UNIT = "double.service"


def start(host: Host, kind: str) -> None:
    """Put one of SCRIPTS on the nerve center's port."""
    host.write("/srv/double.py", SCRIPTS[kind])
    host.run(f"systemd-run --quiet --unit={UNIT} python3 /srv/double.py")


def stop(host: Host) -> None:
    """Take it away."""
    host.run(f"systemctl stop {UNIT}")
