"""Latitude-longitude grids on the sphere: sample points at any resolution and in any region."""

import dataclasses
import functools
import math
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from jaxtyping import Bool, Float, Float32, Float64, Int64

from functa_store.config import Head
from functa_store.domains.cells import MOST_POINTS_ALONG, GridPoints, Region
from functa_store.domains.sphere_geometry import (
    CIRCLE,
    FARTHEST_LONGITUDE,
    TOLERANCE,
    Covered,
    check_axis,
    goes_round,
    in_missing_run,
    latitude_edges,
    longitude_edges,
    longitudes_within,
    nearest,
    pack_mask,
    run_ends,
    unit_vectors,
)
from functa_store.errors import GridError

_POINTS_AT_ONCE = 1 << 18


@dataclasses.dataclass(frozen=True, kw_only=True)
class SphereGrid:
    """A grid of latitudes and longitudes; the base network sees points of the unit sphere, in three dimensions.

    The sphere has no seam at the date line and no singular poles, which degrees have. A position is (latitude,
    longitude) in degrees; longitudes of any convention mean the same point. The area that a grid covers ends half a
    cell beyond its outermost points, at the poles at the latest; a grid that goes round the globe covers it exactly
    once, and goes on to the poles if its outermost latitudes are within about a step of them.

    Attributes:
        latitudes: Degrees north, in the archive's order, strictly rising or falling.
        longitudes: Degrees east, in the archive's order, strictly rising or falling, of any convention; they span less
            than 360 degrees.
        centre: Of the points as the network sees them: input = (point - centre) / radius.
        radius: Half the extent of the region, so that small regions fill the network's coordinates; 1 for the globe.
        area_weighting: Whether points count by the area of their cell, as the cosine of the latitude says.
        mask: Points that are missing in every example, as lengths of runs; see `functa_store.domains.sphere_geometry`.
            Empty if there are none. Decoded values there are not a number.
        kind: What tells kinds of domain apart in a store.

    Raises:
        GridError: If latitudes or longitudes are no grid, or the mask is none of it.
    """

    latitudes: tuple[float, ...]
    longitudes: tuple[float, ...]
    centre: tuple[float, float, float] = (0.0, 0.0, 0.0)
    radius: float = 1.0
    area_weighting: bool = False
    mask: str = ""
    kind: Literal["sphere"] = "sphere"

    axes = ("latitude", "longitude")
    num_axes, num_inputs, quantity = 2, 3, "field"

    def __post_init__(self) -> None:
        check_axis("latitudes", self._latitudes, 90.0)
        check_axis("longitudes", self._longitudes, FARTHEST_LONGITUDE)
        if abs(self.longitudes[-1] - self.longitudes[0]) >= CIRCLE:
            raise GridError(
                f"longitudes: {self.longitudes[0]} to {self.longitudes[-1]} go round more than once, expected less "
                "than 360 degrees; leave out the columns that are there twice"
            )
        # A region lies on the unit sphere, give or take a rounding; the smallest radius is 6 metres on the Earth.
        if len(self.centre) != 3 or not all(abs(c) <= 2 for c in self.centre) or not 1e-6 <= self.radius <= 2:
            raise GridError(
                "expected a centre (x, y, z) within -2 to 2 and a radius from 1e-6 to 2, got "
                f"{self.centre} and {self.radius}"
            )
        if self.mask:
            _ = self._run_ends

    @classmethod
    def around(
        cls,
        latitudes: Float[np.ndarray, " lat"],
        longitudes: Float[np.ndarray, " lon"],
        *,
        area_weighting: bool = False,
        missing: Bool[np.ndarray, "lat lon"] | None = None,
    ) -> "SphereGrid":
        """The grid of some latitudes and longitudes, whose points fill the network's coordinates.

        Args:
            latitudes: Degrees north.
            longitudes: Degrees east.
            area_weighting: Whether points count by the area of their cell.
            missing: Points that are missing in every example.

        Raises:
            GridError: If they are no grid.
        """
        grid = cls(latitudes=tuple(map(float, latitudes)), longitudes=tuple(map(float, longitudes)))
        fields: dict[str, Any] = {
            "area_weighting": area_weighting,
            "mask": "" if missing is None else pack_mask(missing),
        }
        if not (grid.is_round and (grid.covered.south, grid.covered.north) == (-90, 90)):
            low, high = grid._ends()
            fields["centre"] = tuple(((low + high) / 2).tolist())
            fields["radius"] = float((high - low).max() / 2)
        return dataclasses.replace(grid, **fields)

    def _ends(self) -> tuple[Float64[np.ndarray, " 3"], Float64[np.ndarray, " 3"]]:
        """The smallest and the largest x, y and z of all points, a few rows of which are in memory at a time."""
        latitudes, longitudes = self.axis_coords()
        low, high = np.full(3, np.inf), np.full(3, -np.inf)
        rows = max(1, _POINTS_AT_ONCE // len(longitudes))
        for start in range(0, len(latitudes), rows):
            mesh = np.meshgrid(latitudes[start : start + rows], longitudes, indexing="ij")
            points = unit_vectors(np.stack(mesh, axis=-1)).reshape(-1, 3)
            low, high = np.minimum(low, points.min(axis=0)), np.maximum(high, points.max(axis=0))
        return low, high

    @functools.cached_property
    def _latitudes(self) -> Float64[np.ndarray, " lat"]:
        return np.asarray(self.latitudes, np.float64)

    @functools.cached_property
    def _longitudes(self) -> Float64[np.ndarray, " lon"]:
        return np.asarray(self.longitudes, np.float64)

    @functools.cached_property
    def _run_ends(self) -> Int64[np.ndarray, " runs"]:
        return run_ends(self.mask, self.num_points)

    @functools.cached_property
    def is_round(self) -> bool:
        """Whether the grid goes round the globe."""
        return goes_round(self._longitudes)

    @functools.cached_property
    def _edges(self) -> tuple[np.ndarray, np.ndarray]:
        """Edges of the cells along both axes, in the archive's order."""
        return latitude_edges(self._latitudes, to_poles=self.is_round), longitude_edges(self._longitudes)

    @functools.cached_property
    def covered(self) -> Covered:
        """The part of the globe that the grid covers, longitudes in the archive's convention."""
        (south, north), (west, east) = ((float(edges.min()), float(edges.max())) for edges in self._edges)
        return Covered(south=south, north=north, west=west, east=east, is_round=self.is_round)

    @property
    def resolution(self) -> tuple[int, ...]:
        """Native points along latitude and longitude."""
        return len(self.latitudes), len(self.longitudes)

    @property
    def head(self) -> Head:
        """What the base network's last layer must mean; see `NetworkConfig`."""
        return "linear"

    @property
    def lengths(self) -> tuple[float, ...]:
        """Degrees that the grid covers along latitude and longitude."""
        return self.covered.north - self.covered.south, self.covered.east - self.covered.west

    @property
    def units(self) -> tuple[str, ...]:
        """Units of positions and lengths along latitude and longitude."""
        return "degrees_north", "degrees_east"

    @property
    def scene(self) -> None:
        """The cube that examples are views of: None, they are values at points."""
        return None

    @property
    def has_colours(self) -> bool:
        """Whether channels are the greys or colours of one picture: no, each is a quantity of its own."""
        return False

    def map_flips(self, positions: Sequence[np.ndarray]) -> tuple[slice, ...]:
        """Slices that turn a grid such that its first row is in the north and its first column in the west."""
        latitudes, longitudes = positions
        turned = slice(None, None, -1)
        return (
            turned if latitudes[0] < latitudes[-1] else slice(None),
            turned if longitudes[0] > longitudes[-1] else slice(None),
        )

    @property
    def observed(self) -> tuple[int, ...]:
        """Shape of what a source hands out of an example, but for its last axis: the grid's."""
        return self.resolution

    @property
    def num_points(self) -> int:
        """Number of points of the native grid."""
        return math.prod(self.resolution)

    def num_columns(self, num_channels: int) -> int:
        """Numbers in a row of what a source hands out: here, one per channel."""
        return num_channels

    @property
    def weights(self) -> Float64[np.ndarray, " points"] | None:
        """What each point counts in the error: the area of its cell, 1 on average; None if all count the same."""
        if not self.area_weighting:
            return None
        # area of a cell of the unit sphere: difference of the sines of its latitudes times that of its longitudes
        bands = np.abs(np.diff(np.sin(np.radians(self._edges[0]))))
        area = np.outer(bands, np.abs(np.diff(self._edges[1]))).ravel()
        return area / area.mean()

    def weights_at(self, positions: Float[np.ndarray, "*points axes"]) -> Float[np.ndarray, "*points"] | None:
        """What points of a grid count beside each other: the cosine of the latitude, or all the same (None)."""
        return np.cos(np.radians(positions[..., 0])) if self.area_weighting else None

    def resolve(self, resolution: int | Sequence[int] | None = None, region: Region | None = None) -> tuple[int, ...]:
        """Number of points per axis that a resolution means; see `axis_coords`.

        Raises:
            GridError: If the resolution or region does not fit this grid.
        """
        if resolution is None:
            return tuple(map(len, self._native_points(region)))
        shape = tuple(resolution) if isinstance(resolution, Sequence | np.ndarray) else (resolution,) * 2
        if len(shape) != 2 or not all(isinstance(n, int | np.integer) and 1 <= n <= MOST_POINTS_ALONG for n in shape):
            raise GridError(
                f"resolution must be a whole number from 1 to {MOST_POINTS_ALONG:,}, or one per axis {self.axes}, "
                f"got {resolution!r}"
            )
        if region is not None:
            self.covered.check_region(region)
        return tuple(int(n) for n in shape)

    def axis_coords(
        self, resolution: int | Sequence[int] | None = None, region: Region | None = None
    ) -> list[np.ndarray]:
        """Positions along each axis, in degrees and in the archive's direction.

        Args:
            resolution: Points along each axis: the centres of as many equally wide cells of the region. None takes the
                native points in the region, as does the native resolution without one.
            region: ((south, north), (west, east)) in degrees, longitudes of any convention, which the positions
                follow; None means the whole covered area in the archive's convention.

        Returns:
            Latitudes and longitudes, float64.

        Raises:
            GridError: If the resolution is none, or the region is not inside the covered area or has no native point.
        """
        shape = self.resolve(resolution, region)
        if resolution is None or (region is None and shape == self.resolution):
            return self._native_points(region)
        ends = [(edges[0], edges[-1]) for edges in self._edges]
        if region is not None:
            bounds = self.covered.check_region(region)
            ends = [
                (high, low) if first > last else (low, high)
                for (first, last), (low, high) in zip(ends, bounds, strict=True)
            ]
        return [first + (np.arange(n) + 0.5) / n * (last - first) for n, (first, last) in zip(shape, ends, strict=True)]

    def coords(
        self, resolution: int | Sequence[int] | None = None, region: Region | None = None
    ) -> Float32[np.ndarray, "points axes"]:
        """The positions of a grid in C order, longitude fastest; arguments and errors as for `axis_coords`."""
        points = self.points(resolution, region)
        return points[np.arange(len(points))]

    def points(self, resolution: int | Sequence[int] | None = None, region: Region | None = None) -> GridPoints:
        """The positions of `coords`, computed as they are needed."""
        return GridPoints(self.axis_coords(resolution, region))

    def inputs(self, positions: Float[np.ndarray, "*points axes"]) -> Float32[np.ndarray, "*points inputs"]:
        """What the base network takes of positions: points of the sphere, moved and scaled to the region."""
        return ((unit_vectors(positions) - np.asarray(self.centre)) / self.radius).astype(np.float32)

    def fractions(self, positions: Float[np.ndarray, "*points axes"]) -> Float32[np.ndarray, "*points axes"]:
        """Where positions lie in the covered area, from the south and from the west, in [0, 1]."""
        covered, west_to_east = self.covered, self.covered.east - self.covered.west
        middle = (covered.west + covered.east) / 2
        latitudes, longitudes = np.asarray(positions[..., 0], np.float64), np.asarray(positions[..., 1], np.float64)
        up = (latitudes - covered.south) / (covered.north - covered.south)
        along = ((longitudes - middle + CIRCLE / 2) % CIRCLE - CIRCLE / 2) / west_to_east + 0.5
        return np.clip(np.stack([up, along], axis=-1), 0, 1).astype(np.float32)

    @property
    def closed(self) -> tuple[bool, ...]:
        """Whether each axis closes on itself: longitudes of a grid that goes round the globe do."""
        return False, self.is_round

    @property
    def masked(self) -> bool:
        """Whether there are points that are missing in every example."""
        return bool(self.mask)

    def missing(self, positions: Float[np.ndarray, "*points axes"]) -> Bool[np.ndarray, "*points"]:
        """Whether the native point nearest to each position is missing in every example."""
        if not self.mask:
            return np.zeros(positions.shape[:-1], bool)
        row = nearest(self._latitudes, positions[..., 0], periodic=False)
        flat = row * len(self.longitudes) + nearest(self._longitudes, positions[..., 1], periodic=True)
        return in_missing_run(self._run_ends, flat)

    def random_positions(self, rng: np.random.Generator, count: int) -> Float32[np.ndarray, "points axes"]:
        """Positions chosen uniformly over the covered area of the sphere, whatever its mask."""
        # equal areas lie between equal differences of the sine of latitude: its inverse gives uniform points
        sin_south, sin_north = np.sin(np.radians((self.covered.south, self.covered.north)))
        west, east = self.covered.west, self.covered.east
        uniform = rng.random((count, 2))
        latitudes = np.degrees(np.arcsin(sin_south + uniform[:, 0] * (sin_north - sin_south)))
        return np.stack([latitudes, west + uniform[:, 1] * (east - west)], axis=-1).astype(np.float32)

    def check_positions(self, axis: str, positions: np.ndarray) -> None:
        """Refuse positions along an axis that are outside the covered area.

        Raises:
            GridError: If one is, or is not finite.
        """
        self.covered.check_positions(axis, positions)

    def axis_attributes(self, axis: str) -> dict[str, Any]:
        """What the CF conventions want to know of positions along an axis."""
        units, letter = {"latitude": ("degrees_north", "Y"), "longitude": ("degrees_east", "X")}[axis]
        return {"standard_name": axis, "long_name": axis, "units": units, "axis": letter}

    def _native_points(self, region: Region | None) -> list[np.ndarray]:
        """Native latitudes and longitudes in a region, the latter in its convention."""
        if region is None:
            return [self._latitudes, self._longitudes]
        (south, north), (west, east) = self.covered.check_region(region)
        latitudes = self._latitudes[(self._latitudes >= south - TOLERANCE) & (self._latitudes <= north + TOLERANCE)]
        longitudes = longitudes_within(self._longitudes, west, east)
        if not len(latitudes) or not len(longitudes):
            raise GridError(
                f"region {region!r} has no native point; give a resolution, or a larger region: the grid has "
                f"{self.resolution} points in {self.covered}"
            )
        return [latitudes, longitudes]
