"""Triangles of a polygon lie inside its outline, whatever its shape."""

import numpy as np
import pytest

from converters.shapes import mesh_files as polygons
from converters.shapes.mesh_files import mend_fans, read_mesh, voxelise
from functa_store.errors import MemberError

L = [(0, 0), (4, 0), (4, 1), (1, 1), (1, 3), (0, 3)]


def comb(teeth):
    return [(0, 0), (2 * teeth, 0), *((k, 1 if k % 2 else 5) for k in range(2 * teeth, -1, -1))]


def star(seed, size=30):
    """A simple polygon, corners at any distance around the origin."""
    rng = np.random.default_rng(seed)
    angles = (np.arange(size) + rng.random(size)) * 2 * np.pi / size
    return np.stack([np.cos(angles), np.sin(angles)], axis=1) * rng.uniform(0.1, 1, (size, 1))


def triangles_of(outline, turn=None):
    """Corners of the triangles of one polygon, which may stand askew in space."""
    points = np.c_[np.array(outline, float), np.zeros(len(outline))]
    faces = np.array([(0, k, k + 1) for k in range(1, len(points) - 1)])
    mend_fans(points if turn is None else points @ turn, faces, np.array([0]), np.array([len(points)]))
    return points[faces, :2]


def areas(corners):
    a, b, c = corners[:, 0], corners[:, 1], corners[:, 2]
    return ((b - a)[:, 0] * (c - a)[:, 1] - (b - a)[:, 1] * (c - a)[:, 0]) / 2


@pytest.mark.parametrize(
    ("outline", "area"),
    [
        (L, 6),
        (L[2:] + L[:2], 6),
        ([(0, 0), (4, 2), (0, 4), (1, 2)], 6),  # an arrowhead
        ([(4, 2), (0, 4), (1, 2), (0, 0)], 6),
        (comb(1), 6),
        (comb(20), 120),
        ([(0, 0), (2, 0), (4, 0), (4, 1), (1, 1), (1, 2), (1, 3), (0, 3), (0, 1)], 6),  # corners on straight edges
        ([(0, 0), (4, 0), (4, 4), (0, 4), (0, 0), (1, 1), (1, 3), (3, 3), (3, 1), (1, 1)], 12),  # a hole, by a bridge
    ],
)
@pytest.mark.parametrize("reverse", [False, True])
def test_triangles_of_concave_polygons_add_up_to_them_and_none_is_turned(outline, area, reverse):
    """Triangles that are all turned the same way and add up to the area neither overlap nor leave the outline."""
    found = areas(triangles_of(outline[::-1] if reverse else outline)) * (-1 if reverse else 1)
    assert found.min() >= 0
    assert found.sum() == pytest.approx(area)


@pytest.mark.parametrize("seed", range(20))
def test_any_simple_polygon_askew_in_space_is_cut_inside_its_outline(seed):
    outline = star(seed)
    found = areas(triangles_of(outline, np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))[0]))
    x, y = outline.T
    assert found.min() > -1e-6
    assert found.sum() == pytest.approx(np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y) / 2)


def test_fans_that_are_right_stay_as_they_are():
    """Stores that were made from convex polygons are made again in the same bits."""
    pentagon = [(0, 0), (2, 0), (3, 1), (2, 2), (0, 2)]
    np.testing.assert_array_equal(triangles_of(pentagon)[:, 0], [(0, 0)] * 3)


@pytest.mark.parametrize(
    "outline", [[(0, 0), (2, 2), (2, 0), (0, 1)], [(0, 0)] * 5, [(0, 0), (1, 0), (2, 0), (3, 0)], [(np.nan, 0)] * 4]
)
def test_outlines_that_cross_themselves_or_have_no_area_end(outline):
    assert triangles_of(outline).shape == (len(outline) - 2, 3, 2)


def test_polygons_of_many_sizes_are_cut_each_by_itself():
    outlines = [L, comb(3), comb(5), L, [(0, 0), (1, 0), (1, 1), (0, 1)]]
    points = np.concatenate([np.c_[np.array(o, float), np.full(len(o), k)] for k, o in enumerate(outlines)])
    sizes = np.array([len(o) for o in outlines])
    firsts = np.cumsum(sizes) - sizes
    faces = np.array([(f, f + k, f + k + 1) for f, n in zip(firsts, sizes, strict=True) for k in range(1, n - 1)])
    mend_fans(points, faces, np.cumsum(sizes - 2) - (sizes - 2), sizes)
    assert (points[faces, 2] == points[faces[:, :1], 2]).all()
    found = areas(points[faces, :2])
    assert found.min() >= 0
    assert [found[points[faces[:, 0], 2] == k].sum() for k in range(5)] == pytest.approx([6, 18, 30, 6, 1])


def test_outlines_that_would_take_minutes_are_refused(monkeypatch):
    monkeypatch.setattr(polygons, "_MOST_STEPS", 50)
    with pytest.raises(MemberError, match="faces of 43 corners that take too long"):
        triangles_of(comb(20))


@pytest.mark.parametrize("suffix", [".obj", ".off"])
def test_a_prism_over_a_concave_polygon_fills_its_cells(suffix):
    """4 x 3 x 1 units of 4 cells, the upper right 3 x 2 free; a face on a border counts for the upper cell."""
    corners = [(x, y, z) for z in (0, 1) for x, y in L]
    outlines = [tuple(range(5, -1, -1)), tuple(range(6, 12))]
    outlines += [(i, (i + 1) % 6, (i + 1) % 6 + 6, i + 6) for i in range(6)]
    if suffix == ".off":
        lines = [f"OFF {len(corners)} {len(outlines)} 0", *(" ".join(map(str, c)) for c in corners)]
        lines += [f"{len(p)} " + " ".join(map(str, p)) for p in outlines]
    else:
        lines = ["v " + " ".join(map(str, c)) for c in corners]
        lines += ["f " + " ".join(str(k + 1) for k in p) for p in outlines]
    found = voxelise(read_mesh("\n".join(lines).encode(), suffix), 16, centred=False)
    expected = np.zeros((16, 16, 16), bool)
    expected[:5, :5, :], expected[:5, :13, :5] = True, True
    np.testing.assert_array_equal(found, expected)
