"""Triangles of polygons that are not convex: fans that are wrong are cut anew, ear by ear."""

from typing import Any

import numpy as np
from jaxtyping import Bool, Float64, Int64

from converters.archives.memory_share import check_wanted
from functa_store.errors import MemberError

_CORNERS_AT_ONCE = 1 << 18
_MOST_TESTS = 1 << 28  # of corners that lie inside an ear or not: a few seconds
_MOST_STEPS = 1 << 16  # of 100 microseconds
_SLIVER = 1e-6  # of a polygon's area: a triangle of a fan that is turned the other way by rounding alone
_FLAT = 1e-12  # of a polygon's squared extent: an ear of corners on one line


def mend_fans(
    vertices: Float64[np.ndarray, "vertices 3"],
    faces: Int64[np.ndarray, "faces 3"],
    starts: Int64[np.ndarray, " polygons"],
    sizes: Int64[np.ndarray, " polygons"],
) -> None:
    """Replace, in place, fans of triangles that leave their polygon's outline.

    The triangles of a fan add up to the polygon, those that are turned the other way counting as holes. So a fan
    is right if none is, whether the polygon is convex or not. Others are cut by clipping ears, which ends with
    triangles that are all turned the same way if the outline does not cross itself; where it does, the corners
    that fit least are clipped last. Polygons that are not plane are seen along their mean normal.

    Args:
        vertices: x, y, z of each corner of the mesh.
        faces: Triangles; the fan of a polygon of n corners is n - 2 of them, around its first corner.
        starts: First triangle of each polygon's fan.
        sizes: Number of corners of each polygon.

    Raises:
        MemberError: If an outline takes too long to be cut.
    """
    budget = _Budget()
    for size in np.unique(sizes):
        same = starts[sizes == size]
        block = max(1, _CORNERS_AT_ONCE // int(size))
        for first in range(0, len(same), block):
            check_wanted()
            places = same[first : first + block, None] + np.arange(size - 2)
            triangles = faces[places]
            corners = np.concatenate([triangles[:, :1, 0], triangles[:, :, 1], triangles[:, -1:, 2]], axis=1)
            with np.errstate(all="ignore"):  # of absurd coordinates, which are refused later
                flat, wrong = _flattened(vertices[corners])
            if wrong.any():
                cut = _clipped(flat[wrong], budget)
                faces[places[wrong]] = corners[wrong][np.arange(len(cut))[:, None, None], cut]


def _flattened(
    points: Float64[np.ndarray, "polygons corners 3"],
) -> tuple[Float64[np.ndarray, "polygons corners 2"], Bool[np.ndarray, " polygons"]]:
    """Polygons on the plane that they are nearest to, counter-clockwise, of extent 1; and which fans are wrong."""
    points = points - points[:, :1]
    points = points / np.abs(points).max(axis=(1, 2), keepdims=True)
    normals = np.cross(points[:, 1:-1], points[:, 2:])
    normal = normals.sum(axis=1)
    turned = np.einsum("pti,pi->pt", normals, normal)
    wrong = (turned < -_SLIVER * (normal**2).sum(axis=1, keepdims=True)).any(axis=1)
    axis = np.abs(normal).argmax(axis=1)
    rows = np.arange(len(points))
    first, second = (axis + 1) % 3, (axis + 2) % 3
    flat = np.stack([points[rows, :, first], points[rows, :, second]], axis=2)
    flat[normal[rows, axis] < 0, :, 1] *= -1
    return flat, wrong & np.isfinite(points).all(axis=(1, 2))


class _Budget:
    """Work that is left for a mesh."""

    def __init__(self) -> None:
        self._steps, self._tests = _MOST_STEPS, _MOST_TESTS

    def spend(self, tests: int, corners: int) -> None:
        self._steps, self._tests = self._steps - 1, self._tests - tests
        if min(self._steps, self._tests) < 0:
            raise MemberError(f"has faces of {corners} corners that take too long to cut: triangulate the mesh")
        check_wanted()


def _clipped(points: Float64[np.ndarray, "polygons corners 2"], budget: _Budget) -> Int64[np.ndarray, "polygons t 3"]:
    """Corners of the triangles of polygons of one size, one ear of each polygon being looked at in a step."""
    count, size, _ = points.shape
    rows = np.arange(count)
    before, after = (np.tile(np.roll(np.arange(size), shift), (count, 1)) for shift in (1, -1))
    here, misses, done = (np.zeros(count, np.int64) for _ in range(3))
    there = np.ones((count, size), bool)
    triangles = np.zeros((count, size - 2, 3), np.int64)
    while len(active := np.flatnonzero(done < size - 2)):
        budget.spend(len(active) * size, size)
        tip = here[active]
        left, right = before[active, tip], after[active, tip]
        ear = np.stack([points[active, left], points[active, tip], points[active, right]], axis=1)
        area = _turn(ear[:, 0], ear[:, 1], ear[:, 2])
        free = (area > _FLAT) & ~_anything_inside(points[active], there[active], ear)
        remaining = size - done[active]
        # After a whole turn without an ear the outline crosses itself: first what is convex goes, then anything.
        free |= (np.abs(area) <= _FLAT) | ((misses[active] > remaining) & (area > 0))
        free |= misses[active] > 2 * remaining
        rows, tip, left, right = active[free], tip[free], left[free], right[free]
        triangles[rows, done[rows]] = np.stack([left, tip, right], axis=1)
        there[rows, tip] = False
        after[rows, left], before[rows, right] = right, left
        done[rows] += 1
        misses[active] += 1
        misses[rows] = 0
        here[active] = after[active, here[active]]
    return triangles


def _anything_inside(
    points: Float64[np.ndarray, "polygons corners 2"],
    there: Bool[np.ndarray, "polygons corners"],
    ear: Float64[np.ndarray, "polygons 3 2"],
) -> Bool[np.ndarray, " polygons"]:
    """Whether a corner that is still there lies in an ear or on its border, other than where the ear's corners are."""
    inside: Any = there.copy()
    for k in range(3):
        a, b = ear[:, k, None], ear[:, (k + 1) % 3, None]
        inside &= (_turn(a, b, points) >= 0) & (points != a).any(axis=2)
    return inside.any(axis=1)


def _turn(a: Float64[np.ndarray, "*#n 2"], b: Float64[np.ndarray, "*#n 2"], c: Float64[np.ndarray, "*#n 2"]) -> Any:
    """Twice the area of triangles, positive if they are counter-clockwise."""
    return (b[..., 0] - a[..., 0]) * (c[..., 1] - a[..., 1]) - (b[..., 1] - a[..., 1]) * (c[..., 0] - a[..., 0])
