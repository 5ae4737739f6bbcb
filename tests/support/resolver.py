"""A name server that can fail in the ways that name servers do."""

import contextlib
import socket
import struct
import threading

from tests.support.place import Place

FAULTS = {"servfail": 2, "nxdomain": 3, "refused": 5, "silent": None}
"""What `Resolver.fault` may be beside ""; the value is the answer's code, None for no answer."""
_ANSWER, _A = 0x8180, 1


class Resolver:
    """Answers on port 53 of a place for the names in `addresses`, with IPv4 addresses.

    Args:
        place: where it listens.
        addresses: address by name; may be changed at any time, other names do not exist.
    """

    def __init__(self, place: Place, addresses: dict[str, str]) -> None:
        self.addresses = addresses
        self.fault = ""
        self._socket = place.datagrams(53)
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop; nobody listens there any more."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)  # not connected, but it wakes the thread
        self._socket.close()
        self._thread.join(20)

    def _serve(self) -> None:
        while True:
            try:
                query, client = self._socket.recvfrom(4096)
                if not query:  # shut down
                    return
                answer = self._answer(query)
                if answer is not None:
                    self._socket.sendto(answer, client)
            except OSError:
                return

    def _answer(self, query: bytes) -> bytes | None:
        name, end = _name(query)
        kind = int.from_bytes(query[end : end + 2], "big")
        code = FAULTS[self.fault] if self.fault else 0
        if code is None:
            return None
        address = self.addresses.get(name)
        if code == 0 and address is None:
            code = FAULTS["nxdomain"]
        record = b""
        if code == 0 and kind == _A and address is not None:
            # The name is a pointer to the question's; valid for 0 s.
            record = struct.pack(">HHHIH", 0xC00C, _A, 1, 0, 4) + socket.inet_aton(address)
        head = query[:2] + struct.pack(">HHHHH", _ANSWER | (code or 0), 1, 1 if record else 0, 0, 0)
        return head + query[12 : end + 4] + record


def _name(query: bytes) -> tuple[str, int]:
    """The name that is asked for, and where its type stands."""
    labels, at = [], 12
    while length := query[at]:
        labels.append(query[at + 1 : at + 1 + length].decode("ascii", "replace").lower())
        at += 1 + length
    return ".".join(labels), at + 1
