"""Chunks, schedulers, and what each process opens."""

import dask
import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

import functa_store
from functa_store.decode import shared_functaset as shared
from functa_store.xarray_backend import backend as chunks
from functa_store.xarray_backend.backend import MOST_DECODED_BYTES, preferred_chunks

SHAPES = st.lists(st.integers(1, 5000), min_size=1, max_size=4)


@given(st.integers(0, 10**9), st.integers(0, 14).map(lambda n: 2**n), SHAPES, st.integers(1, 100))
def test_chunks_are_bounded_follow_shards_and_split_examples_only_if_they_must(examples, shard, shape, channels):
    chunk = preferred_chunks(examples, shard, shape, channels)
    assert 4 * np.prod(chunk, dtype=float) <= MOST_DECODED_BYTES
    assert all(1 <= n <= size for n, size in zip(chunk[1:], [*shape, channels], strict=True))
    assert chunk[-1] == channels
    if chunk[0] > 1:
        assert chunk[1:-1] == shape
        assert shard % chunk[0] == 0 or chunk[0] == examples
    if chunk[1:-1] != shape:
        assert 4 * np.prod(shape, dtype=float) * channels > MOST_DECODED_BYTES
        split = max(axis for axis in range(len(shape)) if chunk[1 + axis] < shape[axis])
        assert all(n == 1 for n in chunk[1 : 1 + split])


@pytest.fixture(name="chunked")
def _chunked(path, monkeypatch):
    """Two examples in a chunk."""
    monkeypatch.setattr(chunks, "MOST_DECODED_BYTES", 2 * 4 * 48 * 3)
    return xr.open_dataset(path, engine="functa", chunks={})


def test_all_variables_are_cut_alike(chunked):
    assert chunked.chunks["example"] == (2, 2, 2, 2, 2, 1)
    assert chunked.id.chunks == ((2, 2, 2, 2, 2, 1),)


@pytest.mark.slow
@pytest.mark.parametrize("scheduler", ["sync", "threads", "processes"])
def test_every_scheduler_gives_what_decode_gives(scheduler, chunked, path):
    with dask.config.set(scheduler=scheduler, num_workers=1 if scheduler == "processes" else 2):
        means, ids = dask.compute(chunked.image.mean(("y", "x")), chunked.id)
    expected = functa_store.open(path).decode(slice(None)).mean(axis=(1, 2))
    np.testing.assert_allclose(means, expected, rtol=1e-5, atol=1e-6)
    assert ids.values.tolist() == functa_store.open(path).ids[:].tolist()


@pytest.mark.slow
def test_workers_of_a_cluster_open_and_compile_once_each(chunked, path):
    distributed = pytest.importorskip("distributed")
    with (
        distributed.LocalCluster(
            n_workers=1, threads_per_worker=2, processes=True, dashboard_address=None, memory_limit=0
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        found = chunked.image.compute()
        opened = client.run(_opened_and_asked)
    np.testing.assert_allclose(found, functa_store.open(path).decode(slice(None)), rtol=1e-5, atol=1e-6)
    assert list(opened.values()) == [(1, 11 * 48)]


def _opened_and_asked():
    """Functasets that are open in a worker, and points that their decoders were asked for."""
    functasets = list(shared._OPEN._in_use.values())
    return len(functasets), sum(functaset.tiled_decoder.points_asked for functaset in functasets)


def test_a_selection_before_chunking_decodes_nothing_else(dataset, counted):
    dataset.isel(example=[1, 5]).sel(y=slice(0, 0.5)).chunk(example=1).image.compute(scheduler="threads")
    assert counted.points_asked == 2 * 4 * 6
