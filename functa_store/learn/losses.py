"""What does a fit minimise, and what is its gradient?"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Float32, PyTree

from functa_store.config import MatmulPrecision
from functa_store.nets.siren import ModulatedSiren


class Target(NamedTuple):
    """Where an example is looked at, and what it is there, in tiles.

    Attributes:
        places: Where: whatever the observer's `predict` takes; leading axes (tiles, tile).
        features: The example's features there; not a number where they are missing.
        weights: What the error at each place counts; together 1, less what is missing, unless ones count more.
    """

    places: PyTree
    features: Float[Array, "tiles tile channels"]
    weights: Float32[Array, "tiles tile"]


def weigh_ones(target: Target, weight: float) -> Target:
    """A target whose places count 1 + (weight - 1) * mean of their channels, clipped to [0, 1], times as much.

    Args:
        target: What is looked at; what is missing of it is as good as 0.
        weight: Positive; see `ConvertConfig.weight_of_ones`.
    """
    if weight == 1:
        return target
    ones = jnp.mean(jnp.where(jnp.isnan(target.features), 0, jnp.clip(target.features, 0, 1)), axis=-1)
    return target._replace(weights=target.weights * (1 + (weight - 1) * ones))


Predict = Callable[[ModulatedSiren, Array, Any, MatmulPrecision], Array]
"""What a function of given shifts looks like at the places of one tile."""


def reconstruction_error(
    predict: Predict,
    base: ModulatedSiren,
    shifts: Float[Array, "layers width"],
    target: Target,
    precision: MatmulPrecision = "float32",
) -> Float[Array, ""]:
    """Squared error of one example, mean over channels, by the weights of its places; never over a batch."""
    return sum_over_tiles(lambda tile: _error(base, shifts, predict, precision, tile), target)


def error_and_gradient(
    predict: Predict,
    base: ModulatedSiren,
    modulation: Float[Array, " modulation"],
    target: Target,
    precision: MatmulPrecision,
) -> tuple[Float[Array, ""], Float[Array, " modulation"]]:
    """The reconstruction error and its gradient with respect to the modulation, tile by tile.

    Differentiable in turn; the activations of several tiles are then computed again rather than kept.
    """
    shifts, pull_back = jax.vjp(base.shifts, modulation)
    slope = jax.value_and_grad(_error, argnums=1)
    error, gradient = sum_over_tiles(lambda tile: slope(base, shifts, predict, precision, tile), target)
    return error, pull_back(gradient)[0]


def squared_differences(predicted: Float[Array, "*tile channels"], features: Float[Array, "*tile channels"]) -> Array:
    """Squared differences, 0 where features are missing."""
    return jnp.where(jnp.isnan(features), 0, predicted - features) ** 2


def _error(base: ModulatedSiren, shifts: Array, predict: Predict, precision: MatmulPrecision, tile: Target) -> Array:
    predicted = predict(base, shifts, tile.places, precision)
    return jnp.sum(tile.weights * jnp.mean(squared_differences(predicted, tile.features), axis=-1))


def sum_over_tiles(function: Callable[[Target], Any], target: Target) -> Any:
    """One tile after the other, which bounds memory; a single tile keeps its activations, which is faster."""
    if len(target.weights) == 1:
        return function(_first(target))

    def add(total: Any, tile: Target) -> tuple[Any, None]:
        return jax.tree.map(jnp.add, total, function(tile)), None

    shapes = jax.eval_shape(function, _first(target))
    start = jax.tree.map(lambda shape: jnp.zeros(shape.shape, shape.dtype), shapes)
    return jax.lax.scan(jax.checkpoint(add), start, target)[0]


def _first(target: Target) -> Target:
    return jax.tree.map(lambda array: array[0], target)
