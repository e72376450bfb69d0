"""Which points may a caller choose?"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from functa_store.errors import GridError
from functa_store.grids import GridPoints

Coords = Float[np.ndarray, "points axes"] | Sequence[Sequence[float]]
"""One row per point, each component in the order of the domain's axes."""


def check_points(coords: GridPoints | Coords, axes: tuple[str, ...]) -> GridPoints | np.ndarray:
    """The points, float32, if they are points of a domain with these axes.

    Raises:
        GridError: If they are not.
    """
    if isinstance(coords, GridPoints):
        if len(coords.shape) != len(axes):
            raise GridError(f"a grid of {len(coords.shape)} axes, expected one for each of {axes}")
        return coords
    try:
        points = np.asarray(coords, np.float32)
    except (TypeError, ValueError) as error:
        raise GridError(f"coords must be numbers, one row per point: {error}") from error
    if points.ndim != 2 or points.shape[1] != len(axes) or not np.isfinite(points).all():
        raise GridError(
            f"coords must be finite, of shape (points, {len(axes)}) for axes {axes}, got shape {points.shape}"
        )
    return points
