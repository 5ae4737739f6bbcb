"""Answers that end early or that nobody should send: told apart, never a crash."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests
import urllib3

from dio_daemon.center import Center, Limits
from dio_daemon.errors import CenterError
from dio_daemon.failures import Way, translate
from dio_daemon.files import takes_files
from dio_daemon.transport import RequestsTransport
from tests.support.deadlines import kept

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


@contextmanager
def answering(answer: bytes) -> Iterator[Callable[[], CenterError]]:
    """Asks a server that gives this answer for its health; the error."""
    with socket.create_server(("127.0.0.1", 0)) as listener, kept() as deadlines:

        def serve() -> None:
            client, _ = listener.accept()
            with client:
                while b"\r\n\r\n" not in client.recv(65536):
                    pass
                client.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        port = listener.getsockname()[1]
        transport = RequestsTransport(deadlines, None, "", "test")
        center = Center(f"http://127.0.0.1:{port}", transport, Limits(5, 5, 5))

        def ask() -> CenterError:
            with pytest.raises(CenterError) as caught:
                center.check_health()
            return caught.value

        yield ask
        thread.join()


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (b"", "reset"),
        (b"HTTP/1.1 20", "broken"),
        (HEAD[:40], "broken"),
        (HEAD, "broken"),
        (HEAD + b"Content-Length: 30\r\n\r\n" + b'{"status": ', "broken"),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\nabc", "broken"),
        (b"HTTP/1.1 200 OK\r\nContent-Type: text/html; charset\r\nContent-Length: 2\r\n\r\nno", "broken"),
        (HEAD + b"Content-Length: 2\r\n\r\n{}", "not_a_nerve_center"),
        (HEAD + b"\r\n<html>", "not_a_nerve_center"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", "not_a_nerve_center"),
    ],
)
def test_answers(answer: bytes, kind: str) -> None:
    with answering(answer) as ask:
        assert ask().kind == kind


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"SSH-2.0-OpenSSH_9.2\r\n", "does not speak HTTP"),
        (bytes(range(128, 256)), "does not speak HTTP"),
        (b"HTT", "broke before a whole answer came"),
        (b"HTTP/1.1 20", "broke before a whole answer came"),
    ],
)
def test_what_is_no_http_is_told_from_what_is_cut_off(answer: bytes, words: str) -> None:
    with answering(answer) as ask:
        assert words in str(ask())


@pytest.mark.parametrize(
    ("cause", "kind"),
    [
        (ConnectionResetError(104, "reset"), "reset"),
        (OSError(101, "unreachable"), "unreachable"),
        (OSError(24, "too many files"), "unreachable"),
    ],
)
def test_no_connection_is_no_timeout(cause: OSError, kind: str) -> None:
    """urllib3 derives NewConnectionError from its timeouts."""
    try:
        try:
            raise cause
        except OSError as error:
            raise urllib3.exceptions.NewConnectionError(None, "no connection") from error
    except urllib3.exceptions.NewConnectionError as error:
        outer = requests.ConnectionError(error)
    assert translate(outer, Way("127.0.0.1:1", "", 10.0, 30.0)).kind == kind


def test_a_folder_that_takes_files(tmp_path: Path) -> None:
    assert takes_files(tmp_path)
    assert list(tmp_path.iterdir()) == []
    assert not takes_files(tmp_path / "missing")
    (tmp_path / "file").touch()
    assert not takes_files(tmp_path / "file")
