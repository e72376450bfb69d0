"""Ids, splits and labels are read chunk by chunk, and only where they are asked for."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from functa_store.errors import StoreFormatError
from functa_store.store.format import layout
from functa_store.store.reading.reader import StoreReader
from functa_store.store.storage.local import LocalObjects
from tests.store.conftest import NUM_EXAMPLES, make_contents, write_shards

CHUNK = 4
IDS = np.array(make_contents().ids)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(layout, "ROWS_PER_CHUNK", CHUNK)
        return write_shards(tmp_path_factory.mktemp("columns") / "columns.functa", make_contents())


keys = st.one_of(
    st.integers(-NUM_EXAMPLES, NUM_EXAMPLES - 1),
    st.lists(st.integers(-NUM_EXAMPLES, NUM_EXAMPLES - 1)).map(lambda values: np.array(values, int)),
    st.lists(st.booleans(), min_size=NUM_EXAMPLES, max_size=NUM_EXAMPLES).map(np.array),
    st.slices(NUM_EXAMPLES),
)


@pytest.mark.slow
@given(keys)
def test_chunks_together_are_one_array(store, key):
    reader = StoreReader(store)
    np.testing.assert_array_equal(reader.ids[key], IDS[key])
    np.testing.assert_array_equal(reader.labels["animal"][key], (np.arange(NUM_EXAMPLES) % 2)[key])


def test_only_chunks_that_are_touched_are_read_and_each_once(store, monkeypatch):
    read, real = [], LocalObjects.read
    monkeypatch.setattr(LocalObjects, "read", lambda self, key, most: read.append(key) or real(self, key, most))
    reader = StoreReader(store)
    assert not [key for key in read if "/c/" in key]
    for _ in range(2):
        assert reader.ids[[CHUNK, 1, CHUNK + 1]].tolist() == [IDS[CHUNK], IDS[1], IDS[CHUNK + 1]]
    assert sorted(key for key in read if "/c/" in key) == ["id/c/0", "id/c/1", "manifest/id/c/0/0"]


def test_a_damaged_chunk_does_not_hide_the_others(store, tmp_path):
    path = write_shards(tmp_path / "damaged.functa", make_contents())
    (path / "id/c/0").write_bytes(b"nothing")
    reader = StoreReader(path)
    with pytest.raises(StoreFormatError, match="id/c/0"):
        _ = reader.ids[0]
    assert reader.split[0] == "train"


@pytest.mark.parametrize("is_complete", [True, False])
def test_values_may_be_changed_without_changing_what_is_read_next(store, tmp_path, is_complete):
    if not is_complete:
        store = tmp_path / "part.functa"
        with pytest.raises(KeyboardInterrupt):
            write_shards(store, make_contents(), stop_before=2)
    reader = StoreReader(store)
    for key in (slice(0, 2), slice(None), [0, 1]):
        reader.labels["age"][key][...] = -1
        assert (reader.labels["age"][key] >= 0).all()
