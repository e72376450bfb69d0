"""What is compiled to turn modulations into features, once for each base network and size?"""

import functools
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from functa_store.config import NetworkConfig
from functa_store.nets.siren import ModulatedSiren
from functa_store.nets.weights import from_weights

Weights = Mapping[str, Array | np.ndarray]
Decoder = Callable[[Weights, Float[Array, "examples modulation"], Float[Array, "points axes"]], Array]


@functools.cache
def make_decoder(config: NetworkConfig, num_inputs: int, num_channels: int) -> Decoder:
    """The pure, jitted decoder of a functaset, the same one for all of these sizes.

    Args:
        config: Its base network.
        num_inputs: Numbers that the network takes of a point.
        num_channels: Features at a point.

    Returns:
        A function (base, modulations, coords) -> features of shapes (examples, modulation),
        (points, axes) and (examples, points, channels), where `base` holds the base weights by
        name. Differentiable in all three; features are not clipped.
    """

    @jax.jit
    def decoder(base: Weights, modulations: Array, coords: Array) -> Array:
        network = from_weights(config, num_inputs, num_channels, base)
        return jax.vmap(lambda modulation: network(modulation, coords))(modulations)

    return decoder


@functools.cache
def tile_programs(config: NetworkConfig, num_inputs: int, num_channels: int) -> tuple[Callable[..., Array], ...]:
    """Jitted evaluation of groups of tiles: all points of a tile with one modulation, or each with one of its own.

    Args:
        config: The base network.
        num_inputs: Numbers that the network takes of a point.
        num_channels: Features at a point.

    Returns:
        Two functions (base, modulations, coords, count) -> features, of shapes (groups, tiles, modulation) or
        (groups, tiles, points, modulation), (groups, tiles, points, axes) and (groups, tiles, points, channels),
        which evaluate the first `count` groups and leave zeros in the others.
    """

    def program(evaluate: Callable[[ModulatedSiren, Array, Array], Array]) -> Callable[..., Array]:
        def tiles(base: Weights, modulations: Array, coords: Array, count: Array) -> Array:
            network = from_weights(config, num_inputs, num_channels, base)

            def group(i: Array, features: Array) -> Array:
                evaluated = jax.vmap(lambda *tile: evaluate(network, *tile))(modulations[i], coords[i])
                return features.at[i].set(evaluated)

            features = jnp.zeros((*coords.shape[:-1], num_channels), jnp.float32)
            return jax.lax.fori_loop(0, count, group, features)

        return jax.jit(tiles)

    return program(_together), program(_each_its_own)


def _together(network: ModulatedSiren, modulation: Array, coords: Array) -> Array:
    """A tile of points of one example."""
    return network(modulation, coords)


def _each_its_own(network: ModulatedSiren, modulations: Array, coords: Array) -> Array:
    """A tile of points of as many examples."""
    return network.evaluate(jnp.moveaxis(jax.vmap(network.shifts)(modulations), 0, 1), network.lift(coords))
