"""Which cells of the globe do the points of a latitude-longitude grid stand for?"""

import base64
import binascii
import zlib

import numpy as np
from jaxtyping import Bool, Float, Float64, Int, UInt8

from functa_store.errors import GridError

CIRCLE = 360.0

TOLERANCE = 1e-4
"""Degrees, 11 metres on the ground: positions may have been float32, whose steps at 360 degrees are 3e-5."""

GAP = 1.1
"""How much wider than the widest cell the gap between the last and the first longitude may be, if the grid is to go
round the globe; the same holds from the outermost latitude to the pole."""

MOST_MASKED = 2**30
"""Points of a grid with a mask, whose bits take 128 MiB in memory; far more than grids have at 1 km."""


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


def pack_mask(missing: Bool[np.ndarray, "lat lon"]) -> str:
    """A mask as `SphereGrid` keeps it: packed bits in C order, first point highest, zlib, base64; "" if all False."""
    if not missing.any():
        return ""
    return base64.b64encode(zlib.compress(np.packbits(missing.ravel()).tobytes(), 9)).decode("ascii")


def unpack_mask(mask: str, num_points: int) -> UInt8[np.ndarray, " bytes"]:
    """The packed bits of a mask; nothing longer is ever unpacked.

    Raises:
        GridError: If it is no mask of so many points.
    """
    if num_points > MOST_MASKED:
        raise GridError(
            f"mask: a grid of {num_points:,} points, expected at most {MOST_MASKED:,} where there is a mask"
        )
    expected = -(-num_points // 8)
    try:
        stream = zlib.decompressobj()
        bits = stream.decompress(base64.b64decode(mask, validate=True), expected + 1)
    except (binascii.Error, ValueError, zlib.error) as error:
        raise GridError(f"mask: expected packed bits, zlib, base64; cannot be unpacked: {error}") from error
    if len(bits) != expected or not stream.eof:
        raise GridError(f"mask: found other than the {expected} bytes of {num_points} points; the store is damaged")
    return np.frombuffer(bits, np.uint8)
