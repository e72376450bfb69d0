"""Cameras: poses, lenses, rays and orbits.

A pose is the 4x4 matrix that takes points from the camera's coordinates to the world's. Poses are of the OpenCV
convention, as SRN's are: the camera's x points right, y down, and z forward. `other_convention` turns them into those
of OpenGL and NeRF (x right, y up, z back) and back.
"""

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float32

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
