"""Modulations as a variable beside what is decoded from them."""

import pickle

import dask
import numpy as np
import pytest
import xarray as xr

import functa_store
from functa_store.sources.source import Label
from tests.decode.stores import write_store
from tests.store.conftest import make_cells, make_values, write_shards

CELLS = (2, 3)


@pytest.fixture(scope="module", params=["float32", "int8"])
def grids(request, tmp_path_factory):
    return write_shards(tmp_path_factory.mktemp("grids") / "cells.functa", make_cells(CELLS, request.param))


@pytest.fixture(scope="module")
def rows(grids):
    rows = functa_store.open(grids).modulations[:]
    np.testing.assert_allclose(rows, make_values(make_cells(CELLS).config.network)[0], atol=0.02)
    return rows


def opened(path, **options):
    return xr.open_dataset(path, engine="functa", modulations=True, cache=False, **options)


def test_vectors_are_a_variable_if_asked_for(path):
    assert "modulations" not in xr.open_dataset(path, engine="functa")
    dataset = opened(path)
    assert dataset.modulations.dims == ("example", "modulation")
    np.testing.assert_array_equal(dataset.modulations, functa_store.open(path).modulations[:])


def test_grids_have_a_dimension_for_each_axis_of_the_domain(grids, rows):
    """And their channels are not those of what is decoded."""
    dataset = opened(grids)
    assert dataset.modulations.dims == ("example", "y_cell", "x_cell", "cell_channel")
    assert (dataset.sizes["channel"], dataset.sizes["cell_channel"]) == (3, 2)
    np.testing.assert_array_equal(dataset.modulations, rows, strict=True)
    assert set(dataset.data_vars) == {"image", "modulations"}
    held_out = dataset.modulations.isel(example=(dataset.split == "test").values)
    np.testing.assert_array_equal(held_out, rows[2::3])


INDICES = {
    "numbers": {"example": 3, "y_cell": 1},
    "slices": {"example": slice(19, 2, -3), "x_cell": slice(None, None, 2)},
    "lists": {"example": [20, 0, 0, 7], "y_cell": [1, 0], "cell_channel": [1]},
    "a number and a list": {"example": [4, 2], "y_cell": 0, "x_cell": [2, 0]},
    "negative": {"example": -1, "cell_channel": -1},
    "none": {"example": []},
    "points": {"example": xr.DataArray([1, 5, 20], dims="p"), "x_cell": xr.DataArray([0, 2, 1], dims="p")},
    "a table of points": {"example": xr.DataArray([[1, 5], [20, 1]], dims=("p", "q"))},
}


@pytest.mark.parametrize("index", INDICES)
def test_any_index_gives_what_it_gives_in_memory(grids, rows, index):
    lazy = opened(grids).modulations
    expected = xr.DataArray(rows, dims=lazy.dims).isel(INDICES[index])
    found = lazy.isel(INDICES[index])
    assert found.dims == expected.dims
    np.testing.assert_array_equal(found.values, expected.values, strict=True)


def test_only_the_examples_that_are_looked_at_are_read(grids, rows, monkeypatch):
    dataset = opened(grids)
    table = dataset.encoding["functa"].shared.functaset.modulations
    asked = []
    read = type(table)._read
    monkeypatch.setattr(type(table), "_read", lambda self, key: (asked.append((self.name, key)), read(self, key))[1])
    np.testing.assert_array_equal(dataset.modulations[4:6, 1], rows[4:6, 1])
    assert [key for name, key in asked if name.endswith("modulations")] == [slice(4, 6, 1)]


def test_chunks_divide_shards_and_dask_reads_them(grids, rows):
    dataset = opened(grids, chunks={})
    assert dataset.modulations.chunksizes["example"] == (8, 8, 5)
    assert dict(dataset.chunks)["example"] == (8, 8, 5)
    with dask.config.set(scheduler="threads"):
        np.testing.assert_allclose(dataset.modulations.mean("example"), rows.mean(axis=0), rtol=1e-5, atol=1e-6)
    copy = pickle.loads(pickle.dumps(dataset.modulations))
    np.testing.assert_array_equal(copy[3], rows[3])


def test_names_that_labels_have_get_an_underscore(tmp_path):
    labels = {"modulations": Label(values=np.arange(5)), "modulation": Label(values=np.arange(5))}
    write_store(tmp_path / "odd.functa", count=5, labels=labels)
    dataset = opened(tmp_path / "odd.functa")
    assert dataset["modulations_"].dims == ("example", "modulation_")
    np.testing.assert_array_equal(dataset["modulations"], np.arange(5))


def test_a_selection_is_written_to_other_formats(grids, rows, tmp_path):
    opened(grids)[["modulations"]].isel(example=[3, 7]).to_netcdf(tmp_path / "some.nc")
    with xr.open_dataset(tmp_path / "some.nc") as found:
        np.testing.assert_array_equal(found.modulations, rows[[3, 7]])
        assert found.id.values.tolist() == ["bild_3_ä.png", "bild_7_ä.png"]
