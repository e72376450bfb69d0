"""Evaluating the functions themselves, and at other resolutions."""

import numpy as np
import pytest
import xarray as xr

import functa_store
from functa_store.errors import GridError, StoreMismatchError
from functa_store.xarray_backend import accessor as origin
from tests.decode.stores import write_store
from tests.xarray_backend.conftest import COUNT, LABELS

SELECTIONS = {
    "all": lambda dataset: dataset,
    "one": lambda dataset: dataset.isel(example=4),
    "a list": lambda dataset: dataset.isel(example=[7, 2]),
    "a mask": lambda dataset: dataset.isel(example=(dataset.split == "test").values),
    "labels and a window": lambda dataset: dataset.sel(example=slice(2, 5), y=slice(0.2, 0.4)),
    "a variable": lambda dataset: dataset[["image"]].isel(example=[1]),
    "a table": lambda dataset: dataset.isel(example=(("p", "q"), [[1, 2], [3, 0]])),
    "sorted": lambda dataset: dataset.sortby("age", ascending=False),
    "chunked": lambda dataset: dataset.chunk(example=3).isel(example=slice(None, None, 2)),
}


@pytest.fixture(scope="module", name="fs")
def _fs(path):
    return functa_store.open(path)


@pytest.mark.parametrize("select", SELECTIONS.values(), ids=SELECTIONS)
def test_the_selected_examples_are_decoded_at_another_resolution(select, path, fs):
    selected = select(xr.open_dataset(path, engine="functa", clip=False))
    window = {"resolution": (5, 4), "region": ((0.0, 0.5), (0.5, 1.0))}
    finer = selected.functa.to_resolution(**window)
    expected = fs.decode(selected.example.values.ravel(), clip=False, **window)
    assert finer.image.dims == (*selected.example.dims, "y", "x", "channel")
    np.testing.assert_allclose(finer.image.values.reshape(expected.shape), expected, rtol=1e-5, atol=1e-6)
    xr.testing.assert_equal(finer.id.load(), selected.id.load().drop_vars(["y", "x", "channel"], errors="ignore"))
    np.testing.assert_allclose(finer.y, 0.5 * (np.arange(5) + 0.5) / 5)
    again = finer.functa.to_resolution(None)
    np.testing.assert_allclose(
        again.image.values.reshape(-1, 8, 6, 3), fs.decode(selected.example.values.ravel(), clip=False), atol=1e-6
    )


@pytest.mark.parametrize("select", SELECTIONS.values(), ids=SELECTIONS)
def test_at_the_points_of_the_grid_the_functions_are_the_grid(select, path):
    dataset = xr.open_dataset(path, engine="functa", clip=False)
    selected = select(dataset)
    found = selected.functa.at(y=dataset.y, x=dataset.x)
    expected = dataset.image.isel(example=selected.example.variable)
    assert found.dims == expected.dims
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(found.example, selected.example)


def test_points_are_combined_as_by_interp(dataset):
    """Interpolation and evaluation agree in all but the values of the features."""
    points = xr.DataArray([0.2, 0.7, 0.4], dims="p", coords={"p": ["a", "b", "c"]})
    table = xr.DataArray([[0.2, 0.7], [0.4, 0.5]], dims=("p", "q"))
    for where in (
        {"y": 0.3, "x": 0.6},
        {"y": [0.2, 0.3], "x": np.array([0.5, 0.6, 0.7])},
        {"y": points, "x": points},
        {"y": points, "x": 0.5},
        {"y": points, "x": [0.1, 0.2]},
        {"y": points.rename(p="q"), "x": points},
        {"y": table, "x": table[0]},
    ):
        found, interpolated = dataset.functa.at(**where), dataset.image.interp(**where)
        assert dict(found.sizes) == dict(interpolated.sizes)
        assert set(found.coords) == set(interpolated.coords)
        for name in ("y", "x"):
            xr.testing.assert_equal(found[name].variable, interpolated[name].variable)


def test_nothing_but_the_points_asked_for_is_evaluated(dataset, counted):
    p = xr.DataArray(np.linspace(0, 1, 7), dims="p")
    found = dataset.functa.at(y=p, x=1 - p)
    assert counted.points_asked == 0
    found.isel(example=[3, 1], p=slice(2, 5)).load()
    assert counted.points_asked == 6
    dataset.isel(example=slice(0, 4)).functa.to_resolution(100).image.sel(y=slice(0.5, 0.6), x=slice(0.2, 0.3)).load()
    assert counted.points_asked == 6 + 4 * 100


def test_each_example_may_have_a_point_of_its_own(dataset, counted, fs):
    y = xr.DataArray(np.linspace(0, 1, 11), dims="example")
    found = dataset.functa.at(y=y, x=0.25).load()
    assert counted.points_asked == 11
    for i in (0, 5, 10):
        expected = fs.decode(i, coords=[[y.values[i], 0.25]], clip=False)[0, 0]
        np.testing.assert_allclose(found[i], expected, rtol=1e-5, atol=1e-6)


def test_points_are_paired_by_their_coordinates_or_refused(path, fs):
    """Never by place, as `interp` refuses it too."""
    selected = xr.open_dataset(path, engine="functa", clip=False).isel(example=[5, 3])
    for numbers in ([3, 5], [5, 4]):
        y = xr.DataArray([0.1, 0.9], dims="example", coords={"example": numbers})
        with pytest.raises(GridError, match="disagree"):
            selected.functa.at(y=y, x=0.5)
    agreeing = xr.DataArray([0.1, 0.9], dims="example", coords={"example": [5, 3]})
    expected = fs.decode(3, coords=[[0.9, 0.5]], clip=False)[0, 0]
    np.testing.assert_allclose(selected.functa.at(y=agreeing, x=0.5).sel(example=3), expected, rtol=1e-5, atol=1e-6)
    p, q = (xr.DataArray([0.1, 0.9], dims="p", coords={"p": names}) for names in (["a", "b"], ["b", "a"]))
    with pytest.raises(GridError, match="disagree"):
        selected.functa.at(y=p, x=q)


def test_what_is_known_of_the_examples_is_not_replaced_by_what_is_known_of_the_points(dataset):
    y = xr.DataArray([0.1, 0.9], dims="p", coords={"mse": 7.0, "id": ("p", ["a", "b"]), "depth": 2.0})
    found = dataset.functa.at(y=y, x=0.5)
    for name in ("mse", "id"):
        xr.testing.assert_equal(found[name].variable, dataset[name].variable)
    assert found.depth == 2.0


def test_stacked_examples_are_refused(dataset):
    for dims in (("example", "y"), ("example", "channel")):
        with pytest.raises(StoreMismatchError, match="unstack"):
            dataset.stack(z=dims).functa.at(y=0.5, x=0.5)


def test_features_are_clipped_as_the_dataset_was_opened(path):
    clipped = xr.open_dataset(path, engine="functa", clip=True)
    assert clipped.functa.at(y=[0.1, 0.9], x=[0.5]).min() == 0
    assert clipped.functa.to_resolution(3).image.min() == 0


@pytest.mark.parametrize(
    ("where", "words"),
    [
        ({"y": 0.5}, "each of"),
        ({"y": 0.5, "x": 0.5, "z": 0.5}, "each of"),
        ({"y": 1.5, "x": 0.5}, r"outside \[0, 1\]"),
        ({"y": np.nan, "x": 0.5}, r"outside \[0, 1\]"),
        ({"y": "high", "x": 0.5}, "expected a number"),
        ({"y": "0.3", "x": 0.5}, "expected a number"),
        ({"y": 0.3 + 1j, "x": 0.5}, "expected a number"),
        ({"y": [True, False], "x": 0.5}, "expected a number"),
        ({"y": [[0.1], [0.2, 0.3]], "x": 0.5}, "expected a number"),
        ({"y": [[0.1], [0.2]], "x": 0.5}, "a table as a DataArray"),
        ({"y": xr.DataArray([0.5], dims="channel"), "x": 0.5}, "channel"),
        ({"y": xr.DataArray([0.5, 0.6], dims="p"), "x": xr.DataArray([0.5], dims="p")}, "disagree"),
        ({"y": xr.DataArray([0.5, 0.6], dims="example"), "x": 0.5}, "disagree"),
    ],
)
def test_points_must_lie_on_the_domain(path, where, words):
    with pytest.raises(GridError, match=words):
        xr.open_dataset(path, engine="functa").functa.at(**where)


FORGETFUL = {
    "where": lambda a, b: a.where(a.example < 3),
    "no numbers": lambda a, b: a.drop_vars("example"),
    "nothing": lambda a, b: xr.Dataset(),
    "concat": lambda a, b: xr.concat([a, b], "example"),
    "shifted numbers": lambda a, b: a.assign_coords(example=a.example + 1),
    "other numbers": lambda a, b: a.assign_coords(example=a.example[::-1].values),
    "numbers that are none": lambda a, b: a.assign_coords(example=a.id.values),
    "new examples": lambda a, b: a.reindex(example=[3, 40]),
    "no names": lambda a, b: a.drop_vars("id"),
    "no errors": lambda a, b: a.drop_vars("mse"),
}


@pytest.fixture(scope="module", name="other")
def _other(tmp_path_factory):
    """Other modulations, and errors, of as many examples."""
    path = tmp_path_factory.mktemp("other") / "other.functa"
    write_store(path, count=COUNT, labels=LABELS, seed=1, mse=0.02)
    return path


@pytest.mark.parametrize("forget", FORGETFUL.values(), ids=FORGETFUL)
def test_a_dataset_that_forgot_where_it_is_from_is_told_so(forget, path, other):
    forgetful = forget(*(xr.open_dataset(place, engine="functa") for place in (path, other)))
    for anew in (lambda: forgetful.functa.at(y=0.5, x=0.5), lambda: forgetful.functa.to_resolution(4)):
        with pytest.raises(StoreMismatchError, match=r"no longer"):
            anew()


def test_files_that_were_opened_together_are_told_so(path, other):
    together = xr.open_mfdataset([path, other], engine="functa", combine="nested", concat_dim="example")
    with pytest.raises(StoreMismatchError, match="no longer those of the functaset"):
        together.functa.to_resolution(4)


def test_of_many_examples_some_from_the_first_to_the_last_are_compared(path, monkeypatch):
    monkeypatch.setattr(origin, "MOST_COMPARED", 4)
    monkeypatch.setattr(origin, "RUNS", 2)
    dataset = xr.open_dataset(path, engine="functa").load()
    dataset.functa.at(y=0.5, x=0.5)
    dataset.isel(example=(("p", "q"), [[1, 2, 5], [3, 0, 4]])).functa.at(y=0.5, x=0.5)
    for changed, is_seen in ((0, True), (1, True), (5, False), (9, True), (10, True)):
        numbers = np.where(np.arange(11) == changed, 6, np.arange(11))
        found = origin.holds_examples_of(dataset.encoding["functa"], dataset.assign_coords(example=numbers))
        assert found is not is_seen
