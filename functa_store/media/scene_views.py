"""Views of scenes by cameras, at any resolution."""

import dataclasses
import os
from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float

from functa_store.config import whole
from functa_store.decode.functaset import Functaset, Which, check_memory, chosen_modulation, opened
from functa_store.decode.tiled_decoder import make_renderer
from functa_store.domains.scene import (
    Lens,
    SceneVolume,
    camera_rays,
    check_pose,
    orbit,
)
from functa_store.errors import ConfigError
from functa_store.media.film import check_film, to_bytes, write_frames
from functa_store.nets.volume_rendering import Rendered
from functa_store.store.storage.objects import Location
from functa_store.support.threads import check_jax

FRAMES_PER_SECOND = 12.0
ELEVATION = 30.0
"""Degrees above the ground from which an orbit looks if the archive does not say more."""

_NUMBERS_PER_RAY = 5
_BYTES_PER_RAY = 200
"""Beside what is returned: origins and directions in float64 on their way to float32."""


def render_view(
    functaset: Functaset | Location,
    index: Which,
    pose: Float[np.ndarray, "4 4"],
    height: int,
    width: int,
    focal: float,
    *,
    num_samples: int | None = None,
) -> Rendered:
    """An example of a functaset of scenes as a camera sees it, in front of white.

    The first call of a kind of network and cube compiles; no other does, whatever the size of the view.

    Args:
        functaset: An open one, or where it is; scenes.
        index: Which example; or a modulation instead, an array of floats of its shape.
        pose: Camera to world, of OpenCV's convention (x right, y down, z forward); see `other_convention`.
        height: Pixels from top to bottom.
        width: Pixels from left to right.
        focal: Focal length in these pixels.
        num_samples: Samples along a ray; None takes as many as examples were fitted with.

    Returns:
        `colour` (height, width, 3) in [0, 1]; `depth` (height, width), the expected distance, where what passes
        through counts as far; `opacity` (height, width) in [0, 1]. NumPy arrays, float32.

    Raises:
        ConfigError: If the functaset holds no scenes or has other modulations, or a number is out of range.
        ExampleIndexError: If there is no such example.
        GridError: If the pose is no rigid motion, there are too many samples, or the view does not fit into memory.
    """
    functaset = opened(functaset)
    domain = _scene(functaset)
    samples = domain.num_samples if num_samples is None else num_samples
    for name, value in (("height", height), ("width", width), ("num_samples", samples)):
        whole(name, value, 1)
    if not 0 < focal < float("inf"):
        raise ConfigError(f"focal must be positive and finite, got {focal}")
    check_pose(np.asarray(pose))
    check_memory(1, height * width, _NUMBERS_PER_RAY, beside=_BYTES_PER_RAY * height * width)
    sampled = dataclasses.replace(domain, num_samples=samples)
    modulation = chosen_modulation(functaset, index)
    check_jax("rendering")
    origins, directions = camera_rays(np.asarray(pose, np.float64), height, width, Lens(float(focal)))
    return make_renderer(functaset.config.network, sampled)(functaset.base, modulation, origins, directions)


def write_orbit(
    functaset: Functaset | Location,
    index: Which,
    path: str | os.PathLike[str],
    frames: int,
    resolution: int | None = None,
) -> tuple[int, float]:
    """Write what a camera sees of an example on its way around it, as the archive's cameras stand on average.

    Args:
        functaset: An open one, or where it is; scenes.
        index: Which example; or a modulation instead, an array of floats of its shape.
        path: The file, ending in .gif or .mp4.
        frames: Views of one turn.
        resolution: Pixels per side; None takes the height of the archive's views.

    Returns:
        Frames, and frames per second.

    Raises:
        ConfigError: If the functaset holds no scenes, the path ends in something else, or a number is out of range.
        ExampleIndexError: If there is no such example.
        GridError: If the film does not fit into memory.
        MissingLibraryError: If PyAV, which an .mp4 needs, is not installed.
        StorageError: If the file cannot be written.
    """
    functaset = opened(functaset)
    domain = _scene(functaset)
    side = domain.image_size[0] if resolution is None else resolution
    whole("frames", frames, 1)
    whole("resolution", side, 1)
    check_film(path, frames, side, side, FRAMES_PER_SECOND)
    poses, focal = cameras_around(functaset, frames)
    views = [np.asarray(render_view(functaset, index, pose, side, side, focal * side).colour) for pose in poses]
    write_frames(path, to_bytes(np.stack(views)), FRAMES_PER_SECOND)
    return frames, FRAMES_PER_SECOND


def cameras_around(functaset: Functaset, count: int) -> tuple[Float[np.ndarray, "cameras 4 4"], float]:
    """Poses of an orbit as far away and as high as the archive's cameras on average, and their focal length in sides.

    Args:
        functaset: Scenes.
        count: How many.

    Raises:
        ConfigError: If the functaset holds no scenes.
    """
    cameras = _cameras(functaset.store.spec.provenance, _scene(functaset))
    return orbit(count, cameras["radius"], cameras["elevation"]), cameras["focal"]


def _scene(functaset: Functaset) -> SceneVolume:
    if (scene := functaset.domain.scene) is None:
        raise ConfigError(
            f"{functaset.store.path}: holds examples over {functaset.domain.axes}, expected scenes, which alone can "
            "be looked at from a camera; use decode"
        )
    return scene


def _cameras(provenance: Mapping[str, Any], domain: SceneVolume) -> dict[str, float]:
    """Distance, elevation in degrees, and focal length in sides of an image, as far as a store says them sanely."""
    middle = (domain.near + domain.far) / 2
    found = {"radius": middle, "elevation": ELEVATION, "focal": middle / (2 * domain.bound)}
    said = provenance.get("cameras")
    highest = {"radius": 1e9, "elevation": 89.0, "focal": 1e9}
    for name, most in highest.items():
        value = said.get(name) if isinstance(said, Mapping) else None
        if isinstance(value, int | float) and (-most if name == "elevation" else 1e-9) <= value <= most:
            found[name] = float(value)
    return found
