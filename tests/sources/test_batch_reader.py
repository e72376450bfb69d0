"""Batches read ahead are those asked for."""

import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from functa_store.errors import MemberError
from functa_store.sources import batch_reader as feed
from functa_store.sources.array_source import ArraySource
from functa_store.sources.batch_reader import BatchReader
from functa_store.sources.features import FeatureSpec
from functa_store.sources.splits import evenly

VALUES = np.random.default_rng(0).integers(0, 255, size=(30, 3, 4, 2), dtype=np.uint8)


class CountingSource(ArraySource):
    def __init__(self, values):
        self._lock = threading.Lock()
        self.reads = 0
        super().__init__(values)
        self.reads = 0

    def read(self, index):
        with self._lock:
            self.reads += 1
        if index == 13:
            raise MemberError("13.jpg: damaged")
        return super().read(index)


@given(st.lists(st.lists(st.integers(14, 29), min_size=1, max_size=5), max_size=12), st.integers(0, 500))
def test_batches_arrive_in_order_whatever_the_cache(batches, cache_bytes):
    feed = BatchReader(ArraySource(VALUES), cache_bytes=cache_bytes)
    got = list(feed.batches(np.array(batch) for batch in batches))
    assert len(got) == len(batches)
    for values, batch in zip(got, batches, strict=True):
        np.testing.assert_array_equal(values, VALUES[batch].reshape(len(batch), 12, 2))


def test_what_fits_into_the_cache_is_read_once():
    source = CountingSource(VALUES)
    feed = BatchReader(source, cache_bytes=5 * VALUES[0].nbytes)
    for _ in range(4):
        list(feed.batches([np.arange(5)]))
    assert source.reads == 5
    list(feed.batches([np.arange(5, 10)] * 2))
    assert source.reads == 15


def test_an_endless_feed_reads_only_a_few_batches_ahead():
    source = CountingSource(VALUES)
    batches = BatchReader(source, cache_bytes=0).batches(np.array([1]) for _ in iter(int, 1))
    next(batches)
    batches.close()
    assert source.reads <= 6


def test_an_example_that_cannot_be_read_stops_the_feed():
    with pytest.raises(MemberError, match="damaged"):
        list(BatchReader(CountingSource(VALUES)).batches([np.array([12, 13])]))


@given(st.integers(0, 50), st.integers(0, 60))
def test_evenly_chosen_indices_are_distinct_and_as_many_as_asked(total, most):
    chosen = evenly(np.arange(total), most)
    assert len(np.unique(chosen)) == len(chosen) == min(total, most)


def test_integers_of_64_bits_do_not_wrap_around():
    values = np.full((2, 2, 2, 1), 6_000_000_000)
    source = ArraySource(values, features=FeatureSpec(channels=("grey",), scale=1 / 6e9))
    (raw,) = BatchReader(source).batches([np.array([0])])
    np.testing.assert_allclose(raw * source.features.scale, 1, rtol=1e-6)


def test_what_overflows_float32_is_refused():
    source = ArraySource(np.full((2, 2, 2, 1), 1e300), features=FeatureSpec(channels=("grey",)))
    with pytest.raises(MemberError, match="not finite in float32"):
        list(BatchReader(source).batches([np.array([0])]))


class Odd(ArraySource):
    """One example became another one after it was surveyed."""

    def __init__(self, odd):
        super().__init__(VALUES)
        self.odd = odd

    def read(self, index):
        return self.odd if index == 7 and hasattr(self, "odd") else super().read(index)


@pytest.mark.parametrize(
    ("odd", "problem"),
    [
        (np.zeros((4, 3, 2), np.uint8), r"example '7' has shape \(4, 3, 2\)"),
        (np.zeros((3, 4, 2), complex), "type complex128"),
        (np.full((3, 4, 2), None), "type object"),
        (np.full((3, 4, 2), np.nan), "not finite"),
    ],
)
def test_an_example_that_is_none_is_named(odd, problem):
    with pytest.raises(MemberError, match=problem):
        list(BatchReader(Odd(odd)).batches([np.array([6, 7])]))


def test_large_batches_are_read_only_one_ahead(monkeypatch):
    monkeypatch.setattr(feed, "AHEAD_BYTES", VALUES[0].nbytes)
    source = CountingSource(VALUES)
    batches = BatchReader(source, cache_bytes=0).batches(np.array([1]) for _ in iter(int, 1))
    for _ in range(5):
        next(batches)
    batches.close()
    assert source.reads <= 6
