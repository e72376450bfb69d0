"""What does a camera see of a scene that is stored as a function?"""

import dataclasses
import functools
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float32, UInt8
from PIL import Image

from functa_store.cameras import Lens, camera_rays, check_pose, orbit
from functa_store.config import NetworkConfig, whole
from functa_store.decode.functaset import Functaset
from functa_store.decode.programs import Weights
from functa_store.errors import ConfigError, MissingLibraryError, StorageError
from functa_store.forks import check_jax
from functa_store.nets.render import Rendered, render, samples_along
from functa_store.nets.weights import from_weights
from functa_store.scenes import SceneVolume

RAYS_PER_TILE = 64
TILES_PER_CALL = 64
"""Of which only as many are evaluated as are needed."""

FRAMES_PER_SECOND = 12
ELEVATION = 30.0
"""Degrees above the ground from which an orbit looks if the archive does not say more."""

NUM_CHANNELS = 4
SUFFIXES = (".gif", ".mp4")

Renderer = Callable[..., Rendered]


def render_view(
    functaset: Functaset,
    index: int,
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
        functaset: Scenes.
        index: Which example.
        pose: Camera to world, of OpenCV's convention (x right, y down, z forward); see `cameras.other_convention`.
        height: Pixels from top to bottom.
        width: Pixels from left to right.
        focal: Focal length in these pixels.
        num_samples: Samples along a ray; None takes as many as examples were fitted with.

    Returns:
        `colour` (height, width, 3) in [0, 1]; `depth` (height, width), the expected distance, where what passes
        through counts as far; `opacity` (height, width) in [0, 1]. NumPy arrays, float32.

    Raises:
        ConfigError: If the functaset holds no scenes, or a number is out of range.
        ExampleIndexError: If there is no such example.
        GridError: If the pose is no rigid motion.
    """
    domain = _scene(functaset)
    for name, value in (("height", height), ("width", width), ("num_samples", num_samples or 1)):
        whole(name, value, 1)
    if not 0 < focal < float("inf"):
        raise ConfigError(f"focal must be positive and finite, got {focal}")
    check_pose(np.asarray(pose))
    modulation = functaset[index].modulation
    check_jax("rendering")
    sampled = dataclasses.replace(domain, num_samples=num_samples or domain.num_samples)
    origins, directions = camera_rays(np.asarray(pose, np.float64), height, width, Lens(float(focal)))
    return make_renderer(functaset.config.network, sampled)(functaset.base, modulation, origins, directions)


def write_orbit(
    functaset: Functaset, index: int, path: str | os.PathLike[str], frames: int, resolution: int | None = None
) -> tuple[int, float]:
    """Write what a camera sees of an example on its way around it, as the archive's cameras stand on average.

    Args:
        functaset: Scenes.
        index: Which example.
        path: The file, ending in .gif or .mp4.
        frames: Views of one turn.
        resolution: Pixels per side; None takes the height of the archive's views.

    Returns:
        Frames, and frames per second.

    Raises:
        ConfigError: If the functaset holds no scenes, the path ends in something else, or a number is out of range.
        ExampleIndexError: If there is no such example.
        MissingLibraryError: If imageio or PyAV, which an .mp4 needs, is not installed.
        StorageError: If the file cannot be written.
    """
    domain, suffix = _scene(functaset), Path(path).suffix.lower()
    side = domain.image_size[0] if resolution is None else resolution
    whole("frames", frames, 1)
    whole("resolution", side, 1)
    if suffix not in SUFFIXES:
        raise ConfigError(f"{os.fspath(path)}: expected a name that ends in .gif or .mp4, found {suffix!r}")
    if suffix == ".mp4" and side % 2:
        raise ConfigError(f"{os.fspath(path)}: an .mp4 needs an even resolution, got {side}")
    cameras = _cameras(functaset.store.provenance, domain)
    poses = orbit(frames, cameras["radius"], cameras["elevation"])
    views = [render_view(functaset, index, pose, side, side, cameras["focal"] * side).colour for pose in poses]
    _write(path, [np.rint(view * 255).astype(np.uint8) for view in views])
    return frames, float(FRAMES_PER_SECOND)


@functools.cache
def make_renderer(network: NetworkConfig, domain: SceneVolume) -> Renderer:
    """A function (base weights, modulation, origins, directions) -> what is seen along any number of rays.

    Args:
        network: The base network.
        domain: The cube, near, far and the number of samples.
    """

    def tile(base: Weights, modulation: Array, origins: Array, directions: Array) -> Rendered:
        siren = from_weights(network, domain.num_inputs, NUM_CHANNELS, base)
        samples = samples_along(origins, directions, domain)
        features = siren(modulation, samples.positions.reshape(-1, domain.num_inputs))
        return render(features.reshape(*samples.distances.shape, NUM_CHANNELS), samples)

    @jax.jit
    def tiles(base: Weights, modulation: Array, rays: Array, count: Array) -> Rendered:
        def one(i: Array, seen: Rendered) -> Rendered:
            found = tile(base, modulation, *rays[:, i])
            return jax.tree.map(lambda everything, part: everything.at[i].set(part), seen, found)

        plain = jnp.zeros(rays.shape[1:3], jnp.float32)
        return jax.lax.fori_loop(0, count, one, Rendered(jnp.zeros(rays.shape[1:], jnp.float32), plain, plain))

    def renderer(
        base: Weights,
        modulation: Float32[np.ndarray, " modulation"],
        origins: Float[np.ndarray, "*rays 3"],
        directions: Float[np.ndarray, "*rays 3"],
    ) -> Rendered:
        shape, per_call = origins.shape[:-1], RAYS_PER_TILE * TILES_PER_CALL
        rays = np.stack([origins.reshape(-1, 3), directions.reshape(-1, 3)]).astype(np.float32)
        pieces = []
        for start in range(0, rays.shape[1], per_call):
            piece = rays[:, start : start + per_call]
            filled = np.broadcast_to(piece[:, :1], (2, per_call, 3)).copy()
            filled[:, : piece.shape[1]] = piece
            count = np.int32(-(-piece.shape[1] // RAYS_PER_TILE))
            pieces.append(tiles(base, modulation, filled.reshape(2, TILES_PER_CALL, RAYS_PER_TILE, 3), count))
        seen = [
            np.concatenate([np.asarray(part).reshape(per_call, -1) for part in parts])
            for parts in zip(*pieces, strict=True)
        ]
        colour, depth, opacity = (part[: rays.shape[1]].reshape(*shape, -1) for part in seen)
        behind = depth[..., 0] + (1 - opacity[..., 0]) * domain.far
        return Rendered(np.clip(colour, 0, 1), behind, opacity[..., 0])  # type: ignore[arg-type]  # NumPy's, for people

    return renderer


def _scene(functaset: Functaset) -> SceneVolume:
    domain = functaset.domain
    if not isinstance(domain, SceneVolume):
        raise ConfigError(
            f"{functaset.store.path}: holds examples over {domain.axes}, expected scenes, which alone can be looked at "
            "from a camera; use decode"
        )
    return domain


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


def _write(path: str | os.PathLike[str], frames: Sequence[UInt8[np.ndarray, "y x 3"]]) -> None:
    try:
        if Path(path).suffix.lower() == ".gif":
            images = [Image.fromarray(frame) for frame in frames]
            duration = round(1000 / FRAMES_PER_SECOND)
            images[0].save(path, save_all=True, append_images=images[1:], duration=duration, loop=0)
        else:
            _write_mp4(path, frames)
    except OSError as error:
        raise StorageError(f"{os.fspath(path)}: cannot be written: {error}") from error


def _write_mp4(path: str | os.PathLike[str], frames: Sequence[UInt8[np.ndarray, "y x 3"]]) -> None:
    try:
        import imageio.v3 as iio

        iio.imwrite(Path(path), np.stack(frames), plugin="pyav", codec="libx264", fps=float(FRAMES_PER_SECOND))
    except ImportError as error:
        raise MissingLibraryError(
            "imageio or PyAV is not installed; run pip install 'functa-store[video]', or write a .gif"
        ) from error
