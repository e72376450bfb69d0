"""Decoded grids are kept within a limit, and are what would be decoded."""

import threading
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import functa_store
from functa_store.decode.functaset import Functaset
from functa_store.decode.grid_cache import GridCache
from functa_store.errors import ConfigError
from tests.decode.stores import write_store

LISTS = st.lists(st.integers(0, 9), max_size=6)


def features_of(examples, grid):
    """100 bytes for each example."""
    return np.repeat(np.asarray(examples, np.float32)[:, None, None] + 10 * grid, 25, axis=1)


def through(cache, examples, grid):
    """What the cache gives, and what it wanted decoded for that."""
    found, asked = np.full((len(examples), 25, 1), np.nan, np.float32), []

    def decode(rows):
        some = np.array(examples)[rows]
        asked.extend(some.tolist())
        found[rows] = features_of(some, grid)

    cache.through(found, np.array(examples, np.int64), grid, decode)
    return found, asked


@given(st.integers(0, 1000), st.lists(st.tuples(LISTS, st.integers(0, 1)), max_size=8))
def test_whatever_was_asked_before_the_answer_is_right_and_the_limit_is_kept(limit, calls):
    cache = GridCache(limit)
    for examples, grid in calls:
        found, asked = through(cache, examples, grid)
        np.testing.assert_array_equal(found, features_of(examples, grid))
        assert len(asked) == len(set(asked))
        assert set(asked) <= set(examples)
        assert cache.num_bytes <= limit
        found += 1  # belongs to the caller


def test_those_that_were_not_used_for_longest_go_first():
    cache = GridCache(250)
    decoded = [through(cache, [example], 0)[1] for example in (0, 1, 0, 2, 0, 1)]
    assert decoded == [[0], [1], [], [2], [], [1]]


@pytest.mark.parametrize("limit", [-1, True])
def test_the_limit_is_a_number_of_bytes(limit):
    with pytest.raises(ConfigError, match="cache_bytes"):
        GridCache(limit)


@pytest.fixture(scope="module", name="path")
def _path(tmp_path_factory):
    path = tmp_path_factory.mktemp("cached") / "small.functa"
    write_store(path)
    return path


def asked_by(functaset: Functaset, *calls) -> list[int]:
    """Points that each call adds to those asked for."""
    counts = [functaset.tiled_decoder.points_asked]
    for arguments, options in calls:
        functaset.decode(*arguments, **options)
        counts.append(functaset.tiled_decoder.points_asked)
    return np.diff(counts).tolist()


def test_a_grid_is_decoded_once_for_each_example(path):
    functaset = functa_store.open(path)
    window = {"region": ((0.0, 0.5), (0.0, 0.5))}
    calls = [(([0, 1],), {}), (([1, 2, 2],), {"clip": True}), ((1, 4), {}), ((1, 4), window), ((1, 4), window)]
    assert asked_by(functaset, *calls) == [2 * 48, 48, 16, 16, 0]
    assert asked_by(functaset, ((1,), {"coords": [[0.5, 0.5]]}), ((1,), {"coords": [[0.5, 0.5]]})) == [1, 1]
    np.testing.assert_array_equal(functaset.decode([2, 0, 1]), functa_store.open(path, cache_bytes=0).decode([2, 0, 1]))


def test_nothing_is_kept_if_the_limit_is_0_or_smaller_than_the_call(path):
    for limit, num_kept in ((0, 0), (3 * 48 * 12 - 1, 0), (3 * 48 * 12, 3)):
        functaset = functa_store.open(path, cache_bytes=limit)
        functaset.decode([0, 1, 2])
        assert functaset.cache.num_bytes == num_kept * 48 * 12
    assert asked_by(functa_store.open(path, cache_bytes=0), ((3,), {}), ((3,), {})) == [48, 48]


def test_in_one_call_each_example_is_decoded_once_though_nothing_is_kept(path):
    functaset, index = functa_store.open(path, cache_bytes=0), [2, 0, 2, 2, 1, 0]
    points = {"coords": [[0.5, 0.5]]}
    assert asked_by(functaset, ((index,), {}), ((index,), points)) == [3 * 48, 3]
    np.testing.assert_array_equal(functaset.decode(index), functaset.decode([0, 1, 2])[index])


@pytest.mark.parametrize("index", [[0, 1, 2, 3], [3, 1, 3, 3, 1, 3, 3, 3], [2, 2, 2, 2]])
def test_memory_holds_the_result_and_what_is_kept(path, index):
    functaset = functa_store.open(path)
    functaset.decode(5, 400)  # compiles
    before = functaset.cache.num_bytes
    tracemalloc.start()
    result = functaset.decode(index, 400)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    kept = functaset.cache.num_bytes - before
    assert kept == 12 * 400**2 * len(set(index))
    assert peak < result.nbytes + kept + 10 * 2**20


def test_threads_share_the_cache(path):
    functaset = functa_store.open(path, cache_bytes=5 * 48 * 12)
    expected, wrong = functaset.decode(slice(None)), []

    def read(seed):
        rng = np.random.default_rng(seed)
        for _ in range(20):
            some = rng.integers(0, 12, 3)
            if not np.array_equal(functaset.decode(some), expected[some]):
                wrong.append(some)

    threads = [threading.Thread(target=read, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert functaset.cache.num_bytes <= 5 * 48 * 12
