"""How do modulations become features again?"""

import collections
from collections.abc import Callable, Iterator, Mapping

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float32

from functa_store.config import NetworkConfig
from functa_store.nets.weights import from_weights

Weights = Mapping[str, Array | np.ndarray]
Decoder = Callable[[Weights, Float[Array, "examples modulation"], Float[Array, "points axes"]], Array]

TILE_POINTS = 2048
"""Points of a tile: small enough for a CPU's cache, large enough to fill its cores."""

TILES_AT_ONCE = {"cpu": 1}
"""Tiles that a device evaluates together; an accelerator, which any other name means, `TILES_ON_ACCELERATOR`."""

TILES_ON_ACCELERATOR = 16

TILES_PER_CALL = 64
"""Tiles per call, of which only as many are evaluated as are needed."""


def make_decoder(config: NetworkConfig, num_axes: int, num_channels: int) -> Decoder:
    """The pure, jitted decoder of a functaset.

    Args:
        config: Its base network.
        num_axes: Coordinates of a point.
        num_channels: Features at a point.

    Returns:
        A function (base, modulations, coords) -> features of shapes (examples, modulation),
        (points, axes) and (examples, points, channels), where `base` holds the base weights by
        name. Differentiable in all three; features are not clipped.
    """

    @jax.jit
    def decoder(base: Weights, modulations: Array, coords: Array) -> Array:
        network = from_weights(config, num_axes, num_channels, base)
        return jax.vmap(lambda modulation: network(modulation, coords))(modulations)

    return decoder


class TiledDecoder:
    """Decodes any number of examples at any number of points with one compilation.

    Args:
        config: The base network.
        base: Its weights by name.
        num_axes: Coordinates of a point.
        num_channels: Features at a point.
    """

    def __init__(self, config: NetworkConfig, base: Weights, num_axes: int, num_channels: int) -> None:
        self._base = {name: jnp.asarray(array) for name, array in base.items()}
        self._num_channels = num_channels
        self._at_once = TILES_AT_ONCE.get(jax.default_backend(), TILES_ON_ACCELERATOR)

        def tiles(base: Weights, modulations: Array, coords: Array, count: Array) -> Array:
            network = from_weights(config, num_axes, num_channels, base)

            def group(i: Array, features: Array) -> Array:
                return features.at[i].set(jax.vmap(network)(modulations[i], coords[i]))

            features = jnp.zeros((*coords.shape[:-1], num_channels), jnp.float32)
            return jax.lax.fori_loop(0, count, group, features)

        self._tiles = jax.jit(tiles)

    def __call__(
        self, modulations: Float32[np.ndarray, "examples modulation"], coords: Float32[np.ndarray, "points axes"]
    ) -> Float32[np.ndarray, "examples points channels"]:
        """Features of every example at every point, not clipped."""
        features = np.empty((len(modulations), len(coords), self._num_channels), np.float32)
        started = collections.deque()
        for examples, starts in self._calls(len(modulations), len(coords)):
            started.append((examples, starts, self._start(modulations[examples], coords, starts)))
            if len(started) > 1:  # the device goes on while the host copies
                _copy(features, *started.popleft())
        while started:
            _copy(features, *started.popleft())
        return features

    def _start(self, modulations: np.ndarray, coords: np.ndarray, starts: np.ndarray) -> Array:
        """Decode the tiles of one call, filled up to its fixed size, without waiting for it."""
        groups = -(-len(starts) // self._at_once)
        filled = np.minimum(np.arange(-(-TILES_PER_CALL // self._at_once) * self._at_once), len(starts) - 1)
        points = np.minimum(starts[filled, None] + np.arange(TILE_POINTS), len(coords) - 1)
        in_groups = (a.reshape(-1, self._at_once, *a.shape[1:]) for a in (modulations[filled], coords[points]))
        return self._tiles(self._base, *in_groups, np.int32(groups))

    def _calls(self, num_examples: int, num_points: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Example and first point of the tiles of each call."""
        starts = np.arange(0, num_points, TILE_POINTS)
        num_tiles = num_examples * len(starts)
        for first in range(0, num_tiles, TILES_PER_CALL):
            tiles = np.arange(first, min(first + TILES_PER_CALL, num_tiles))
            yield tiles // len(starts), starts[tiles % len(starts)]


def _copy(features: np.ndarray, examples: np.ndarray, starts: np.ndarray, decoded: Array) -> None:
    """Copy decoded tiles to where they belong, without what they were filled up with."""
    num_points, tiles = features.shape[1], np.asarray(decoded).reshape(-1, TILE_POINTS, features.shape[2])
    for example, start, tile in zip(examples, starts, tiles, strict=False):
        stop = min(start + TILE_POINTS, num_points)
        features[example, start:stop] = tile[: stop - start]
