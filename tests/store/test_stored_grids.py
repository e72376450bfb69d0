"""Modulations that are grids: what is written, and how every reader has it."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorstore
import xarray as xr
import zarr
from rich.console import Console

from functa_store.cli.info import show
from functa_store.config import ConvertConfig, NetworkConfig
from functa_store.decode.descriptions import summary
from functa_store.decode.facts import info
from functa_store.decode.functaset import Functaset
from functa_store.domains.cells import CellGrid
from functa_store.domains.domain import network_inputs
from functa_store.domains.sphere import SphereGrid
from functa_store.errors import ConfigError, StoreFormatError
from functa_store.store.format.load_spec import parse_spec
from functa_store.store.format.side_arrays import base_shapes
from functa_store.store.reading.reader import StoreReader
from functa_store.store.reading.shard_rows import FileRows, MappedRows
from functa_store.store.reading.verify import verify
from functa_store.store.storage.objects import open_objects
from functa_store.store.storage.writer_lock import sole_writer
from functa_store.store.writing.writer import StoreWriter
from tests.remote.servers import web_server
from tests.store.conftest import make_cells, make_contents, make_values, write_shards
from tests.store.forging import read_files

GRIDS = [(4,), (2, 3), (8, 8), (2, 2, 2), (1, 2, 1, 2)]


def rows_of(grid: tuple[int, ...]) -> np.ndarray:
    return make_values(make_cells(grid).config.network)[0]


@pytest.fixture(scope="module", params=GRIDS, ids=str)
def grid(request) -> tuple[int, ...]:
    return request.param


@pytest.fixture(scope="module")
def store(grid, tmp_path_factory) -> Path:
    return write_shards(tmp_path_factory.mktemp("grids") / "cells.functa", make_cells(grid))


def test_a_reader_returns_grids(store, grid):
    reader, rows = StoreReader(store, verify=True), rows_of(grid)
    assert reader.modulations.shape == rows.shape == (21, *grid, 2)
    for index in (5, slice(3, 19, 4), slice(None, None, -1), [20, 0, 7, 7], np.arange(21) % 2 == 0, [[1, 2], [3, 4]]):
        np.testing.assert_array_equal(reader.modulations[index], rows[index], strict=True)
    assert reader.modulations[[]].shape == (0, *grid, 2)
    kind = MappedRows if grid == (8, 8) else FileRows  # whose shards are whole pages
    assert type(reader._open_modulations()) is kind
    np.testing.assert_array_equal(Functaset(reader)[4].modulation, rows[4], strict=True)
    assert reader.bytes_per_example == 4 * rows[0].size
    assert not verify(store).damaged


def test_a_bucket_and_a_web_server_serve_grids(store, grid):
    rows, wanted = rows_of(grid), [20, 0, 7, 7, 8]
    with web_server(store.parent) as port:
        reader = StoreReader(f"http://127.0.0.1:{port}/{store.name}")
        np.testing.assert_array_equal(reader.modulations[wanted], rows[wanted], strict=True)
        np.testing.assert_array_equal(reader.modulations[2:18:5], rows[2:18:5], strict=True)
    name = "-".join(map(str, grid))
    write_shards(f"memory://grids/{name}.functa", make_cells(grid))
    reader = StoreReader(f"memory://grids/{name}.functa")
    np.testing.assert_array_equal(reader.modulations[wanted], rows[wanted], strict=True)


def test_any_zarr_reader_reads_grids_with_names_of_dimensions(store, grid):
    rows = rows_of(grid)
    np.testing.assert_array_equal(zarr.open_group(store, mode="r")["modulations"][...], rows)
    place = {"driver": "file", "path": str(store / "modulations")}
    found = tensorstore.open({"driver": "zarr3", "kvstore": place, "fill_missing_data_reads": False}).result()
    np.testing.assert_array_equal(found.read().result(), rows)
    axes = StoreReader(store).spec.domain.axes
    dims = ("example", *(f"{axis}_cell" for axis in axes), "channel")
    assert found.domain.labels == dims
    with xr.open_zarr(store, consolidated=False) as dataset:
        assert dataset["modulations"].dims == dims
        assert dataset["modulations"].variable.chunksizes["example"] == (8, 8, 5)
        np.testing.assert_array_equal(dataset["modulations"].isel(example=[3, 20]), rows[[3, 20]])
    with xr.open_datatree(store, engine="zarr", consolidated=False) as tree:
        assert tree["statistics/mean"].dims == ("channel",)
        assert tree["base/map/kernel"].dims == ("input", "shift")
        assert tree["base/inner_loop/learning_rate"].dims == ("step", "channel")


def test_a_shard_has_the_bytes_that_it_would_have_with_vectors(store, grid):
    """One range of bytes for each example, its numbers in C order."""
    rows, row_bytes = rows_of(grid), 4 * rows_of(grid)[0].size
    key = "/".join(["modulations/c/1", *["0"] * (len(grid) + 1)])
    data = (store / key).read_bytes()
    for i in range(8):
        assert data[i * row_bytes : (i + 1) * row_bytes] == rows[8 + i].tobytes()
    network = NetworkConfig(width=8, depth=3, modulation_dim=rows[0].size)
    shapes = base_shapes(network, len(grid), 3) | {"inner_loop/learning_rate": (3, rows[0].size)}
    vectors = make_contents(
        config=ConvertConfig(network=network, rows_per_shard=8),
        domain=make_cells(grid).domain,
        base={name: np.zeros(shape, np.float32) for name, shape in shapes.items()},
    )
    table = vectors.spec().tables(vectors.rounding)["modulations"]
    assert b"".join(table.encode(rows[8:16].reshape(8, -1))) == data


def test_statistics_are_over_examples_and_cells(store, grid):
    columns = rows_of(grid).reshape(-1, 2).astype(np.float64)
    statistics = StoreReader(store).statistics
    assert {array.shape for array in statistics.values()} == {(2,)}
    np.testing.assert_allclose(statistics["mean"], columns.mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(statistics["std"], columns.std(axis=0), rtol=1e-6)
    np.testing.assert_array_equal(statistics["min"], np.float32(columns.min(axis=0)))
    np.testing.assert_array_equal(statistics["max"], np.float32(columns.max(axis=0)))


@pytest.mark.parametrize("dtype", ["float16", "int8"])
def test_rounding_is_per_channel(grid, dtype, tmp_path):
    path = write_shards(tmp_path / "small.functa", make_cells(grid, dtype))
    root, rows = zarr.open_group(path, mode="r"), rows_of(grid)
    stored: Any = np.asarray(root["modulations"][...])
    assert stored.dtype == dtype
    if dtype == "int8":
        columns = rows.reshape(-1, 2)
        assert root["scale"].shape == root["offset"].shape == (2,)
        assert root["scale"].metadata.dimension_names == ("channel",)
        np.testing.assert_allclose(root["scale"][...], (columns.max(axis=0) - columns.min(axis=0)) / 255, rtol=1e-6)
        stored = stored * root["scale"][...] + root["offset"][...]
    found = StoreReader(path).modulations[:]
    np.testing.assert_array_equal(found, np.float32(stored), strict=True)
    np.testing.assert_allclose(found, rows, atol=0.02)


def test_an_interrupted_store_goes_on_to_the_same_bytes(store, grid, tmp_path):
    path = tmp_path / store.name
    with pytest.raises(KeyboardInterrupt):
        write_shards(path, make_cells(grid), stop_before=2)
    np.testing.assert_array_equal(StoreReader(path).modulations[:], rows_of(grid)[:16])
    assert verify(path).damaged == {}
    write_shards(path, make_cells(grid))
    assert read_files(path) == read_files(store)


def test_damage_is_found(store, grid, tmp_path):
    copy = shutil.copytree(store, tmp_path / "copy.functa")
    shard = copy / "/".join(["modulations/c/1", *["0"] * (len(grid) + 1)])
    shard.write_bytes(bytes([shard.read_bytes()[0] ^ 1]) + shard.read_bytes()[1:])
    assert list(verify(copy).damaged) == [str(shard.relative_to(copy))]
    with pytest.raises(StoreFormatError, match="its checksum is not that of the manifest"):
        StoreReader(copy, verify=True).modulations[9]


def test_a_writer_takes_grids_and_nothing_else(tmp_path):
    contents, rows = make_cells((2, 3)), rows_of((2, 3))
    place = open_objects(tmp_path / "x.functa")
    with sole_writer(place) as (objects, _), StoreWriter.resume_or_create(objects, contents) as writer:
        shard = writer.missing_shards()[0]
        for wrong in (rows[:8].reshape(8, 12), rows[:8].transpose(0, 2, 1, 3), rows[:7]):
            with pytest.raises(StoreFormatError, match=r"got values of shape .*, expected \(8, 2, 3, 2\)"):
                writer.write(shard, wrong, np.zeros(8, np.float32))


def test_a_grid_must_have_the_axes_of_its_domain():
    images = CellGrid(axes=("y", "x"), resolution=(8, 8))
    for grid in ((4,), (2, 2, 2)):
        contents = make_cells(grid)
        fields = {name: getattr(contents, name) for name in ("features", "config", "base", "ids", "split")}
        with pytest.raises(ConfigError, match=r"modulation_grid=.* axes, expected one number of cells for each axis"):
            type(contents)(domain=images, **fields)


def test_a_network_takes_coordinates_local_to_a_cell():
    """Those of a sphere's points have three components, those of its cells' two."""
    sphere = SphereGrid(latitudes=(60.0, 0.0, -60.0), longitudes=(0.0, 90.0, 180.0, 270.0))
    cells = NetworkConfig(modulation="spatial", modulation_grid=(2, 4), modulation_dim=2)
    assert (network_inputs(sphere, NetworkConfig()), network_inputs(sphere, cells)) == (3, 2)
    images = CellGrid(axes=("y", "x"), resolution=(8, 8))
    assert (network_inputs(images, NetworkConfig()), network_inputs(images, cells)) == (2, 2)
    assert base_shapes(cells, network_inputs(sphere, cells), 1)["sine_0/kernel"] == (2, 192)


def test_the_map_takes_the_cells_that_its_kernel_covers():
    network = make_cells((2, 3), lookup="linear", map_kernel=3).config.network
    assert base_shapes(network, 2, 3)["map/kernel"] == (18, 16)


@pytest.mark.parametrize("changes", [{"lookup": "linear"}, {"map_kernel": 3}, {"map_bias": "per_cell"}])
def test_how_cells_are_looked_up_changes_the_fingerprint(changes):
    contents = make_cells((2, 3), **changes)
    assert contents.spec().fingerprint != make_cells((2, 3)).spec().fingerprint
    attributes = json.loads(json.dumps(contents.spec().to_attributes()["functa"]))
    assert parse_spec("x.functa", attributes) == contents.spec()


def test_a_functaset_says_which_cells_it_has(tmp_path, capsys):
    path = write_shards(tmp_path / "cells.functa", make_cells((2, 3), "int8", lookup="linear"))
    found = info(path)
    assert (found["modulation"], found["modulation_grid"], found["modulation_shape"]) == ("spatial", [2, 3], [2, 3, 2])
    show(found, Console(width=120))
    assert "spatial, 2 x 3 cells of 2 int8, linear look-up" in capsys.readouterr().out
    functaset = Functaset(StoreReader(path))
    assert "modulations of 2 x 3 cells of 2" in summary(functaset)
