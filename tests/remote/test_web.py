"""Any web server that knows ranges serves a store."""

import time

import numpy as np
import pytest

from functa_store.errors import ConfigError, FunctaStoreError, StoreFormatError
from functa_store.store.reading.reader import StoreReader
from functa_store.store.reading.verify import verify
from functa_store.store.writing.destination import check_output
from tests.remote.servers import web_server
from tests.store.conftest import NUM_EXAMPLES, make_contents, make_values, write_shards


@pytest.fixture
def address(local):
    with web_server(local.parent) as port:
        yield f"http://127.0.0.1:{port}"


@pytest.mark.parametrize("verified", [False, True])
def test_a_store_is_read_from_a_web_server(address, verified):
    reader, contents = StoreReader(f"{address}/pets.functa", verify=verified), make_contents()
    assert reader.spec.complete
    assert list(reader.ids) == contents.ids
    assert list(reader.labels) == ["age", "animal"]
    rows = np.random.default_rng(0).integers(-NUM_EXAMPLES, NUM_EXAMPLES, 50)
    np.testing.assert_array_equal(reader.modulations[rows], make_values()[0][rows])
    np.testing.assert_array_equal(reader.mse[rows], make_values()[1][rows])
    for name, array in contents.base.items():
        np.testing.assert_array_equal(reader.base[name], array)


def test_a_store_on_a_web_server_is_verified(address, local):
    assert verify(f"{address}/pets.functa") == verify(local)


def test_damage_is_found_on_a_web_server(tmp_path):
    store = write_shards(tmp_path / "pets.functa", make_contents())
    shard = store / "modulations/c/1/0"
    shard.write_bytes(bytes([shard.read_bytes()[0] ^ 1]) + shard.read_bytes()[1:])
    (store / "mse/c/0").unlink()
    with web_server(tmp_path) as port:
        assert verify(f"http://127.0.0.1:{port}/pets.functa").damaged == verify(store).damaged != {}


def test_a_shard_that_was_cut_is_found_soon_on_a_web_server(tmp_path):
    shard = write_shards(tmp_path / "pets.functa", make_contents()) / "modulations/c/1/0"
    shard.write_bytes(shard.read_bytes()[:100])
    began = time.monotonic()
    with web_server(tmp_path) as port, pytest.raises(StoreFormatError, match="shard is missing or damaged"):
        StoreReader(f"http://127.0.0.1:{port}/pets.functa").modulations[:]
    assert time.monotonic() - began < 5


def test_what_is_not_there_is_said_so_soon(address):
    began = time.monotonic()
    with pytest.raises(StoreFormatError, match="expected a functaset") as caught:
        StoreReader(f"{address}/none.functa")
    assert f"{address}/none.functa" in str(caught.value)
    assert time.monotonic() - began < 5


def test_an_unfinished_store_on_a_web_server_is_refused_soon(tmp_path):
    """Which shards are done only a listing says."""
    with pytest.raises(KeyboardInterrupt):
        write_shards(tmp_path / "pets.functa", make_contents(), stop_before=2)
    began = time.monotonic()
    with web_server(tmp_path) as port, pytest.raises(FunctaStoreError, match=f"http://127.0.0.1:{port}/pets.functa"):
        StoreReader(f"http://127.0.0.1:{port}/pets.functa")
    assert time.monotonic() - began < 5


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_nothing_is_written_to_a_web_server(scheme):
    with pytest.raises(ConfigError, match="a web server is for reading"):
        check_output(f"{scheme}://example.org/pets.functa")
