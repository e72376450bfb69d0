"""A gate on this machine through which the client for buckets reaches the servers that a stranger may run.

The client follows redirects, taking the token of a session with it, and reads the text of an error or a listing to its
end, however long it is. Neither can be forbidden, but it can be told to use a proxy. The gate is one: it listens on
127.0.0.1, lets requests pass to the server that was named and to nobody else, and closes a connection on which an
answer is longer than any that was asked for. What is encrypted stays so, between client and server.

    client -- 127.0.0.1 --> gate --> [proxy of the environment] --> server

Providers' own servers (s3:// and gs:// without an endpoint) are reached without it.
"""

import asyncio
import base64
import contextlib
import dataclasses
import ipaddress
import os
import re
import socket
import threading
import urllib.request
from collections.abc import Iterator
from urllib.parse import SplitResult, unquote, urlsplit

from functa_store.store.calls import in_background

MOST_HEAD = 2**16
"""Bytes of the head of a request."""

PIECE = 2**18
"""Bytes that are passed on at a time."""

MARGIN = 2**20
"""Bytes that an answer may have beyond what was asked for: its head, or the text of an error."""

CONNECT_SECONDS = 10

TOKEN_HOSTS = re.compile(
    r"(sts(\.[a-z0-9-]+)?\.amazonaws\.com(\.cn)?|(oauth2|sts|iamcredentials)\.googleapis\.com|accounts\.google\.com):443"
)
"""Providers' servers that exchange credentials for tokens, which a custom endpoint may go with."""

METADATA_HOSTS = (
    "169.254.169.254,169.254.170.2,169.254.170.23,fd00:ec2::254,fd00:ec2::23,metadata,metadata.google.internal"
)
"""Where a machine of a provider asks for its own credentials; reached without the gate."""


@dataclasses.dataclass
class Trouble:
    """What went wrong at a gate.

    Attributes:
        reason: In words.
        final: Whether it is no use to try again.
    """

    reason: str
    final: bool


class Gate:
    """The way to one server; starts to listen at once.

    Args:
        scheme: "http" or "https".
        authority: Host and port of the server.
        follows: Whether redirects to other public servers may be followed, as no credentials are sent.

    Attributes:
        url: Where the client finds it.
        troubles: How often something went wrong so far.
        last: What went wrong last.
    """

    def __init__(self, scheme: str, authority: str, *, follows: bool) -> None:
        self._target, self._follows = _with_port(scheme, authority), follows
        self._expected: list[int] = []
        self._lock = threading.Lock()
        self.troubles, self.last = 0, Trouble("", final=False)
        self.url = f"http://127.0.0.1:{in_background(self._listen())}"

    @contextlib.contextmanager
    def expecting(self, at_most: int) -> Iterator[None]:
        """Let answers of so many bytes pass for a while."""
        with self._lock:
            self._expected.append(at_most)
        try:
            yield
        finally:
            with self._lock:
                self._expected.remove(at_most)

    @property
    def _most(self) -> int:
        with self._lock:
            return max(self._expected, default=0) * 51 // 50 + MARGIN

    async def _listen(self) -> int:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0, limit=MOST_HEAD)
        return server.sockets[0].getsockname()[1]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        passage = _Passage(self, reader, writer)
        # One that is cancelled ends like any other: the process does.
        ends = OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError, asyncio.CancelledError
        with contextlib.suppress(*ends):
            await passage.serve()
        passage.close()

    def note(self, reason: str, *, final: bool) -> None:
        """Say what went wrong."""
        self.troubles, self.last = self.troubles + 1, Trouble(reason, final)

    def is_too_long(self, received: int) -> bool:
        """Whether an answer is longer than any that was asked for."""
        if received <= MARGIN or received <= self._most:
            return False
        self.note("the server sent more than was asked for", final=True)
        return True

    async def reach(
        self, target: str, *, tunnel: bool
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter, str | None]:
        """A connection to a server, or to the proxy before it, whose credentials for a head are returned then.

        Raises:
            PermissionError: If requests may not pass to it.
            OSError: If it cannot be reached.
        """
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                return await self._reach(target, tunnel)
        except PermissionError:
            self.note(f"the server sends the request on to {target}, which is not followed; name that one", final=True)
            raise
        except socket.gaierror:
            self.note("the server's name is not known; check the URL and the network", final=False)
            raise
        except ConnectionRefusedError:
            self.note("the connection was refused; nothing listens there", final=False)
            raise
        except OSError:
            self.note("the server cannot be reached", final=False)
            raise

    async def _reach(self, target: str, tunnel: bool) -> tuple[asyncio.StreamReader, asyncio.StreamWriter, str | None]:
        host, port = _split(target)
        elsewhere = target != self._target and not TOKEN_HOSTS.fullmatch(target)
        if elsewhere and not self._follows:
            raise PermissionError(target)
        proxy = _proxy_for("https" if tunnel else "http", target)
        if proxy is None:
            found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
            addresses = [str(entry[4][0]) for entry in found]
            if elsewhere and not all(ipaddress.ip_address(address).is_global for address in addresses):
                raise PermissionError(target)
            return *await _connected(addresses, port), None
        secure = True if proxy.scheme == "https" else None
        reader, writer = await asyncio.open_connection(proxy.hostname, proxy.port or 80, ssl=secure, limit=MOST_HEAD)
        if not tunnel:
            return reader, writer, _authorization(proxy)
        writer.write(f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n{_authorization(proxy)}\r\n".encode())
        answer = await reader.readuntil(b"\r\n\r\n")
        if not re.match(rb"HTTP/1\.[01] 200\b", answer):
            writer.close()
            raise OSError("refused by the proxy")
        return reader, writer, None


class _Passage:
    """One connection of the client, which asks one server."""

    def __init__(self, gate: Gate, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._gate, self._reader, self._writer = gate, reader, writer
        self._server: asyncio.StreamWriter | None = None
        self._back: asyncio.Task[None] | None = None
        self._target, self._authorization = "", None
        self._received = 0

    async def serve(self) -> None:
        """Pass requests on until one side closes."""
        head = await self._reader.readuntil(b"\r\n\r\n")
        method, _, rest = head.partition(b" ")
        where = rest.partition(b" ")[0].decode("ascii")
        if method == b"CONNECT":
            if await self._open(where, tunnel=True):
                self._writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
                await self._forward_all()
            return
        while head and await self._forward_one(head):
            head = await self._reader.readuntil(b"\r\n\r\n")

    def close(self) -> None:
        """Close both sides."""
        if self._back is not None:
            self._back.cancel()
        for side in (self._server, self._writer):
            if side is not None:
                side.transport.abort() if side is self._server else side.close()

    async def _open(self, target: str, *, tunnel: bool) -> bool:
        target = target.lower()
        if self._server is not None:
            return target == self._target
        try:
            reader, self._server, self._authorization = await self._gate.reach(target, tunnel=tunnel)
        except OSError as error:
            status = b"403 Forbidden" if isinstance(error, PermissionError) else b"502 Bad Gateway"
            self._writer.write(b"HTTP/1.1 " + status + b"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            await self._writer.drain()
            return False
        self._target = target
        self._back = asyncio.ensure_future(self._give_back(reader))
        return True

    async def _forward_all(self) -> None:
        assert self._server is not None
        while piece := await self._reader.read(PIECE):
            self._received = 0  # what comes now answers this
            self._server.write(piece)
            await self._server.drain()

    async def _forward_one(self, head: bytes) -> bool:
        """Pass one request on, which names the whole URL, as servers behind no proxy want it."""
        line, _, fields = head.partition(b"\r\n")
        method, url, version = line.decode("ascii").split(" ")
        parts = urlsplit(url)
        if parts.scheme != "http" or not await self._open(_with_port("http", parts.netloc), tunnel=False):
            return False
        assert self._server is not None
        self._received = 0
        if self._authorization is None:
            url = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        else:
            fields = self._authorization.encode() + fields
        self._server.write(f"{method} {url} {version}\r\n".encode() + fields)
        length = re.search(rb"^content-length:[ \t]*(\d{1,15})[ \t]*\r$", fields, re.I | re.M)
        left = int(length[1]) if length else 0
        while left and (piece := await self._reader.read(min(left, PIECE))):
            left -= len(piece)
            self._server.write(piece)
            await self._server.drain()
        return not left

    async def _give_back(self, reader: asyncio.StreamReader) -> None:
        with contextlib.suppress(OSError):
            while piece := await reader.read(PIECE):
                self._received += len(piece)
                if self._gate.is_too_long(self._received):
                    break
                self._writer.write(piece)
                await self._writer.drain()
        self._writer.close()
        if self._server is not None:
            self._server.transport.abort()


async def _connected(addresses: list[str], port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection to the first address that takes it."""
    for position, address in enumerate(addresses):
        try:
            reader, writer = await asyncio.open_connection(address, port, limit=PIECE)
        except OSError:
            if position == len(addresses) - 1:
                raise
        else:
            return reader, writer
    raise OSError("no address")


def _proxy_for(scheme: str, target: str) -> SplitResult | None:
    """The proxy that the environment names for a server, if any."""
    proxies = urllib.request.getproxies()
    proxy = proxies.get(scheme) or proxies.get("all")
    if not proxy or urllib.request.proxy_bypass(target):
        return None
    return urlsplit(proxy if "://" in proxy else f"http://{proxy}")


def _authorization(proxy: SplitResult) -> str:
    """The field of a head that gives a proxy its credentials."""
    if proxy.username is None:
        return ""
    userinfo = f"{unquote(proxy.username)}:{unquote(proxy.password or '')}"
    return f"Proxy-Authorization: Basic {base64.b64encode(userinfo.encode()).decode()}\r\n"


def _with_port(scheme: str, authority: str) -> str:
    host = authority.rpartition("@")[2].lower()
    return host if re.search(r":\d+$", host) else f"{host}:{443 if scheme == 'https' else 80}"


def _split(target: str) -> tuple[str, int]:
    host, _, port = target.rpartition(":")
    return host.strip("[]"), int(port)


_gates: dict[tuple[str, str, bool], Gate] = {}
_gates_lock = threading.Lock()


def gate_to(scheme: str, authority: str, *, follows: bool) -> Gate | None:
    """The gate to a server, one per server and process; None behind a proxy of a kind that only the client knows."""
    proxy = _proxy_for(scheme, _with_port(scheme, authority))
    if proxy is not None and proxy.scheme not in ("http", "https"):
        return None
    key = scheme, authority.lower(), follows
    with _gates_lock:
        if key not in _gates:
            _gates[key] = Gate(scheme, authority, follows=follows)
        return _gates[key]


def _forget() -> None:
    """Begin anew in a forked process, in which nobody listens."""
    global _gates_lock
    _gates_lock = threading.Lock()
    _gates.clear()


if hasattr(os, "register_at_fork"):  # elsewhere nothing forks
    os.register_at_fork(after_in_child=_forget)
