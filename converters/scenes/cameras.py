"""Cameras of one scene as files of any kind tell them: images, poses, lenses, and what says where the scene lies."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64

from converters.scenes.pose_conventions import WIDEST
from functa_store.domains.scene import Lens
from functa_store.errors import MemberError

UNDISTORT = (
    "take the distortion out of the images, such as by `colmap image_undistorter`, and convert the images and the "
    "model that it writes"
)

_ROUNDED = 1.0  # pixels by which a smaller copy of an image differs in its proportions


class Optics(NamedTuple):
    """A lens as a file tells it.

    Attributes:
        lens: In pixels, or in widths and heights of the image.
        where: Its place, for messages.
        size: Height and width of the image that it is told for; None means that of the file.
        is_relative: Whether it is told in widths and heights of the image, its principal point in the middle.
    """

    lens: Lens
    where: str
    size: tuple[int, int] | None
    is_relative: bool = False

    def at(self, height: int, width: int) -> tuple[Lens, tuple[int, int]]:
        """The lens in pixels, and the height and width that it is told for, of an image of so many pixels.

        Raises:
            MemberError: If the camera tells other proportions, or makes no sense; the message is the reason alone.
        """
        if self.is_relative:
            down = self.lens.focal_down
            return Lens(width * self.lens.focal, None, None if down is None else height * down), (height, width)
        rows, columns = self.size or (height, width)
        if abs(height * columns / width - rows) > _ROUNDED * max(1.0, columns / width):
            raise MemberError(f"is {width} x {height} pixels, but {self.where} says {columns} x {rows}")
        self.check((rows, columns))
        return self.lens, (rows, columns)

    def check(self, size: tuple[int, int]) -> None:
        """Refuse numbers that cannot be meant for an image of that height and width.

        Raises:
            MemberError: If they cannot.
        """
        height, width = size
        focals = [self.lens.focal, self.lens.focal if self.lens.focal_down is None else self.lens.focal_down]
        column, row = self.lens.centre or (width / 2, height / 2)
        found = f"{self.where}: found {focals[0]:g}, {focals[1]:g}, {column:g}, {row:g} as focal lengths and principal"
        found += f" point of images of {width} x {height} pixels"
        if not all(math.isfinite(focal) and focal > 0 for focal in focals):
            raise MemberError(f"{found}, expected finite focal lengths above 0")
        if not (0 < column < width and 0 < row < height):
            raise MemberError(f"{found}, of which the principal point lies outside the image")
        if min(focals) * WIDEST < max(height, width):
            raise MemberError(
                f"{found}, expected pixels, and focal lengths of {max(height, width) / WIDEST:g} at least"
            )


class Camera(NamedTuple):
    """A view as its file tells it.

    Attributes:
        image: Its member, as the file names it, below a folder that the file's kind tells.
        pose: As the file's kind has it.
        optics: Its lens.
    """

    image: str
    pose: Float64[np.ndarray, "4 4"]
    optics: Optics


class Cameras(NamedTuple):
    """The views of one scene.

    Attributes:
        splits: Cameras by the published split of views; all in "train" where there are no splits.
        centre: The middle of the cube that a file tells, in units of the poses; None if none does.
        box: Half its edge.
        points: Points of the scene, in units of the poses, or None.
        notes: What was made of it, in words.
        remarks: What else is odd about it.
    """

    splits: dict[str, list[Camera]]
    centre: Float64[np.ndarray, "3"] | None = None
    box: float | None = None
    points: Float64[np.ndarray, "points 3"] | None = None
    notes: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()


_TAIL, _MARGIN, _FEWEST_POINTS = 0.02, 1.1, 50  # share of points beyond either side, room around the rest, points
_HALF, _DISTANCE = 0.5, 1.3  # half the cube's edge, and of its middle from cameras: those of SRN's scenes
_LEAST_AGREED = 0.3  # length of the mean of unit vectors


class Frame(NamedTuple):
    """A similarity that takes a scene into the cube around the origin, z up.

    Attributes:
        rotation: Of the world, 3x3.
        centre: What becomes the origin.
        scale: Factor of lengths.
        box: Half the edge of the cube that the scene lies in, afterwards.
        note: What was done, in words.
    """

    rotation: Float64[np.ndarray, "3 3"]
    centre: Float64[np.ndarray, "3"]
    scale: float
    box: float
    note: str

    def moved(self, poses: Float64[np.ndarray, "views 4 4"]) -> Float64[np.ndarray, "views 4 4"]:
        """Poses, camera to world, in the moved world."""
        found = poses.copy()
        found[:, :3, :3] = self.rotation @ poses[:, :3, :3]
        found[:, :3, 3] = self.scale * (poses[:, :3, 3] - self.centre) @ self.rotation.T
        return found


def frame_of_points(points: Float64[np.ndarray, "points 3"], poses: Float64[np.ndarray, "views 4 4"]) -> Frame | None:
    """The frame in which most points of a scene lie within 0.5 of the origin; None if there are too few.

    Args:
        points: Of the scene; the farthest 2 percent on either side of each axis do not count.
        poses: Camera to world, of OpenCV's convention.
    """
    points = points[np.isfinite(points).all(axis=1)]
    if len(points) < _FEWEST_POINTS:
        return None
    rotation, turned = _upright(poses)
    along = points @ rotation.T
    low, high = np.quantile(along, (_TAIL, 1 - _TAIL), axis=0)
    half = _MARGIN * float((high - low).max()) / 2
    if not 0 < half < math.inf:
        return None
    centre = rotation.T @ ((low + high) / 2)
    scale = _HALF / half
    inside = (np.abs(scale * (along - (low + high) / 2)) <= _HALF).all(axis=1).mean()
    note = f"moved such that {inside:.0%} of {len(points)} points lie in the cube: {_words(centre, scale)}{turned}"
    return Frame(rotation, centre, scale, _HALF, note)


def frame_of_cameras(poses: Float64[np.ndarray, "views 4 4"]) -> Frame:
    """The frame whose origin is nearest to where all cameras look, at a median distance of 1.3, the cube within 0.5.

    Args:
        poses: Camera to world, of OpenCV's convention.

    Raises:
        MemberError: If they look at no common point.
    """
    rotation, turned = _upright(poses)
    eyes, ahead = poses[:, :3, 3], poses[:, :3, 2]
    # The point with the least sum of squared distances to the optical axes: sum (I - d d') (p - eye) = 0.
    across = np.eye(3) - ahead[:, :, None] * ahead[:, None, :]
    system = across.sum(axis=0)
    if np.linalg.cond(system) > 1e4:
        raise MemberError("its cameras look in one direction and so at no common point; give --normalise none, --bound")
    centre = np.linalg.solve(system, (across @ eyes[:, :, None]).sum(axis=0)[:, 0])
    distance = float(np.median(np.linalg.norm(eyes - centre, axis=1)))
    if not 0 < distance < math.inf:
        raise MemberError("its cameras stand where they look; give --normalise none and --bound")
    scale = _DISTANCE / distance
    note = f"moved such that the optical axes of its cameras meet in the origin: {_words(centre, scale)}{turned}"
    return Frame(rotation, centre, scale, _HALF, note)


def _words(centre: Float64[np.ndarray, "3"], scale: float) -> str:
    return f"centre {centre[0]:.6g} {centre[1]:.6g} {centre[2]:.6g}, scale {scale:.6g}"


def _upright(poses: Float64[np.ndarray, "views 4 4"]) -> tuple[Float64[np.ndarray, "3 3"], str]:
    """The least rotation that takes the cameras' mean upward direction to z, and a word on it."""
    mean = -poses[:, :3, 1].mean(axis=0)
    if (length := float(np.linalg.norm(mean))) < _LEAST_AGREED:
        return np.eye(3), ", not turned, since its cameras have no common upward direction"
    up, z = mean / length, np.array([0.0, 0.0, 1.0])
    if up[2] < -1 + 1e-9:
        rotation = np.diag([1.0, -1.0, -1.0])
    else:
        axis = np.cross(up, z)
        skew = np.array([[0, -axis[2], axis[1]], [axis[2], 0, -axis[0]], [-axis[1], axis[0], 0]])
        rotation = np.eye(3) + skew + skew @ skew / (1 + up[2])
    return rotation, f", then turned such that {up[0]:.6g} {up[1]:.6g} {up[2]:.6g}, up for its cameras, is z"


def repeated(names: Sequence[str]) -> str | None:
    """The first name that occurs twice, or None."""
    seen: set[str] = set()
    for name in names:
        if name in seen:
            return name
        seen.add(name)
    return None
