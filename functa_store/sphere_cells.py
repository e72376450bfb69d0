"""Which cells of the globe do the points of a latitude-longitude grid stand for?"""

import numpy as np
from jaxtyping import Float, Float64, Int

from functa_store.errors import GridError
from functa_store.grids import MOST_POINTS_ALONG

CIRCLE = 360.0

TOLERANCE = 1e-4
"""Degrees, 11 metres on the ground: positions may have been float32, whose steps at 360 degrees are 3e-5."""

GAP = 1.1
"""How much wider than the widest cell the gap between the last and the first longitude may be, if the grid is to go
round the globe; the same holds from the outermost latitude to the pole."""

FARTHEST_LONGITUDE = 3600.0
"""Degrees; no convention of longitudes comes near it, and float32 still tells points 30 metres apart there."""


def goes_round(longitudes: Float64[np.ndarray, " lon"]) -> bool:
    """Whether there is no room for a further longitude between the last and the first one."""
    return wrap_gap(longitudes) <= GAP * float(np.abs(np.diff(longitudes)).max())


def wrap_gap(longitudes: Float64[np.ndarray, " lon"]) -> float:
    """Degrees from the last longitude on to the first one."""
    return CIRCLE - abs(float(longitudes[-1] - longitudes[0]))


def longitude_edges(longitudes: Float64[np.ndarray, " lon"]) -> Float64[np.ndarray, " edges"]:
    """Edges of the cells in the order of the longitudes; exactly 360 degrees apart where the grid goes round."""
    edges = _edges(longitudes)
    if goes_round(longitudes):
        direction = np.sign(longitudes[1] - longitudes[0])
        edges[0] = longitudes[0] - direction * wrap_gap(longitudes) / 2
        edges[-1] = edges[0] + direction * CIRCLE
    return edges


def latitude_edges(latitudes: Float64[np.ndarray, " lat"], *, to_poles: bool) -> Float64[np.ndarray, " edges"]:
    """Edges of the cells in the order of the latitudes, none beyond a pole.

    Args:
        latitudes: Degrees north.
        to_poles: Whether an outermost cell goes on to the pole if the pole is at most about a step away, as it is in a
            Gaussian grid.
    """
    edges = np.clip(_edges(latitudes), -90, 90)
    for end, inner in ((0, 1), (-1, -2)):
        step = latitudes[end] - latitudes[inner]
        pole = np.copysign(90.0, step)
        if to_poles and abs(pole - latitudes[end]) <= GAP * abs(step):
            edges[end] = pole
    return edges


def _edges(points: Float64[np.ndarray, " points"]) -> Float64[np.ndarray, " edges"]:
    """Half-way between neighbours, and half a step beyond the outermost ones."""
    between = (points[:-1] + points[1:]) / 2
    return np.concatenate([[2 * points[0] - between[0]], between, [2 * points[-1] - between[-1]]])


def nearest(
    points: Float64[np.ndarray, " axis"], positions: Float[np.ndarray, "*shape"], *, periodic: bool
) -> Int[np.ndarray, "*shape"]:
    """Index of the point of an axis that is nearest to each position, periodic ones modulo 360 degrees."""
    falls = points[0] > points[-1]
    rising = points[::-1] if falls else points
    positions = np.asarray(positions, np.float64)
    if periodic:
        low = rising[0] - wrap_gap(rising) / 2
        positions = low + (positions - low) % CIRCLE
    index = np.searchsorted((rising[:-1] + rising[1:]) / 2, positions)
    return len(points) - 1 - index if falls else index


def unit_vectors(positions: Float[np.ndarray, "*points axes"]) -> Float64[np.ndarray, "*points 3"]:
    """Points of the unit sphere at (latitude, longitude) in degrees; x leads to (0, 0), z to the north pole."""
    latitude, longitude = np.moveaxis(np.radians(np.asarray(positions, np.float64)), -1, 0)
    around = np.cos(latitude)
    return np.stack([around * np.cos(longitude), around * np.sin(longitude), np.sin(latitude)], axis=-1)


def check_axis(name: str, points: Float64[np.ndarray, " points"], farthest: float) -> None:
    """Refuse what is no axis of a grid.

    Args:
        name: Of the axis, for errors.
        points: Degrees.
        farthest: From 0, in degrees, that one may be.

    Raises:
        GridError: Naming the first point that is wrong.
    """
    if not 2 <= len(points) <= MOST_POINTS_ALONG:
        raise GridError(f"{name}: found {len(points)} points, expected 2 to {MOST_POINTS_ALONG:,}")
    if not (np.abs(points) <= farthest).all():  # NaN is not
        raise GridError(f"{name}: found values that are not in [-{farthest:g}, {farthest:g}] degrees")
    steps = np.diff(points)
    wrong = np.flatnonzero(steps * np.sign(steps[0]) <= 0)
    if len(wrong):
        i = int(wrong[0])
        raise GridError(
            f"{name}: {points[i]:g} is followed by {points[i + 1]:g}, expected strictly rising or falling degrees"
        )
