"""Paths and URLs as people type them: what is none is refused in words that repeat no credentials."""

import os
import traceback
from pathlib import Path

import pytest
import zarr

import functa_store
from functa_store.cli import main as cli
from functa_store.errors import ConfigError, FunctaStoreError, StorageError, StoreExistsError, StoreFormatError
from functa_store.store.reading.reader import StoreReader
from functa_store.store.reading.verify import verify
from functa_store.store.storage.local import LocalObjects
from functa_store.store.storage.location import Address, parse_location
from functa_store.store.storage.objects import StorageOptions, open_objects
from functa_store.store.writing.destination import check_output
from tests.decode.stores import write_store

NO_URLS = [
    "http://[",
    "http://[::1/x.functa",
    "http://]/x.functa",
    "http://host:99999/x.functa",
    "http://host:0/x.functa",
    "http://host:-1/x.functa",
    "http://host:port/x.functa",
    "http://:80/x.functa",
    "http:///x.functa",
    "http://",
    "https://",
    "http://ho st/x.functa",
    "http://host\n/x.functa",
    "http://host/x\ny.functa",
    "http://host/\x1b[31mx.functa",
    "http://host/x.functa\x7f",
    "http://-host/x.functa",
    "http://ho^st/x.functa",
    "http://a\\b/x.functa",
    "http://bücher.example/x.functa",
    "http://\u2028/x.functa",
    "s3://",
    "s3:///x.functa",
    "s3://buck:et/x.functa",
    "s3://b\u00fccket/x.functa",
    "s3://bucket/a//x.functa",
    "s3://bucket/../x.functa",
    "s3://bucket/./x.functa",
    "s3://[bucket/x.functa",
    "gs://",
    "gs://[]/x.functa",
    "memory://",
    "memory://a:b/x.functa",
    "file://",
    "file://host/x.functa",
    "file://[/x.functa",
    "file:///a%00b.functa",
    "file:///a?b.functa",
    "file:///a#b.functa",
    "://x.functa",
    "a b://x.functa",
    "/data/s3://bucket/x.functa",
    "s3+http://x",
]


@pytest.mark.parametrize("location", NO_URLS)
def test_what_is_no_url_is_refused_as_a_wrong_option(location):
    for act in (open_objects, check_output, StoreReader, verify, functa_store.open):
        with pytest.raises(ConfigError) as caught:
            act(location)
        assert len(str(caught.value)) < 400
        assert str(caught.value).isprintable()


@pytest.mark.parametrize("location", NO_URLS)
@pytest.mark.parametrize("command", ["info", "verify"])
def test_the_command_line_says_so_in_one_line(command, location, capsys):
    assert cli.main([command, location]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error:")
    assert error.count("\n") == 1
    assert "Traceback" not in error


@pytest.mark.parametrize("location", ["", "a\0b", "s3://bucket/a\0b", Path("a\0b"), "~\0", "http://ho\0st/"])
def test_neither_nothing_nor_nul_names_a_place(location):
    for act in (open_objects, check_output, StoreReader, verify):
        with pytest.raises(ConfigError, match=r"empty|NUL"):
            act(location)


class Bytes(os.PathLike):
    def __fspath__(self):
        return b"x.functa"


@pytest.mark.parametrize("location", [None, 3, 1.5, b"x.functa", Bytes(), object(), [], {"a": 1}, str])
def test_what_is_no_text_names_no_place(location):
    """Where types are checked at run time, as in tests, beartype may say so first."""
    with pytest.raises(
        Exception, match=r"expected a path or a URL as text|violates type hint|TypeCheckError|Type-check"
    ):
        open_objects(location)
    with pytest.raises(ConfigError, match="expected a path or a URL as text, got"):
        parse_location(location)


@pytest.mark.parametrize(
    "location",
    [
        "s3:/KEY:hunter2@bucket/x.functa",
        "s3:KEY:hunter2@bucket/x.functa",
        "S3:/KEY:hunter2@bucket/x.functa",
        "gs:/hunter2@bucket/x.functa",
        "gs:hunter2",
        "http:/user:hunter2@host/x.functa",
        "Https:/user:hunter2@host/x.functa",
        "https:user:hunter2@host/x.functa",
        "file:/hunter2/x.functa",
        "memory:/hunter2",
        "s3a:/hunter2@bucket",
        "ftp:/user:hunter2@host",
        " s3:/KEY:hunter2@bucket/x.functa",
        Path("s3://KEY:hunter2@bucket/x.functa"),
        "s3://KEY:hunter2@bucket/x.functa",
        "s3://KEY:hunt/hunter2@bucket/x.functa",
        "s3://KEY:hunter2",
        "s3://KEY:hunter2/bucket/x.functa",
        "s3://hunter2@/x.functa",
        "http://user:hunter2@[::1/x.functa",
        "http://user:hunter2@host:99999/x.functa",
        "http://user:hunter2/@host/x.functa",
        "http://user:hunter2@host\n/x.functa",
        "https://host/x.functa?X-Amz-Signature=hunter2",
        "https://host/x.functa?sig=hunter2#a",
        "https://host/x.functa#hunter2",
        "file://user:hunter2@localhost/x.functa",
        "file://user:hunter2@/x.functa",
        "KEY:hunter2@s3://bucket/x.functa",
        "hunter2://bucket/x.functa@",
        "https://host/token=hunter2/x.functa",
    ],
)
def test_a_mistyped_address_with_credentials_is_refused_and_makes_no_folder(location, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for act in (open_objects, check_output, StoreReader, verify, functa_store.open):
        with pytest.raises(ConfigError) as caught:
            act(location)
        assert "hunter2" not in str(caught.value) or str(location).startswith("hunter2://")
        seen = "".join(traceback.format_exception(caught.value))
        assert "hunter2" not in seen.replace(repr(location), "") or str(location).startswith("hunter2://")
    assert os.listdir(tmp_path) == []
    if not str(location).startswith("hunter2://"):
        assert cli.main(["info", str(location), "--json"]) == 2
        captured = capsys.readouterr()
        assert "hunter2" not in captured.out + captured.err


@pytest.mark.parametrize(
    ("location", "expected"),
    [
        ("s3://bucket/a/x.functa", Address(scheme="s3", host="bucket", prefix="a/x.functa")),
        ("S3://bucket/x.functa/", Address(scheme="s3", host="bucket", prefix="x.functa")),
        ("s3://b.c-1_2/me@work/my pets.functa", Address(scheme="s3", host="b.c-1_2", prefix="me@work/my pets.functa")),
        ("s3://bucket/größe.functa", Address(scheme="s3", host="bucket", prefix="größe.functa")),
        ("gs://bucket", Address(scheme="gs", host="bucket", prefix="")),
        ("https://example.org/a%20b/x.functa", Address(scheme="https", host="example.org", prefix="a%20b/x.functa")),
        ("http://127.0.0.1:9000/x.functa", Address(scheme="http", host="127.0.0.1:9000", prefix="x.functa")),
        ("http://[::1]:80/x.functa", Address(scheme="http", host="[::1]:80", prefix="x.functa")),
        ("http://xn--bcher-kva.example/x", Address(scheme="http", host="xn--bcher-kva.example", prefix="x")),
        ("memory://a/b", Address(scheme="memory", host="a", prefix="b")),
        ("file:///a/b%20c.functa", "/a/b c.functa"),
        ("file://localhost/a%3Fb", "/a?b"),
        ("a:b.functa", "a:b.functa"),
        ("C:/x.functa", "C:/x.functa"),
        ("./s3:x.functa", "./s3:x.functa"),
        ("https.functa", "https.functa"),
        ("x:/y.functa", "x:/y.functa"),
        (Path("a") / "b.functa", "a/b.functa"),
        ("caf\udce9.functa", "caf\udce9.functa"),
    ],
)  # fmt: skip
def test_ordinary_places_are_taken_as_they_are(location, expected):
    assert parse_location(location) == expected


ADDRESSES = ["s3://bucket/faces1.functa", "gs://faces1/x.functa", "https://example.org/faces1/x.functa"]


@pytest.mark.parametrize("location", ADDRESSES)
@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("ANY_KEY", "faces1"),
        ("MY_PASSWORD", "faces1"),
        ("HF_TOKEN", "faces1"),
        ("AWS_ACCESS_KEY_ID", "faces1"),
        ("http_proxy", "http://user:faces1@127.0.0.1:9"),
    ],
)
def test_a_word_that_is_a_secret_of_something_else_is_no_credential_of_an_address(
    location, variable, value, monkeypatch
):
    monkeypatch.setenv(variable, value)
    assert parse_location(location) == Address(
        scheme=location.partition(":")[0],
        host=location.split("/")[2],
        prefix="/".join(location.split("/")[3:]),
    )


@pytest.mark.parametrize("variable", ["AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "GOOGLE_SERVICE_ACCOUNT_KEY"])
@pytest.mark.parametrize("location", ADDRESSES)
def test_a_secret_of_a_provider_is_none_in_an_address(location, variable, monkeypatch):
    monkeypatch.setenv(variable, "faces1")
    with pytest.raises(ConfigError, match="looks like credentials") as caught:
        parse_location(location)
    assert "faces1" not in str(caught.value)


def test_a_path_with_a_tilde_is_that_of_the_home(monkeypatch):
    monkeypatch.setenv("HOME", "/home/somebody")
    assert isinstance(found := open_objects("~/x.functa"), LocalObjects)
    assert found.name == "/home/somebody/x.functa"


ENDPOINTS = [
    "http://user:hunter2@127.0.0.1:9",
    "http://hunter2@127.0.0.1:9",
    "http://user:hunt/hunter2@127.0.0.1:9",
    "http://127.0.0.1:9/?token=hunter2",
    "http://127.0.0.1:9/#hunter2",
    "s3://user:hunter2@bucket",
    "user:hunter2@127.0.0.1:9",
    "http://[hunter2",
    "http://hunter2:port",
    "http://127.0.0.1:99999/hunter2",
    "hunter2",
    "http://127.0.0.1:9\n/hunter2",
    "http:/user:hunter2@host",
]


@pytest.mark.parametrize("endpoint", ENDPOINTS)
@pytest.mark.parametrize(
    "where", ["option", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT", "GOOGLE_BASE_URL"]
)
def test_an_endpoint_is_an_address_and_nothing_else_wherever_it_is_set(where, endpoint, monkeypatch, capsys):
    scheme, options = ("gs" if "GOOGLE" in where else "s3"), []
    if where == "option":
        options = ["--endpoint", endpoint]
        with pytest.raises(ConfigError) as caught:
            StorageOptions(endpoint=endpoint)
    else:
        monkeypatch.setenv(where, endpoint)
        with pytest.raises(ConfigError, match=where) as caught:
            open_objects(f"{scheme}://bucket/x.functa")
    assert "hunter2" not in "".join(traceback.format_exception(caught.value)).replace(repr(endpoint), "")
    assert cli.main(["info", f"{scheme}://bucket/x.functa", "--json", *options]) == 2
    captured = capsys.readouterr()
    assert "ConfigError" in captured.out
    assert "hunter2" not in captured.out + captured.err


def test_an_endpoint_of_the_environment_is_checked_where_an_option_names_another(monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://user:hunter2@127.0.0.1:9")
    with pytest.raises(FunctaStoreError, match="AWS_ENDPOINT_URL"):
        open_objects("s3://bucket/x.functa", StorageOptions(endpoint="http://127.0.0.1:9"))


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (
            lambda path: path.with_name("x.functa.work").write_text("mine"),
            StoreExistsError,
            r"x\.functa\.work: is some",
        ),
        (lambda path: path.with_name("x.functa.log").mkdir(), StoreExistsError, r"x\.functa\.log: is something else"),
        (lambda path: path.with_name("x.functa.log").symlink_to("y"), StoreFormatError, r"x\.functa\.log: is a link"),
        (lambda path: path.with_name("x.functa.work").symlink_to("y"), StoreFormatError, r"x\.functa\.work: "),
    ],
    ids=["a file as work folder", "a folder as log", "a link as log", "a link as work folder"],
)
def test_what_stands_in_the_way_beside_a_store_is_said_before_work(tmp_path, capsys, make, error, words):
    make(tmp_path / "x.functa")
    with pytest.raises(error, match=words):
        check_output(tmp_path / "x.functa")
    (tmp_path / "in").mkdir()
    assert cli.main(["convert", "images", str(tmp_path / "in"), str(tmp_path / "x.functa"), "--dry-run"]) == 2
    assert "x.functa." in capsys.readouterr().err


@pytest.mark.parametrize("name", ["x" * 300 + ".functa", "ä" * 130 + ".functa", "x" * 246 + ".functa"])
@pytest.mark.parametrize("folder", ["", "new"])
def test_a_name_that_is_too_long_for_a_disk_is_refused(tmp_path, name, folder):
    with pytest.raises(StorageError, match="bytes, expected at most 255"):
        check_output(tmp_path / folder / name)


def test_a_name_may_be_as_long_as_a_disk_allows(tmp_path):
    assert check_output(tmp_path / ("x" * 243 + ".functa")).state == "absent"


@pytest.mark.parametrize("inside", ["x.functa", "base/x.functa", "new/folders/x.functa"])
def test_no_store_is_written_inside_another(tmp_path, inside):
    outer = tmp_path / "a.functa"
    write_store(outer)
    with pytest.raises(StoreExistsError, match=r"lies inside .*a\.functa, which is a store"):
        check_output(outer / inside)
    outer.rename(tmp_path / "renamed")
    (tmp_path / "link").symlink_to(tmp_path / "renamed")
    for name in ("renamed", "link"):
        with pytest.raises(StoreExistsError, match="lies inside"):
            check_output(tmp_path / name / inside)
    (tmp_path / "renamed" / "zarr.json").write_text("{")
    with pytest.raises(StoreExistsError, match="lies inside"):
        check_output(tmp_path / "renamed" / inside)


def test_no_store_is_written_inside_a_work_folder_or_one_that_is_being_learned(tmp_path):
    (tmp_path / "a.functa.work").mkdir()
    for inside in ("a.functa.work/x.functa", "a.functa/x.functa"):
        with pytest.raises(StoreExistsError, match="lies inside"):
            check_output(tmp_path / inside)


def test_a_store_may_lie_in_a_group_or_a_folder_of_any_name(tmp_path):
    zarr.create_group(tmp_path / "group")
    (tmp_path / "mine.functa").mkdir()
    for folder in ("group", "mine.functa"):
        assert check_output(tmp_path / folder / "x.functa").state == "absent"
