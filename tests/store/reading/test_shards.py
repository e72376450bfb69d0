"""Rows come from shards as from one array in memory, whichever way they are read."""

import gc
import multiprocessing
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from functa_store.config import ConvertConfig
from functa_store.errors import StorageError, StoreFormatError, StoreMismatchError
from functa_store.store.reading import reader as row_tables
from functa_store.store.reading.reader import StoreReader
from functa_store.store.reading.rows import by_part
from functa_store.store.reading.shard_rows import MOST_FILES, AddressRange, FileRows, MappedRows
from functa_store.store.storage.objects import open_objects
from functa_store.store.storage.writer_lock import sole_writer
from functa_store.store.writing.writer import StoreWriter
from tests.store.conftest import NETWORK, make_contents

PAGES = 4096
"""Rows of a shard that fills whole pages, whatever their size."""

COUNT = 3 * PAGES - 7


def write_pages(path, modulations, missing=(), rows_per_shard=PAGES):
    """A store of shards of whole pages, some of them left out."""
    contents = make_contents(
        config=ConvertConfig(network=NETWORK, rows_per_shard=rows_per_shard),
        ids=[str(i) for i in range(len(modulations))],
        split=np.full(len(modulations), "train"),
        labels={},
    )
    with sole_writer(open_objects(path)) as (store, _), StoreWriter.resume_or_create(store, contents) as writer:
        for shard in writer.missing_shards():
            if shard.index not in missing:
                rows = modulations[shard.start : shard.stop]
                writer.write(shard, rows, rows[:, 0] ** 2)
    return path


@pytest.fixture(scope="module")
def modulations():
    return np.random.default_rng(0).normal(size=(COUNT, 4)).astype(np.float32)


@pytest.fixture(scope="module")
def store(tmp_path_factory, modulations):
    return write_pages(tmp_path_factory.mktemp("pages") / "pages.functa", modulations)


@pytest.fixture(scope="module")
def tables(store):
    """The same rows, mapped side by side and read shard by shard."""
    reader = StoreReader(store)
    one_by_one = FileRows(reader.shards_of("modulations"), reader.rounding.to_values)
    return [reader._open_modulations(), one_by_one]


ROWS = st.one_of(
    st.lists(st.integers(0, COUNT - 1), min_size=1).map(np.array),
    st.builds(slice, st.integers(0, COUNT // 2), st.integers(COUNT // 2 + 1, COUNT), st.integers(1, 2 * PAGES)),
)


@given(ROWS)
def test_every_way_reads_the_same_rows(tables, modulations, rows):
    assert [type(table) for table in tables] == [MappedRows, FileRows]
    for table in tables:
        np.testing.assert_array_equal(table[rows], modulations[rows])


@pytest.mark.slow
@given(st.slices(COUNT))
def test_slices_are_those_of_numpy(store, modulations, rows):
    reader = StoreReader(store)
    np.testing.assert_array_equal(reader.modulations[rows], modulations[rows])
    np.testing.assert_array_equal(reader.mse[rows], modulations[rows, 0] ** 2)


def test_shards_are_mapped_when_they_are_touched_and_not_before(store, modulations):
    table = StoreReader(store)._open_modulations()
    for row, mapped in {PAGES: [1], PAGES + 1: [1], 0: [0, 1], COUNT - 1: [0, 1, 2]}.items():
        np.testing.assert_array_equal(table[np.array([row])], modulations[[row]])
        assert np.flatnonzero(table._is_mapped).tolist() == mapped


@pytest.mark.parametrize("way", [0, 1])
@pytest.mark.parametrize("rows", [slice(0, 3, 1), slice(0, 2 * PAGES, PAGES), np.array([0, 1, 2])], ids=str)
def test_what_is_read_can_be_changed_without_changing_the_store(tables, modulations, way, rows):
    tables[way][rows][...] = 0
    np.testing.assert_array_equal(tables[way][rows], modulations[rows])


def test_gaps_of_an_unfinished_store_are_closed(tmp_path, modulations):
    reader = StoreReader(write_pages(tmp_path / "part.functa", modulations, missing=[1]))
    kept = np.concatenate([modulations[:PAGES], modulations[2 * PAGES :]])
    np.testing.assert_array_equal(reader.modulations[:], kept)
    np.testing.assert_array_equal(reader.mse[[0, PAGES, -1]], kept[[0, PAGES, -1], 0] ** 2)


@pytest.mark.parametrize("damage", ["cut", "removed"])
def test_a_damaged_shard_is_named_and_the_others_are_read(tmp_path, modulations, damage):
    path = write_pages(tmp_path / "damaged.functa", modulations)
    victim = path / "modulations/c/1/0"
    victim.unlink() if damage == "removed" else os.truncate(victim, victim.stat().st_size // 2)
    reader = StoreReader(path)
    for _ in range(2):
        with pytest.raises(StoreFormatError, match="modulations/c/1/0: a shard is missing or damaged"):
            _ = reader.modulations[[0, PAGES]]
    np.testing.assert_array_equal(reader.modulations[:PAGES], modulations[:PAGES])


def refuse(*_):
    raise StorageError("cannot map: no more")


@pytest.mark.parametrize("what", ["the range", "a file"])
def test_without_addresses_shards_are_read_one_by_one(store, modulations, monkeypatch, what):
    if what == "the range":
        monkeypatch.setattr(row_tables, "MappedRows", refuse)
    else:
        one_by_one = AddressRange.map

        def side_by_side(self, start, num_bytes, descriptor):
            return refuse() if len(self.array) > num_bytes else one_by_one(self, start, num_bytes, descriptor)

        monkeypatch.setattr(AddressRange, "map", side_by_side)
    reader = StoreReader(store)
    for rows in (slice(None, None, 1000), [COUNT - 1, 0]):
        np.testing.assert_array_equal(reader.modulations[rows], modulations[rows])


def read_in_child(reader, rows, results):
    results.put(reader.modulations[rows])


@pytest.mark.filterwarnings("ignore:.*fork.*")
def test_a_forked_process_reads_on(store, modulations):
    reader, context = StoreReader(store), multiprocessing.get_context("fork")
    _ = reader.modulations[0]
    results = context.Queue()
    child = context.Process(target=read_in_child, args=(reader, [1, COUNT - 1], results))
    child.start()
    np.testing.assert_array_equal(results.get(timeout=60), modulations[[1, COUNT - 1]])
    child.join()


@pytest.mark.slow
@pytest.mark.skipif(not os.path.exists("/proc/self/maps"), reason="needs Linux's list of mappings")
def test_addresses_are_given_back_with_the_last_array(tmp_path):
    file = tmp_path / "mapped_for_a_while"
    file.write_bytes(bytes(range(256)) * 256)

    def mapped():
        return file.name in Path("/proc/self/maps").read_text()

    addresses = AddressRange(4 * 65536)
    with file.open("rb") as opened:
        addresses.map(65536, 65536, opened.fileno())
    view = addresses.array[65536 : 2 * 65536]
    del addresses
    gc.collect()
    assert mapped()
    assert bytes(view) == file.read_bytes()
    assert not view.flags.writeable
    del view
    gc.collect()
    assert not mapped()


def test_more_addresses_than_there_are_is_an_error():
    with pytest.raises(StorageError, match="cannot map"):
        AddressRange(2**60)


def test_the_files_that_a_process_maps_are_counted_and_given_back():
    most = MOST_FILES // 2 - 100  # other tests have some
    kept = [AddressRange(4096, most)]
    for _ in range(3):
        AddressRange(4096, most)
    kept.append(AddressRange(4096, most))
    with pytest.raises(StorageError, match="cannot map"):
        AddressRange(4096, most)


@pytest.mark.parametrize("rows_per_shard", [PAGES, 8])
def test_a_store_that_was_replaced_is_told_from_the_one_that_was_opened(tmp_path, modulations, rows_per_shard):
    path = write_pages(tmp_path / "first.functa", modulations[:100], rows_per_shard=rows_per_shard)
    reader = StoreReader(path)
    shutil.rmtree(path)
    write_pages(path, -modulations[:99], rows_per_shard=rows_per_shard)
    with pytest.raises(StoreMismatchError, match="it was replaced"):
        _ = reader.modulations[0]
    np.testing.assert_array_equal(StoreReader(path).modulations[0], -modulations[0])


def test_what_is_handed_out_again_and_again_cannot_be_changed(store):
    reader = StoreReader(store)
    for array in (*reader.statistics.values(), *reader.base.values()):
        with pytest.raises(ValueError, match="read-only"):
            array[...] = 0


@given(st.integers(1, 6), st.integers(0, 20), st.integers(1, 30), st.integers(1, 9))
def test_the_parts_of_a_slice_are_its_rows_in_order(per_shard, start, length, step):
    rows = slice(start, start + length, step)
    parts = by_part(rows, per_shard)
    found = [(place, part.position * per_shard + row) for part in parts for place, row in _pairs(part, per_shard)]
    assert found == list(enumerate(range(start, start + length, step)))


def _pairs(part, per_shard):
    return zip(range(1000)[part.where], range(per_shard)[part.inside], strict=True)
