"""Radiance fields in a cube, and the views from which they are seen."""

import dataclasses
from typing import Any, Literal

import numpy as np

from functa_store.config import Head
from functa_store.domains.cameras import FARTHEST
from functa_store.domains.cells import Cells
from functa_store.errors import GridError

MOST_VIEWS, MOST_SAMPLES, MOST_PIXELS = 2**20, 2**16, 2**16
"""Far more views of a scene, samples of a ray, and pixels along an edge of a view than can be meant."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class SceneVolume(Cells):
    """A cube of space that views look at; the base network sees positions in it, and a source hands out rays.

    A position is (z, y, x) in [0, 1] over the cube; the world's x, y, z are 2 * bound * position - bound. A row of
    what a source hands out is a ray: origin and unit direction in the world, and the colour seen along it, not a
    number where the view is missing. Outside the cube there is nothing, and behind it everything is white.

    Attributes:
        resolution: Native points of the density grid along (z, y, x).
        bound: The cube is [-bound, bound] along each axis, in the units of the cameras' positions.
        views: Views of each example that its fit sees.
        held_out_views: Views of each example beyond those, on which the fit is measured.
        image_size: Height and width of a view.
        near: Distance along a ray at which its samples begin.
        far: Distance at which they end.
        num_samples: Samples per ray.
        density_scale: A density of 1 stops the share 1 - exp(-density_scale * length) of what passes a length of it.
            Densities end at 10: with a scale of 10 even a thirtieth of the cube's edge can be opaque.
        kind: What tells kinds of domain apart in a store.

    Raises:
        GridError: If a number is out of range or absurd.
    """

    resolution: tuple[int, int, int]
    bound: float
    views: int
    held_out_views: int
    image_size: tuple[int, int]
    near: float
    far: float
    num_samples: int = 32
    density_scale: float = 10.0
    kind: Literal["scene"] = "scene"

    axes = ("z", "y", "x")

    def __post_init__(self) -> None:
        counts = {
            "views": (self.views, 1, MOST_VIEWS),
            "held_out_views": (self.held_out_views, 0, MOST_VIEWS),
            "num_samples": (self.num_samples, 1, MOST_SAMPLES),
        }
        if len(self.image_size) != 2:
            raise GridError(f"image_size must be (height, width), got {self.image_size}")
        counts |= {f"image_size[{i}]": (n, 1, MOST_PIXELS) for i, n in enumerate(self.image_size)}
        for name, (value, lowest, highest) in counts.items():
            if not isinstance(value, int | np.integer) or not lowest <= value <= highest:
                raise GridError(f"{name} must be a whole number from {lowest} to {highest}, got {value!r}")
        for name in ("bound", "density_scale"):
            if not 1 / FARTHEST <= getattr(self, name) <= FARTHEST:
                raise GridError(f"{name} must be from {1 / FARTHEST:g} to {FARTHEST:g}, got {getattr(self, name)}")
        if not 0 <= self.near < self.far <= 2 * FARTHEST:
            raise GridError(f"expected 0 <= near < far <= {2 * FARTHEST:g}, got near={self.near} and far={self.far}")
        self._check_sizes()

    @property
    def quantity(self) -> str:
        """What features are called among other variables."""
        return "scene"

    @property
    def head(self) -> Head:
        """What the base network's last layer must mean: colour and density."""
        return "radiance"

    @property
    def lengths(self) -> tuple[float, ...]:
        """Length of the cube along each axis, in the units of the cameras' positions."""
        return (2 * self.bound,) * 3

    @property
    def units(self) -> tuple[str, ...]:
        """Unit of each length: the cameras have none that is known."""
        return ("1",) * 3

    @property
    def cell_aspect(self) -> tuple[float, ...]:
        """Size of a native cell along each axis, relative to the last one."""
        return tuple(self.resolution[-1] / n for n in self.resolution)

    @property
    def observed(self) -> tuple[int, ...]:
        """Shape of what a source hands out of an example, but for its last axis: all its views, fitted ones first."""
        return (self.views + self.held_out_views, *self.image_size)

    def num_columns(self, num_channels: int) -> int:
        """Numbers in a row of what a source hands out: an origin, a direction and a colour, whatever the field has."""
        return 9

    @property
    def scene(self) -> "SceneVolume":
        """The cube that examples are views of."""
        return self

    def axis_attributes(self, axis: str) -> dict[str, Any]:
        """What the CF conventions, and a person, want to know of positions along an axis."""
        return super().axis_attributes(axis) | {
            "long_name": f"position along {axis}, as a fraction of the cube of the scene",
            "comment": f"in the units of the cameras, {axis} = {2 * self.bound} * position - {self.bound}",
        }
