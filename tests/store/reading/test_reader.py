"""A reader believes nothing, and says what is wrong in words."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import zarr

import functa_store
from functa_store.errors import ExampleIndexError, StoreFormatError
from functa_store.sources.source import Reject
from functa_store.store.format.spec import FORMAT_VERSION
from functa_store.store.reading.reader import StoreReader
from functa_store.store.reading.verify import verify
from tests.store.forging import forge

GOLDEN = Path(__file__).parents[2] / "golden"


@pytest.fixture
def copy(store, tmp_path) -> Path:
    """A complete store that may be damaged."""
    return shutil.copytree(store, tmp_path / "copy.functa")


def test_a_reader_returns_what_was_written(store, contents, values):
    reader = StoreReader(store)
    assert (reader.spec.complete, reader.num_examples, reader.spec.examples.count, reader.spec.format_version) == (
        True,
        21,
        21,
        FORMAT_VERSION,
    )
    assert (reader.spec.domain, reader.spec.features, reader.spec.config) == (
        contents.domain,
        contents.features,
        contents.config,
    )
    assert (reader.spec.provenance, reader.spec.reference) == (contents.provenance, contents.reference)
    assert reader.rejects == [Reject(member="broken.png", reason="truncated")]
    np.testing.assert_array_equal(reader.modulations, values[0], strict=True)
    np.testing.assert_array_equal(reader.mse, values[1], strict=True)
    assert reader.ids[:].tolist() == contents.ids
    assert reader.split[2] == "test"
    assert reader.labels.keys() == {"age", "animal"}
    assert reader.label_names == {"animal": ("cat", "dog")}
    np.testing.assert_array_equal(reader.labels["animal"], contents.labels["animal"].values)
    assert reader.base.keys() == contents.base.keys()
    for name, array in contents.base.items():
        np.testing.assert_array_equal(reader.base[name], array, strict=True)
    assert {name: quality.examples for name, quality in reader.spec.quality.items()} == dict.fromkeys(
        reader.spec.quality, 7
    )
    assert verify(store).damaged == {}


def test_splits_and_ids_can_be_compared_with_strings(store):
    reader = StoreReader(store)
    assert len(reader.modulations[reader.split[:] == "train"]) == 7
    assert np.flatnonzero(np.isin(reader.ids, ["bild_3_ä.png"])).tolist() == [3]
    assert np.unique(reader.split).tolist() == ["test", "train", "validation"]


def sizes_on_disk(store):
    """Files and bytes by what lies at the top of a store."""
    files = [file for file in store.rglob("*") if file.is_file()]
    tops = [file.relative_to(store).parts[0] for file in files]
    return {
        top: (tops.count(top), sum(file.stat().st_size for file, of in zip(files, tops, strict=True) if of == top))
        for top in tops
    }


@pytest.mark.parametrize("version", ["v1", "v9_augmented"])
def test_sizes_are_those_of_the_files(version):
    """Version 9 keeps them in arrays, earlier ones in the root."""
    store = GOLDEN / f"{version}.functa"
    assert StoreReader(store).sizes == sizes_on_disk(store)


def test_sizes_of_an_unfinished_store_are_those_of_its_receipts(write_shards, contents, tmp_path):
    path = tmp_path / "pets.functa"
    with pytest.raises(KeyboardInterrupt):
        write_shards(path, contents, stop_before=2)
    assert StoreReader(path).sizes == sizes_on_disk(path)


def test_sizes_of_parts_are_added():
    """Of a functaset with parts and of a selection of it."""
    store = GOLDEN / "grown_v8.functa"
    functaset = functa_store.open(store)
    parts = [sizes_on_disk(one)["modulations"] for one in (store, *(store / "parts").glob("*.functa"))]
    assert len(parts) > 1
    assert functaset.store.sizes["modulations"] == tuple(np.sum(parts, axis=0))
    assert functaset.select(index=[0]).store.sizes == functaset.store.sizes


def test_sizes_add_up(store):
    reader = StoreReader(store)
    assert reader.bytes_per_example == 16
    assert reader.bytes_total == sum(file.stat().st_size for file in store.rglob("*") if file.is_file())
    assert 0 < reader.bytes_base < reader.bytes_total


def test_an_unfinished_store_holds_the_finished_examples_and_no_others(write_shards, contents, values, tmp_path):
    path = tmp_path / "pets.functa"
    with pytest.raises(KeyboardInterrupt):
        write_shards(path, contents, stop_before=2)
    shutil.rmtree(path / "modulations/c/0")
    reader = StoreReader(path)
    assert (reader.spec.complete, len(reader), reader.spec.examples.count) == (False, 8, 21)
    assert repr(reader).endswith("8 of 21 examples>")
    np.testing.assert_array_equal(reader.modulations[:], values[0][8:16])
    np.testing.assert_array_equal(reader.mse, values[1][8:16])
    assert reader.ids[:].tolist() == contents.ids[8:16]
    np.testing.assert_array_equal(reader.labels["age"], contents.labels["age"].values[8:16])
    assert reader.base.keys() == contents.base.keys()
    with pytest.raises(ExampleIndexError, match="example 8 does not exist"):
        reader.modulations[8]
    with pytest.raises(StoreFormatError, match=r"unfinished store.*Run the command that was interrupted"):
        reader.statistics  # noqa: B018
    found = verify(path)
    assert (found.complete, found.examples, found.total, found.damaged) == (False, 8, 21, {})


def test_an_unfinished_store_without_receipts_holds_nothing(write_shards, contents, tmp_path):
    path = tmp_path / "pets.functa"
    with pytest.raises(KeyboardInterrupt):
        write_shards(path, contents, stop_before=2)
    shutil.rmtree(tmp_path / "pets.functa.work")
    reader = StoreReader(path)
    assert (len(reader), reader.modulations[:].shape, reader.ids[:].shape) == (0, (0, 4), (0,))


def test_what_is_no_functaset_is_named(tmp_path):
    (tmp_path / "file.functa").write_text("mine")
    zarr.create_group(tmp_path / "group.functa", attributes={"mine": True})
    (tmp_path / "broken.functa").mkdir()
    (tmp_path / "broken.functa" / "zarr.json").write_text("{")
    for name, words in {
        "missing": "found nothing, expected a functaset",
        "file": "found no Zarr v3 group",
        "group": "a Zarr node, but no functaset",
        "broken": "no valid JSON",
    }.items():
        with pytest.raises(StoreFormatError, match=words):
            StoreReader(tmp_path / f"{name}.functa")


@pytest.mark.parametrize("shard", ["modulations/c/1/0", "mse/c/1"])
@pytest.mark.parametrize("cut", [None, 3, -1])
def test_a_missing_or_torn_shard_is_named_and_the_others_are_read(copy, values, shard, cut):
    """Fill values are never data."""
    data = (copy / shard).read_bytes()
    (copy / shard).unlink() if cut is None else (copy / shard).write_bytes(data[:cut])
    reader = StoreReader(copy)
    rows = {"modulations": reader.modulations, "mse": reader.mse}[shard.split("/")[0]]
    assert np.isfinite(rows[:8]).all()
    with pytest.raises(StoreFormatError, match=rf"{shard}: a shard is missing or damaged"):
        rows[7:9]


def test_damage_inside_a_shard_is_found_by_verify(copy):
    """Rows have no checksum of their own, which keeps shards flat; the manifest has."""
    shard = copy / "modulations/c/2/0"
    shard.write_bytes(b"\x01" + shard.read_bytes()[1:])
    (copy / "notes.txt").write_text("foreign")
    found = verify(copy)
    assert list(found.damaged) == ["modulations/c/2/0"]
    assert found.foreign == ["notes.txt"]


def test_damage_inside_a_shard_is_found_at_first_touch_if_asked_for(copy, values):
    shard = copy / "modulations/c/2/0"
    shard.write_bytes(b"\x01" + shard.read_bytes()[1:])
    reader = StoreReader(copy, verify=True)
    np.testing.assert_array_equal(reader.modulations[:16], values[0][:16])
    with pytest.raises(StoreFormatError, match="modulations/c/2/0: a shard is missing or damaged: its checksum"):
        reader.modulations[16]


@pytest.mark.parametrize("content", [None, b"", b"torn"])
def test_a_damaged_base_is_named(copy, content):
    chunk = copy / "base/sine_0/kernel/c/0/0"
    chunk.unlink() if content is None else chunk.write_bytes(content)
    with pytest.raises(StoreFormatError, match=r"base/sine_0/kernel.* damaged"):
        StoreReader(copy).base  # noqa: B018


@pytest.mark.parametrize("name", ["id", "split", "labels/age", "rejects/member"])
def test_a_damaged_column_is_named(copy, name):
    (copy / name / "c" / "0").write_bytes(b"torn")
    reader = StoreReader(copy)
    columns = {
        "id": lambda: reader.ids[0],
        "split": lambda: reader.split[0],
        "labels/age": lambda: reader.labels["age"][0],
    }
    with pytest.raises(StoreFormatError, match=rf"{name}/c/0: missing or damaged"):
        columns.get(name, lambda: reader.rejects)()


@pytest.mark.parametrize("name", ["modulations", "mse", "id", "labels/age"])
def test_a_missing_array_is_named(copy, name):
    shutil.rmtree(copy / name)
    with pytest.raises(StoreFormatError, match=rf"{name}/zarr.json: missing or damaged: missing"):
        StoreReader(copy)


@pytest.mark.parametrize(("name", "shape"), [("modulations", (21, 5)), ("mse", (20,)), ("id", (20,))])
def test_arrays_of_another_shape_are_refused(store, copy, name, shape):
    shards = {
        shard.relative_to(store): shard.read_bytes()
        for shard in (store / name).glob("c/*/0" if name == "modulations" else "c/*")
    }
    zarr.create_array(copy / name, shape=shape, dtype="float32", overwrite=True)
    for shard, data in shards.items():  # their sizes are compared with the manifest before
        (copy / shard).parent.mkdir(parents=True, exist_ok=True)
        (copy / shard).write_bytes(data)
    forge(copy)
    with pytest.raises(StoreFormatError, match=rf"{name}: .*shape.*two conversions were mixed"):
        StoreReader(copy)
