"""Which part of the globe does a grid cover, and which region lies inside it?"""

import dataclasses
import math

import numpy as np
from jaxtyping import Float64

from functa_store.errors import GridError
from functa_store.grids import Region
from functa_store.sphere_cells import CIRCLE, FARTHEST_LONGITUDE, TOLERANCE

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
