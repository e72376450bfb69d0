"""Coordinates of grids, resolutions and regions."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from functa_store.domains.cells import MOST_POINTS_ALONG, CellGrid, GridPoints
from functa_store.errors import GridError

IMAGE = CellGrid(axes=("y", "x"), resolution=(4, 6))


def test_points_are_cell_centres_with_the_last_axis_fastest():
    expected = [[0.25, 0.25], [0.25, 0.75], [0.75, 0.25], [0.75, 0.75]]
    np.testing.assert_array_equal(IMAGE.coords(2), np.array(expected, np.float32))


@given(st.integers(1, 40), st.data())
def test_a_region_at_equal_spacing_is_a_window_of_the_whole(n, data):
    start = data.draw(st.integers(0, n - 1))
    stop = data.draw(st.integers(start + 1, n))
    line = CellGrid(axes=("t",), resolution=(n,))
    window = line.coords(stop - start, region=[(start / n, stop / n)])
    np.testing.assert_allclose(window, line.coords()[start:stop], atol=1e-6)
    np.testing.assert_array_equal(line.coords(region=[(start / n, stop / n)]), window)


@given(st.integers(1, 64))
def test_doubling_the_resolution_splits_every_cell_evenly(n):
    line = CellGrid(axes=("t",), resolution=(n,))
    np.testing.assert_allclose(line.coords(2 * n).reshape(n, 2).mean(axis=1), line.coords()[:, 0], atol=1e-6)


@pytest.mark.parametrize("resolution", [0, -3, (4,), (4, 5, 6), (4, 0)])
def test_a_resolution_that_does_not_fit_is_refused(resolution):
    with pytest.raises(GridError, match="resolution"):
        IMAGE.coords(resolution)


@pytest.mark.parametrize(
    "region", [((0, 1),), ((0.5, 0.5), (0, 1)), ((-0.1, 1), (0, 1)), ((0, 1), (0, 1.1)), ((0, 1), (np.nan, 1))]
)
def test_a_region_that_does_not_fit_is_refused(region):
    with pytest.raises(GridError, match="region"):
        IMAGE.coords(region=region)


def test_axes_beyond_the_bound_are_refused():
    with pytest.raises(GridError, match=r"resolution .* at most"):
        IMAGE.axis_coords((1, MOST_POINTS_ALONG + 1))


def test_axes_and_resolution_must_match():
    with pytest.raises(GridError, match="one value per axis"):
        CellGrid(axes=("y",), resolution=(2, 2))
    with pytest.raises(GridError, match="share a name"):
        CellGrid(axes=("x", "x"), resolution=(2, 2))


@given(st.lists(st.integers(1, 5), min_size=1, max_size=3), st.data())
def test_points_computed_as_needed_are_those_of_the_array(shape, data):
    domain = CellGrid(axes=tuple("zyx"[: len(shape)]), resolution=tuple(shape))
    points, coords = domain.points(), domain.coords()
    assert len(points) == len(coords)
    some = np.array(data.draw(st.lists(st.integers(0, len(coords) - 1), min_size=4, max_size=4))).reshape(2, 2)
    np.testing.assert_array_equal(points[some], coords[some])


def test_grids_are_told_apart_by_their_points():
    first, second = np.array([0.25, 0.5]), np.array([0.75])
    keys = [GridPoints(axes).key for axes in ([first, second], [second, first], [first], [np.r_[first, second]])]
    assert len(set(keys)) == 4
    assert GridPoints([first, second]).key == keys[0]


@pytest.mark.parametrize("axis", [np.zeros((2, 2)), np.array([0.0, np.inf])])
def test_an_axis_is_a_vector_of_finite_numbers(axis):
    with pytest.raises(GridError, match="finite"):
        GridPoints([axis])
