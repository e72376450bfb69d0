"""How do modulations become features again?"""

from collections.abc import Callable, Iterator, Mapping

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float32

from functa_store.config import NetworkConfig
from functa_store.nets.weights import from_weights

Weights = Mapping[str, Array | np.ndarray]
Decoder = Callable[[Weights, Float[Array, "examples modulation"], Float[Array, "points axes"]], Array]

TILE_POINTS = 4096
"""Points of a tile; small enough for a CPU's cache, large enough to fill its cores."""

TILES_AT_ONCE = {"cpu": 1}
"""Tiles per call; an accelerator, which any other name means, takes `TILES_ON_ACCELERATOR`."""

TILES_ON_ACCELERATOR = 16


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

        def tile(base: Weights, modulations: Array, coords: Array) -> Array:
            network = from_weights(config, num_axes, num_channels, base)
            return jax.vmap(network)(modulations, coords)

        self._tile = jax.jit(tile)

    def __call__(
        self, modulations: Float32[np.ndarray, "examples modulation"], coords: Float32[np.ndarray, "points axes"]
    ) -> Float32[np.ndarray, "examples points channels"]:
        """Features of every example at every point, not clipped."""
        features = np.empty((len(modulations), len(coords), self._num_channels), np.float32)
        for examples, starts in self._batches(len(modulations), len(coords)):
            points = np.minimum(starts[:, None] + np.arange(TILE_POINTS), len(coords) - 1)
            decoded = np.asarray(self._tile(self._base, modulations[examples], coords[points]))
            for example, start, part in zip(examples, starts, decoded, strict=True):
                stop = min(start + TILE_POINTS, len(coords))
                features[example, start:stop] = part[: stop - start]
        return features

    def _batches(self, num_examples: int, num_points: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Example and first point of the tiles of each call, filled up by repeating the last one."""
        starts = np.arange(0, num_points, TILE_POINTS)
        num_tiles = num_examples * len(starts)
        for first in range(0, num_tiles, self._at_once):
            tiles = np.minimum(np.arange(first, first + self._at_once), num_tiles - 1)
            yield tiles // len(starts), starts[tiles % len(starts)]
