"""A proxy inside the process, through which the client for buckets reaches servers that a stranger may run.

The client follows redirects, taking the token of a session with it, and believes a server: it takes memory for as many
bytes as one announces, and reads the text of an error or a listing to its end. None of that can be forbidden, but it
can be told to use a proxy. The gate is one. It listens on 127.0.0.1, lets requests pass to the server that was named
and to nobody else, and passes answers on as far as they are what was asked for.

    client -- HTTP, 127.0.0.1 --> gate -- HTTP or TLS --> [proxy of the environment] --> server

So that it can look at answers, it is the gate that speaks TLS with a server: the client is given the address
"http://host:443" for "https://host". Certificates are checked against those that Python's default context trusts,
which SSL_CERT_FILE and SSL_CERT_DIR replace. Providers' own servers (s3:// and gs:// without an endpoint) are reached
without it, and so are those that `METADATA_HOSTS` names, for a client that needs credentials.

Framing. An answer is passed on only if all readers agree on where it ends:

- Its head has lines that end with CR LF and fields that begin with a name and a colon: neither folded ones nor bare
  line feeds, carriage returns or NULs. It has at most `MOST_HEAD` bytes. Interim answers are left out.
- Its body ends with one length of digits, with the last chunk, or with the connection; a length besides chunks, two
  lengths, or any other encoding is refused. Chunks get lines of the gate's own, without extensions.
- It is at most as long as what is asked for, see `Gate.expecting`, or as a page or an error may be.

What breaks a rule is a `Trouble`, of which `RemoteObjects` makes an error, and the connection ends. The client may
have read the beginning of the answer by then.

Redirects. With credentials that sign requests, none to another server reaches the client. Without, or with a token,
which is taken out of what is sent elsewhere, one is followed to a host all of whose addresses are public, never from
TLS to plain; they are looked up on this machine, also where a proxy goes there,
and a name that is not known here is not followed. What a proxy then takes a name for is the proxy's business.

Not supported: HTTP/2, upgrades, requests whose body comes in chunks, fields behind the last chunk, pipelines, and
proxies that are not of HTTP, behind which the client goes without a gate.

Who can reach it: every process of this machine, whoever runs it, as long as this one lives. It finds a way to the
named server, to public ones where redirects are followed, and to those of `TOKEN_HOSTS`, and no credentials but those
that the environment has for a proxy, which the gate gives to the proxy alone. A forked process has gates of its own.
"""

import asyncio
import base64
import contextlib
import dataclasses
import functools
import ipaddress
import os
import re
import socket
import ssl
import threading
import time
import urllib.request
import weakref
from collections.abc import Iterator
from typing import NoReturn
from urllib.parse import SplitResult, unquote, urlsplit

from functa_store.errors import ConfigError, StorageError
from functa_store.store.storage.server_calls import in_background

MOST_HEAD = 2**16
"""Bytes of the head of a request or an answer."""

PIECE = 2**18
"""Bytes that are passed on at a time."""

MARGIN = 2**20
"""Bytes of an answer that is no object and no listing, such as the text of an error."""

MOST_PAGE_BYTES = 2**24
"""Of a page of a listing: a thousand names of a thousand characters, each written in several."""

MOST_INTERIM = 10
"""Interim answers before an answer."""

CONNECT_SECONDS = 10
"""Seconds that a connection may take to come about."""

SECONDS_FOR_A_HEAD = 2.0
"""Seconds in which the client reads the head of an answer, after which more of its body is asked for."""

TOKEN_HOSTS = re.compile(
    r"(sts(\.[a-z0-9-]+)?\.amazonaws\.com(\.cn)?|(oauth2|sts|iamcredentials)\.googleapis\.com|accounts\.google\.com):443"
)
"""Providers' servers that exchange credentials for tokens, which a custom endpoint may go with."""

METADATA_HOSTS = (
    "169.254.169.254,169.254.170.2,169.254.170.23,fd00:ec2::254,fd00:ec2::23,metadata,metadata.google.internal"
)
"""Where a machine of a provider asks for its own credentials; reached without the gate."""

_TRANSLATED = ipaddress.IPv6Network("64:ff9b::/96")
"""IPv6 addresses whose last four bytes are one of IPv4, which a translator in the network goes to."""

_CREDENTIALS = re.compile(rb"(?im)^(?:authorization|cookie):[^\n]*\n")
"""Fields of a request that are of the server that was named."""

_FIELD = re.compile(rb"[!-9;-~]+:[^\r\n\0]*")

_ABSOLUTE = re.compile(r"(https?)://((?:[a-z0-9._-]+|\[[0-9a-f:.]+\])(?::\d{1,5})?)(?=[/?#]|$)", re.I)
_RELATIVE = re.compile(r"(?![a-z][a-z0-9+.-]*:|//)[!-\[\]-~]*", re.I)
"""Addresses that every reader takes for the same: no user, no backslash, no spaces."""

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclasses.dataclass(frozen=True)
class Trouble:
    """What went wrong at a gate.

    Attributes:
        reason: In words.
        final: Whether it is no use to try again.
    """

    reason: str
    final: bool


class TroubleError(Exception):
    """Something went wrong and was noted."""


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
        self._target, self._follows = with_port(scheme, authority), follows
        self._secure = {self._target} if scheme == "https" else set[str]()
        self._only_secure = scheme == "https"
        self._expected: list[int] = []
        self._raised = asyncio.Event()
        self.troubles, self.last = 0, Trouble("", final=False)
        self._not_before = 0.0
        server = in_background(_listen(weakref.WeakMethod(self._serve)))
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        weakref.finalize(self, _stop_listening, server).atexit = False

    @contextlib.contextmanager
    def expecting(self, at_most: int) -> Iterator[None]:
        """Let answers of so many bytes pass for a while; called in the thread of the calls, as all below."""
        self._expected.append(at_most)
        self._raised.set()
        self._raised = asyncio.Event()
        try:
            yield
        finally:
            self._expected.remove(at_most)

    async def wait_until_expected(self, received: int) -> None:
        """Wait until so many bytes of an object are asked for; the client may have to read the head first."""
        try:
            async with asyncio.timeout(SECONDS_FOR_A_HEAD):
                while received > max(self._expected, default=0) + MARGIN:
                    await self._raised.wait()
        except TimeoutError:
            self.fail("the server sent more than was asked for")

    def fail(self, reason: str, *, final: bool = True) -> NoReturn:
        """Say what went wrong.

        Raises:
            TroubleError: Always.
        """
        self.troubles, self.last = self.troubles + 1, Trouble(reason, final)
        raise TroubleError(reason)

    @property
    def seconds_to_wait(self) -> float:
        """How long the server wants no requests, which it said when it refused some; 0 if it does not mind."""
        return max(0.0, self._not_before - time.monotonic())

    def note_refusal(self, fields: bytes) -> None:
        """Note when a server that has had too many requests wants the next one, if it says so."""
        found = re.search(rb"(?im)^(?:retry-after:[ \t]*|ratelimit:[^\r\n]*\bt=)(\d{1,6})\b", fields)
        if found:
            self._not_before = max(self._not_before, time.monotonic() + int(found[1]))

    def is_named(self, target: str) -> bool:
        """Whether a server is the one that the gate stands before, and not one that it sends requests on to."""
        return target == self._target

    def here(self, location: str) -> str:
        """The address to which an answer sends the client, as the client is to ask the gate for it."""
        parts = urlsplit(location)
        if parts.scheme != "https":
            return location
        target = with_port("https", parts.netloc)
        self._secure.add(target)
        return parts._replace(scheme="http", netloc=target).geturl()

    def sent_on(self, location: str) -> str:
        """The address to which a redirect sends the client, as the client is to ask the gate for it.

        Where none to another server is followed, one that may be read as such does not reach the client: it asks
        `METADATA_HOSTS` without the gate.

        Raises:
            TroubleError: If it leads to another server and is not followed.
        """
        location = location.rstrip(" \t")
        absolute = _ABSOLUTE.match(location)
        target = with_port(absolute[1].lower(), absolute[2]) if absolute else "another server"
        if not self._follows and target != self._target and not _RELATIVE.fullmatch(location):
            self._refuse(target)
        try:
            return self.here(location)
        except ValueError:
            self._refuse("another server")

    async def reach(self, target: str, *, tunnel: bool = False) -> tuple[Streams, str | None]:
        """A connection to a server, or to the proxy before it.

        Args:
            target: Host and port.
            tunnel: Whether the client speaks TLS with it.

        Returns:
            The connection, and, of a proxy that wants to see whole URLs, the field with its credentials.

        Raises:
            TroubleError: If requests may not pass to it, or it cannot be reached.
        """
        elsewhere = target != self._target and not (tunnel and TOKEN_HOSTS.fullmatch(target))
        secure = tunnel or target in self._secure
        if elsewhere and (not self._follows or tunnel or (self._only_secure and not secure)):
            self._refuse(target)
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                host, port = _split(target)
                proxy = _proxy_for("https" if secure else "http", target)
                # Where a stranger sends the request is looked up here even if it is the proxy that goes there.
                addresses = await _addresses(host, port) if elsewhere or proxy is None else []
                if elsewhere and not all(map(_is_public, addresses)):
                    self._refuse(target)
                if proxy is not None:
                    return await _through(proxy, target, secure=secure, tunnel=tunnel)
                context = _context() if secure and not tunnel else None
                return await _connected(addresses, port, context, host if context else None), None
        except ssl.SSLError as error:
            final = isinstance(error, ssl.SSLCertVerificationError)
            self.fail("the server has no valid certificate, or speaks no TLS", final=final)
        except socket.gaierror:
            self.fail("the server's name is not known; check the URL and the network", final=False)
        except ConnectionRefusedError:
            self.fail("the connection was refused; nothing listens there", final=False)
        except (OSError, ValueError, EOFError):
            self.fail("the server cannot be reached", final=False)

    def _refuse(self, target: str) -> NoReturn:
        self.fail(f"the server sends the request on to {target}, which is not followed; name that one")

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        passage = _Passage(self, reader, writer)
        # One that is cancelled ends like any other: the process does.
        ends = OSError, EOFError, asyncio.LimitOverrunError, ValueError, TroubleError, asyncio.CancelledError
        with contextlib.suppress(*ends):
            await passage.serve()
        passage.close()


async def _listen(serve: weakref.WeakMethod) -> asyncio.Server:
    """Listen on behalf of a gate, which goes when nothing but this uses it."""

    async def serve_one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if (method := serve()) is not None:
            await method(reader, writer)
        else:
            writer.close()

    return await asyncio.start_server(serve_one, "127.0.0.1", 0, limit=MOST_HEAD)


def _stop_listening(server: asyncio.Server) -> None:
    with contextlib.suppress(RuntimeError):  # the loop has ended
        server.get_loop().call_soon_threadsafe(server.close)


class _Passage:
    """One connection of the client, which asks one server, one request after the other."""

    def __init__(self, gate: Gate, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._gate, self._reader, self._writer = gate, reader, writer
        self._server: Streams | None = None
        self._target, self._authorization = "", None
        self._ahead, self._sent = b"", False

    async def serve(self) -> None:
        """Pass requests and answers on until one side closes."""
        while await self._pass_one():
            pass

    async def _pass_one(self) -> bool:
        """Pass one request and its answer on.

        Returns:
            Whether the connection may be used again.
        """
        ahead, self._ahead = self._ahead, b""
        head = ahead + await self._reader.readuntil(b"\r\n\r\n")
        line, _, fields = head.partition(b"\r\n")
        method, url, version = line.decode("ascii").split(" ")
        if method == "CONNECT":
            return await self._tunnel(url.lower())
        parts = urlsplit(url)
        server, writer = await self._reach(target := with_port("http", parts.netloc))
        if not self._gate.is_named(target):
            fields = _CREDENTIALS.sub(b"", fields)
        if self._authorization is None:
            url = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        writer.write(f"{method} {url} {version}\r\n{self._authorization or ''}".encode() + fields)
        lists = method == "GET" and "list-type=" in parts.query
        answering = asyncio.ensure_future(self._answer(server, method, lists=lists))
        sending = asyncio.ensure_future(self._send(writer, _length(fields) or 0))
        try:
            await asyncio.wait({answering, sending}, return_when=asyncio.FIRST_COMPLETED)
            return answering.done() and answering.result() and self._sent
        finally:
            answering.cancel()
            sending.cancel()
            await asyncio.wait({answering, sending})

    async def _send(self, server: asyncio.StreamWriter, length: int) -> None:
        """Pass the body of a request on, and wait until the client has gone, which ends the request."""
        self._sent = length == 0
        if length:
            await _copy(self._reader, server, length)
            self._sent = True
        self._ahead = await self._reader.read(1)
        if self._ahead:  # of the next request: the client has its answer already
            await asyncio.Event().wait()

    def close(self) -> None:
        """Close both sides."""
        if self._server is not None:
            self._server[1].transport.abort()
        self._writer.close()

    async def _reach(self, target: str) -> Streams:
        """The connection to a server, made anew where the last one has ended."""
        if self._server is None or target != self._target or self._server[0].at_eof():
            if self._server is not None:
                self._server[1].transport.abort()
            self._server, self._authorization = await self._gate.reach(target)
            self._target = target
        return self._server

    async def _tunnel(self, target: str) -> bool:
        self._server, _ = await self._gate.reach(target, tunnel=True)
        reader, writer = self._server
        self._writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        back = asyncio.ensure_future(_copy(reader, self._writer))
        try:
            await _copy(self._reader, writer)
        finally:
            back.cancel()
        return False

    async def _answer(self, server: asyncio.StreamReader, method: str, *, lists: bool) -> bool:
        """Pass an answer on.

        Returns:
            Whether the connection may be used again.
        """
        status, fields = await self._head(server)
        if status in (429, 503):
            self._gate.note_refusal(fields)
        try:
            chunked, length = _framing(fields)
        except ValueError as error:
            self._gate.fail(f"the server's answer makes no sense: {error}")
        bodiless = method == "HEAD" or status in (204, 304)
        is_object = method == "GET" and not lists and status < 300
        most = MOST_PAGE_BYTES if lists and status < 300 else MARGIN
        if not bodiless and not is_object and (length or 0) > most:
            self._gate.fail("the server sent more than was asked for")
        self._writer.write(fields)
        closes = re.search(rb"^connection:.*\bclose\b", fields, re.I | re.M) is not None
        if bodiless:
            await self._writer.drain()
        else:
            passing = _Passing(self._gate, self._writer, None if is_object else most)
            if chunked:
                await passing.pass_chunks(server)
            else:
                await passing.pass_bytes(server, length)
                closes |= length is None
        return not closes and fields.startswith(b"HTTP/1.1")

    async def _head(self, server: asyncio.StreamReader) -> tuple[int, bytes]:
        """Status and head of an answer, interim ones left out."""
        status, fields, interim = 100, b"", 0
        while status < 200:
            interim += 1
            if interim > MOST_INTERIM:
                self._gate.fail("the server's answer makes no sense: it does not come to the point")
            try:
                fields = await server.readuntil(b"\r\n\r\n")
            except asyncio.LimitOverrunError:
                self._gate.fail("the head of the server's answer has no end")
            except asyncio.IncompleteReadError as error:
                if b"\n\n" not in error.partial:  # it was cut
                    raise
                self._gate.fail("the server's answer makes no sense: its lines do not end as those of HTTP do")
            found = re.match(rb"HTTP/1\.[01] (\d{3})( [^\r\n\0]*)?\r\n", fields)
            if found is None:
                self._gate.fail("the server's answer makes no sense; it is no web server")
            if not all(_FIELD.fullmatch(field) for field in fields[found.end() : -4].split(b"\r\n") if field):
                self._gate.fail("the server's answer makes no sense: a line of its head is no field")
            status = int(found[1])
        return status, fields if status < 300 or status >= 400 else re.sub(
            rb"(?im)^location:[ \t]*([^\r\n]*)",
            lambda field: b"Location: " + self._gate.sent_on(field[1].decode("latin-1")).encode("latin-1"),
            fields,
        )


class _Passing:
    """The body of an answer on its way to the client.

    Args:
        gate: The gate.
        writer: Where it goes.
        most: Bytes that it may have; None for an object, which may have what is expected of it.
    """

    def __init__(self, gate: Gate, writer: asyncio.StreamWriter, most: int | None) -> None:
        self._gate, self._writer, self._most = gate, writer, most
        self._received = 0

    async def pass_chunks(self, server: asyncio.StreamReader) -> None:
        """Pass on chunks up to the last, and nothing behind it."""
        while True:
            try:
                line = await server.readuntil(b"\r\n")
            except asyncio.LimitOverrunError:
                line = b""
            found = re.match(rb"([0-9a-fA-F]{1,12})[ \t]*[;\r]", line)
            if found is None or len(line) > 256:
                self._gate.fail("the server's answer makes no sense: a chunk has no length")
            length = int(found[1], 16)
            self._writer.write(b"%x\r\n" % length)
            await self.pass_bytes(server, length)
            if await server.readuntil(b"\r\n") != b"\r\n":
                self._gate.fail("the server's answer makes no sense: a chunk is longer than it says")
            self._writer.write(b"\r\n")
            if length == 0:
                return await self._writer.drain()

    async def pass_bytes(self, server: asyncio.StreamReader, length: int | None) -> None:
        """Pass on so many bytes, or all up to the end of the connection."""
        left = length
        while left != 0:
            piece = await server.read(PIECE if left is None else min(left, PIECE))
            if not piece:
                if left is None:
                    return
                raise EOFError
            left = None if left is None else left - len(piece)
            await self._check(len(piece))
            self._writer.write(piece)
            await self._writer.drain()

    async def _check(self, more: int) -> None:
        self._received += more
        if self._received <= MARGIN:
            return
        if self._most is None:
            await self._gate.wait_until_expected(self._received)
        elif self._received > self._most:
            self._gate.fail("the server sent more than was asked for")


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, length: int | None = None) -> None:
    """Pass on so many bytes, or all."""
    with contextlib.suppress(OSError):
        while length != 0 and (piece := await reader.read(PIECE if length is None else min(length, PIECE))):
            length = None if length is None else length - len(piece)
            writer.write(piece)
            await writer.drain()


def _length(fields: bytes) -> int | None:
    """The length that a head announces.

    Raises:
        ValueError: If it announces several, or one that is no number.
    """
    found = {value.strip() for value in re.findall(rb"(?im)^content-length:([^\r\n]*)", fields)}
    if len(found) > 1:
        raise ValueError("it tells several lengths")
    if not all(re.fullmatch(rb"\d{1,15}", value) for value in found):
        raise ValueError("its length is no number")
    return int(found.pop()) if found else None


def _framing(fields: bytes) -> tuple[bool, int | None]:
    """Whether the body of an answer comes in chunks, and the length that its head announces.

    Raises:
        ValueError: If readers may differ in where it ends.
    """
    length = _length(fields)
    encodings = [value.strip().lower() for value in re.findall(rb"(?im)^transfer-encoding:([^\r\n]*)", fields)]
    if encodings not in ([], [b"chunked"]):
        raise ValueError("its encoding is none that was asked for")
    if encodings and length is not None:
        raise ValueError("its length is told twice")
    return bool(encodings), length


async def _addresses(host: str, port: int) -> list[str]:
    """The addresses of a host, which a thread asks for that nobody waits for when the process ends."""
    loop = asyncio.get_running_loop()
    found: asyncio.Future[list[str]] = loop.create_future()

    def tell(addresses: list[str] | OSError) -> None:
        if not found.done():
            found.set_exception(addresses) if isinstance(addresses, OSError) else found.set_result(addresses)

    def ask() -> None:
        try:
            entries: list[str] | OSError = [
                str(entry[4][0]) for entry in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            ]
        except OSError as error:
            entries = error
        except UnicodeError:
            entries = socket.gaierror(host)
        with contextlib.suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(tell, entries)

    threading.Thread(target=ask, name="names", daemon=True).start()
    return await found


def _is_public(address: str) -> bool:
    """Whether an address is one of the internet, also where it holds one of the older kind in it."""
    found = ipaddress.ip_address(address)
    if isinstance(found, ipaddress.IPv6Address):
        translated = ipaddress.IPv4Address(int(found) & 0xFFFFFFFF) if found in _TRANSLATED else None
        if (inner := found.ipv4_mapped or found.sixtofour or translated) is not None:
            return _is_public(str(inner))
    return found.is_global and not found.is_multicast


async def _connected(addresses: list[str], port: int, context: ssl.SSLContext | None, host: str | None) -> Streams:
    """A connection to the first address that takes it."""
    for position, address in enumerate(addresses):
        try:
            return await asyncio.open_connection(address, port, ssl=context, server_hostname=host, limit=PIECE)
        except ssl.SSLError:
            raise
        except OSError:
            if position == len(addresses) - 1:
                raise
    raise OSError("no address")


async def _through(proxy: SplitResult, target: str, *, secure: bool, tunnel: bool) -> tuple[Streams, str | None]:
    """A connection through a proxy."""
    host, port = proxy.hostname or "", proxy.port or (443 if proxy.scheme == "https" else 80)
    context = _context() if proxy.scheme == "https" else None
    reader, writer = await _connected(await _addresses(host, port), port, context, host if context else None)
    if not secure:
        return (reader, writer), _authorization(proxy)
    writer.write(f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n{_authorization(proxy)}\r\n".encode())
    answer = await reader.readuntil(b"\r\n\r\n")
    if not re.match(rb"HTTP/1\.[01] 200\b", answer):
        writer.close()
        raise OSError("refused by the proxy")
    if not tunnel:
        await writer.start_tls(_context(), server_hostname=_split(target)[0])
    return (reader, writer), None


@functools.cache
def _context() -> ssl.SSLContext:
    return ssl.create_default_context()


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


def with_port(scheme: str, authority: str) -> str:
    """Host and port of a server, its credentials left out."""
    host = authority.rpartition("@")[2].lower()
    return host if re.search(r":\d+$", host) else f"{host.rstrip(':')}:{443 if scheme == 'https' else 80}"


def _split(target: str) -> tuple[str, int]:
    host, _, port = target.rpartition(":")
    return host.strip("[]"), int(port)


_gates = weakref.WeakValueDictionary[tuple[str, str, bool], Gate]()
_gates_lock = threading.Lock()


def gate_to(scheme: str, authority: str, *, follows: bool) -> Gate | None:
    """The gate to a server, one per process while in use; None behind a proxy of a kind that only the client knows.

    Raises:
        ConfigError: If the environment names a proxy by what is no URL.
        StorageError: If this process cannot listen on 127.0.0.1.
    """
    try:
        proxy = _proxy_for(scheme, with_port(scheme, authority))
    except ValueError:
        raise ConfigError(
            f"{scheme}_proxy: the environment names a proxy by what is no URL, expected http://host:port"
        ) from None
    if proxy is not None and proxy.scheme not in ("http", "https"):
        return None
    key = scheme, authority.lower(), follows
    with _gates_lock:
        try:
            if (gate := _gates.get(key)) is None:
                gate = _gates[key] = Gate(scheme, authority, follows=follows)
        except OSError as error:  # TimeoutError is one
            raise StorageError(
                f"{scheme}://{authority}: cannot be reached: this process cannot listen on 127.0.0.1, through which it "
                f"asks servers ({error.strerror or 'it took too long'}); let it open more files, or close some"
            ) from error
        return gate


def _forget() -> None:
    """Begin anew in a forked process, in which nobody listens."""
    global _gates_lock
    _gates_lock = threading.Lock()
    _gates.clear()


if hasattr(os, "register_at_fork"):  # elsewhere nothing forks
    os.register_at_fork(after_in_child=_forget)
