"""Certificates that are valid when a test wants it, and a TLS front for a nerve center that can change them."""

import contextlib
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

from tests.support.ports import free_port

EXPIRED = ("20200101000000Z", "20200201000000Z")
VALID = ("20200101000000Z", "20991231000000Z")
_CONFIG = """
[req]
distinguished_name = name
prompt = no
x509_extensions = authority
[name]
CN = Test CA
[authority]
basicConstraints = critical, CA:true
keyUsage = critical, keyCertSign
subjectKeyIdentifier = hash
[ca]
default_ca = ours
[ours]
database = {folder}/index.txt
new_certs_dir = {folder}
rand_serial = yes
unique_subject = no
default_md = sha256
policy = anything
x509_extensions = server
[anything]
commonName = supplied
[server]
basicConstraints = critical, CA:false
subjectAltName = DNS:{name}
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
"""


class Authority:
    """A certificate authority in a folder; `certificate` is its own, `name` the host that it certifies."""

    def __init__(self, folder: Path, name: str = "localhost") -> None:
        folder.mkdir()
        self.certificate = folder / "ca.pem"
        self._folder = folder
        self._config = folder / "openssl.cnf"
        self._config.write_text(_CONFIG.format(folder=folder, name=name))
        (folder / "index.txt").touch()
        self._openssl("req", "-x509", *self._new_key("ca"), "-out", self.certificate, "-days", "30")
        self._openssl("req", *self._new_key("server"), "-subj", f"/CN={name}", "-out", folder / "server.csr")

    def issue(self, name: str, validity: tuple[str, str]) -> ssl.SSLContext:
        """A server's context with a new certificate for the host."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*self.certify(name, validity))
        return context

    def certify(self, name: str, validity: tuple[str, str] = VALID) -> tuple[Path, Path]:
        """The files of a new certificate for the host and of its key."""
        made = self._folder / f"{name}.pem"
        self._openssl(
            *("ca", "-batch", "-notext", "-cert", self.certificate, "-keyfile", self._folder / "ca.key"),
            *("-in", self._folder / "server.csr", "-out", made),
            *("-startdate", validity[0], "-enddate", validity[1]),
        )
        return made, self._folder / "server.key"

    def _new_key(self, name: str) -> tuple[str, ...]:
        key = str(self._folder / f"{name}.key")
        return ("-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", key)

    def _openssl(self, command: str, *arguments: object) -> None:
        subprocess.run(
            ["openssl", command, "-config", str(self._config), *map(str, arguments)],
            check=True,
            capture_output=True,
        )


class TlsFront:
    """Ends TLS in front of a port on loopback; `context` may be replaced at any time."""

    def __init__(self, target: int, context: ssl.SSLContext) -> None:
        self.context = context
        self.port = free_port()
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", self.port), backlog=32)
        self._threads: list[threading.Thread] = []
        self._spawn(self._accept)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(20)

    def _spawn(self, work: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=work, args=arguments, daemon=True)
        thread.start()
        self._threads = [t for t in self._threads if t.is_alive()] + [thread]

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self._spawn(self._serve, client)

    def _serve(self, client: socket.socket) -> None:
        client.settimeout(10)
        with (
            client,
            contextlib.suppress(OSError),
            self.context.wrap_socket(client, server_side=True) as tls,
            socket.create_connection(("127.0.0.1", self._target), timeout=10) as server,
        ):
            back = threading.Thread(target=_pump, args=(server, tls), daemon=True)
            back.start()
            _pump(tls, server, half_close=True)
            back.join(20)


def _pump(source: socket.socket, target: socket.socket, half_close: bool = False) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
        if half_close:
            target.shutdown(socket.SHUT_WR)
            return
        target.shutdown(socket.SHUT_RDWR)
