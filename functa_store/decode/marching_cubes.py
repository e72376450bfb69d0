"""Marching cubes over one slab of a grid after the other, so that no call holds the interpreter for seconds."""

from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Float32, Int32

SLAB_POINTS = 2**21
"""Points of a slab: a fifth of a second."""

March = Callable[..., Any]
"""`skimage.measure.marching_cubes`."""


def marching_cubes(
    march: March, values: Float32[np.ndarray, "z y x"], level: float
) -> tuple[Float32[np.ndarray, "vertices 3"], Int32[np.ndarray, "faces 3"]]:
    """The surface at a level, as Lewiner's algorithm finds it in the whole grid.

    Two slabs share a plane of points, and have the same vertices on its edges, which become one.

    Args:
        march: Finds the surface of a slab.
        values: On the grid.
        level: Of the surface.

    Returns:
        Vertices in units of points along (z, y, x), and the faces between them; none if nothing crosses the level.
    """
    depth = max(1, SLAB_POINTS // values[0].size)
    vertices, faces, count = [np.zeros((0, 3), np.float32)], [np.zeros((0, 3), np.int32)], 0
    edge = np.zeros(0, np.uint64), np.zeros(0, np.int64)  # of the last slab's last plane: places and numbers
    for start in range(0, len(values) - 1, depth):
        slab = values[start : start + depth + 1]
        if not slab.min() <= level <= slab.max() or slab.min() == slab.max():
            edge = np.zeros(0, np.uint64), np.zeros(0, np.int64)
            continue
        corners, triangles, _, _ = march(slab, level, gradient_direction="descent")
        numbers, is_new = _numbered(corners, edge, count)
        on_last_plane = np.flatnonzero(corners[:, 0] == len(slab) - 1)
        edge = _places(corners[on_last_plane]), numbers[on_last_plane]
        corners[:, 0] += start
        vertices.append(corners[is_new])
        faces.append(numbers[triangles].astype(np.int32))
        count += len(vertices[-1])
    return np.concatenate(vertices), np.concatenate(faces)


def _numbered(corners: np.ndarray, edge: tuple[np.ndarray, np.ndarray], count: int) -> tuple[np.ndarray, np.ndarray]:
    """The number of each vertex of a slab, and whether it is a new one; those on its first plane may be known."""
    known, numbers_of_known = edge
    numbers, is_new = np.empty(len(corners), np.int64), np.ones(len(corners), bool)
    if len(known):
        on_first_plane = np.flatnonzero(corners[:, 0] == 0)
        places, order = _places(corners[on_first_plane]), np.argsort(known, kind="stable")
        nearest = np.minimum(np.searchsorted(known[order], places), len(known) - 1)
        found = known[order][nearest] == places
        numbers[on_first_plane[found]] = numbers_of_known[order][nearest[found]]
        is_new[on_first_plane[found]] = False
    numbers[is_new] = count + np.arange(np.count_nonzero(is_new))
    return numbers, is_new


def _places(corners: np.ndarray) -> np.ndarray:
    """The bits of y and x as one number."""
    y, x = np.ascontiguousarray(corners[:, 1:].T, np.float32).view(np.uint32).astype(np.uint64)
    return (y << np.uint64(32)) | x
