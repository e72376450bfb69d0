"""A server on loopback that answers as a test wants it to, however wrong, and remembers what it was sent."""

import contextlib
import dataclasses
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Iterator

from functa_store.errors import FunctaStoreError

MOST_SENT = 2**28
"""Bytes of an answer after which even an endless one ends: a client that reads them all has failed already."""

MOST_SECONDS = 60


@dataclasses.dataclass(frozen=True)
class Request:
    """What a client sent."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


Script = Callable[[Request], Iterable[bytes]]


class Server:
    """Sends the pieces of whatever a script makes of a request; one connection per request.

    Args:
        script: Makes an answer of a request.
        context: What it speaks TLS by, if it does.

    Attributes:
        requests: What it was sent, in order.
        connections: How many clients came.
        sent: Bytes that clients took from it.
        url: Its endpoint.
    """

    def __init__(self, script: Script, context: ssl.SSLContext | None = None) -> None:
        self.script, self.requests, self.sent = script, list[Request](), 0
        self.connections, self._context = 0, context
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._socket.settimeout(0.1)
        self.port = self._socket.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._ended = False

    def __enter__(self) -> "Server":
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended = True
        self._socket.close()

    def wait(self, seconds: float) -> Iterator[bytes]:
        """Say nothing for a while, unless the test is over."""
        until = time.monotonic() + min(seconds, MOST_SECONDS)
        while time.monotonic() < until and not self._ended:
            time.sleep(0.02)
        yield b""

    def _accept(self) -> None:
        while not self._ended:
            with contextlib.suppress(OSError):
                connection, _ = self._socket.accept()
                self.connections += 1
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        connection.settimeout(MOST_SECONDS)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2**16)
        with contextlib.suppress(OSError, ValueError), self._secured(connection) as stream:
            request = _read(stream)
            self.requests.append(request)
            sent = 0
            for piece in self.script(request):
                if self._ended or sent > MOST_SENT:
                    break
                stream.sendall(piece)
                sent += len(piece)
                self.sent += len(piece)

    def _secured(self, connection: socket.socket) -> socket.socket:
        return self._context.wrap_socket(connection, server_side=True) if self._context else connection


def _read(connection: socket.socket) -> Request:
    data = b""
    while b"\r\n\r\n" not in data:
        if not (more := connection.recv(2**16)):
            raise ValueError("no request")
        data += more
    head, _, body = data.partition(b"\r\n\r\n")
    line, *fields = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (field.partition(":") for field in fields)}
    length = int(headers.get("content-length", "0"))
    while len(body) < length and (more := connection.recv(2**16)):
        body += more
    method, path, _ = line.split(" ")
    return Request(method, path, headers, body)


def head(status: int = 200, **fields: str | int) -> bytes:
    """The head of an answer, its connection ending after it."""
    lines = [
        f"HTTP/1.1 {status} Told",
        "Connection: close",
        'ETag: "1"',
        "Last-Modified: Mon, 01 Jan 2024 00:00:00 GMT",
    ]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in fields.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def answer(body: bytes, status: int = 200, **fields: str | int) -> list[bytes]:
    """A whole answer."""
    return [head(status, Content_Length=len(body), **fields), body]


def endless(piece: bytes = b"x" * 2**16) -> Iterator[bytes]:
    """The same again and again."""
    while True:
        yield piece


def endless_chunks(piece: bytes = b"x" * 2**16) -> Iterator[bytes]:
    """The same as chunks of HTTP, which announce no end."""
    yield from endless(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")


def range_of(request: Request) -> tuple[int, int] | None:
    """First and last byte that are asked for."""
    found = re.fullmatch(r"bytes=(\d+)-(\d+)", request.headers.get("range", ""))
    return (int(found[1]), int(found[2])) if found else None


def outcome(call: Callable[[], object]) -> object:
    """What a call returns, or the error of ours that it raises."""
    try:
        return call()
    except (FunctaStoreError, FileNotFoundError) as error:
        return error
