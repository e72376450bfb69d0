"""What a user is told when a bucket cannot be used, and that credentials are told to nobody."""

import pickle
import time
import traceback

import pytest

from functa_store.cli import main as cli
from functa_store.errors import ConfigError, StorageError, StoreFormatError
from functa_store.store.reading.reader import StoreReader
from functa_store.store.reading.verify import verify
from functa_store.store.storage import remote
from functa_store.store.storage.objects import StorageOptions, first_line, open_objects
from functa_store.store.storage.writer_lock import WORK_SUFFIX, sole_writer
from functa_store.store.writing.destination import check_output
from tests.remote.conftest import KEY, SECRET, read_objects
from tests.remote.servers import Faults, free_port
from tests.store.conftest import make_contents, write_shards

FEW_SECONDS = 5


def write(url, storage):
    with sole_writer(open_objects(url, storage)):
        pass


ACTIONS = {
    "read": lambda url, storage: StoreReader(url, storage=storage),
    "verify": lambda url, storage: verify(url, storage=storage),
    "check": check_output,
    "write": write,
}


@pytest.fixture(params=ACTIONS)
def act(request):
    return ACTIONS[request.param]


@pytest.fixture(autouse=True)
def _soon(monkeypatch):
    monkeypatch.setattr(remote, "FIRST_WAIT", 0.01)
    monkeypatch.setattr(remote, "REPEATS", 2)


def told(error: BaseException) -> str:
    """All that a user may see of an error, its causes included."""
    return "".join(traceback.format_exception(error))


def assert_no_secrets(text: str | bytes) -> None:
    text = text if isinstance(text, bytes) else text.encode()
    assert KEY.encode() not in text
    assert SECRET.encode() not in text


@pytest.mark.slow
def test_credentials_are_in_no_object(s3):
    with pytest.raises(KeyboardInterrupt):
        write_shards(s3, make_contents(), stop_before=2)
    everything = read_objects(s3), read_objects(s3.sibling(WORK_SUFFIX))
    assert all(everything)
    assert_no_secrets(repr(everything))


def test_credentials_are_in_no_pickle_and_no_repr(s3, url, storage):
    write_shards(s3, make_contents())
    for thing in (s3, s3.below("modulations"), StoreReader(url, storage=storage), storage):
        assert_no_secrets(pickle.dumps(thing))
        assert_no_secrets(repr(thing))
    copy = pickle.loads(pickle.dumps(s3.below("modulations")))
    assert copy.sizes() == s3.below("modulations").sizes() != {}


def test_a_refusal_names_the_place_and_the_environment_but_no_credentials(act, url, storage, proxy):
    proxy.faults = Faults(forbid=1.0)
    with pytest.raises(StorageError, match=r"refuses access.*AWS_SECRET_ACCESS_KEY") as caught:
        act(url, storage)
    assert url in str(caught.value)
    assert_no_secrets(told(caught.value))


def test_a_bucket_that_does_not_exist_is_named(act, storage):
    began = time.monotonic()
    with pytest.raises((StorageError, StoreFormatError), match=r"s3://no-such-bucket/pets\.functa") as caught:
        act("s3://no-such-bucket/pets.functa", storage)
    assert time.monotonic() - began < FEW_SECONDS
    assert_no_secrets(told(caught.value))


def test_a_store_that_does_not_exist_is_named(url, storage):
    for act in (ACTIONS["read"], ACTIONS["verify"]):
        with pytest.raises(StoreFormatError, match="found nothing, expected a functaset") as caught:
            act(url, storage)
        assert url in str(caught.value)


def test_a_server_that_cannot_be_reached_is_said_so_soon(act, url):
    began = time.monotonic()
    with pytest.raises(StorageError, match="cannot be") as caught:
        act(url, StorageOptions(endpoint=f"http://127.0.0.1:{free_port()}"))
    assert time.monotonic() - began < FEW_SECONDS
    assert url in str(caught.value)
    assert_no_secrets(told(caught.value))


@pytest.mark.parametrize(
    "location",
    [
        "s3://user:hunter2@bucket/pets.functa",
        "s3://hunter2@bucket/pets.functa",
        "s3://bucket/pets.functa?X-Amz-Signature=hunter2",
        "s3://bucket/pets.functa#hunter2",
        "https://user:hunter2@example.org/pets.functa",
        "HTTPS://user:hunter2@example.org/pets.functa",
        "gs://bucket/pets.functa?token=hunter2",
        "ftp://user:hunter2@example.org/pets.functa",
    ],
)
def test_a_url_with_credentials_is_refused_and_not_repeated(location, capsys):
    for act in (open_objects, check_output, StoreReader, verify):
        with pytest.raises(ConfigError) as caught:
            act(location)
        assert "hunter2" not in told(caught.value).replace(repr(location), "")
    assert cli.main(["info", location, "--json"]) == 2
    captured = capsys.readouterr()
    assert "ConfigError" in captured.out
    assert "hunter2" not in captured.out + captured.err


@pytest.mark.parametrize("endpoint", ["http://user:hunter2@127.0.0.1:9", "http://127.0.0.1:9/?token=hunter2"])
def test_an_endpoint_with_credentials_is_refused_and_not_repeated(endpoint, capsys):
    assert cli.main(["info", "s3://bucket/pets.functa", "--endpoint", endpoint, "--json"]) == 2
    captured = capsys.readouterr()
    assert "ConfigError" in captured.out
    assert "hunter2" not in captured.out + captured.err


@pytest.mark.parametrize("location", ["s3:///pets.functa", "s4://bucket/pets.functa"])
def test_a_url_without_a_bucket_or_of_an_unknown_kind_is_refused(location):
    with pytest.raises(ConfigError, match=r"s3:///pets.functa: expected s3://bucket|unknown scheme 's4'"):
        open_objects(location)


@pytest.mark.parametrize("location", ["s3://bucket/pets.zarr", "s3://bucket/.functa", "s3://bucket"])
def test_a_store_in_a_bucket_ends_in_functa(location, storage):
    with pytest.raises(ConfigError, match=r"must end in \.functa"):
        check_output(location, storage)


@pytest.mark.parametrize(
    "said",
    [
        "at 10:20:30: cannot reach [::1]:9000:x [dim 3]",
        "expected <Error>, found <html>: see [bold] and :boom: in a[i][j]",
        "C:/x:y:z [/x] [red]",
    ],
)
def test_what_a_library_says_is_told_as_it_is(said):
    assert first_line(ValueError(f"\n  {said}\nTraceback")) == said
    assert first_line(ValueError(f"\x1b[31m{said}\x1b]0;title\x07\a\0")) == said
    assert len(first_line(ValueError(said * 100))) < 310
