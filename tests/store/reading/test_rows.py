"""An array on disk is indexed as numpy indexes one in memory."""

import pickle
import shutil
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from functa_store.errors import ExampleIndexError, StoreFormatError
from functa_store.store.reading.reader import StoreReader
from functa_store.store.reading.rows import Rows
from functa_store.store.storage.objects import StorageOptions

NUM = 21
ends = st.none() | st.integers(-30, 30)
slices = st.builds(slice, ends, ends, st.none() | st.integers(-5, 5).filter(bool))
index = st.integers(-NUM, NUM - 1)
keys = st.one_of(
    index,
    slices,
    st.lists(index),
    st.lists(index).map(partial(np.array, dtype=np.int32)),
    st.lists(index, min_size=6, max_size=6).map(lambda values: np.array(values).reshape(2, 3)),
    st.lists(st.booleans(), min_size=NUM, max_size=NUM).map(np.array),
    st.lists(st.booleans(), min_size=NUM, max_size=NUM),
    index.map(np.int64),
    index.map(np.array),
)


def for_numpy(key):
    """An empty list is no index in numpy, because it becomes an array of floats."""
    return np.array(key, np.int64) if isinstance(key, list) and not key else key


@pytest.fixture(scope="module")
def reader(store):
    return StoreReader(store)


@given(key=keys)
@settings(max_examples=60, deadline=None)
def test_rows_are_indexed_as_numpy_arrays_are(reader, values, key):
    for rows, array in zip((reader.modulations, reader.mse), values, strict=True):
        found = rows[key]
        np.testing.assert_array_equal(found, array[for_numpy(key)], strict=True)
        assert isinstance(found, np.ndarray | np.generic)


@given(key=keys)
@settings(max_examples=30, deadline=None)
def test_names_and_labels_are_indexed_as_numpy_arrays_are(reader, key):
    ids = np.array([f"bild_{i}_ä.png" for i in range(NUM)], np.dtypes.StringDType())
    np.testing.assert_array_equal(reader.ids[key], ids[for_numpy(key)])
    np.testing.assert_array_equal(reader.labels["age"][key], np.linspace(0, 1, NUM)[for_numpy(key)])


@pytest.mark.parametrize("key", [NUM, -NUM - 1, [0, NUM], np.array([[0], [-NUM - 1]]), np.uint64(2**63)])
def test_an_example_that_is_not_there_is_named(reader, key):
    with pytest.raises(ExampleIndexError, match=r"modulations: example -?\d+ does not exist; there are 21"):
        reader.modulations[key]


@pytest.mark.parametrize(
    "key", [0.5, [0.5], "a", None, (0, 1.0), True, np.ones(NUM + 1, bool), np.ones((NUM, 4), bool)]
)
def test_a_key_of_another_kind_is_refused(reader, key):
    with pytest.raises(ExampleIndexError, match="cannot index 21 examples"):
        reader.modulations[key]


def test_rows_look_like_an_array(reader, values):
    rows = reader.modulations
    assert (len(rows), rows.shape, rows.dtype) == (NUM, (NUM, 4), np.float32)
    np.testing.assert_array_equal(np.asarray(rows), values[0], strict=True)
    assert np.asarray(rows, np.float64).dtype == np.float64
    np.testing.assert_array_equal(np.stack(list(rows)), values[0])


def test_rows_survive_pickling(reader, values):
    """A spawned worker opens the store anew."""
    reader.modulations[0]
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(reader.modulations))[3], values[0][3])


def test_rows_open_nothing_until_they_are_read():
    def never():
        raise AssertionError

    rows = Rows("nothing", (3, 2), np.dtype(np.float32), never)
    assert rows[2:2].shape == rows[[]].shape == (0, 2)


@pytest.mark.parametrize("verify", [False, True])
def test_files_that_are_not_mapped_give_the_same_rows(store, verify):
    mapped, read = (StoreReader(store, storage=StorageOptions(mapped=m), verify=verify) for m in (True, False))
    for key in (slice(None), slice(20, 3, -2), [3, 3, 17, 0], 5, np.arange(21) % 2 == 0):
        np.testing.assert_array_equal(read.modulations[key], mapped.modulations[key])
        np.testing.assert_array_equal(read.mse[key], mapped.mse[key])


def test_a_file_that_becomes_shorter_while_it_is_read_is_an_error_if_it_is_not_mapped(store, tmp_path):
    """Mapped, it would end the process."""
    path = shutil.copytree(store, tmp_path / "x.functa")
    reader = StoreReader(path, storage=StorageOptions(mapped=False))
    assert len(reader.modulations[:8]) == 8
    with (path / "modulations/c/1/0").open("r+b") as file:
        file.truncate(0)
    with pytest.raises(StoreFormatError, match=r"modulations/c/1/0: a shard is missing or damaged"):
        reader.modulations[8:16]
