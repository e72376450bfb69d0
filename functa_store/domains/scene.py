"""Scenes: radiance fields in a cube, and the cameras from which they are seen (poses, lenses, rays, orbits).

A pose is the 4x4 matrix that takes points from the camera's coordinates to the world's. Poses are of the OpenCV
convention, as SRN's are: the camera's x points right, y down, and z forward. `other_convention` turns them into those
of OpenGL and NeRF (x right, y up, z back) and back.
"""

import dataclasses
import math
from typing import Any, Literal, NamedTuple

import numpy as np
from jaxtyping import Float, Float32

from functa_store.config import Head
from functa_store.domains.cells import Cells
from functa_store.errors import GridError

FARTHEST = 1e9
"""Largest coordinate of a camera; in float32 nothing can be told apart around it anyway."""

_RIGID = 1e-3
"""Largest deviation of a rotation from an orthogonal matrix; SRN writes poses in float32, to 7 digits."""


class Lens(NamedTuple):
    """How a camera maps directions to pixels.

    Attributes:
        focal: Focal length, in widths of a pixel.
        centre: Column and row of the principal point, in pixels from the upper left corner; a pixel's centre lies at
            half of one. None means the middle of the image.
        focal_down: Focal length in heights of a pixel, where these are not square; None means as `focal`.
    """

    focal: float
    centre: tuple[float, float] | None = None
    focal_down: float | None = None


def check_pose(pose: Float[np.ndarray, "4 4"]) -> None:
    """Refuse what is no rigid motion.

    Raises:
        GridError: If a number is not finite, the rotation is none or mirrors, the last row is not 0, 0, 0, 1, or the
            camera is absurdly far away.
    """
    if pose.shape != (4, 4) or not np.isfinite(pose).all():
        raise GridError(f"a pose must be a 4x4 matrix of finite numbers, got shape {pose.shape}: {pose.tolist()}")
    rotation = pose[:3, :3]
    if np.abs(rotation @ rotation.T - np.eye(3)).max() > _RIGID or np.linalg.det(rotation) < 0:
        raise GridError(f"the rotation of a pose must be rigid and not mirror, got {rotation.tolist()}")
    if np.abs(pose[3] - [0, 0, 0, 1]).max() > _RIGID:
        raise GridError(f"the last row of a pose must be 0, 0, 0, 1, got {pose[3].tolist()}")
    if np.abs(pose[:3, 3]).max() > FARTHEST:
        raise GridError(f"the camera of a pose must be within {FARTHEST:g} of the origin, got {pose[:3, 3].tolist()}")


def other_convention(pose: Float[np.ndarray, "*poses 4 4"]) -> Float[np.ndarray, "*poses 4 4"]:
    """A pose of OpenCV's convention as one of OpenGL's (NeRF's), or the other way round: y and z change their signs."""
    return pose * np.array([1.0, -1.0, -1.0, 1.0], pose.dtype)


def camera_rays(
    pose: Float[np.ndarray, "4 4"], height: int, width: int, lens: Lens
) -> tuple[Float32[np.ndarray, "height width 3"], Float32[np.ndarray, "height width 3"]]:
    """Origin and unit direction, in the world, of the ray through each pixel's centre.

    Args:
        pose: Camera to world, of OpenCV's convention.
        height: Pixels from top to bottom.
        width: Pixels from left to right.
        lens: Focal length and principal point, in these pixels.
    """
    column, row = lens.centre or (width / 2, height / 2)
    right, down = np.meshgrid(np.arange(width) + 0.5 - column, np.arange(height) + 0.5 - row)
    camera = np.stack([right / lens.focal, down / (lens.focal_down or lens.focal), np.ones_like(right)], axis=-1)
    world = camera @ np.asarray(pose, np.float64)[:3, :3].T
    directions = (world / np.linalg.norm(world, axis=-1, keepdims=True)).astype(np.float32)
    return np.broadcast_to(np.float32(pose[:3, 3]), directions.shape), directions


def look_at_centre(eye: Float[np.ndarray, "3"]) -> Float[np.ndarray, "4 4"]:
    """Pose, of OpenCV's convention, of a camera that looks at the world's origin with z up.

    Raises:
        GridError: If the camera is at the origin, or right above or below it, where up is nowhere.
    """
    forward = -np.asarray(eye, np.float64)
    right = np.cross(forward, [0.0, 0.0, 1.0])
    if np.linalg.norm(right) <= 1e-6 * max(np.linalg.norm(forward), 1e-300):
        raise GridError(f"a camera at {np.asarray(eye).tolist()} has no upward direction; move it off the z axis")
    forward, right = forward / np.linalg.norm(forward), right / np.linalg.norm(right)
    pose = np.eye(4)
    pose[:3] = np.stack([right, np.cross(forward, right), forward, np.asarray(eye, np.float64)], axis=1)
    return pose


def orbit(num_frames: int, radius: float, elevation: float) -> Float[np.ndarray, "frames 4 4"]:
    """Poses on a circle around the z axis that look at the world's origin, counter-clockwise from the x axis.

    Args:
        num_frames: How many, evenly spaced; the circle closes without a repeated frame.
        radius: Distance from the origin.
        elevation: Degrees above the plane z = 0, strictly between -90 and 90.
    """
    height, distance = radius * math.sin(math.radians(elevation)), radius * math.cos(math.radians(elevation))
    angles = 2 * math.pi * np.arange(num_frames) / num_frames
    eyes = np.stack([distance * np.cos(angles), distance * np.sin(angles), np.full(num_frames, height)], axis=-1)
    return np.stack([look_at_centre(eye) for eye in eyes])


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
