"""The page and one functaset served on this machine."""

import contextlib
import http.client
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.parse
from pathlib import Path

import pytest

import functa_store
from functa_store.errors import ConfigError, NoFunctasetError
from functa_store.page.server import asked_range, view
from functa_store.page.site import INDEX, STATIC
from functa_store.store.storage.objects import open_objects
from tests.store.conftest import make_contents, write_shards

GOLDEN = Path(__file__).parents[1] / "golden"


@pytest.fixture(scope="module", name="server")
def _server(tmp_path_factory):
    store = tmp_path_factory.mktemp("served") / "pets.functa"
    shutil.copytree(GOLDEN / "v7.functa", store)
    (store.parent / "secret.json").write_text("secret")
    (store / "secret.json").write_text("secret")
    (store / "labels/evil").mkdir(parents=True)
    (store / "labels/evil/zarr.json").symlink_to(store.parent / "secret.json")
    with view(store, browser=False) as server:
        yield server


def ask(server, path, method="GET", **headers):
    """Status, headers and body of an answer; a path is sent as it is."""
    host = urllib.parse.urlsplit(server.url)
    with contextlib.closing(http.client.HTTPConnection(host.hostname, host.port, timeout=10)) as connection:
        connection.request(method, path, headers={key.replace("_", "-"): value for key, value in headers.items()})
        answer = connection.getresponse()
        return answer.status, dict(answer.getheaders()), answer.read()


def test_the_page_names_the_functaset_that_is_beside_it(server):
    status, headers, body = ask(server, "/")
    assert status == 200
    assert headers["Content-Type"] == "text/html; charset=utf-8"
    assert b'<meta name="functaset" content="pets.functa">' in body
    assert ask(server, "/?store=x")[2] == ask(server, "/index.html")[2] == body


def test_all_files_of_page_and_functaset_are_served_as_they_are(server):
    for path in STATIC.rglob("*"):
        if path.is_file() and path.name != INDEX:
            assert ask(server, f"/{path.relative_to(STATIC)}")[2] == path.read_bytes()
    golden = GOLDEN / "v7.functa"
    for path in (path for path in golden.rglob("*") if path.is_file()):
        status, headers, body = ask(server, f"/pets.functa/{path.relative_to(golden)}")
        assert (status, body) == (200, path.read_bytes())
        assert headers["Content-Length"] == str(len(body))


def test_a_closed_range_is_a_part(server):
    whole = (GOLDEN / "v7.functa/modulations/c/0/0").read_bytes()
    status, headers, body = ask(server, "/pets.functa/modulations/c/0/0", Range="bytes=8-23")
    assert (status, body) == (206, whole[8:24])
    assert headers["Content-Range"] == f"bytes 8-23/{len(whole)}"
    assert headers["Content-Length"] == "16"
    status, headers, body = ask(server, "/pets.functa/modulations/c/0/0", Range=f"bytes={len(whole)}-")
    assert (status, headers["Content-Range"], body) == (416, f"bytes */{len(whole)}", b"")


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("bytes=0-0", range(1)),
        ("bytes=2-5", range(2, 6)),
        ("bytes=2-500", range(2, 10)),
        ("bytes=2-", range(2, 10)),
        ("bytes=-3", range(7, 10)),
        ("bytes=-30", range(10)),
        ("bytes=10-12", range(0)),
        ("bytes=-0", range(0)),
        ("bytes=5-2", None),
        ("bytes=-", None),
        ("bytes=0-1,4-5", None),
        ("lines=0-1", None),
        ("bytes=0-" + "9" * 50, None),
    ],
)
def test_ranges_are_those_of_the_standard(header, expected):
    found = asked_range(header, 10)
    assert found is None if expected is None else list(found) == list(expected)


def test_head_has_no_body(server):
    status, headers, body = ask(server, "/pets.functa/zarr.json", method="HEAD")
    assert (status, body) == (200, b"")
    assert headers["Content-Length"] == str((GOLDEN / "v7.functa/zarr.json").stat().st_size)


@pytest.mark.parametrize(
    "path",
    [
        "/secret.json",
        "/pets.functa/secret.json",
        "/pets.functa/../secret.json",
        "/pets.functa/%2e%2e/secret.json",
        "/pets.functa/labels/../../secret.json",
        "/pets.functa/labels/..%2f..%2fsecret.json/zarr.json",
        "/pets.functa/labels/%00/zarr.json",
        "/pets.functa/labels/%ff/zarr.json",
        "/pets.functa/labels/evil/zarr.json",
        "/pets.functa.work/receipts/../../secret.json",
        "/pets.functa.work/job.json",
        "/pets.functa/",
        "/pets.functa",
        "/pets.functa/labels",
        "//etc/hostname",
        "/%2fetc%2fhostname",
        "/../../../../../../etc/hostname",
        "/assets",
    ],
)
def test_nothing_else_is_served(server, path):
    status, _, body = ask(server, path)
    assert status == 404
    assert b"secret" not in body


def test_others_may_neither_ask_nor_read_nor_frame(server):
    """Not even a site whose name is made to stand for this machine."""
    assert ask(server, "/", Host="evil.example")[0] == 403
    assert ask(server, "/", Host="evil.example:80")[0] == 403
    assert ask(server, "/", Host="localhost:1")[0] == 200
    for path in ("/", "/pets.functa/zarr.json", "/none"):
        headers = ask(server, path, Origin="https://evil.example")[1]
        assert "Access-Control-Allow-Origin" not in headers
        assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
        assert headers["Content-Security-Policy"] == "connect-src 'self'; frame-ancestors 'none'"
        assert headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
def test_nothing_but_reading_is_answered(server, method):
    assert ask(server, "/pets.functa/zarr.json", method=method)[0] == 501


def test_a_client_that_goes_away_harms_nobody(server, caplog):
    host = urllib.parse.urlsplit(server.url)
    for words in (
        b"GET /pets.functa/modulations/c/0/0 HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /",
        b"\x00\xff\r\n\r\n",
    ):
        with socket.create_connection((host.hostname, host.port)) as connection:
            connection.sendall(words)
    assert ask(server, "/")[0] == 200
    assert not caplog.records


def test_what_is_damaged_is_an_error_and_not_wrong_bytes(tmp_path):
    store = tmp_path / "pets.functa"
    shutil.copytree(GOLDEN / "v7.functa", store)
    shard = store / "modulations/c/0/0"
    os.truncate(shard, shard.stat().st_size - 4)
    (store / "id/c/0").unlink()
    with view(store, browser=False) as server:
        assert ask(server, "/pets.functa/id/c/0")[0] == 404
        assert ask(server, "/pets.functa/modulations/c/0/0", Range="bytes=0-7")[0] == 206
        assert ask(server, "/pets.functa/modulations/c/0/0")[0] == 502


def test_parts_and_what_is_unfinished_are_served(tmp_path):
    with view(GOLDEN / "grown_v8.functa", browser=False) as server:
        for key in (
            "zarr.json",
            "parts/zarr.json",
            "parts/0001.functa/zarr.json",
            "parts/0001.functa/modulations/c/0/0",
        ):
            assert ask(server, f"/grown_v8.functa/{key}")[2] == (GOLDEN / "grown_v8.functa" / key).read_bytes()
        assert ask(server, "/grown_v8.functa/parts/0009.functa/zarr.json")[0] == 404
    with pytest.raises(KeyboardInterrupt):
        write_shards(tmp_path / "pets.functa", make_contents(), stop_before=2)
    with view(tmp_path / "pets.functa", browser=False) as server:
        receipt = (tmp_path / "pets.functa.work/receipts/000001.json").read_bytes()
        assert ask(server, "/pets.functa.work/receipts/000001.json")[2] == receipt
        assert ask(server, "/pets.functa.work/receipts/000002.json")[0] == 404
        assert ask(server, "/pets.functa/modulations/c/1/0", Range="bytes=0-15")[0] == 206


def test_a_functaset_in_a_bucket_is_read_by_the_server():
    bucket = open_objects("memory://page/pets.functa")
    write_shards(bucket, make_contents())
    with view("memory://page/pets.functa", browser=False) as server:
        whole = ask(server, "/pets.functa/modulations/c/1/0")[2]
        assert whole == bucket.read("modulations/c/1/0", 10**6)
        assert ask(server, "/pets.functa/modulations/c/1/0", Range="bytes=16-31")[2] == whole[16:32]
        assert ask(server, "/pets.functa/labels/none/zarr.json")[0] == 404


def test_an_open_functaset_is_served_as_its_path_is():
    functaset = functa_store.open(GOLDEN / "v7.functa")
    with view(functaset, browser=False) as server:
        assert ask(server, "/v7.functa/zarr.json")[2] == (GOLDEN / "v7.functa/zarr.json").read_bytes()


def test_a_port_that_is_taken_and_one_that_is_none_are_refused(server, tmp_path):
    port = urllib.parse.urlsplit(server.url).port
    with pytest.raises(ConfigError, match=f"127.0.0.1:{port}: cannot be listened at: .*choose another"):
        view(GOLDEN / "v7.functa", port=port, browser=False)
    with pytest.raises(ConfigError, match="port must be from 0 to 65535"):
        view(GOLDEN / "v7.functa", port=65536, browser=False)
    with pytest.raises(ConfigError, match="cannot be listened at"):
        view(GOLDEN / "v7.functa", host="no such host", browser=False)
    with pytest.raises(NoFunctasetError):
        view(tmp_path, browser=False)


def test_closing_gives_the_port_back():
    with view(GOLDEN / "v7.functa", browser=False) as server:
        port = urllib.parse.urlsplit(server.url).port
    assert server.wait(0.0)
    with view(GOLDEN / "v7.functa", port=port, browser=False) as server:
        assert ask(server, "/")[0] == 200
        assert not server.wait(0.0)


def test_a_browser_is_opened_where_there_is_a_screen(monkeypatch):
    opened = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    monkeypatch.setattr(sys, "platform", "linux")
    for name in ("BROWSER", "DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    with view(GOLDEN / "v7.functa"):
        monkeypatch.setenv("DISPLAY", ":0")
        with view(GOLDEN / "v7.functa") as server, view(GOLDEN / "v7.functa", browser=False):
            deadline = time.monotonic() + 10
            while not opened and time.monotonic() < deadline:
                time.sleep(0.01)
            assert opened == [server.url]


@pytest.mark.slow
def test_ctrl_c_ends_the_command_quietly():
    command = [sys.executable, "-m", "functa_store.cli", "view", str(GOLDEN / "v7.functa"), "--no-browser", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline().startswith('{"url": "http://127.0.0.1:')
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=10)
    assert (process.returncode, out, err) == (0, "", "")
