"""Conventions of poses, and whether cameras see the scene by one of them."""

import math
from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np
from jaxtyping import Bool, Float, Float64

from functa_store.domains.scene import Lens, camera_rays, other_convention
from functa_store.errors import MemberError

Convention = Literal["opencv", "opengl", "world-to-camera", "opengl-world-to-camera"]

BOUND_PER_DISTANCE = 0.5 / 1.3
"""Half the cube's edge relative to the cameras' distance: SRN's cameras are 1.3 away from objects inside a box with a
diagonal of 1, whatever its proportions, and so within 0.5 of the centre."""

WIDEST = 20
"""Focal lengths along an edge of an image, at most: 169 degrees."""

_RAYS = 8  # along each edge of an image, to see whether cameras see the scene
_FEWEST_VIEWS, _FEWEST_RAYS = 0.5, 0.02


def camera_to_world(
    poses: Float64[np.ndarray, "*views 4 4"], convention: Convention
) -> Float64[np.ndarray, "*views 4 4"]:
    """Poses as they stand in files, as camera to world of OpenCV's convention."""
    found = np.linalg.inv(poses) if convention.endswith("world-to-camera") else poses
    return other_convention(found) if convention.startswith("opengl") else found


def check_cameras(
    poses: Float64[np.ndarray, "views 4 4"],
    lenses: Sequence[Lens],
    sizes: Sequence[tuple[int, int]],
    convention: Convention,
    bound: float | None,
    *,
    others: bool = True,
) -> None:
    """Refuse cameras that do not see the scene: their poses are of another convention, or it lies elsewhere.

    Args:
        poses: As they stand in files.
        lenses: Of each of them.
        sizes: Height and width of each one's image.
        convention: How poses are read.
        bound: Half the edge of the cube around the origin; None means one in proportion to the cameras' distance.
        others: Whether they may be of another convention, as far as the kind of file tells.

    Raises:
        MemberError: If so; the message says in which convention they would see it.
    """
    words: tuple[Convention, ...] = get_args(Convention) if others else (convention,)
    seen = {word: _seen(camera_to_world(poses, word), lenses, sizes, bound) for word in words}
    views, rays = seen[convention]
    if not math.isfinite(rays):  # cameras at the centre: only a bound says where the scene is
        return
    best = max(words, key=lambda word: seen[word][1])
    if views >= _FEWEST_VIEWS and rays >= _FEWEST_RAYS and rays >= seen[best][1] / 2:
        return
    said = f"with --poses {convention} " if others else ""
    problem = (
        f"its cameras do not see the scene: {said}{views:.0%} of the views and {rays:.0%} of their rays meet the cube "
        "around the origin"
    )
    if best != convention and seen[best][1] >= _FEWEST_RAYS:
        raise MemberError(f"{problem}, with --poses {best} {seen[best][0]:.0%} and {seen[best][1]:.0%}")
    raise MemberError(f"{problem}; move the origin of the poses into the scene, or give its --bound")


def _seen(
    poses: Float64[np.ndarray, "views 4 4"],
    lenses: Sequence[Lens],
    sizes: Sequence[tuple[int, int]],
    bound: float | None,
) -> tuple[float, float]:
    """The shares of views and of all their rays that meet the cube; not a number if the cube has no size."""
    half = bound or usual_bound(poses)
    if not half > 0:
        return math.nan, math.nan
    coarse = [scaled(lens, _RAYS / size[1], _RAYS / size[0]) for lens, size in zip(lenses, sizes, strict=True)]
    rays = (camera_rays(pose, _RAYS, _RAYS, lens) for pose, lens in zip(poses, coarse, strict=True))
    shares = np.array([meets(*both, half).mean() for both in rays])
    return float((shares > 0).mean()), float(shares.mean())


def usual_bound(poses: Float64[np.ndarray, "views 4 4"]) -> float:
    """Half the edge of the cube around the origin in proportion to the distance of most cameras, as SRN's."""
    return BOUND_PER_DISTANCE * float(np.median(np.linalg.norm(poses[:, :3, 3], axis=-1)))


def meets(
    origins: Float[np.ndarray, "*rays 3"], directions: Float[np.ndarray, "*rays 3"], half: float
) -> Bool[np.ndarray, "*rays"]:
    """Which rays meet a cube around the origin, in front of the camera."""
    with np.errstate(divide="ignore", invalid="ignore"):
        near, far = (-half - origins) / directions, (half - origins) / directions
        # Of a ray along two planes and between them, which they do not limit, the sum is -inf + inf, or 0 / 0.
        limits = ~np.isnan(near + far)
    first = np.fmax(np.fmin(near, far).max(-1, initial=-np.inf, where=limits), 0)
    last = np.fmax(near, far).min(-1, initial=np.inf, where=limits)
    return last > first


def scaled(lens: Lens, across: float, down: float) -> Lens:
    """A lens in pixels of an image that has so many times as many columns and rows."""
    centre = None if lens.centre is None else (lens.centre[0] * across, lens.centre[1] * down)
    focal_down = lens.focal if lens.focal_down is None else lens.focal_down
    return Lens(lens.focal * across, centre, focal_down * down)
