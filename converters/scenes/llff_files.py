"""Cameras in poses_bounds.npy files, those of LLFF's forward-facing scenes."""

import io
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float64

from converters.arrays.npy_files import read_npy
from converters.scenes.cameras import Camera, Cameras, Optics
from functa_store.domains.scene import Lens, camera_rays, check_pose, other_convention
from functa_store.errors import ArchiveError, GridError, MemberError

NAME = "poses_bounds.npy"

_COLUMNS = 17
_GRID = 5  # rays along each edge of an image, on which the ends of what it shows are looked at


def read_poses_bounds(content: bytes, images: Sequence[str]) -> Cameras:
    """The cameras of a scene, camera to world of OpenCV's convention, and points at the ends of what they show.

    A row is a 3x5 matrix and two depths between which all lies that the view shows. Columns of the matrix are the
    camera's axes down, right and backwards, its place, and height, width and focal length in pixels.

    Args:
        content: The file.
        images: Names of the images, sorted, one per row.

    Raises:
        MemberError: If it is no such file; the message is the reason alone.
    """
    try:
        rows = read_npy(io.BytesIO(content), len(content))
    except ArchiveError as error:
        raise MemberError(f"{NAME}: {error}") from error
    if rows.ndim != 2 or rows.shape[1] != _COLUMNS or rows.dtype.kind != "f" or not len(rows):
        raise MemberError(f"{NAME}: holds {rows.dtype} of shape {rows.shape}, expected floats (views, {_COLUMNS})")
    if len(rows) != len(images):
        raise MemberError(
            f"{NAME}: has {len(rows)} views for {len(images)} images, expected one for each in their order"
        )
    cameras, points = [], []
    for k, (row, image) in enumerate(zip(rows.astype(np.float64), images, strict=True)):
        where = f"{NAME}: view {k}"
        if not np.isfinite(row).all() or not 0 < row[15] < row[16]:
            raise MemberError(
                f"{where}: goes from depth {row[15]:g} to {row[16]:g}, expected finite numbers and 0 < near < far"
            )
        matrix = row[:15].reshape(3, 5)
        pose = np.eye(4)
        pose[:3, :3], pose[:3, 3] = matrix[:, [1, 0, 2]] * [1, -1, 1], matrix[:, 3]
        pose = other_convention(pose)  # from x right, y up, z back
        height, width, focal = matrix[:, 4]
        try:
            check_pose(pose)
        except GridError as error:
            raise MemberError(f"{where}: {error}") from error
        if not (height >= 1 and width >= 1 and height % 1 == width % 1 == 0):
            raise MemberError(f"{where}: has images of {width:g} x {height:g} pixels, expected whole numbers")
        optics = Optics(Lens(float(focal)), where, (int(height), int(width)))
        optics.check((int(height), int(width)))
        cameras.append(Camera(image, pose, optics))
        points.append(_ends(pose, float(height), float(width), float(focal), row[15:]))
    return Cameras({"train": cameras}, points=np.concatenate(points))


def _ends(
    pose: Float64[np.ndarray, "4 4"], height: float, width: float, focal: float, depths: Float64[np.ndarray, "2"]
) -> Float64[np.ndarray, "points 3"]:
    """Points at the nearest and the farthest depth of some pixels."""
    lens = Lens(focal * _GRID / width, None, focal * _GRID / height)
    origins, directions = (part.reshape(-1, 3).astype(np.float64) for part in camera_rays(pose, _GRID, _GRID, lens))
    along = directions @ pose[:3, 2]  # depth of a step of length 1
    return np.concatenate([origins + directions * (depth / along)[:, None] for depth in depths])
