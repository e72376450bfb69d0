"""Latitudes and longitudes: seams, poles, conventions, regions and masks."""

import dataclasses
import json
import pathlib

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

import functa_store
from functa_store.config import from_dict, to_dict
from functa_store.domains.domain import StoredDomain
from functa_store.domains.sphere import SphereGrid
from functa_store.domains.sphere_geometry import pack_mask
from functa_store.errors import GridError

GOLDEN = str(pathlib.Path(__file__).parents[1] / "golden/v5_sphere.functa")
GLOBE = SphereGrid.around(np.linspace(90, -90, 37), np.arange(0, 360, 5.0))
UK = SphereGrid.around(np.arange(58, 49.9, -0.25), np.arange(-10, 2.1, 0.25))
GAUSSIAN = SphereGrid.around(np.degrees(np.arcsin(np.polynomial.legendre.leggauss(32)[0])), np.arange(64) * 5.625)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Holder:
    domain: StoredDomain


latitudes = st.floats(-90, 90)
longitudes = st.floats(-360, 720)


@st.composite
def axes(draw):
    """Latitudes and longitudes of global and regional grids of any direction and convention."""
    num_lat, num_lon = draw(st.integers(2, 12)), draw(st.integers(3, 24))
    south = draw(st.integers(-90, 60))
    lat = np.linspace(south, draw(st.integers(south + 10, 90)), num_lat)
    width = draw(st.sampled_from([360, 360, 40, 170]))
    lon = draw(st.sampled_from([-180.0, 0.0, 20.0, -10.0])) + np.arange(num_lon) * width / num_lon
    return lat[:: draw(st.sampled_from([1, -1]))], lon[:: draw(st.sampled_from([1, -1]))]


def ends_of(grid):
    """(south, north) and (west, east) of what a grid covers."""
    covered = grid.covered
    return (covered.south, covered.north), (covered.west, covered.east)


def test_native_positions_are_the_archives_exactly():
    for grid in (GLOBE, UK, GAUSSIAN):
        for asked in (None, grid.resolution):
            lat, lon = grid.axis_coords(asked)
            assert tuple(lat) == grid.latitudes
            assert tuple(lon) == grid.longitudes


def test_inputs_are_points_of_the_unit_sphere():
    where = np.array([[0, 0], [0, 90], [90, 17], [-90, 0], [0, 180], [45, -90]])
    expected = [[1, 0, 0], [0, 1, 0], [0, 0, 1], [0, 0, -1], [-1, 0, 0], [0, -(0.5**0.5), 0.5**0.5]]
    found = GLOBE.inputs(where.astype(np.float64))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=1e-7)
    assert GLOBE.inputs(where.astype(np.float64).reshape(2, 3, 2)).shape == (2, 3, 3)


@given(latitudes, longitudes)
def test_longitudes_of_every_convention_are_the_same_point(lat, lon):
    turns = np.array([[lat, lon], [lat, lon + 360], [lat, lon - 360]])
    found = GLOBE.inputs(turns)
    np.testing.assert_allclose(found, np.broadcast_to(found[0], (3, 3)), atol=1e-6)


@given(latitudes, st.floats(1e-6, 1))
def test_there_is_no_seam(lat, step):
    """Across the date line and the archive's own seam, a step is as long as anywhere else."""
    places = np.array([[lat, middle + side * step / 2] for middle in (0, 180, 360, 77) for side in (-1, 1)])
    points = GLOBE.inputs(places).astype(np.float64).reshape(4, 2, 3)
    lengths = np.linalg.norm(points[:, 1] - points[:, 0], axis=-1)
    np.testing.assert_allclose(lengths, lengths[-1], atol=3e-7)


@given(longitudes, longitudes)
def test_a_pole_is_one_point(one, other):
    for pole in (-90.0, 90.0):
        found = GLOBE.inputs(np.array([[pole, one], [pole, other]]))
        np.testing.assert_allclose(found[0], found[1], atol=1e-7)


@given(axes())
def test_a_grid_that_goes_round_is_exactly_360_degrees_wide(degrees):
    grid = SphereGrid.around(*degrees)
    covered = grid.covered
    assert (covered.east - covered.west == pytest.approx(360, abs=1e-12)) == grid.is_round
    assert all(-90 <= end <= 90 for end in (covered.south, covered.north))


def test_a_grid_with_rounded_longitudes_goes_round():
    rounded = np.linspace(20.1666667, 379.8332974, 1080)
    grid = SphereGrid.around(np.array([-45.0, 0.0, 45.0]), rounded)
    assert grid.is_round
    _, lon = grid.axis_coords((3, 2160))
    assert np.ptp(lon) == pytest.approx(360 * 2159 / 2160, abs=1e-10)
    assert lon[0] == pytest.approx(20 + 1 / 12, abs=1e-3)


def test_a_global_gaussian_grid_reaches_the_poles():
    assert (GAUSSIAN.covered.south, GAUSSIAN.covered.north) == (-90, 90)
    assert GAUSSIAN.centre == (0, 0, 0)
    assert GAUSSIAN.radius == 1
    GAUSSIAN.check_positions("latitude", np.array([-90, 90]))


@given(axes(), st.data())
def test_a_region_is_the_window_of_the_whole(degrees, data):
    grid = SphereGrid.around(*degrees)
    lat, lon = grid.axis_coords()
    rows = sorted(data.draw(st.lists(st.sampled_from(range(len(lat))), min_size=2, max_size=2, unique=True)))
    columns = sorted(data.draw(st.lists(st.sampled_from(range(len(lon))), min_size=2, max_size=2, unique=True)))
    inside = lat[rows[0] : rows[1] + 1], lon[columns[0] : columns[1] + 1]
    turns = 360 * data.draw(st.integers(-1, 1))
    region = [(inside[0].min(), inside[0].max()), (inside[1].min() + turns, inside[1].max() + turns)]
    found_lat, found_lon = grid.axis_coords(region=region)
    np.testing.assert_array_equal(found_lat, inside[0])
    np.testing.assert_allclose(found_lon, inside[1] + turns, rtol=0, atol=1e-9)
    assert grid.resolve(region=region) == (len(found_lat), len(found_lon))


def test_a_region_across_the_archives_seam_comes_in_the_callers_convention():
    lat, lon = GLOBE.axis_coords(region=((-10, 10), (-10, 10)))
    assert lat.tolist() == [10, 5, 0, -5, -10]
    assert lon.tolist() == [-10, -5, 0, 5, 10]
    _, across = GLOBE.axis_coords(region=((-10, 10), (170, 190)))
    assert across.tolist() == [170, 175, 180, 185, 190]
    _, finer = GLOBE.axis_coords(4, region=((-10, 10), (-20, 20)))
    assert finer.tolist() == [-15, -5, 5, 15]


def test_a_whole_turn_has_every_native_longitude_once():
    for west in (-180, 0, 2.5):
        _, lon = GLOBE.axis_coords(region=((-90, 90), (west, west + 360)))
        assert len(lon) == 72
        assert len(np.unique(lon % 360)) == 72
        assert (np.diff(lon) == 5).all()


@given(axes(), st.integers(1, 50))
def test_cells_of_any_resolution_fill_the_covered_area(degrees, n):
    grid = SphereGrid.around(*degrees)
    for axis, (positions, (low, high)) in enumerate(zip(grid.axis_coords((n, n + 100)), ends_of(grid), strict=True)):
        size = (high - low) / (n, n + 100)[axis]
        assert positions.min() == pytest.approx(low + size / 2)
        assert positions.max() == pytest.approx(high - size / 2)
        native = (grid.latitudes, grid.longitudes)[axis]
        if len(positions) > 1:
            assert np.sign(positions[1] - positions[0]) == np.sign(native[1] - native[0])
    grid.check_positions("latitude", grid.axis_coords((n, 1))[0].astype(np.float32))
    grid.check_positions("longitude", grid.axis_coords((1, n))[1].astype(np.float32) + 360)


@given(axes(), st.booleans(), st.integers(0, 2**32 - 1))
def test_grids_round_trip_through_the_store(degrees, area, seed):
    grid = SphereGrid.around(*degrees)
    missing = np.random.default_rng(seed).random(grid.resolution) < 0.3
    made = SphereGrid.around(np.array(grid.latitudes), np.array(grid.longitudes), area_weighting=area, missing=missing)
    kept = from_dict(Holder, json.loads(json.dumps(to_dict(Holder(domain=made))))).domain
    assert isinstance(kept, SphereGrid)
    assert kept == made
    found = kept.missing(np.stack(np.meshgrid(*kept.axis_coords(), indexing="ij"), axis=-1))
    np.testing.assert_array_equal(found, missing)
    assert kept.masked == missing.any()


@pytest.mark.parametrize(
    ("where", "words"), [([6], "6 1 9"), ([0, 1], "0 2 14"), ([14, 15], "14 2"), ([], ""), (range(16), "0 16")]
)
def test_a_mask_is_kept_as_lengths_of_runs(where, words):
    missing = np.zeros(16, bool)
    missing[list(where)] = True
    assert pack_mask(missing.reshape(4, 4)) == words


def test_the_mask_is_looked_up_at_the_nearest_point_across_the_seam():
    missing = np.zeros((37, 72), bool)
    missing[18, 0] = True  # (0, 0)
    grid = SphereGrid.around(np.array(GLOBE.latitudes), np.array(GLOBE.longitudes), missing=missing)
    where = np.array([[0, 359], [1, 1], [0, -2], [0, 357], [3, 0], [0, 363], [0, 720]], np.float32)
    found = grid.missing(where)
    assert found.tolist() == [True, True, True, False, False, False, True]
    assert not GLOBE.masked
    assert not GLOBE.missing(where).any()


@given(axes(), st.integers(0, 2**32 - 1))
def test_random_positions_are_spread_evenly_over_the_covered_area(degrees, seed):
    grid = SphereGrid.around(*degrees)
    where = grid.random_positions(np.random.default_rng(seed), 2000)
    grid.check_positions("latitude", where[:, 0])
    grid.check_positions("longitude", where[:, 1])
    south, north = np.sin(np.radians(ends_of(grid)[0]))
    heights = (np.sin(np.radians(where[:, 0])) - south) / (north - south)
    assert abs(heights.mean() - 0.5) < 5 / np.sqrt(12 * 2000)


@given(axes())
def test_area_weights_are_areas_of_cells(degrees):
    grid = SphereGrid.around(*degrees)
    weighted = SphereGrid(latitudes=grid.latitudes, longitudes=grid.longitudes, area_weighting=True)
    weights = weighted.weights
    assert grid.weights is None
    assert weights is not None
    assert weights.shape == (grid.num_points,)
    assert weights.mean() == pytest.approx(1)
    assert (weights > 0).all()


def test_area_weights_follow_the_cosine_but_for_the_poles():
    weighted = SphereGrid(latitudes=GLOBE.latitudes, longitudes=GLOBE.longitudes, area_weighting=True)
    assert weighted.weights is not None
    weights = weighted.weights.reshape(GLOBE.resolution)[:, 0]
    cosine = np.cos(np.radians(GLOBE.latitudes))
    np.testing.assert_allclose((weights / cosine)[1:-1] / (weights / cosine)[18], 1, rtol=1e-12)
    share = (1 - np.sin(np.radians(87.5))) / 2  # of the globe, for a cap of 2.5 degrees
    assert weights[0] / weights.sum() == pytest.approx(share)


def test_a_region_fills_the_networks_coordinates():
    inputs = UK.inputs(UK.coords())
    assert inputs.min() >= -1 - 1e-6
    assert np.ptp(inputs, axis=0).max() == pytest.approx(2, abs=1e-5)
    assert GLOBE.centre == (0, 0, 0)
    assert GLOBE.radius == 1


def test_positions_outside_a_regional_grid_are_refused():
    UK.check_positions("latitude", np.array([49.9, 58.1]))
    UK.check_positions("longitude", np.array([-10.1, 2.1, 350, 362]))
    for axis, wrong in (("latitude", 49), ("latitude", 59), ("longitude", 10), ("longitude", 348)):
        with pytest.raises(GridError, match=r"latitudes 49.875 to 58.125, longitudes -10.125 to 2.125"):
            UK.check_positions(axis, np.array([wrong]))
    for wrong in (np.nan, np.inf, -np.inf, 1e30):
        with pytest.raises(GridError, match="longitude"):
            GLOBE.check_positions("longitude", np.array([0, wrong]))
        with pytest.raises(GridError, match="latitude"):
            GLOBE.check_positions("latitude", np.array([0, wrong]))
    with pytest.raises(GridError, match="latitude"):
        GLOBE.check_positions("latitude", np.array([90.1]))
    GLOBE.check_positions("longitude", np.array([-540, 1000]))


@pytest.mark.parametrize(
    ("region", "message"),
    [
        (((40, 60), (-10, 2)), "not inside what is covered"),
        (((50, 58), (0, 40)), "not inside what is covered"),
        (((50.05, 50.1), (0, 1)), "no native point"),
        (((58, 50), (0, 1)), "each rising"),
        (((50, 58), (0, 361)), "at most 360"),
        (((50, 58), (np.nan, 1)), "region must give"),
        (((50, 58),), "region must give"),
        ("north", "region must give"),
    ],
)
def test_a_region_that_does_not_fit_says_what_is_covered(region, message, unchecked):
    with pytest.raises(GridError, match=message):
        UK.axis_coords(region=region)


def test_the_same_region_in_another_convention_is_inside():
    _, lon = UK.axis_coords(region=((50, 58), (350, 361)))
    assert lon[0] == 350
    assert lon[-1] == 361


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"latitudes": (0.0, 10.0, 5.0)}, "10 is followed by 5, expected strictly rising or falling"),
        ({"latitudes": (0.0, 0.0)}, "strictly rising or falling"),
        ({"latitudes": (0.0, 91.0)}, r"not in \[-90, 90\]"),
        ({"latitudes": (0.0,)}, "expected 2 to"),
        ({"longitudes": (0.0, float("nan"))}, "longitudes"),
        ({"longitudes": (0.0, 180.0, 360.0)}, "twice"),
        ({"radius": 0.0}, "radius"),
        ({"radius": 1e-300}, "a radius from 1e-6 to 2"),
        ({"centre": (0.0, 1e308, 0.0)}, "a centre .* within -2 to 2"),
        ({"mask": "!"}, "mask: expected lengths of runs"),
        ({"mask": "-1 5"}, "mask: expected lengths of runs"),
        ({"mask": "1  3"}, "mask: expected lengths of runs"),
        ({"mask": "1 \u0663"}, "mask: expected lengths of runs"),
        ({"mask": "9" * 10**6}, "mask: expected lengths of runs"),
        ({"mask": "4"}, "expected at least two"),
        ({"mask": "1 0 3"}, "none but the first empty"),
        ({"mask": pack_mask(np.ones((9, 9), bool))}, "mask: expected lengths of runs up to 4 points"),
        ({"mask": "1 4"}, "5 points in all"),
    ],
)
def test_what_is_no_grid_is_refused(fields, message):
    with pytest.raises(GridError, match=message):
        SphereGrid(**{"latitudes": (0.0, 10.0), "longitudes": (0.0, 10.0), **fields})


@pytest.mark.parametrize("resolution", [0, -1, (1, 2, 3), 1.5, (2**40, 1), "8"])
def test_resolutions_that_are_none_are_refused(resolution, unchecked):
    with pytest.raises(GridError, match="resolution"):
        GLOBE.axis_coords(resolution)


def test_attributes_are_those_of_the_cf_conventions():
    assert GLOBE.axis_attributes("latitude")["units"] == "degrees_north"
    assert GLOBE.axis_attributes("longitude") == {
        "standard_name": "longitude",
        "long_name": "longitude",
        "units": "degrees_east",
        "axis": "X",
    }


@pytest.fixture(name="opened")
def _opened():
    with xr.open_dataset(GOLDEN, engine="functa") as dataset:
        yield dataset


def test_stations_of_any_convention_have_the_values_of_the_native_points(opened):
    native = functa_store.open(GOLDEN).decode(slice(None))
    np.testing.assert_array_equal(opened.field.values, native)
    rows, columns = [0, 1, 3, 3], [0, 1, 3, 0]
    turns = [-360, 360, -720, 0]
    lat = xr.DataArray([60.0, 20, -60, -60], dims="station")
    lon = xr.DataArray([20.0, 110, 290, 20], dims="station") + turns
    stations = opened.functa.at(latitude=lat, longitude=lon)
    assert stations.dims == ("example", "station", "channel")
    np.testing.assert_allclose(stations, native[:, rows, columns], rtol=1e-5)
    assert np.isnan(stations[:, 3]).all()  # which the mask hides


def test_a_region_across_the_seam_has_the_values_and_the_mask_of_the_native_points(opened):
    native = functa_store.open(GOLDEN).decode(slice(None))
    across = opened.functa.to_resolution(region=((-70, 70), (-100, 120)))
    assert across.longitude.values.tolist() == [-70, 20, 110]
    np.testing.assert_allclose(across.field, native[:, :, [3, 0, 1]], rtol=1e-5)
