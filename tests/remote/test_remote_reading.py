"""Reading from a bucket costs few requests, and all that reads a path reads a URL."""

import json
import pickle

import numpy as np
import pytest

import functa_store
from functa_store.cli import main as cli
from functa_store.config import ConvertConfig
from functa_store.store.reading import shard_rows as by_shard
from functa_store.store.reading.reader import StoreReader
from functa_store.store.storage.objects import open_objects
from functa_store.store.storage.writer_lock import sole_writer
from functa_store.store.writing.writer import StoreWriter
from tests.store.conftest import NETWORK, make_contents, write_shards

SHARDS, ROWS = 8, 64


@pytest.fixture
def remote_copy(s3, url):
    write_shards(s3, make_contents())
    return url


@pytest.fixture
def many(s3):
    """The modulations of a store of many shards."""
    count = SHARDS * ROWS
    contents = make_contents(
        config=ConvertConfig(network=NETWORK, rows_per_shard=ROWS),
        ids=[f"{i}.png" for i in range(count)],
        split=np.full(count, "train"),
        labels={},
    )
    rng = np.random.default_rng(0)
    modulations, mse = rng.normal(size=(count, 4)).astype(np.float32), rng.random(count).astype(np.float32)
    with sole_writer(s3) as (store, _), StoreWriter.resume_or_create(store, contents) as writer:
        for shard in writer.missing_shards():
            writer.write(shard, modulations[shard.start : shard.stop], mse[shard.start : shard.stop])
    return modulations


def test_random_rows_cost_few_requests_for_each_shard_and_none_once_all_are_kept(many, url, storage, proxy):
    reader, rng = StoreReader(open_objects(url, storage)), np.random.default_rng(1)
    for most in (3 * SHARDS, 0):
        proxy.counts.clear()
        rows = rng.integers(0, len(many), 256)
        np.testing.assert_array_equal(reader.modulations[rows], many[rows])
        assert proxy.requests <= most


def test_no_shard_of_a_table_that_memory_may_not_keep_is_fetched_as_a_whole(many, url, storage, proxy, monkeypatch):
    monkeypatch.setattr(by_shard, "MOST_BYTES_KEPT", many.nbytes // 2)
    reader, rng = StoreReader(open_objects(url, storage)), np.random.default_rng(1)
    _ = reader.modulations[0]
    reader.objects.requests.clear()
    for _ in range(5):
        proxy.counts.clear()
        rows = rng.integers(0, len(many), 256)
        np.testing.assert_array_equal(reader.modulations[rows], many[rows])
        assert SHARDS <= proxy.requests <= 3 * SHARDS
    assert set(reader.objects.requests) == {"get_ranges"}
    np.testing.assert_array_equal(reader.modulations[5::7], many[5::7])


def test_opening_costs_few_requests(remote_copy, storage, proxy):
    proxy.counts.clear()
    reader = StoreReader(open_objects(remote_copy, storage))
    assert proxy.requests <= 10
    assert sum(reader.objects.requests.values()) == proxy.requests


def test_a_functaset_decodes_as_the_local_one_and_pickles(remote_copy, local, storage):
    here, there = functa_store.open(local), functa_store.open(remote_copy, storage=storage)
    expected = here.decode([0, 20, 5], 4)
    np.testing.assert_array_equal(there.decode([0, 20, 5], 4), expected)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(there)).decode([0, 20, 5], 4), expected)


def test_info_describes_a_url(remote_copy, local, proxy, capsys):
    assert cli.main(["info", remote_copy, "--endpoint", proxy.url, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert cli.main(["info", str(local), "--json"]) == 0
    assert found == json.loads(capsys.readouterr().out) | {"path": remote_copy}


@pytest.mark.slow
def test_verify_tells_complete_incomplete_damaged_and_nothing(s3, url, proxy, capsys):
    def verify() -> int:
        code = cli.main(["verify", url, "--endpoint", proxy.url, "--json"])
        assert url in capsys.readouterr().out
        return code

    assert verify() == 2
    with pytest.raises(KeyboardInterrupt):
        write_shards(s3, make_contents(), stop_before=2)
    assert verify() == 3
    write_shards(s3, make_contents())
    assert verify() == 0
    shard = s3.read("modulations/c/1/0", 2**20)
    s3.write("modulations/c/1/0", shard[:10] + b"!" + shard[11:])
    assert verify() == 4
