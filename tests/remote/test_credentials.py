"""No credential shows in an error, its traceback, a representation, a pickle, a log, or the command line's output."""

import contextlib
import json
import logging
import os
import pickle
import subprocess
import sys
import traceback
from pathlib import Path

import pytest

import functa_store
from functa_store.cli import main as cli
from functa_store.errors import FunctaStoreError
from functa_store.store.reading.verify import verify
from functa_store.store.storage import remote
from functa_store.store.storage.objects import StorageOptions, open_objects
from functa_store.store.writing.destination import check_output
from tests.remote.hostile import Server, answer
from tests.remote.servers import free_port

REPOSITORY = Path(__file__).parents[2]

SECRETS = {
    "AWS_ACCESS_KEY_ID": "AKIAQ4HUNTERTWOXKEYZ",
    "AWS_SECRET_ACCESS_KEY": "hUnTer2/SeCret+kEy/ThatNobody",
    "AWS_SESSION_TOKEN": "hUnTer2SesSion/ToKen+ThatNobody==",
}
PROXY_PASSWORD = "hUnTer2proXy"
PARTS = ("hUnTer2", "HUNTERTWO", "aFVuVGVy", "Signature=", "X-Amz-Signature", "68556e54657232")
"""What shows in text that holds a secret, as it is, in base64 or in hexadecimal digits."""


@pytest.fixture(autouse=True)
def _secrets(monkeypatch):
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(remote, "FIRST_WAIT", 0.01)
    monkeypatch.setattr(remote, "REPEATS", 1)


def assert_no_secret(*things: object) -> None:
    for thing in things:
        text = thing.decode("latin-1") if isinstance(thing, bytes) else str(thing)
        for part in PARTS:
            assert part not in text, text


def echo(request) -> bytes:
    """All that the server was sent, as servers repeat it in their pages, and as one that means harm would."""
    authorization = request.headers.get("authorization", "")
    lines = [f"{name}: {value}" for name, value in request.headers.items()]
    return "\n".join(
        [
            f"<Error><Code>{SECRETS['AWS_ACCESS_KEY_ID']}</Code><Message>{authorization}</Message>",
            *lines,
            json.dumps(request.headers),
            request.path,
            f"<AWSAccessKeyId>{SECRETS['AWS_ACCESS_KEY_ID']}</AWSAccessKeyId>",
            f"<StringToSign>x-amz-security-token:{SECRETS['AWS_SESSION_TOKEN']}</StringToSign>",
            *SECRETS.values(),
            "</Error>",
        ]
    ).encode()


TOKEN, KEY = SECRETS["AWS_SESSION_TOKEN"], SECRETS["AWS_ACCESS_KEY_ID"]

ECHOES = {
    **{str(status): lambda request, status=status: answer(echo(request), status) for status in
       (200, 206, 301, 307, 400, 401, 403, 404, 409, 412, 416, 429, 500, 501, 503)},
    "in a head": lambda request: answer(b"", 400, X_Echo=TOKEN, ETag=TOKEN),
    "in a status": lambda request: [f"HTTP/1.1 400 {TOKEN}\r\nContent-Length: 0\r\n\r\n".encode()],
    "in no answer": lambda request: [echo(request)],
    "in a redirect": lambda request: answer(b"", 307, Location=f"http://{KEY}:80/?{TOKEN}"),
    "in a redirect to nowhere": lambda request: answer(b"", 307, Location=TOKEN),
    "in a range": lambda request: answer(b"12345", 206, Content_Range=TOKEN),
    "in a length": lambda request: [f"HTTP/1.1 200 OK\r\nContent-Length: {TOKEN}\r\n\r\n".encode()],
    "in a listing": lambda request: answer(b"<ListBucketResult><Contents><Key>" + echo(request)),
    "in names of a listing": lambda request: answer(
        f"<ListBucketResult><Contents><Key>x.functa/{SECRETS['AWS_SECRET_ACCESS_KEY']}</Key><Size>1</Size>"
        "<LastModified>2024-01-01T00:00:00Z</LastModified></Contents></ListBucketResult>".encode()
    ),
}  # fmt: skip

CALLS = {
    "open": lambda url, storage: functa_store.open(url, storage=storage),
    "verify": lambda url, storage: verify(url, storage=storage),
    "check": check_output,
    "read": lambda url, storage: open_objects(url, storage).read("a", 1000),
    "ranges": lambda url, storage: open_objects(url, storage).read_ranges("a", [0], [5]),
    "version": lambda url, storage: open_objects(url, storage).read_version("a"),
    "size": lambda url, storage: open_objects(url, storage).size("a"),
    "list": lambda url, storage: open_objects(url, storage).sizes(),
    "write": lambda url, storage: open_objects(url, storage).write("a", b"1"),
    "write_new": lambda url, storage: open_objects(url, storage).write_new("a", b"1"),
    "write_if": lambda url, storage: open_objects(url, storage).write_if("a", b"1", {"e_tag": "1"}),
    "delete": lambda url, storage: open_objects(url, storage).delete(["a"]),
}


def told(error: BaseException) -> str:
    """All that may be printed of an error: its text, its arguments, every traceback, and what it came from."""
    texts, seen = [], []
    while error is not None and error not in seen:
        seen.append(error)
        texts += [str(error), repr(error), repr(error.args)]
        texts += traceback.format_exception(error)
        error = error.__cause__ or error.__context__
    return "\n".join(texts)


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("kind", ECHOES)
def test_what_a_server_repeats_is_not_told(call, kind, caplog, capfd):
    with Server(ECHOES[kind]) as server, caplog.at_level(logging.DEBUG):
        storage = StorageOptions(endpoint=server.url, timeout=5.0)
        try:
            CALLS[call]("s3://bucket/x.functa", storage)
        except (FunctaStoreError, OSError) as error:
            assert_no_secret(told(error))
    assert any("x-amz-security-token" in request.headers for request in server.requests)
    captured = capfd.readouterr()
    assert_no_secret(caplog.text, captured.out, captured.err)


COMMANDS = {
    "info": ["info", "{url}", "--json"],
    "verify": ["verify", "{url}", "--json"],
    "decode": ["decode", "{url}", "--out", "{out}.npz", "--json"],
    "export": ["export", "{url}", "--out", "{out}.zarr", "--json"],
    "recode": ["recode", "{url}", "{out}.functa", "--modulation-dtype", "int8"],
    "recode to": ["recode", "{golden}", "{url}", "--modulation-dtype", "int8"],
    "repair": ["repair", "{url}", "{golden}"],
}


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("kind", ["200", "400", "403", "404", "in a redirect", "in a listing", "in no answer"])
def test_the_command_line_does_not_tell_what_a_server_repeats(command, kind, capfd, tmp_path):
    golden = str(REPOSITORY / "tests/golden/v6.functa")
    with Server(ECHOES[kind]) as server:
        words = [
            word.format(url="s3://bucket/x.functa", out=tmp_path / "out", golden=golden) for word in COMMANDS[command]
        ]
        with contextlib.suppress(SystemExit):
            assert cli.main([*words, "--endpoint", server.url]) != 0
    captured = capfd.readouterr()
    assert_no_secret(captured.out, captured.err)
    assert "Traceback" not in captured.err


@pytest.mark.parametrize("variable", ["http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "ALL_PROXY"])
@pytest.mark.parametrize(
    "url", ["http://server.invalid/x.functa", "https://server.invalid/x.functa", "s3://bucket/x.functa"]
)
def test_a_proxy_that_fails_does_not_tell_its_password(variable, url, monkeypatch, capfd):
    monkeypatch.setenv(variable, f"http://somebody:{PROXY_PASSWORD}@127.0.0.1:{free_port()}")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    for call in ("open", "read", "verify"):
        with pytest.raises(FunctaStoreError) as caught:
            CALLS[call](url, StorageOptions(timeout=2.0))
        assert_no_secret(told(caught.value))
    assert cli.main(["info", url, "--timeout", "2"]) == 2
    captured = capfd.readouterr()
    assert_no_secret(captured.out, captured.err)


def test_a_proxy_that_repeats_its_password_is_not_told(monkeypatch):
    def script(request):
        return answer(request.headers["proxy-authorization"].encode() + PROXY_PASSWORD.encode(), 407)

    with Server(script) as proxy:
        monkeypatch.setenv("http_proxy", f"http://somebody:{PROXY_PASSWORD}@127.0.0.1:{proxy.port}")
        monkeypatch.delenv("no_proxy", raising=False)
        monkeypatch.delenv("NO_PROXY", raising=False)
        for call in ("open", "read", "size"):
            with pytest.raises(FunctaStoreError) as caught:
                CALLS[call]("http://server.invalid/x.functa", StorageOptions())
            assert_no_secret(told(caught.value))


def test_representations_and_pickles_hold_no_secret():
    with Server(lambda request: answer(b"12345")) as server:
        storage = StorageOptions(endpoint=server.url)
        objects = open_objects("s3://bucket/x.functa", storage)
        objects.read("a", 1000)
        for thing in (storage, objects, objects.below("a"), objects.sibling(".work")):
            assert_no_secret(repr(thing), pickle.dumps(thing), str(thing))


@pytest.mark.long
@pytest.mark.parametrize("module", ["functa_store.cli"])
@pytest.mark.parametrize("kind", ["200", "403", "in a redirect"])
def test_a_process_of_its_own_tells_nothing_either(module, kind, tmp_path):
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY), "RUST_LOG": "trace", "RUST_BACKTRACE": "1"}
    with Server(ECHOES[kind]) as server:
        for command in COMMANDS.values():
            words = [word.format(url="s3://bucket/x.functa", out=tmp_path / "o", golden="none") for word in command]
            ended = subprocess.run(
                [sys.executable, "-m", module, *words, "--endpoint", server.url],
                capture_output=True,
                env=environment,
                timeout=120,
                check=False,
            )
            assert ended.returncode in (2, 4)  # verify calls what is no JSON damage
            assert_no_secret(ended.stdout, ended.stderr)
