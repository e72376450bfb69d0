"""Web server on this machine for the page and one functaset: plain files, and parts of them by byte ranges."""

import contextlib
import http.server
import ipaddress
import logging
import os
import posixpath
import re
import socket
import socketserver
import sys
import threading
import webbrowser
from collections.abc import Callable, Iterator, Mapping
from http import HTTPStatus
from types import TracebackType
from urllib.parse import quote, unquote

from functa_store.errors import ConfigError, FunctaStoreError
from functa_store.page.published import PublishedStore
from functa_store.page.site import INDEX, page_files
from functa_store.store.storage.objects import NO_OPTIONS, Location, StorageOptions, open_objects

logger = logging.getLogger(__name__)

TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".json": "application/json",
    ".svg": "image/svg+xml",
    ".wasm": "application/wasm",
}
"""Media types by the ending of a file; of others it is application/octet-stream."""

HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "connect-src 'self'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
"""Sent with every answer: the page may ask nobody else, and no other site may show or read what is here."""

SECONDS_OF_SILENCE = 60
"""After which a connection is closed."""

Blocks = Callable[[int, int], Iterator[bytes | memoryview]]
"""Gives the bytes of a file from one to before another."""

_RANGE = re.compile(r"bytes=([0-9]{0,18})-([0-9]{0,18})")


class PageServer:
    """A page that is served until it is closed; also a context manager, which closes it.

    Attributes:
        url: Address of the page.
    """

    def __init__(self, server: socketserver.TCPServer, host: str) -> None:
        self._server = server
        name = f"[{host}]" if ":" in host else host
        self.url = f"http://{name}:{server.server_address[1]}/"
        self._thread = threading.Thread(target=server.serve_forever, args=(0.1,), name="page", daemon=True)
        self._thread.start()

    def __repr__(self) -> str:
        return f"<PageServer {self.url}>"

    def __enter__(self) -> "PageServer":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def wait(self, seconds: float | None = None) -> bool:
        """Wait until another thread closes it, but not longer than some seconds; whether it is closed."""
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def close(self) -> None:
        """Answer no more requests, and give the port back."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def view(
    store: Location,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    browser: bool = True,
    storage: StorageOptions = NO_OPTIONS,
) -> PageServer:
    """Serve a page that shows a functaset, and open it in a browser.

    The page is served by threads of this process until it is closed or the process ends. Nothing leaves the machine:
    the page asks this server and nobody else. A functaset in a bucket or on a web server is read by this process, with
    its credentials.

    Args:
        store: The functaset, a path, URL or open one.
        host: Address to listen at. All but loopback addresses let others on the network see the functaset.
        port: Port to listen at, from 1 to 65535; 0 takes one that is free.
        browser: Open the page, if there is a screen to open it on.
        storage: How to reach a store that is not open.

    Returns:
        The running server; its `url` is the page's.

    Raises:
        ConfigError: If host or port cannot be listened at.
        StoreFormatError: If there is no functaset that this release reads.
        StorageError: If the store cannot be read.
    """
    if not 0 <= port < 2**16:
        raise ConfigError(f"port must be from 0 to 65535, got {port}")
    published = PublishedStore(open_objects(store, storage))
    pages = page_files(quote(published.name), published.name)
    handler = type("Handler", (_Handler,), {"pages": pages, "published": published, "hosts": _hosts(host)})
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    server_class = type("Server", (_Server,), {"address_family": family})
    try:
        server = server_class((host, port), handler)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ConfigError(f"{host}:{port}: cannot be listened at: {reason}; choose another host or port") from error
    found = PageServer(server, host)
    if browser and _has_screen():
        threading.Thread(target=webbrowser.open, args=(found.url,), name="browser", daemon=True).start()
    return found


def _hosts(host: str) -> frozenset[str] | None:
    """Names by which a browser may call a server that is for this machine alone; None if all may.

    Another site could otherwise have its name resolved to this machine, and read what is here.
    """
    with contextlib.suppress(ValueError):
        if not ipaddress.ip_address(host).is_loopback:
            return None
        return frozenset({host, f"[{host}]", "localhost", "127.0.0.1", "[::1]"})
    return frozenset({"localhost", "127.0.0.1", "[::1]"}) if host == "localhost" else None


def _has_screen() -> bool:
    """Whether a browser would have a window, and not take over the terminal."""
    if sys.platform in ("darwin", "win32"):
        return True
    return any(os.environ.get(name) for name in ("BROWSER", "DISPLAY", "WAYLAND_DISPLAY"))


class _Server(socketserver.ThreadingMixIn, socketserver.TCPServer):
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 64

    def handle_error(self, request: object, client_address: object) -> None:
        error = sys.exception()
        if not isinstance(error, OSError):  # a browser that went away
            logger.warning("page: %s", error)


class _Handler(http.server.BaseHTTPRequestHandler):
    """Answers GET and HEAD for files of the page and of the functaset."""

    pages: Mapping[str, bytes]
    published: PublishedStore
    hosts: frozenset[str] | None

    protocol_version = "HTTP/1.1"
    server_version, sys_version = "functa", ""
    timeout = SECONDS_OF_SILENCE
    error_message_format = "%(code)d %(message)s\n"
    error_content_type = "text/plain; charset=utf-8"

    def do_GET(self) -> None:
        """Answer with a file, or the part of it that is asked for."""
        self._answer(with_body=True)

    def do_HEAD(self) -> None:
        """Answer as `do_GET` does, without the bytes."""
        self._answer(with_body=False)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""

    def end_headers(self) -> None:
        """Add what every answer has."""
        for name, value in HEADERS.items():
            self.send_header(name, value)
        super().end_headers()

    def _answer(self, *, with_body: bool) -> None:
        host = re.sub(r":\d+$", "", self.headers.get("Host", ""))
        if self.hosts is not None and host.lower() not in self.hosts:
            self.send_error(HTTPStatus.FORBIDDEN, "this server is for this machine")
            return
        name = unquote(self.path.partition("?")[0], errors="replace").removeprefix("/") or INDEX
        try:
            if (page := self.pages.get(name)) is not None:
                self._send(name, len(page), lambda start, stop: iter([page[start:stop]]), with_body=with_body)
            elif (file := self.published.find(name)) is not None:
                self._send(name, file.size, file.blocks, with_body=with_body)
            else:
                self.send_error(HTTPStatus.NOT_FOUND)
        except FileNotFoundError:
            self.send_error(HTTPStatus.NOT_FOUND)
        except FunctaStoreError as error:
            logger.warning("page: %s", error)
            self.send_error(HTTPStatus.BAD_GATEWAY)

    def _send(self, name: str, size: int, blocks: Blocks, *, with_body: bool) -> None:
        """Send a file, or the part of it that is asked for.

        Raises:
            FileNotFoundError, FunctaStoreError: If not even its beginning can be read; nothing has been sent then.
        """
        wanted = self.headers.get("Range") if self.command == "GET" else None
        part = asked_range(wanted, size) if wanted else None
        if part is not None and not part:
            self.send_response(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE)
            self.send_header("Content-Range", f"bytes */{size}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        sent = range(size) if part is None else part
        body = blocks(sent.start, sent.stop) if with_body else iter(())
        first = next(body, b"")
        self.send_response(HTTPStatus.OK if part is None else HTTPStatus.PARTIAL_CONTENT)
        if part is not None:
            self.send_header("Content-Range", f"bytes {part.start}-{part.stop - 1}/{size}")
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(len(sent)))
        self.send_header("Content-Type", TYPES.get(posixpath.splitext(name)[1], "application/octet-stream"))
        self.end_headers()
        self.wfile.write(first)
        try:
            for block in body:
                self.wfile.write(block)
        except FunctaStoreError as error:  # too late to say so by a status: the browser sees fewer bytes than promised
            logger.warning("page: %s", error)
            self.close_connection = True


def asked_range(header: str, size: int) -> range | None:
    """The bytes of a file that a request asks for.

    Args:
        header: The request's field `Range`.
        size: Bytes of the file.

    Returns:
        The bytes, none if they all lie behind the end of the file; None if the whole file is to be sent, as for
        several ranges, or what is no range of bytes.
    """
    if (found := _RANGE.fullmatch(header.replace(" ", ""))) is None:
        return None
    first, last = found.groups()
    if not first:
        return range(max(0, size - int(last)), size) if last else None
    stop = min(int(last) + 1, size) if last else size
    if last and int(last) < int(first):
        return None
    return range(int(first), stop) if int(first) < size else range(0)
