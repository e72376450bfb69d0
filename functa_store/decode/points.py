"""Checks of the points that a caller chooses, and of the memory that they take."""

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from functa_store.domains.cells import GridPoints
from functa_store.domains.domain import Domain
from functa_store.errors import GridError
from functa_store.support.memory import available_bytes, gibibytes

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


def check_memory(num_examples: int, num_points: int, num_channels: int, *, beside: int = 0) -> None:
    """Refuse to begin what cannot end.

    Args:
        num_examples: Examples of which features are held.
        num_points: Points of each.
        num_channels: Features at a point, float32.
        beside: Bytes of whatever else is held.

    Raises:
        GridError: If that is more memory than this process may take.
    """
    needed = 4 * math.prod((num_examples, num_points, num_channels)) + beside
    if needed > (free := available_bytes()):
        raise GridError(
            f"{num_examples:,} examples at {num_points:,} points of {num_channels} channels need {gibibytes(needed)}, "
            f"this process may take {gibibytes(free)}; take fewer examples at a time, a lower resolution or a region, "
            "or write all of them to a disk, as NAME.zarr, with `functa export`"
        )
