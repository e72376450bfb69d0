"""Every way to index decodes what indexing the decoded array would give, and nothing else."""

import tracemalloc

import numpy as np
import pytest
import xarray as xr
from xarray.core import indexing

import functa_store
from functa_store.decode.tiled_decoder import SCATTERED_TILE_POINTS
from functa_store.xarray_backend import backend as chunks
from functa_store.xarray_backend import lazy_arrays as arrays

RNG = np.random.default_rng(0)
POINTS, OTHERS = xr.DataArray(RNG.integers(0, 6, 9), dims="p"), xr.DataArray(RNG.integers(0, 6, 9), dims="p")
TABLE = RNG.integers(0, 6, (2, 3))

# Each indexes an array of dimensions (example, y, x, channel) = (11, 8, 6, 3), and says how many points it needs.
TRANSFORMS = {
    "everything": (lambda a: a, 11 * 48),
    "an integer": (lambda a: a.isel(example=3), 48),
    "a negative integer": (lambda a: a.isel(example=-1, y=-2), 6),
    "numpy's integer": (lambda a: a.isel(x=np.int64(2)), 11 * 8),
    "one point": (lambda a: a.isel(example=3, y=2, x=1), 1),
    "one feature": (lambda a: a.isel(example=3, y=2, x=1, channel=2), 1),
    "slices": (lambda a: a.isel(example=slice(2, 9, 3), y=slice(1, 5)), 3 * 4 * 6),
    "negative steps": (lambda a: a.isel(example=slice(None, None, -2), x=slice(5, 1, -3)), 6 * 8 * 2),
    "an empty slice": (lambda a: a.isel(y=slice(3, 3)), 0),
    "an empty backward slice": (lambda a: a.isel(y=slice(2, 5, -1)), 0),
    "no examples": (lambda a: a.isel(example=[]), 0),
    "lists": (lambda a: a.isel(example=[7, 3, 3], y=[0, 7]), 2 * 2 * 6),
    "masks": (lambda a: a.isel(example=np.arange(11) % 3 == 0, x=np.arange(6) > 3), 4 * 8 * 2),
    "channels": (lambda a: a.isel(channel=[2, 0], example=[1]), 48),
    "a window by coordinates": (lambda a: a.sel(y=slice(0.2, 0.6), x=slice(0.5, 1)), 11 * 3 * 3),
    "nearest coordinates": (lambda a: a.sel(y=[0.1, 0.9], x=0.4, method="nearest"), 11 * 2),
    "a channel by name": (lambda a: a.sel(channel="green", example=4), 48),
    "a label": (lambda a: a.isel(example=(a.animal == 1).values), 5 * 48),
    "step by step": (
        lambda a: a.isel(example=slice(1, None)).isel(example=[4, 2], y=slice(1, 7)).isel(y=[0, 5]),
        2 * 12,
    ),
    "transposed": (lambda a: a.transpose("channel", "x", "example", "y").isel(x=[1, 4], example=2), 16),
    "pointwise on the grid": (lambda a: a.isel(y=POINTS, x=OTHERS), 11 * 9),
    "pointwise for some examples": (lambda a: a.isel(example=[4, 1]).isel(y=POINTS, x=OTHERS), 2 * 9),
    "pointwise for one example": (lambda a: a.isel(example=5, y=POINTS, x=OTHERS), 9),
    "pointwise everywhere": (lambda a: a.isel(example=POINTS, y=OTHERS, x=POINTS), 9),
    "pointwise in each channel": (lambda a: a.isel(example=POINTS, y=OTHERS, x=POINTS, channel=POINTS % 3), 9),
    "pointwise by coordinates": (lambda a: a.sel(y=0.1 * POINTS, x=0.1 * OTHERS, method="nearest"), 11 * 9),
    "an example for each row": (lambda a: a.isel(example=POINTS, y=OTHERS), 9 * 6),
    "an example for each channel": (
        lambda a: a.isel(example=xr.DataArray([1, 2], dims="p"), channel=POINTS[:2] % 3),
        2 * 48,
    ),
    "a table of examples": (lambda a: a.isel(example=(("p", "q"), TABLE)), len(np.unique(TABLE)) * 48),
    "a table of rows": (lambda a: a.isel(y=(("p", "q"), TABLE), x=slice(1, 3)), 11 * 6 * 2),
    "two vectors across each other": (lambda a: a.isel(example=("p", [1, 2]), y=("q", [3, 4, 5])), 2 * 3 * 6),
    "no points": (lambda a: a.isel(y=POINTS[:0], x=OTHERS[:0]), 0),
    "points of a selection": (lambda a: a.isel(y=POINTS, x=OTHERS).isel(p=slice(2, 5), channel=0), 11 * 3),
}


@pytest.fixture(scope="module", name="decoded")
def _decoded(path):
    """The same in memory."""
    dataset = xr.open_dataset(path, engine="functa", clip=False).load()
    return dataset.image.copy(data=functa_store.open(path).decode(slice(None), clip=False))


@pytest.mark.parametrize("name", TRANSFORMS)
def test_indexing_and_decoding_commute_and_no_other_point_is_decoded(name, dataset, counted, decoded):
    transform, num_points = TRANSFORMS[name]
    found = transform(dataset.image)
    assert counted.points_asked == 0
    found = found.load()
    assert counted.points_asked == num_points
    assert num_points <= counted.points_evaluated < num_points + SCATTERED_TILE_POINTS
    xr.testing.assert_allclose(found, transform(decoded), rtol=1e-5, atol=1e-6)
    assert found.dims == transform(decoded).dims
    assert found.dtype == np.float32


@pytest.mark.parametrize("name", TRANSFORMS)
def test_indexing_chunks_gives_the_same(name, path, decoded, monkeypatch):
    transform, _ = TRANSFORMS[name]
    monkeypatch.setattr(chunks, "MOST_DECODED_BYTES", 4 * 3 * 6 * 5)
    dataset = xr.open_dataset(path, engine="functa", clip=False, chunks={})
    assert dataset.chunks["y"] == (5, 3)
    found = transform(dataset.image).load(scheduler="sync")
    xr.testing.assert_allclose(found, transform(decoded), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", [name for name in TRANSFORMS if "point" in name or "table" in name])
@pytest.mark.parametrize("limit", [1, 4])
def test_parts_give_what_the_whole_gives(name, limit, dataset, decoded, monkeypatch):
    monkeypatch.setattr(arrays, "POINTS_AT_ONCE", limit)
    transform, _ = TRANSFORMS[name]
    xr.testing.assert_allclose(transform(dataset.image).load(), transform(decoded), rtol=1e-5, atol=1e-6)


def test_many_points_need_little_more_memory_than_their_features(dataset, monkeypatch):
    """Beside xarray's own key: an index and a position along each dimension."""
    monkeypatch.setattr(arrays, "POINTS_AT_ONCE", 2**14)
    opened, along = dataset.encoding["functa"], [dataset[axis].variable.to_base_variable() for axis in ("y", "x")]
    array = arrays.DecodedArray(
        opened.shared, ("example", "y", "x"), xr.Variable("example", np.arange(11)), tuple(along), clip=False
    )
    p = np.random.default_rng(0).integers(0, 6, (2**18, 1))
    key = indexing.VectorizedIndexer(tuple(np.broadcast_arrays(p, p, p, np.arange(3)[None])))
    dataset.image.isel(example=POINTS, y=POINTS, x=POINTS).load()  # compiles
    tracemalloc.start()
    found = array[key]
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert found.shape == (2**18, 3)
    assert peak < found.nbytes + 6 * p.nbytes + 4 * 2**20


def test_columns_are_indexed_as_arrays_are(dataset, path):
    functaset = functa_store.open(path)
    for rows in ([3, 1, 1], slice(None, None, -2), slice(2, 5, -1), -1, np.arange(11) % 2 == 0):
        for name, column in {"id": functaset.ids, "age": functaset.labels["age"], "mse": functaset.mse}.items():
            np.testing.assert_array_equal(dataset[name].isel(example=rows), column[:][rows])
    table = dataset.id.isel(example=(("p", "q"), [[1, 2], [3, 0]]))
    assert table.values.tolist() == [["1.png", "2.png"], ["3.png", "0.png"]]
