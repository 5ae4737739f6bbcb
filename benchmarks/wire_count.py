"""A forwarder on loopback that counts the bytes that pass, and can be away: what an agent's reports cost on the wire.

Counted is what is in the TCP connections, in both directions, HTTP's headers with it; not the headers of TCP and IP.
"""

from __future__ import annotations

import socket
import threading
from contextlib import suppress


class Counted:
    """Forwards connections to a port of loopback, one thread for each direction; `port` is its own."""

    def __init__(self, to_port: int) -> None:
        self._to_port = to_port
        self._listener: socket.socket | None = None
        self._lock = threading.Lock()
        self.port = 0
        self.sent_bytes = 0
        self.received_bytes = 0
        self.open()

    def open(self) -> None:
        """Listen; at the same port as before."""
        self._listener = socket.create_server(("127.0.0.1", self.port), backlog=64)
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def close(self) -> None:
        """Be away: who connects is refused."""
        if self._listener is not None:
            with suppress(OSError):
                self._listener.shutdown(socket.SHUT_RDWR)  # wakes the thread that accepts
            self._listener.close()
            self._listener = None

    def _accept(self, listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                client, _ = listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        try:
            center = socket.create_connection(("127.0.0.1", self._to_port), timeout=10)
        except OSError:
            client.close()
            return
        center.settimeout(None)
        back = threading.Thread(target=self._pump, args=(center, client, False), daemon=True)
        back.start()
        self._pump(client, center, True)
        back.join()
        client.close()
        center.close()

    def _pump(self, source: socket.socket, sink: socket.socket, up: bool) -> None:
        with suppress(OSError):
            while piece := source.recv(65536):
                with self._lock:
                    self.sent_bytes += len(piece) if up else 0
                    self.received_bytes += 0 if up else len(piece)
                sink.sendall(piece)
        with suppress(OSError):
            sink.shutdown(socket.SHUT_WR)
