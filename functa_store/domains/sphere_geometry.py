"""Cells of latitude-longitude grids: edges, covered areas, and masks of missing points."""

import dataclasses
import itertools
import math

import numpy as np
from jaxtyping import Bool, Float, Float64, Int, Int64

from functa_store.domains.cells import MOST_POINTS_ALONG, Region
from functa_store.errors import GridError

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


Bounds = tuple[tuple[float, float], tuple[float, float]]
"""((south, north), (west, east)) in degrees, each rising."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Covered:
    """The part of the globe that a grid covers, in degrees.

    Attributes:
        south: Its southern end.
        north: Its northern end.
        west: Its western end, in the archive's convention.
        east: Its eastern end.
        is_round: Whether it goes round the globe.
    """

    south: float
    north: float
    west: float
    east: float
    is_round: bool

    def __str__(self) -> str:
        around = "all longitudes" if self.is_round else f"longitudes {self.west:g} to {self.east:g}"
        return f"latitudes {self.south:g} to {self.north:g}, {around}"

    def check_region(self, region: Region) -> Bounds:
        """A region as numbers, in the caller's convention.

        Raises:
            GridError: If it is none, or not inside what is covered.
        """
        (south, north), (west, east) = _bounds(region)
        turned = west + CIRCLE * math.ceil((self.west - TOLERANCE - west) / CIRCLE)
        inside = self.is_round or turned + (east - west) <= self.east + TOLERANCE
        if not inside or south < self.south - TOLERANCE or north > self.north + TOLERANCE:
            raise GridError(f"region {region!r} is not inside what is covered: {self}")
        return (south, north), (west, east)

    def check_positions(self, axis: str, positions: np.ndarray) -> None:
        """Refuse positions along an axis that are outside, longitudes modulo 360 degrees.

        Raises:
            GridError: If one is, or is not finite.
        """
        values = np.asarray(positions, np.float64)
        low, high = (self.south, self.north) if axis == "latitude" else (self.west, self.east)
        found = values >= low - TOLERANCE
        if axis == "longitude":
            found = np.abs(values) <= FARTHEST_LONGITUDE  # NaN is not
            values = low - TOLERANCE + (np.where(found, values, low) - low + TOLERANCE) % CIRCLE
        outside = ~(found & (values <= high + TOLERANCE))
        if outside.any():
            first = np.asarray(positions)[outside].flat[0]
            raise GridError(f"{axis}: found {first:g} outside what is covered: {self}")


def longitudes_within(
    longitudes: Float64[np.ndarray, " lon"], west: float, east: float
) -> Float64[np.ndarray, " inside"]:
    """Those of some longitudes that lie in a range of any convention, in its convention and their direction."""
    turns = np.ceil((west - longitudes - TOLERANCE) / CIRCLE)  # each occurs once, from the west on
    turned = longitudes + CIRCLE * turns
    inside = np.sort(turned[turned <= east + TOLERANCE])
    return inside[::-1] if longitudes[0] > longitudes[-1] else inside


def _bounds(region: Region) -> Bounds:
    """A region as numbers.

    Raises:
        GridError: If it is none.
    """
    try:
        (south, north), (west, east) = (tuple(float(edge) for edge in bound) for bound in region)
    except (TypeError, ValueError):
        south = north = west = east = math.nan
    if not (south < north and west < east <= west + CIRCLE and max(abs(west), abs(east)) <= FARTHEST_LONGITUDE):
        raise GridError(
            f"region must give (south, north) and (west, east) in degrees, each rising, at most 360 degrees wide "
            f"(across the date line, such as (170, 190)), got {region!r}"
        )
    return (south, north), (west, east)


# Run lengths, and no compressed bits: masks are compared as text, and what compresses bits differs between builds.


def pack_mask(missing: Bool[np.ndarray, "lat lon"]) -> str:
    """A mask in words: lengths of the runs of points in C order, there and missing by turns, "" if all are there.

    "6 1 9" means that of 16 points the seventh is missing; "0 2 14" that the first two are.
    """
    flat = missing.ravel()
    if not flat.any():
        return ""
    ends = [*(np.flatnonzero(flat[1:] != flat[:-1]) + 1).tolist(), len(flat)]
    starts = [0, *ends[:-1]]
    lengths = [end - start for start, end in zip(starts, ends, strict=True)]
    return " ".join(map(str, [0, *lengths] if flat[0] else lengths))


def run_ends(mask: str, num_points: int) -> Int64[np.ndarray, " runs"]:
    """Where each run of a mask ends; every other one, from the second on, is missing.

    Raises:
        GridError: If it is no mask of so many points.
    """
    words = mask.split(" ")
    digits = len(str(num_points))
    if not all(word.isdecimal() and word.isascii() and len(word) <= digits for word in words):
        raise GridError(f"mask: expected lengths of runs up to {num_points} points, such as '6 1 9'; got {mask[:40]!r}")
    lengths = list(map(int, words))
    if sum(lengths) != num_points or not all(lengths[1:]) or len(lengths) < 2:
        raise GridError(
            f"mask: {len(lengths)} runs of {sum(lengths)} points in all, expected at least two, none but the first "
            f"empty, of {num_points} points; the store is damaged"
        )
    return np.array(list(itertools.accumulate(lengths)), np.int64)


def in_missing_run(ends: Int64[np.ndarray, " runs"], points: Int[np.ndarray, "*shape"]) -> Bool[np.ndarray, "*shape"]:
    """Whether points, by their place in C order, are missing."""
    return np.searchsorted(ends, points, side="right") % 2 == 1
