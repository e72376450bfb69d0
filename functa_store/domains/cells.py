"""Regular grids of cells: sample points at any resolution and in any region."""

import dataclasses
import hashlib
import math
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from jaxtyping import Bool, Float, Float32, Int

from functa_store.config import Head
from functa_store.errors import GridError

Region = Sequence[tuple[float | int, float | int]]
"""Per axis the (low, high) cell edges of a window, in the units of the domain ([0, 1])."""

MOST_AXES, MOST_CELLS = 32, 2**31
"""Far more axes, and cells along an axis, than can be meant."""

MOST_POINTS_ALONG = 2**27
"""Points along an axis that are made at once; their positions alone take 1 GiB."""

AXIS_POINT_BYTES = 8 + 4
"""Memory for a point along an axis while a grid is made: its position, float64, and the coordinate, float32."""

CF_AXES = {"x": "X", "y": "Y", "z": "Z", "t": "T"}
QUANTITIES = {("y", "x"): "image", ("t",): "sound", ("t", "y", "x"): "video"}


class Cells:
    """Answers of every domain whose positions are those of a grid of cells; see `Domain`.

    Subclasses have `axes` and `resolution`.
    """

    axes: tuple[str, ...]
    resolution: tuple[int, ...]

    def _check_sizes(self) -> None:
        """Refuse a native resolution that is none, or absurd.

        Raises:
            GridError: If it is.
        """
        self.resolve(self.resolution)
        if len(self.axes) > MOST_AXES or max(self.resolution, default=1) > MOST_CELLS:
            raise GridError(
                f"{len(self.axes)} axes of up to {max(self.resolution)} cells are absurd, expected at most {MOST_AXES} "
                f"axes of {MOST_CELLS}"
            )

    @property
    def num_axes(self) -> int:
        """Number of coordinates of a position."""
        return len(self.axes)

    @property
    def num_inputs(self) -> int:
        """Numbers that the base network takes of a position: the position along each axis."""
        return len(self.axes)

    @property
    def num_points(self) -> int:
        """Number of points of the native grid."""
        return math.prod(self.resolution)

    @property
    def weights(self) -> Float[np.ndarray, " points"] | None:
        """Weights of the observed points in the error: None, all count the same."""
        return None

    def weights_at(self, positions: Float[np.ndarray, "*points axes"]) -> Float[np.ndarray, "*points"] | None:
        """What points count beside each other: None, all count the same."""
        del positions
        return None

    @property
    def has_colours(self) -> bool:
        """Whether one, three or four channels of equal ranges are the greys or colours of one picture."""
        return True

    def map_flips(self, positions: Sequence[np.ndarray]) -> tuple[slice, ...]:
        """Slices that turn a grid as maps have it: none, pictures keep the order of the archive."""
        del positions
        return ()

    def resolve(self, resolution: int | Sequence[int] | None = None, region: Region | None = None) -> tuple[int, ...]:
        """Number of points per axis that a resolution means on this domain.

        Args:
            resolution: Points inside the region, one number for every axis or one per axis;
                None keeps the native spacing.
            region: The window, see `Region`; None means the whole domain.

        Returns:
            Points per axis, each at least 1.

        Raises:
            GridError: If the resolution or region does not fit this domain's axes.
        """
        if resolution is None:
            widths = [high - low for low, high in self._check_region(region)]
            return tuple(max(1, round(n * w)) for n, w in zip(self.resolution, widths, strict=True))
        shape = tuple(resolution) if isinstance(resolution, Sequence | np.ndarray) else (resolution,) * self.num_axes
        if len(shape) != self.num_axes or not all(isinstance(n, int | np.integer) and n >= 1 for n in shape):
            raise GridError(f"resolution must be a positive integer, or one per axis {self.axes}, got {resolution!r}")
        return tuple(int(n) for n in shape)

    def coords(
        self, resolution: int | Sequence[int] | None = None, region: Region | None = None
    ) -> Float32[np.ndarray, "points axes"]:
        """Cell centres in C order, the last axis fastest.

        Args:
            resolution: Points inside the region; see `resolve`.
            region: The window to sample. At equal spacing its points are those of the whole grid.

        Returns:
            One row per point, components in the order of `axes`, each in (0, 1).

        Raises:
            GridError: If the resolution or region does not fit this domain's axes, or an axis would be too long.
        """
        axes = self.axis_coords(resolution, region)
        mesh = np.meshgrid(*axes, indexing="ij")
        return np.stack([m.ravel() for m in mesh], axis=-1).astype(np.float32)

    def axis_coords(
        self, resolution: int | Sequence[int] | None = None, region: Region | None = None
    ) -> list[np.ndarray]:
        """Cell centres along each axis by itself, float64; arguments and errors as for `coords`."""
        bounds = self._check_region(region)
        shape = self.resolve(resolution, region)
        if max(shape, default=1) > MOST_POINTS_ALONG:
            raise GridError(
                f"resolution {resolution!r} means {shape} points, expected at most {MOST_POINTS_ALONG:,} along each "
                f"axis {self.axes}; take a region"
            )
        return [_centres(n, low, high) for n, (low, high) in zip(shape, bounds, strict=True)]

    def points(self, resolution: int | Sequence[int] | None = None, region: Region | None = None) -> "GridPoints":
        """The points of `coords`, computed as they are needed."""
        return GridPoints(self.axis_coords(resolution, region))

    def inputs(self, positions: Float[np.ndarray, "*points axes"]) -> Float32[np.ndarray, "*points inputs"]:
        """What the base network takes of points: here, the positions themselves."""
        return np.asarray(positions, np.float32)

    def fractions(self, positions: Float[np.ndarray, "*points axes"]) -> Float32[np.ndarray, "*points axes"]:
        """Where positions lie in the whole domain along each axis: they are that already."""
        return np.asarray(positions, np.float32)

    @property
    def closed(self) -> tuple[bool, ...]:
        """Whether each axis closes on itself: none does."""
        return (False,) * self.num_axes

    @property
    def masked(self) -> bool:
        """Whether there are points without a value."""
        return False

    def missing(self, positions: Float[np.ndarray, "*points axes"]) -> Bool[np.ndarray, "*points"]:
        """Which points have no value; here, none."""
        return np.zeros(np.shape(positions)[:-1], bool)

    def random_positions(self, rng: np.random.Generator, count: int) -> Float32[np.ndarray, "points axes"]:
        """Positions chosen uniformly over the domain."""
        return rng.random((count, self.num_axes), np.float32)

    def check_positions(self, axis: str, positions: np.ndarray) -> None:
        """Refuse positions along an axis where no example has been fitted.

        Raises:
            GridError: If one is not in [0, 1].
        """
        if not ((positions >= 0) & (positions <= 1)).all():  # NaN is neither
            raise GridError(f"{axis}: found positions outside [0, 1], where no example has been fitted")

    def axis_attributes(self, axis: str) -> dict[str, Any]:
        """What the CF conventions, and a person, want to know of positions along an axis."""
        attributes: dict[str, Any] = {"long_name": f"position along {axis}, as a fraction of the domain", "units": "1"}
        return attributes | ({"axis": CF_AXES[axis]} if axis in CF_AXES else {})

    def _check_region(self, region: Region | None) -> list[tuple[float, float]]:
        if region is None:
            return [(0.0, 1.0)] * self.num_axes
        try:
            bounds = [tuple(float(edge) for edge in bound) for bound in region]
        except (TypeError, ValueError):
            bounds = []
        if len(bounds) != self.num_axes or any(len(b) != 2 or not 0 <= b[0] < b[1] <= 1 for b in bounds):
            raise GridError(
                f"region must give (low, high) with 0 <= low < high <= 1 for each axis {self.axes}, got {region!r}"
            )
        return bounds  # type: ignore[return-value]  # each has exactly two edges, checked above


@dataclasses.dataclass(frozen=True, kw_only=True)
class CellGrid(Cells):
    """A regular grid of cells that spans [0, 1] along every axis, sampled at cell centres.

    Point i of n lies at (i + 0.5) / n, as in DeepMind's functa. Images, voxels, video and
    sound differ only in the names and the number of their axes.

    Attributes:
        axes: Axis names in array order, such as ("y", "x").
        resolution: Cells per axis at which the archive's examples are sampled.
        cell_aspect: Physical size of a native cell along each axis, relative to the last one.
            Coordinates are never squeezed; this is what a viewer needs to draw square pixels.
        lengths: Physical length of the whole domain along each axis, 1 where it has none.
        units: Unit of each length, such as "s"; "1" where it has none.
        kind: What tells kinds of domain apart in a store.

    Raises:
        GridError: If the axes differ in number or share a name, or a size is absurd.
    """

    axes: tuple[str, ...]
    resolution: tuple[int, ...]
    cell_aspect: tuple[float, ...] = ()
    lengths: tuple[float, ...] = ()
    units: tuple[str, ...] = ()
    kind: Literal["cells"] = "cells"

    def __post_init__(self) -> None:
        for name, value in {"cell_aspect": 1.0, "lengths": 1.0, "units": "1"}.items():
            if not getattr(self, name):
                object.__setattr__(self, name, (value,) * len(self.axes))
        per_axis = {name: getattr(self, name) for name in ("axes", "resolution", "cell_aspect", "lengths", "units")}
        if len({len(values) for values in per_axis.values()}) > 1:
            raise GridError(f"expected one value per axis in each of {per_axis}")
        if not all(0 < length < math.inf for length in (*self.lengths, *self.cell_aspect)):
            raise GridError(f"lengths {self.lengths} and cell_aspect {self.cell_aspect} must be positive and finite")
        if len(set(self.axes)) < len(self.axes):
            raise GridError(f"axes {self.axes} share a name, expected one name for each")
        self._check_sizes()

    @property
    def quantity(self) -> str:
        """What features are called among other variables: "image", or "features" where there is no better word."""
        return QUANTITIES.get(self.axes, "features")

    @property
    def head(self) -> Head:
        """What the base network's last layer must mean; see `NetworkConfig`."""
        return "linear"

    @property
    def observed(self) -> tuple[int, ...]:
        """Shape of what a source hands out of an example, but for its last axis: here, the grid's."""
        return self.resolution

    def num_columns(self, num_channels: int) -> int:
        """Numbers in a row of what a source hands out: here, one per channel."""
        return num_channels

    def axis_attributes(self, axis: str) -> dict[str, Any]:
        """The same, with the length of the whole domain where it is known."""
        attributes, place = super().axis_attributes(axis), self.axes.index(axis)
        if self.units[place] != "1":
            attributes |= {"domain_length": self.lengths[place], "domain_length_units": self.units[place]}
        return attributes

    @property
    def scene(self) -> None:
        """The cube that examples are views of: None, they are values at points."""
        return None


def _centres(count: int, low: float, high: float) -> np.ndarray:
    """Of each cell i, low + (i + 0.5) / count * (high - low), in one array: an axis may be long."""
    centres = np.arange(count, dtype=np.float64)
    centres += 0.5
    centres /= count
    centres *= high - low
    centres += low
    return centres


class GridPoints:
    """The outer product of coordinates along each axis, computed as they are needed.

    Indexed by an array of integers as the array (points, axes) of all points would be, in C order.

    Args:
        axes: Coordinates along each axis, in order; they need not be evenly spaced, and may be none.

    Attributes:
        axes: The same, float32.
        shape: Points along each axis.

    Raises:
        GridError: If an axis is no vector of finite numbers.
    """

    def __init__(self, axes: Sequence[np.ndarray]) -> None:
        self.axes = tuple(np.asarray(axis, np.float32) for axis in axes)
        if any(axis.ndim != 1 or not np.isfinite(axis).all() for axis in self.axes):
            raise GridError(
                f"expected a vector of finite coordinates per axis, got shapes {[a.shape for a in self.axes]}"
            )
        self.shape = tuple(map(len, self.axes))

    @property
    def key(self) -> tuple[tuple[int, ...], bytes]:
        """Shape, and SHA-256 of the coordinates: equal for equal points."""
        digest = hashlib.sha256()
        for axis in self.axes:
            digest.update(np.ascontiguousarray(axis).data)
        return self.shape, digest.digest()

    def __len__(self) -> int:
        return math.prod(self.shape)

    def __getitem__(self, indices: Int[np.ndarray, "*shape"]) -> Float32[np.ndarray, "*shape axes"]:
        """The points of some flat indices, components in the order of the axes."""
        along = np.unravel_index(indices, self.shape)
        return np.stack([axis[i] for axis, i in zip(self.axes, along, strict=True)], axis=-1)
