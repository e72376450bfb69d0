"""Whatever a server sends, no more is taken than was asked for, in a bounded time, and Ctrl-C ends the wait."""

import gzip
import itertools
import subprocess
import sys
import threading
import time

import pytest

from functa_store.errors import (
    ConfigError,
    FunctaStoreError,
    StorageError,
    StoreFormatError,
)
from functa_store.store.storage import connections, remote
from functa_store.store.storage import proxy as gate
from functa_store.store.storage.objects import StorageOptions, open_objects
from functa_store.store.storage.server_calls import give_up_in
from tests.remote.hostile import Server, answer, endless, endless_chunks, head, outcome, range_of

MEGABYTE = 2**20
MOST_TAKEN = 96 * MEGABYTE
"""What a page of a listing and the buffers of the sockets of ten redirects may hold; an endless answer has 256 MB."""

SECONDS = 1.0


@pytest.fixture(autouse=True)
def _soon(monkeypatch):
    monkeypatch.setattr(remote, "FIRST_WAIT", 0.01)
    monkeypatch.setattr(remote, "REPEATS", 1)
    monkeypatch.setenv("AWS_SESSION_TOKEN", "session-token-that-nobody-sees")


KINDS = {
    "web": lambda server, **options: open_objects(f"{server.url}/x.functa", StorageOptions(**options)),
    "s3": lambda server, **options: open_objects(
        "s3://bucket/x.functa", StorageOptions(endpoint=server.url, **options)
    ),
    "gs": lambda server, **options: open_objects(
        "gs://bucket/x.functa", StorageOptions(endpoint=server.url, anonymous=True, **options)
    ),
}


@pytest.fixture(params=["web", "s3", pytest.param("gs", marks=pytest.mark.long)])
def connect(request):
    return KINDS[request.param]


CALLS = {
    "read": lambda objects: objects.read("a", 1000),
    "read_ranges": lambda objects: objects.read_ranges("a", [0, 10], [5, 20]),
    "read far ranges": lambda objects: objects.read_ranges("a", [0, 10 * MEGABYTE], [5, 20]),
    "size": lambda objects: objects.size("a"),
    "read_version": lambda objects: objects.read_version("a"),
    "sizes": lambda objects: objects.sizes(),
    "write": lambda objects: objects.write("a", b"12345"),
    "write_new": lambda objects: objects.write_new("a", b"12345"),
    "write_if": lambda objects: objects.write_if("a", b"12345", {"e_tag": "1"}),
    "delete": lambda objects: objects.delete(["a", "b"]),
    "append_beside": lambda objects: objects.append_beside(".log", b"1"),
}


def ranged(request, total=10**9):
    """Status and fields of an answer to a request for a range."""
    found = range_of(request)
    return (206, {"Content_Range": f"bytes {found[0]}-{found[1]}/{total}"}) if found else (200, {})


ENDLESS = {
    "chunks": lambda request: itertools.chain(
        [head(ranged(request)[0], Transfer_Encoding="chunked", **ranged(request)[1])], endless_chunks()
    ),
    "chunks of one byte": lambda request: itertools.chain(
        [head(200, Transfer_Encoding="chunked")], endless(b"1\r\nx\r\n" * 5000)
    ),
    "until the end of the connection": lambda request: itertools.chain([head(200)], endless()),
    "a length of terabytes": lambda request: itertools.chain([head(200, Content_Length=2**44)], endless()),
    "a length that lies": lambda request: itertools.chain([head(200, Content_Length=5)], endless()),
    "a range of terabytes": lambda request: itertools.chain(
        [head(206, Content_Length=2**44, Content_Range=f"bytes 0-{2**44 - 1}/{2**44}")], endless()
    ),
    "a range ignored": lambda request: itertools.chain([head(200, Content_Length=2**40)], endless()),
    "an endless head": lambda request: itertools.chain(
        [b"HTTP/1.1 200 OK\r\n"], endless(b"X-A: " + b"x" * 1000 + b"\r\n")
    ),
    "an endless field": lambda request: itertools.chain([b"HTTP/1.1 200 OK\r\nX: "], endless()),
    "an endless line": lambda request: endless(),
    "an endless page": lambda request: itertools.chain(
        [head(200, Transfer_Encoding="chunked")],
        endless_chunks(b"<ListBucketResult><Contents><Key>bucket/a</Key></Contents>" * 1000),
    ),
    **{
        f"an endless {status}": lambda request, status=status: itertools.chain(
            [head(status, Transfer_Encoding="chunked")], endless_chunks(b"<Error><Code>x" * 5000)
        )
        for status in (400, 401, 403, 404, 409, 412, 416, 429, 500, 503)
    },
    "an endless redirect": lambda request: itertools.chain(
        [head(302, Location="/again", Transfer_Encoding="chunked")], endless_chunks()
    ),
    "endless interim answers": lambda request: endless(b"HTTP/1.1 103 Early Hints\r\nLink: <a>\r\n\r\n" * 1000),
    "zeros packed a thousandfold": lambda request: itertools.chain(
        [head(200, Content_Encoding="gzip", Transfer_Encoding="chunked")], endless_chunks(gzip.compress(bytes(2**24)))
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("kind", ENDLESS)
def test_no_more_is_taken_than_was_asked_for(connect, call, kind):
    with Server(ENDLESS[kind]) as server:
        objects = connect(server, timeout=4.0)
        began = time.monotonic()
        assert len(str(outcome(lambda: CALLS[call](objects)))) < 1000  # an answer without an end may be enough of one
        assert time.monotonic() - began < 8
        assert server.sent < MOST_TAKEN


def test_a_listing_without_an_end_is_given_up(monkeypatch):
    """Every page says that there is another one."""
    monkeypatch.setattr(remote, "MOST_KEYS", 5000)
    entry = "<Contents><Key>x.functa/{}</Key><Size>1</Size><LastModified>2024-01-01T00:00:00Z</LastModified></Contents>"
    page = "".join(entry.format(i) for i in range(1000))
    body = f"<ListBucketResult><NextContinuationToken>more</NextContinuationToken>{page}</ListBucketResult>".encode()
    with Server(lambda request: answer(body)) as server, pytest.raises(StorageError, match="more than 5,000 objects"):
        KINDS["s3"](server).sizes()
    assert 5 <= len(server.requests) <= 10


@pytest.mark.slow
def test_a_listing_of_empty_pages_without_an_end_is_given_up():
    body = b"<ListBucketResult><NextContinuationToken>more</NextContinuationToken></ListBucketResult>"
    with Server(lambda request: answer(body)) as server, pytest.raises(StorageError, match=r"longer than 2 s|silent"):
        KINDS["s3"](server, timeout=2.0).sizes()


def test_entities_that_grow_are_not_expanded():
    bomb = '<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa">' + "".join(
        f'<!ENTITY {b} "{f"&{a};" * 10}">' for a, b in itertools.pairwise("abcdefghij")
    )
    body = f"<?xml version='1.0'?>{bomb}]><ListBucketResult><Contents><Key>&j;</Key></Contents></ListBucketResult>"
    with (
        Server(lambda request: answer(body.encode())) as server,
        pytest.raises(StorageError, match=r"makes no sense|cannot"),
    ):
        KINDS["s3"](server).sizes()


def test_what_is_cut_or_longer_than_announced_is_no_object(connect):
    for script in (
        lambda request: [head(200, Content_Length=10), b"12345"],
        lambda request: [head(200, Transfer_Encoding="chunked"), b"5\r\n12345\r\n"],
    ):
        with Server(script) as server, pytest.raises(FunctaStoreError, match=r"x\.functa/a"):
            connect(server).read("a", 1000)


def test_ranges_are_what_was_asked_for_or_refused(connect):
    scripts = {
        "another range": lambda request: answer(b"12345", 206, Content_Range="bytes 7-11/100"),
        "a longer one": lambda request: answer(b"x" * 50, 206, Content_Range="bytes 0-49/100"),
        "a shorter one": lambda request: answer(b"123", 206, Content_Range="bytes 0-2/100"),
        "none": lambda request: answer(b"x" * 100),
        "no word of which": lambda request: answer(b"12345", 206),
        "nonsense": lambda request: answer(b"12345", 206, Content_Range="bytes 4-1/x"),
        "an empty one": lambda request: answer(b"", 206, Content_Range="bytes 0-4/100"),
    }
    for name, script in scripts.items():
        with Server(script) as server:
            found = outcome(lambda server=server: connect(server).read_ranges("a", [0], [5]))
        assert isinstance(found, FunctaStoreError), name


@pytest.mark.slow
def test_statuses_that_make_no_sense_are_errors_of_ours(connect, monkeypatch):
    monkeypatch.setattr(remote, "REPEATS", 0)
    for status in (100, 201, 204, 206, 299, 300, 304, 399, 400, 409, 410, 412, 418, 451, 499, 505, 599, 600, 999):
        with Server(lambda request, status=status: answer(b"12345", status)) as server:
            for call in CALLS.values():
                found = outcome(lambda call=call, server=server: call(connect(server, timeout=2.0)))
                assert len(str(found)) < 1000
                assert getattr(found, "__cause__", None) is None


LINE = b"HTTP/1.1 200 OK\r\n"

SMUGGLED = {
    "two lengths": LINE + b"Content-Length: 5\r\nContent-Length: 3\r\n\r\n12345",
    "two lengths in one field": LINE + b"Content-Length: 5, 3\r\n\r\n12345",
    "a length with a sign": LINE + b"Content-Length: +5\r\n\r\n12345",
    "a length and chunks": LINE + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n12345\r\n0\r\n\r\n",
    "chunks and a length": LINE + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n5\r\n12345\r\n0\r\n\r\n",
    "chunks twice": LINE + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n12345\r\n0\r\n\r\n",
    "chunks in disguise": LINE + b"Transfer-Encoding: xchunked\r\n\r\n5\r\n12345\r\n0\r\n\r\n",
    "packed chunks": LINE + b"Transfer-Encoding: gzip, chunked\r\n\r\n5\r\n12345\r\n0\r\n\r\n",
    "a bare LF after the line": b"HTTP/1.1 200 OK\nContent-Length: 5\r\n\r\n12345",
    "a bare LF in a field": LINE + b"X: a\nContent-Length: 3\r\nContent-Length: 5\r\n\r\n12345",
    "bare LFs alone": b"HTTP/1.1 200 OK\nContent-Length: 5\n\n12345",
    "a bare CR in a field": LINE + b"X: a\rContent-Length: 3\r\nContent-Length: 5\r\n\r\n12345",
    "a folded length": LINE + b"Content-Length:\r\n 5\r\n\r\n12345",
    "a folded field": LINE + b"X: a\r\n\tContent-Length: 3\r\nContent-Length: 5\r\n\r\n12345",
    "a field that begins with a space": LINE + b" X: a\r\nContent-Length: 5\r\n\r\n12345",
    "a space before a colon": LINE + b"Transfer-Encoding : chunked\r\nContent-Length: 5\r\n\r\n12345",
    "no colon": LINE + b"X\r\nContent-Length: 5\r\n\r\n12345",
    "a NUL in a field": LINE + b"X: \0\r\nContent-Length: 5\r\n\r\n12345",
    "a chunk with a bare LF": LINE + b"Transfer-Encoding: chunked\r\n\r\n5\n12345\r\n0\r\n\r\n",
    "a chunk with a sign": LINE + b"Transfer-Encoding: chunked\r\n\r\n+5\r\n12345\r\n0\r\n\r\n",
    "a chunk that is longer": LINE + b"Transfer-Encoding: chunked\r\n\r\n3\r\n12345\r\n0\r\n\r\n",
    "a line of a chunk without an end": LINE + b"Transfer-Encoding: chunked\r\n\r\n5;" + b"a" * 2**20,
}


@pytest.mark.parametrize("kind", SMUGGLED)
def test_an_answer_that_can_be_read_in_two_ways_is_refused_at_once(connect, kind):
    with Server(lambda request: [SMUGGLED[kind]]) as server:
        with pytest.raises(StorageError, match="the server's answer makes no sense"):
            connect(server).read("a", 1000)
        assert len(server.requests) == 1


@pytest.mark.parametrize("error", [OSError(24, "Too many open files"), TimeoutError()])
def test_a_process_that_cannot_listen_says_so(connect, error, monkeypatch):
    def refuse(call):
        call.close()
        raise error

    monkeypatch.setattr(gate, "in_background", refuse)
    with Server(lambda request: answer(b"12345")) as server:
        with pytest.raises(StorageError, match=r"cannot listen on 127\.0\.0\.1.*(Too many open files|too long)"):
            connect(server)
        monkeypatch.undo()
        assert isinstance(outcome(lambda: connect(server).read("a", 1000)), bytes | StorageError)


@pytest.mark.parametrize("proxy", ["http://[", "[", "http://[::1"])
def test_a_proxy_of_the_environment_that_is_no_url_is_a_wrong_option(connect, proxy, monkeypatch):
    monkeypatch.setenv("http_proxy", proxy)
    monkeypatch.setenv("no_proxy", "")
    with Server(lambda request: answer(b"12345")) as server, pytest.raises(ConfigError, match="http_proxy"):
        connect(server)


# Redirects


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("call", CALLS)
def test_no_redirect_takes_a_request_to_another_server(connect, call, status):
    with Server(lambda request: answer(b"12345")) as other:
        for host in (
            f"http://127.0.0.1:{other.port}",
            f"http://localhost:{other.port}",
            f"https://127.0.0.1:{other.port}",
        ):
            script = lambda request, host=host: answer(b"", status, Location=f"{host}/stolen?a=b")  # noqa: E731
            with Server(script) as server, pytest.raises(FunctaStoreError) as caught:
                CALLS[call](connect(server, timeout=3.0))
            assert "stolen" not in str(caught.value)
        assert other.requests == []


LEADS = [
    "http://{host}/stolen",
    "http:///{host}/stolen",
    "http:\\\\{host}/stolen",
    "//{host}/stolen",
    "/\t/{host}/stolen",
    "\\\\{host}/stolen",
    "/\\{host}/stolen",
    "http://127.0.0.1@{host}/stolen",
    "HTTP://{host}/stolen",
    " http://{host}/stolen",
]


@pytest.mark.parametrize("location", LEADS)
def test_no_redirect_leads_around_the_gate(connect, location, monkeypatch):
    """The client asks some hosts, where a machine's own credentials are, without the gate."""
    monkeypatch.setattr(connections, "METADATA_HOSTS", "localhost")
    with Server(lambda request: answer(b"12345")) as other:
        where = location.format(host=f"localhost:{other.port}")
        with Server(lambda request: answer(b"", 302, Location=where)) as server, pytest.raises(FunctaStoreError):
            connect(server, timeout=3.0).read("a", 1000)
        assert other.requests == []


def test_a_redirect_on_the_same_server_is_followed():
    def script(request):
        return answer(b"12345") if request.path == "/b" else answer(b"", 302, Location="/b")

    with Server(script) as server:
        assert KINDS["web"](server).read("a", 1000) == b"12345"


def test_a_redirect_says_where_to():
    with Server(lambda request: answer(b"", 307, Location="http://127.0.0.1:9/x")) as server:
        for kind in ("s3", "web"):
            with pytest.raises(StorageError, match=r"sends the request on to 127\.0\.0\.1:9, which is not followed"):
                KINDS[kind](server).read("a", 1000)


def test_a_proxy_of_the_environment_is_used_and_gets_its_credentials(monkeypatch):
    with Server(lambda request: answer(b"12345")) as proxy:
        monkeypatch.setenv("http_proxy", f"http://somebody:hunter2@127.0.0.1:{proxy.port}")
        monkeypatch.delenv("no_proxy", raising=False)
        monkeypatch.delenv("NO_PROXY", raising=False)
        objects = open_objects("http://server.invalid/x.functa")
        assert objects.read("a", 1000) == b"12345"
        assert proxy.requests[0].path == "http://server.invalid/x.functa/a"
        assert proxy.requests[0].headers["proxy-authorization"] == "Basic c29tZWJvZHk6aHVudGVyMg=="


@pytest.fixture
def behind_a_proxy(monkeypatch):
    """Lets requests to servers that are not on this machine pass a server as their proxy."""

    def use(proxy):
        monkeypatch.setenv("http_proxy", proxy.url)
        monkeypatch.setenv("https_proxy", proxy.url)
        for name in ("no_proxy", "NO_PROXY", "HTTP_PROXY", "HTTPS_PROXY"):
            monkeypatch.delenv(name, raising=False)

    return use


PRIVATE = [
    "10.0.0.1",
    "192.168.1.1",
    "127.0.0.2",
    "0.0.0.0",
    "100.64.0.1",
    "224.0.0.1",
    "0x0a000001",
    "167772161",
    "[::1]",
    "[fd00::1]",
    "[::ffff:10.0.0.1]",
    "[64:ff9b::a00:1]",
    "[2002:a00:1::1]",
    "localhost",
    "nowhere.invalid",
]


@pytest.mark.parametrize("host", PRIVATE)
def test_a_proxy_is_sent_to_no_address_that_is_not_public(host, behind_a_proxy):
    """The named server, whose name only the proxy knows, sends the request on."""
    with Server(lambda request: answer(b"", 302, Location=f"http://{host}/stolen")) as proxy:
        behind_a_proxy(proxy)
        with pytest.raises(StorageError, match=r"is not followed|name is not known") as caught:
            open_objects("http://server.invalid/x.functa").read("a", 1000)
        assert "stolen" not in str(caught.value)
        assert {request.path for request in proxy.requests} == {"http://server.invalid/x.functa/a"}


# Time


def begun(request, length):
    """The head of an answer of so many bytes."""
    found = range_of(request)
    fields = {"Content_Range": f"bytes {found[0]}-{found[1]}/{2**40}"} if found else {}
    return head(206 if found else 200, Content_Length=found[1] - found[0] + 1 if found else length, **fields)


def drops(server):
    return itertools.chain.from_iterable((b"x", *server.wait(0.05)) for _ in range(1200))


SILENT = {
    "before the answer": lambda server, request: server.wait(60),
    "after the head": lambda server, request: itertools.chain([begun(request, 900)], server.wait(60)),
    "after some bytes": lambda server, request: itertools.chain([begun(request, 900), b"123"], server.wait(60)),
    "inside an error": lambda server, request: itertools.chain([head(503, Content_Length=900), b"1"], server.wait(60)),
    "inside the head": lambda server, request: itertools.chain([b"HTTP/1.1 200"], server.wait(60)),
    "a byte at a time": lambda server, request: itertools.chain([begun(request, 10**6)], drops(server)),
    "a byte of an error at a time": lambda server, request: itertools.chain(
        [head(404, Content_Length=10**6)], drops(server)
    ),
}


def silent(kind):
    server = Server(lambda request: SILENT[kind](server, request))
    return server


WAITS = {
    "read": lambda objects: objects.read("a", 10**6),
    "read_ranges": lambda objects: objects.read_ranges("a", [0, 10**7], [5000, 2000]),
    "read_version": lambda objects: objects.read_version("a"),
    "sizes": lambda objects: objects.sizes(),
    "write": lambda objects: objects.write("a", b"12345"),
    "write_new": lambda objects: objects.write_new("a", b"12345"),
    "delete": lambda objects: objects.delete(["a", "b"]),
}


@pytest.mark.slow
@pytest.mark.parametrize("call", WAITS)
@pytest.mark.parametrize("kind", SILENT)
def test_a_silent_or_slow_server_is_given_up(call, kind):
    with silent(kind) as server:
        objects = KINDS["s3"](server, timeout=SECONDS)
        began = time.monotonic()
        found = outcome(lambda: WAITS[call](objects))
        assert time.monotonic() - began < 4 * SECONDS
    if isinstance(found, StorageError):
        assert "silent" in str(found) or "longer than 1 s" in str(found)
    elif isinstance(found, StoreFormatError):  # a lease of a million bytes
        assert "at most" in str(found)
    else:  # an answer's head is enough
        assert call.startswith("write")
        assert kind in ("after the head", "after some bytes", "a byte at a time")


def test_the_repetitions_of_a_server_that_fails_end_in_time(monkeypatch):
    monkeypatch.setattr(remote, "REPEATS", 1000)
    monkeypatch.setattr(remote, "FIRST_WAIT", 0.1)
    with Server(lambda request: answer(b"", 503)) as server:
        began = time.monotonic()
        with pytest.raises(StorageError, match="503"):
            KINDS["s3"](server, timeout=SECONDS).read("a", 1000)
    assert time.monotonic() - began < 2 * SECONDS


@pytest.mark.slow
def test_a_slow_server_that_is_fast_enough_is_waited_for():
    """Twice as long as a silent one."""
    pieces = [b"x" * 100_000] * 20

    def script(request):
        yield head(200, Content_Length=2_000_000)
        for piece in pieces:
            yield piece
            time.sleep(0.15)

    with Server(script) as server:
        assert len(KINDS["web"](server, timeout=1.5, least_rate=200_000.0).read("a", 2_000_000)) == 2_000_000
        with pytest.raises(StorageError, match="less than 5,000,000 bytes per second"):
            KINDS["web"](server, timeout=1.5, least_rate=5_000_000.0).read("a", 2_000_000)


def test_an_ordinary_server_is_asked_once(connect):
    with Server(lambda request: answer(b"12345")) as server:
        assert connect(server).read("a", 1000) == b"12345"
    assert len(server.requests) == 1


@pytest.mark.parametrize("value", [0, -1, float("nan"), float("inf"), "1", None, True])
@pytest.mark.parametrize("name", ["timeout", "least_rate"])
def test_limits_of_time_are_numbers_above_0(name, value):
    with pytest.raises((ValueError, TypeError)):
        StorageOptions(**{name: value})


def test_a_call_that_another_thread_gives_up_is_not_made_again():
    found = []
    with silent("before the answer") as server:
        objects = KINDS["s3"](server, timeout=60.0)
        thread = threading.Thread(target=lambda: found.append(outcome(lambda: objects.read("a", 1000))))
        thread.start()
        while not server.requests:
            time.sleep(0.01)
        give_up_in(thread)
        thread.join(5)
    assert isinstance(found[0], StorageError)
    assert "cannot be read: it was given up" in str(found[0])
    assert len(server.requests) == 1


# Ctrl-C


INTERRUPTED = """
import os, signal, sys, threading, time
from functa_store.store.storage.objects import StorageOptions, open_objects, write_all
from functa_store.store.reading.rows import gather
from functa_store.store.storage.server_calls import map_in_threads
signal.signal(signal.SIGINT, signal.default_int_handler)  # where tests run in the background, it is ignored
objects = open_objects(sys.argv[1], StorageOptions(endpoint=sys.argv[2], timeout=600.0))
calls = {
    "read": lambda: objects.read("a", 10**9),
    "read_ranges": lambda: objects.read_ranges("a", [0, 10**8], [5000, 2000]),
    "sizes": lambda: objects.sizes(),
    "write": lambda: objects.write("a", b"12345"),
    "write_all": lambda: write_all(objects, {str(i): b"1" for i in range(100)}),
    "threads": lambda: list(map_in_threads(lambda i: objects.read(str(i), 10**9), range(100), threads=16)),
}
began = time.monotonic()
timer = threading.Timer(0.5, lambda: os.kill(os.getpid(), signal.SIGINT))
timer.start()
try:
    calls[sys.argv[3]]()
    timer.cancel()
    print("written", 0, flush=True)
except KeyboardInterrupt:
    print("interrupted", time.monotonic() - began, flush=True)
"""


@pytest.mark.parametrize(
    "call",
    [
        "read",
        *(
            pytest.param(call, marks=pytest.mark.slow)
            for call in ("read_ranges", "sizes", "write", "write_all", "threads")
        ),
    ],
)
@pytest.mark.parametrize(
    "kind", [kind if kind == "before the answer" else pytest.param(kind, marks=pytest.mark.long) for kind in SILENT]
)
def test_ctrl_c_ends_a_wait_at_once_and_the_process_with_it(call, kind):
    with silent(kind) as server:
        began = time.monotonic()
        ended = subprocess.run(
            [sys.executable, "-c", INTERRUPTED, "s3://bucket/x.functa", server.url, call],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert ended.stderr == ""
        assert ended.returncode == 0
        word, seconds = ended.stdout.split()
        # An answer's head is enough for what is written.
        assert word == "interrupted" or (
            call.startswith("write") and kind in ("after the head", "after some bytes", "a byte at a time")
        )
        assert float(seconds) < 2
        assert time.monotonic() - began < 30
