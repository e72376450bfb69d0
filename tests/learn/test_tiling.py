"""Which points the steps of a fit look at."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from functa_store.learn.tiling import choose_stride, in_groups, in_tiles, strided

RESOLUTIONS = st.lists(st.integers(1, 9), min_size=1, max_size=3).map(tuple)


def counted(view):
    """The points of a view that count, row by row."""
    points, weights = (np.reshape(a, (-1, view.points.shape[-2] * view.points.shape[-1])) for a in view)
    return [row[weight > 0].tolist() for row, weight in zip(points, weights, strict=True)]


@given(st.integers(1, 200), st.integers(1, 50))
def test_tiles_hold_every_point_once_with_equal_weight(num_points, tile):
    view = in_tiles(np.arange(num_points), tile)
    assert view.points.shape[-1] <= tile
    assert counted(view) == [list(range(num_points))]
    np.testing.assert_allclose(view.weights[view.weights > 0], 1 / num_points, rtol=1e-6)


@given(RESOLUTIONS, st.integers(1, 4), st.integers(1, 20))
def test_the_phases_of_a_stride_are_together_the_grid(resolution, stride, tile):
    points, counts = strided(resolution, stride, stride ** len(resolution))
    view = in_tiles(points, tile, counts)
    rows = counted(view)
    assert sorted(itertools.chain(*rows)) == list(range(math.prod(resolution)))
    np.testing.assert_allclose(view.weights.reshape(len(rows), -1).sum(axis=1), 1, rtol=1e-5)


def test_consecutive_phases_lie_far_apart():
    assert strided((4, 4), 2, 4)[0][:, 0].tolist() == [0, 5, 1, 4]


def test_only_as_many_phases_as_wanted():
    assert strided((8, 8), 2, 3)[0].shape == (3, 16)


@pytest.mark.parametrize(
    ("resolution", "channels", "size", "stride"),
    [
        ((64, 64), 3, 128, 4),
        ((64, 64), 3, 512, 2),
        ((64, 64), 3, 1024, 1),
        ((8, 8), 1, 16, 1),
        ((256, 256), 3, 128, 4),
        ((32, 32, 32), 1, 128, 4),
    ],
)
def test_a_stride_leaves_enough_points(resolution, channels, size, stride):
    assert choose_stride(resolution, channels, size) == stride


def test_points_beyond_a_rows_count_do_not_count():
    view = in_tiles(np.array([[1, 2, 3], [4, 5, 4]]), 2, np.array([3, 2]))
    assert counted(view) == [[1, 2, 3], [4, 5]]


@given(st.integers(1, 60), st.integers(1, 7), st.integers(1, 20), st.integers(0, 3), st.integers(0, 99))
def test_runs_hold_every_point_once_each_of_one_group(num_points, num_groups, tile, missing, seed):
    group_of = np.random.default_rng(seed).integers(0, num_groups, num_points).astype(np.int32)
    points = np.stack([np.arange(num_points), np.arange(num_points)[::-1]])
    counts = np.array([num_points, max(1, num_points - missing)])
    view = in_groups(points, group_of, tile, counts)
    assert view.points.shape[-1] * view.points.shape[-2] <= max(tile, view.points.shape[-1])
    assert view.points.shape[-1] <= tile
    for phase in range(2):
        rows, weights = view.points[phase].reshape(-1), view.weights[phase].reshape(-1)
        assert sorted(rows[weights > 0]) == sorted(points[phase, : counts[phase]])
        np.testing.assert_allclose(weights[weights > 0], 1 / counts[phase], rtol=1e-6)
    groups = group_of[view.points]
    np.testing.assert_array_equal(groups, np.broadcast_to(groups[..., :1], groups.shape))
