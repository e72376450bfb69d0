"""Which points may a caller choose?"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from functa_store.domains import Domain
from functa_store.errors import GridError
from functa_store.grids import GridPoints

Coords = Float[np.ndarray, "points axes"] | Sequence[Sequence[float]]
"""One row per point, each component in the order of the domain's axes."""


def check_points(coords: GridPoints | Coords, domain: Domain) -> GridPoints | np.ndarray:
    """The points, float32, if they are points of a domain, where alone examples have been fitted.

    Raises:
        GridError: If they are not.
    """
    axes = domain.axes
    if isinstance(coords, GridPoints):
        if len(coords.shape) != len(axes):
            raise GridError(f"a grid of {len(coords.shape)} axes, expected one for each of {axes}")
        for axis, along in zip(axes, coords.axes, strict=True):
            domain.check_positions(axis, along)
        return coords
    try:
        points = np.asarray(coords, np.float32)
    except (TypeError, ValueError) as error:
        raise GridError(f"coords must be numbers, one row per point: {error}") from error
    if points.ndim != 2 or points.shape[1] != len(axes) or not np.isfinite(points).all():
        raise GridError(
            f"coords must be finite, of shape (points, {len(axes)}) for axes {axes}, got shape {points.shape}"
        )
    for axis, along in zip(axes, points.T, strict=True):
        domain.check_positions(axis, along)
    return points
