"""Parquet files on servers: addresses as the hub has them, and servers that send elsewhere or change."""

import contextlib
import http.server
import threading

import numpy as np
import pytest

from converters.archives.remote_file import RemoteFile
from converters.tables.huggingface import open_huggingface
from functa_store.errors import ArchiveError
from functa_store.store.storage import proxy
from tests.converters.tables.tables import pictures, split


@contextlib.contextmanager
def hub(answer):
    """A server; `answer` gives status, headers and body of a path and a range."""
    asked = []

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_):
            pass

        def do_GET(self):
            asked.append(self.path)
            status, headers, body = answer(self.path, self.headers.get("Range"))
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        do_HEAD = do_GET  # the base class's name

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port, asked
        server.shutdown()


def part_of(data):
    def answer(path, asked_range):
        if asked_range is None:
            return 200, {}, data
        first, last = asked_range.removeprefix("bytes=").split("-")
        part = data[int(first) : int(last) + 1]
        return 206, {"Content-Range": f"bytes {first}-{int(first) + len(part) - 1}/{len(data)}"}, part

    return answer


@pytest.fixture(name="parquet")
def _parquet(tmp_path):
    return split(tmp_path / "0.parquet", pictures(4)).read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("address", "asked"),
    [
        ("resolve/refs%2Fconvert%2Fparquet/a%20b/0.parquet", "/resolve/refs/convert/parquet/a%20b/0.parquet"),
        ("resolve/main/0.parquet?download=true", "/resolve/main/0.parquet"),
    ],
)
def test_addresses_are_those_that_a_browser_shows(parquet, address, asked):
    """What is encoded in an address already is not encoded again."""
    with hub(part_of(parquet)) as (port, paths):
        source = open_huggingface(f"http://127.0.0.1:{port}/{address}", resolution=8)
        assert np.array_equal([source.read(k) for k in range(4)], pictures(4))
    assert set(paths) == {asked}


def test_credentials_and_queries_are_refused_and_not_repeated():
    for address in ("http://me:secret@127.0.0.1:9/0.parquet", "http://127.0.0.1:9/0.parquet?signature=secret"):
        with pytest.raises(ArchiveError) as caught:
            RemoteFile(address)
        assert "secret" not in str(caught.value)


@pytest.mark.slow
def test_the_hub_sends_on_to_other_servers(parquet, monkeypatch):
    """Files lie on servers of their own, under addresses that are signed; these may be anywhere but in this network."""
    with hub(part_of(parquet)) as (elsewhere, paths):
        location = f"http://127.0.0.1:{elsewhere}/blob?X-Amz-Signature=a%2Fb&Expires=3600"
        with hub(lambda *_: (302, {"Location": location}, b"")) as (port, _):
            with pytest.raises(ArchiveError, match=r"sends the request on to 127.0.0.1.*which is not followed"):
                RemoteFile(f"http://127.0.0.1:{port}/0.parquet")
            monkeypatch.setattr(proxy, "_is_public", lambda _: True)
            source = open_huggingface(f"http://127.0.0.1:{port}/0.parquet", resolution=8)
            assert np.array_equal([source.read(k) for k in range(4)], pictures(4))
    assert set(paths) == {"/blob?X-Amz-Signature=a%2Fb&Expires=3600"}


def test_a_server_without_ranges_is_refused(parquet):
    with (
        hub(lambda *_: (200, {}, parquet)) as (port, _),
        pytest.raises(ArchiveError, match="Range request not support"),
    ):
        open_huggingface(f"http://127.0.0.1:{port}/0.parquet")
