"""Stores some of whose examples are augmentations of others."""

import contextlib
import dataclasses

import numpy as np
import pytest
import xarray as xr

import functa_store
from functa_store.cli.main import main
from functa_store.conversion.recode import recode
from functa_store.decode.facts import info
from functa_store.errors import ConfigError
from functa_store.metrics import psnr
from functa_store.store.format.receipts import Receipts
from functa_store.store.format.spec import examples_sha256
from functa_store.store.reading.reader import StoreReader, read_augmentations
from functa_store.store.reading.verify import verify
from functa_store.store.storage.local import LocalObjects
from functa_store.store.storage.objects import open_objects
from tests.reference import FormatReader
from tests.store.conftest import make_augmented, make_contents, make_values, write_shards

NAMES = ("of", "flip", "top", "left", "side")


@pytest.fixture(scope="module", name="store")
def _store(tmp_path_factory):
    return write_shards(tmp_path_factory.mktemp("stores") / "augmented.functa", make_augmented())


def test_what_was_written_is_read_and_by_the_format_page_too(store):
    written, fs, by_page = make_augmented().augmentations, functa_store.open(store), FormatReader(store).augmentations()
    assert tuple(fs.augmentations) == tuple(by_page) == NAMES
    for name in NAMES:
        np.testing.assert_array_equal(fs.augmentations[name][:], getattr(written, name), strict=True)
        np.testing.assert_array_equal(by_page[name], getattr(written, name))
    assert "21 examples, augmentations among them" in repr(fs)
    assert verify(store).damaged == {}


def test_quality_is_that_of_originals_and_statistics_those_of_all(store):
    reader = StoreReader(store)
    modulations, mse = make_values()
    own = np.arange(21) < 15
    quality = {split: reader.spec.quality[split] for split in ("train", "validation", "test")}
    for split, found in quality.items():
        chosen = own & (reader.split[:] == split)
        assert found.examples == chosen.sum() == 5
        np.testing.assert_allclose(found.psnr_mean, psnr(mse[chosen], 1.0).mean(), rtol=1e-5)
    np.testing.assert_allclose(reader.statistics["mean"], modulations.mean(axis=0), rtol=1e-4, atol=1e-6)


def test_stores_without_augmentations_say_nothing_of_them(tmp_path, read_all):
    path = write_shards(tmp_path / "plain.functa", make_contents())
    assert [key for key in read_all(path) if "augment" in key] == []
    assert functa_store.open(path).augmentations == {}
    assert read_augmentations(StoreReader(path)) is None
    assert info(path)["augmentations"] is None


def test_augmentations_are_part_of_a_stores_identity():
    contents = make_augmented()
    other = dataclasses.replace(contents.augmentations, top=contents.augmentations.top / 2)
    digests = {
        examples_sha256(dataclasses.replace(contents, augmentations=one))
        for one in (None, other, contents.augmentations)
    }
    assert len(digests) == 3


def test_augmentations_that_contradict_themselves_are_not_written():
    with pytest.raises(ConfigError, match="example 15 is of the split validation, but its original 0 of train"):
        make_augmented(split=np.array(["train", "validation", "test"])[np.arange(21) % 3][np.r_[0:15, [1] * 6]])


def test_recoding_keeps_them(store, tmp_path):
    recode(store, tmp_path / "int8.functa", "int8")
    found, expected = (functa_store.open(path).augmentations for path in (tmp_path / "int8.functa", store))
    for name in NAMES:
        np.testing.assert_array_equal(found[name][:], expected[name][:], strict=True)
    assert StoreReader(tmp_path / "int8.functa").spec.quality["train"].examples == 5


def test_an_unfinished_store_counts_from_what_is_there(tmp_path, capsys):
    path = tmp_path / "part.functa"
    with contextlib.suppress(KeyboardInterrupt):
        write_shards(path, make_augmented(), stop_before=2)  # rows 0 to 15: one augmentation, of example 0
    assert functa_store.open(path).augmentations["of"][:].tolist() == [*range(15), 0]
    assert verify(path).damaged == {}
    Receipts(open_objects(path), StoreReader(path).spec.fingerprint).forget([StoreReader(path).shards[0]])
    fs = functa_store.open(path)
    assert len(fs) == 8
    assert fs.augmentations["of"][:].tolist() == [0, 1, 2, 3, 4, 5, 6, -1]
    assert fs.augmentations["side"][-1] == 0.75
    assert info(path)["augmentations"] == {"count": 1, "originals": 0}
    assert main(["info", str(path)]) == 0
    assert "1 of these examples" in capsys.readouterr().out


def test_xarray_and_exports_have_them_as_columns(store, tmp_path):
    dataset = xr.open_dataset(store, engine="functa")
    assert dataset.augmentation_of.values.tolist() == make_augmented().augmentations.of.tolist()
    assert (
        dataset.isel(example=dataset.augmentation_of == dataset.example).id.values.tolist()
        == dataset.id[:15].values.tolist()
    )
    functa_store.export(store, tmp_path / "all.npz")
    functa_store.export(store, tmp_path / "all.zarr")
    with np.load(tmp_path / "all.npz") as arrays:
        for exported in (arrays, xr.open_zarr(tmp_path / "all.zarr", consolidated=False)):
            for name, values in make_augmented().augmentations.arrays.items():
                np.testing.assert_array_equal(exported[name], values)


def test_exports_of_a_part_have_the_places_that_augmentation_of_means(store, tmp_path):
    part = [18, 3, 20, 12]  # 18 is one of 3, 20 is one of 12
    functa_store.export(store, tmp_path / "part.npz", index=part)
    functa_store.export(store, tmp_path / "part.zarr", index=part)
    zarr = xr.open_zarr(tmp_path / "part.zarr", consolidated=False)
    with np.load(tmp_path / "part.npz") as arrays:
        for places, of in ((arrays["index"], arrays["augmentation_of"]), (zarr.example, zarr.augmentation_of)):
            assert np.asarray(places).tolist() == part
            assert np.asarray(of).tolist() == [3, 3, 12, 12]


def test_metadata_of_augmentations_are_asked_for_once(tmp_path, monkeypatch):
    path = tmp_path / "part.functa"
    with contextlib.suppress(KeyboardInterrupt):
        write_shards(path, make_augmented(), stop_before=2)
    asked, size = [], LocalObjects.size
    monkeypatch.setattr(LocalObjects, "size", lambda self, key: asked.append(key) or size(self, key))
    monkeypatch.setattr(Receipts, "read_skeleton", lambda self: None)  # of a store without its receipts of the skeleton
    assert StoreReader(path).augmentations
    assert len([key for key in asked if key.startswith("augmentation_")]) == 5


def test_info_counts_them(store):
    found = info(store)
    assert found["augmentations"] == {"count": 6, "originals": 3}
    assert (found["examples"], found["splits"]) == (21, {"test": 5, "train": 5, "validation": 5})
