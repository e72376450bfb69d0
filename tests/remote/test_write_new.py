"""An object is created where there is none, by one of many, and never by a process that lost its claim."""

import concurrent.futures

import pytest

from functa_store.errors import StorageError, StoreExistsError
from functa_store.store.storage import remote
from functa_store.store.storage.objects import StorageOptions, open_objects
from tests.remote.conftest import again
from tests.remote.hostile import Server, answer
from tests.remote.servers import Faults, Proxy


@pytest.fixture(autouse=True)
def _soon(monkeypatch):
    monkeypatch.setattr(remote, "FIRST_WAIT", 0.01)


@pytest.fixture(params=["s3", "memory", "gcs"])
def place(request):
    return request.getfixturevalue(request.param)


def test_the_first_creates_and_the_second_changes_nothing(place):
    assert place.write_new("a/b", b"fir", memoryview(b"st")) is True
    assert again(place).write_new("a/b", b"second") is False
    assert place.read("a/b", 100) == b"first"
    place.write("a/b", b"third")
    assert place.write_new("a/b", b"fourth") is False
    place.delete(["a/b"])
    assert place.write_new("a/b", b"") is True
    assert place.read("a/b", 100) == b""


def test_an_object_is_replaced_only_while_it_is_what_it_was(place):
    assert place.replace("a/b", b"", b"new") is False
    place.write("a/b", b"first")
    assert place.replace("a/b", b"fir", b"new") is False
    assert place.replace("a/b", b"first!", b"new") is False
    assert again(place).replace("a/b", b"first", b"sec", b"ond") is True
    assert place.replace("a/b", b"first", b"third") is False
    assert place.read("a/b", 100) == b"second"


def test_of_many_at_once_one_creates(place):
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        created = list(pool.map(lambda i: place.write_new("a", f"{i}".encode()), range(24)))
    assert created.count(True) == 1
    assert place.read("a", 100) == f"{created.index(True)}".encode()


@pytest.mark.slow
def test_an_answer_that_was_lost_leaves_what_was_written(s3_port, url):
    with Proxy(s3_port, Faults(lose=0.6), seed=3) as proxy:
        objects = open_objects(url, StorageOptions(endpoint=proxy.url))
        for i in range(20):
            objects.write_new(str(i), b"mine")
        assert proxy.counts["lose"] >= 5
        proxy.faults = Faults()
        assert {objects.read(str(i), 100) for i in range(20)} == {b"mine"}


@pytest.mark.parametrize("status", [400, 405, 501])
def test_a_server_without_conditional_writes_is_refused_in_words(status):
    with Server(lambda request: answer(b"<Error><Code>NotImplemented</Code></Error>", status)) as server:
        objects = open_objects("s3://bucket/x.functa", StorageOptions(endpoint=server.url))
        with pytest.raises(
            StorageError, match=rf"does not create objects only if there are none.*{status}.*If-None-Match"
        ):
            objects.write_new("a", b"1")
    assert len(server.requests) == 1
    assert server.requests[0].headers["if-none-match"] == "*"


def test_a_web_server_creates_nothing():
    with Server(lambda request: answer(b"")) as server, pytest.raises(StorageError):
        open_objects(f"{server.url}/x.functa").write_new("a", b"1")


WRITES = {
    "write": lambda objects: objects.write("a", b"1"),
    "write_new": lambda objects: objects.write_new("a", b"1"),
    "delete": lambda objects: objects.delete(["a"]),
    "append_beside": lambda objects: objects.append_beside(".log", b"1"),
}


@pytest.mark.parametrize("call", WRITES)
def test_who_lost_the_store_between_two_attempts_does_not_make_the_second(call):
    """A process that slept, its request having failed, must not write when it wakes."""
    asked = []

    def check():
        asked.append(1)
        if len(asked) > 2:
            raise StoreExistsError("another process went on")

    def script(request):
        return answer(b"", 404 if request.method == "GET" else 503)

    with Server(script) as server:
        objects = open_objects("s3://bucket/x.functa", StorageOptions(endpoint=server.url)).guarded(check)
        with pytest.raises(StoreExistsError, match="went on"):
            WRITES[call](objects)
    assert [request.method for request in server.requests if request.method != "GET"] in (["PUT"] * 2, ["POST"] * 2)
