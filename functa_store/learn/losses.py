"""What does a fit minimise, and what is its gradient?"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Float32

from functa_store.config import MatmulPrecision
from functa_store.nets.siren import ModulatedSiren


class Target(NamedTuple):
    """Where an example is looked at, and what it is there, in tiles of points.

    Attributes:
        coords: The points.
        features: The example's features there.
        weights: What the error at each point counts; together 1.
        lifted: The points after the base's first layer, if all examples share them.
    """

    coords: Float[Array, "tiles tile axes"]
    features: Float[Array, "tiles tile channels"]
    weights: Float32[Array, "tiles tile"]
    lifted: Float[Array, "tiles tile width"] | None = None


def reconstruction_error(
    base: ModulatedSiren, shifts: Float[Array, "layers width"], target: Target, precision: MatmulPrecision = "float32"
) -> Float[Array, ""]:
    """Mean squared error of one example over its points and channels, never over a batch."""
    return _sum_over_tiles(lambda *tile: _error(base, shifts, precision, *tile), target)


def error_and_gradient(
    base: ModulatedSiren, modulation: Float[Array, " modulation"], target: Target, precision: MatmulPrecision
) -> tuple[Float[Array, ""], Float[Array, " modulation"]]:
    """The reconstruction error and its gradient with respect to the modulation, tile by tile.

    Differentiable in turn; the activations of several tiles are then computed again rather than kept.
    """
    shifts, pull_back = jax.vjp(base.shifts, modulation)
    slope = jax.value_and_grad(_error, argnums=1)
    error, gradient = _sum_over_tiles(lambda *tile: slope(base, shifts, precision, *tile), target)
    return error, pull_back(gradient)[0]


def _error(base, shifts, precision, coords, features, weights, lifted):
    points = base.lift(coords) if lifted is None else lifted
    difference = base.evaluate(shifts, points, precision) - features
    return jnp.sum(weights * jnp.mean(difference**2, axis=-1))


def _sum_over_tiles(function: Callable[..., Any], target: Target) -> Any:
    """One tile after the other, which bounds memory; a single tile keeps its activations, which is faster."""
    if len(target.weights) == 1:
        return function(*_first(target))

    def add(total: Any, tile: Any) -> tuple[Any, None]:
        return jax.tree.map(jnp.add, total, function(*tile)), None

    shapes = jax.eval_shape(function, *_first(target))
    start = jax.tree.map(lambda shape: jnp.zeros(shape.shape, shape.dtype), shapes)
    return jax.lax.scan(jax.checkpoint(add), start, target)[0]


def _first(target: Target) -> Target:
    return jax.tree.map(lambda array: array[0], target)
