"""Every file of a store is in its manifest once: in the root, or in one of the manifest's arrays."""

import json
import shutil

import numpy as np
import pytest
import zarr

from functa_store.errors import StoreFormatError
from functa_store.store.format import layout
from functa_store.store.format.manifest import FileSeries, sha256_of
from functa_store.store.reading.reader import StoreReader, take_inventory
from functa_store.store.reading.records import Records
from functa_store.store.reading.verify import verify
from functa_store.store.storage.local import LocalObjects
from functa_store.store.storage.objects import FileRecord, record
from tests.store.conftest import make_augmented, read_all, write_shards


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """A store of several chunks of each column."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(layout, "ROWS_PER_CHUNK", 4)
        return write_shards(tmp_path_factory.mktemp("manifest") / "pets.functa", make_augmented())


@pytest.fixture
def copy(store, tmp_path):
    return shutil.copytree(store, tmp_path / "copy.functa")


def test_records_are_those_of_all_files(store):
    files = {key: record(data) for key, data in read_all(store).items() if key != "zarr.json"}
    records = take_inventory(LocalObjects(store)).records
    assert dict(records.items()) == files
    assert len(records) == len(files)
    assert all(records[key] == file for key, file in files.items())
    for key in ("id/c/6", "id/c/00", "id/c/-1", "id/c/1/0", "modulations/c/0", "modulations/c/0/1", "x/c/0", "id/c/x"):
        assert key not in records
    assert verify(store).checked == len(files) + 1


def test_arrays_are_plain_zarr(store):
    """As docs/explanation/format.md says it."""
    arrays = {
        name: zarr.open_array(store / "manifest" / name, mode="r")[...]
        for name in ("modulations", "mse", "id", "split", "labels/animal", "augmentation_of")
    }
    for number, crc in enumerate(arrays["modulations"]):
        assert f"{crc:08x}" == record((store / f"modulations/c/{number}/0").read_bytes()).crc32c
    for number, (crc, size) in enumerate(arrays["labels/animal"]):
        data = (store / f"labels/animal/c/{number}").read_bytes()
        assert FileRecord(bytes=int(size), crc32c=f"{crc:08x}") == record(data)
    assert {name: array.shape for name, array in arrays.items()} == {
        "modulations": (3,),
        "mse": (3,),
        "id": (6, 2),
        "split": (6, 2),
        "labels/animal": (6, 2),
        "augmentation_of": (6, 2),
    }
    assert {array.dtype for array in arrays.values()} == {np.dtype("uint32")}


def test_opening_reads_no_array_of_the_manifest(store, monkeypatch):
    read, real = [], LocalObjects.read
    monkeypatch.setattr(LocalObjects, "read", lambda self, key, most: read.append(key) or real(self, key, most))
    reader = StoreReader(store)
    _ = reader.modulations[3], reader.mse[:]
    assert not [key for key in read if key.startswith("manifest/") or "/c/" in key]
    _ = reader.split[0]
    assert [key for key in read if key.startswith("manifest/")] == [
        "manifest/split/zarr.json",
        "manifest/split/c/0/0",
    ]


def test_a_damaged_array_is_named_and_hides_what_it_has(copy):
    (copy / "manifest/mse/c/0").write_bytes(b"nothing")
    found = verify(copy)
    assert (list(found.damaged), found.foreign) == (["manifest/mse/c/0"], [])
    assert found.checked == verify(copy).checked
    reader = StoreReader(copy, verify=True)
    assert reader.modulations[:].shape == (21, 4)
    with pytest.raises(StoreFormatError, match="manifest/mse/c/0"):
        reader.mse[:]


def test_an_array_of_another_store_is_found_by_the_checksum_in_the_root(copy):
    root = json.loads((copy / "zarr.json").read_text())
    assert root["attributes"]["functa"]["manifest_sha256"] == sha256_of(
        {name: zarr.open_array(copy / "manifest" / name, mode="r")[...] for name in _names(copy)}
    )
    records = take_inventory(LocalObjects(copy)).records
    assert isinstance(records, Records)
    records.check_sha256()
    records._sha256 = "0" * 64
    with pytest.raises(StoreFormatError, match="are not those"):
        records.check_sha256()


def _names(store):
    return [str(found.parent.relative_to(store / "manifest")) for found in (store / "manifest").rglob("c")]


def test_shards_of_several_sizes_are_no_series():
    series = FileSeries(name="mse", count=2, num_bytes=4)
    files = {"mse/c/0": FileRecord(bytes=4, crc32c="00000001"), "mse/c/1": FileRecord(bytes=5, crc32c="ffffffff")}
    with pytest.raises(StoreFormatError, match="of 5 bytes, expected 4"):
        series.numbers(files)
