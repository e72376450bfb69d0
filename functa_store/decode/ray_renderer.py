"""Compiled rendering of scenes along rays."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float32

from functa_store.config import NetworkConfig
from functa_store.decode.tiled_decoder import Weights
from functa_store.domains.scene import SceneVolume
from functa_store.nets.siren import from_weights
from functa_store.nets.volume_rendering import Rendered, render, samples_along

POINTS_PER_TILE = 2048
"""Samples along all rays of a tile; a ray with more is a tile by itself."""

TILES_PER_CALL = 64
"""Of which only as many are evaluated as are needed."""

NUM_CHANNELS = 4

Renderer = Callable[..., Rendered]


@functools.cache
def make_renderer(network: NetworkConfig, domain: SceneVolume) -> Renderer:
    """A function (base weights, modulation, origins, directions) -> what is seen along any number of rays.

    It takes and gives NumPy arrays, of shapes (*rays, 3) and (*rays); colours are clipped to [0, 1], and what passes
    through the cube counts as far in the depth.

    Args:
        network: The base network.
        domain: The cube, near, far and the number of samples.
    """
    tiles = _compiled(network, domain)
    rays_per_tile = max(1, POINTS_PER_TILE // domain.num_samples)
    per_call = TILES_PER_CALL * rays_per_tile

    def renderer(
        base: Weights,
        modulation: Float32[np.ndarray, " modulation"],
        origins: Float[np.ndarray, "*rays 3"],
        directions: Float[np.ndarray, "*rays 3"],
    ) -> Rendered:
        shape = origins.shape[:-1]
        rays = np.stack([origins.reshape(-1, 3), directions.reshape(-1, 3)]).astype(np.float32)
        pieces = []
        for start in range(0, rays.shape[1], per_call):
            piece = rays[:, start : start + per_call]
            filled = np.broadcast_to(piece[:, :1], (2, per_call, 3)).copy()
            filled[:, : piece.shape[1]] = piece
            count = np.int32(-(-piece.shape[1] // rays_per_tile))
            pieces.append(tiles(base, modulation, filled.reshape(2, TILES_PER_CALL, rays_per_tile, 3), count))
        joined = (
            np.concatenate([np.asarray(p).reshape(per_call, -1) for p in part]) for part in zip(*pieces, strict=True)
        )
        colour, depth, opacity = (part[: rays.shape[1]].reshape(*shape, -1) for part in joined)
        behind = depth[..., 0] + (1 - opacity[..., 0]) * domain.far
        return Rendered(np.clip(colour, 0, 1), behind, opacity[..., 0])  # type: ignore[arg-type]  # NumPy's, for people

    return renderer


def _compiled(network: NetworkConfig, domain: SceneVolume) -> Callable[..., Rendered]:
    """(base, modulation, rays, count) -> what is seen along the rays of the first `count` tiles, zeros elsewhere."""

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

    return tiles
