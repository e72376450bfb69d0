"""What a functaset looks like when xarray has opened it."""

import pickle
import shutil

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import functa_store
from functa_store.domains.cells import CellGrid
from functa_store.errors import ConfigError, GridError, NoFunctasetError
from functa_store.sources.source import Label
from functa_store.store.storage.objects import open_objects
from functa_store.xarray_backend import FunctaBackend
from tests.decode.stores import write_store


def test_dimensions_and_coordinates_are_those_of_the_domain(path):
    dataset = xr.open_dataset(path, engine="functa")
    assert dataset.image.dims == ("example", "y", "x", "channel")
    assert dict(dataset.sizes) == {"example": 11, "y": 8, "x": 6, "channel": 3}
    np.testing.assert_array_equal(dataset.y, (np.arange(8) + 0.5) / 8)
    assert dataset.channel.values.tolist() == ["red", "green", "blue"]
    assert set(dataset.indexes) == {"example", "y", "x", "channel"}
    assert isinstance(dataset.indexes["example"], pd.RangeIndex)


def test_attributes_say_what_the_numbers_mean(path):
    dataset = xr.open_dataset(path, engine="functa")
    assert dataset.image.attrs["units"] == "K"
    assert dataset.image.attrs["value_range"] == [0, 1]
    assert dataset.y.attrs["axis"] == "Y"
    assert dataset.attrs["title"] == "random.zip, decoded"
    assert dataset.attrs["functa_format_version"] == functa_store.open(path).store.spec.format_version
    np.testing.assert_array_equal(dataset.animal.attrs["flag_values"], [0, 1])
    assert dataset.animal.attrs["flag_meanings"] == "tabby_cat dog"
    assert dataset.animal.dtype.kind == "i"
    assert "flag_values" not in dataset.age.attrs


def test_classes_have_names_of_their_own(tmp_path):
    """As many words as values, none twice."""
    names = ("a b", "a_b", "", "a\tb", "a_b_")
    write_store(tmp_path / "odd.functa", count=5, labels={"kind": Label(values=np.arange(5), names=names)})
    meanings = xr.open_dataset(tmp_path / "odd.functa").kind.attrs["flag_meanings"].split()
    assert len(set(meanings)) == len(names)
    assert meanings[0] == "a_b"


def test_resolution_region_and_clipping_are_those_of_decode(path):
    window = {"resolution": (3, 5), "region": ((0.25, 0.5), (0.0, 1.0))}
    dataset = xr.open_dataset(path, engine="functa", clip=True, **window)
    np.testing.assert_array_equal(dataset.image, functa_store.open(path).decode(slice(None), clip=True, **window))
    assert dataset.image.min() == 0
    np.testing.assert_allclose(dataset.y, 0.25 + 0.25 * (np.arange(3) + 0.5) / 3)


def test_sounds_have_an_axis_of_time(tmp_path):
    write_store(
        tmp_path / "sounds.functa", count=3, domain=CellGrid(axes=("t",), resolution=(100,)), channels=("pressure",)
    )
    dataset = xr.open_dataset(tmp_path / "sounds.functa")
    assert dataset.sound.dims == ("example", "t", "channel")
    assert dataset.t.attrs["axis"] == "T"
    expected = functa_store.open(tmp_path / "sounds.functa").decode(1)[0, 20:70]
    np.testing.assert_allclose(dataset.sound.sel(t=slice(0.2, 0.7), example=1), expected, atol=1e-6)


def test_names_that_are_taken_get_underscores(tmp_path):
    axes = ("id", "channel")
    labels = {name: Label(values=np.arange(5) + i) for i, name in enumerate(("id", "features", "example", "channel_"))}
    write_store(tmp_path / "odd.functa", count=5, domain=CellGrid(axes=axes, resolution=(2, 3)), labels=labels)
    dataset = xr.open_dataset(tmp_path / "odd.functa")
    assert dataset.features.dims == ("example", "id", "channel_", "channel")
    np.testing.assert_array_equal(dataset["id"], [0.25, 0.75])
    assert dataset["id_"].values.tolist() == [f"{i}.png" for i in range(5)]
    for i, name in enumerate(("id__", "features_", "example_", "channel__")):
        assert name in dataset.coords
        assert dataset[name][0] in range(4), i
    assert dataset.functa.at(id=0.5, channel_=0.5).dims == ("example", "channel")


def test_names_are_plain(tmp_path):
    labels = {"hair colour": Label(values=np.arange(5))}
    domain = CellGrid(axes=("along/across", ".__hidden"), resolution=(4, 3))
    write_store(tmp_path / "odd.functa", count=5, domain=domain, labels=labels)
    dataset = xr.open_dataset(tmp_path / "odd.functa")
    assert dataset.features.dims == ("example", "along_across", "hidden", "channel")
    assert set(dataset.coords) == {*dataset.features.dims, "id", "split", "mse", "hair_colour"}


def test_whoever_opens_sees_what_is_there_now(tmp_path):
    """After a repair, say, which leaves the fingerprint as it is."""
    write_store(tmp_path / "a.functa")
    before = xr.open_dataset(tmp_path / "a.functa")
    np.testing.assert_array_equal(before.mse, np.float32(0.01))
    shutil.rmtree(tmp_path / "a.functa")
    write_store(tmp_path / "a.functa", mse=0.02)
    after = xr.open_dataset(tmp_path / "a.functa")
    assert before.encoding["functa"].shared.address == after.encoding["functa"].shared.address
    np.testing.assert_array_equal(after.mse, np.float32(0.02))


def test_unfinished_stores_hold_the_finished_examples(tmp_path):
    path = tmp_path / "unfinished.functa"
    write_store(path, num_shards=2)
    dataset = xr.open_dataset(path)
    assert dataset.sizes["example"] == 8
    assert dataset.id.values.tolist() == [f"{i}.png" for i in range(8)]
    np.testing.assert_array_equal(dataset.image, functa_store.open(path).decode(slice(None)))


def test_urls_are_opened_as_paths_are():
    write_store(open_objects("memory://xarray/images.functa"), count=3)
    dataset = xr.open_dataset("memory://xarray/images.functa")
    np.testing.assert_array_equal(dataset.image[2], functa_store.open("memory://xarray/images.functa").decode(2)[0])


def test_datasets_travel(path):
    dataset = xr.open_dataset(path, engine="functa").isel(example=[1, 4])
    again = pickle.loads(pickle.dumps(dataset))
    xr.testing.assert_identical(again.load(), dataset.load())
    np.testing.assert_array_equal(again.functa.at(y=0.3, x=0.4), dataset.functa.at(y=0.3, x=0.4))


@pytest.mark.parametrize("dropped", ["id", ["id", "image"], ("no such variable",)])
def test_variables_are_dropped(path, dropped):
    dataset = xr.open_dataset(path, engine="functa", drop_variables=dropped)
    everything = xr.open_dataset(path, engine="functa")
    assert set(dataset.variables) == set(everything.variables) - (
        {dropped} if isinstance(dropped, str) else set(dropped)
    )


@pytest.mark.parametrize(
    ("place", "is_guessed"),
    [("a.functa", True), ("s3://b/a.functa/", True), ("a.zarr", False), ("functa", False), (b"a.functa", False)],
)
def test_paths_are_recognised_by_their_ending(place, is_guessed):
    assert FunctaBackend().guess_can_open(place) is is_guessed


def test_what_cannot_be_opened_is_said(path, tmp_path):
    with pytest.raises(NoFunctasetError, match="nothing"):
        xr.open_dataset(tmp_path / "nothing.functa")
    with pytest.raises(GridError, match="resolution"):
        xr.open_dataset(path, engine="functa", resolution=0)
    for too_many in (10**9, 10**15):
        with pytest.raises(GridError, match="resolution"):
            xr.open_dataset(path, engine="functa", resolution=too_many)
    with pytest.raises(GridError, match="region"):
        xr.open_dataset(path, engine="functa", region=((0.0, 2.0), (0.0, 1.0)))
    with pytest.raises(ConfigError, match="cache_bytes"):
        xr.open_dataset(path, engine="functa", cache_bytes=-1)
    with pytest.raises(ConfigError, match="path or URL of a functaset"):
        xr.open_dataset(b"nothing", engine="functa")
    with pytest.raises(ConfigError, match="has no groups"):
        xr.open_datatree(path, engine="functa")


def test_a_grid_beyond_memory_is_opened_and_decoded_in_part(path):
    dataset = xr.open_dataset(path, engine="functa", resolution=10**6)
    assert dataset.image.size == 11 * 10**12 * 3
    assert dataset.image.isel(example=0, y=slice(0, 3), x=slice(0, 2)).load().shape == (3, 2, 3)
    with pytest.raises(GridError, match="GiB"):
        dataset.image.load()
