"""The inner loop: descent on one example's modulation, its loss and gradient over tiles."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float32, Int, PyTree

from functa_store.config import MatmulPrecision, NetworkConfig
from functa_store.nets.siren import ModulatedSiren

Gradient = Callable[[Float[Array, " modulation"], Int[Array, ""]], Float[Array, " modulation"]]
ErrorAndGradient = Callable[
    [Float[Array, " modulation"], Int[Array, ""]], tuple[Float[Array, ""], Float[Array, " modulation"]]
]

WORSE = 2.0
"""Growth of the error, above the lowest one so far, at which a modulation is given up. Phases of a stride differ
by far less."""


class Steps(NamedTuple):
    """Rates and momenta of the steps of an inner loop, one of each per step and modulation dimension.

    The cells of a spatial modulation share them: there is one per step and number of a cell.

    Attributes:
        rates: Learning rates (meta-SGD, Li et al. 2017), positive.
        momenta: Shares of the last step that the next one takes along (Polyak 1964).
    """

    rates: Float32[Array, "steps numbers"]
    momenta: Float32[Array, "steps numbers"]


def rates_of_cells(
    network: NetworkConfig, rates: Float[Array, "steps numbers"], share: float = 1.0
) -> Float[Array, "steps modulation"]:
    """Learning rates of all numbers of a modulation.

    Of the error of a whole example, the gradient for a cell of a spatial modulation is as small as its share of the
    points, which its rates make up for.

    Args:
        network: Whose modulation it is.
        rates: Those that its cells share; of a vector, all.
        share: The share of an example whose points count in the error.
    """
    if network.modulation_grid is None:
        return rates
    return network.num_cells * share * jnp.tile(rates, (1, network.num_cells))


def steps_of_cells(network: NetworkConfig, steps: Steps) -> Steps:
    """Rates and momenta of all numbers of a modulation."""
    return Steps(rates_of_cells(network, steps.rates), jnp.tile(steps.momenta, (1, network.num_cells)))


def descend(
    gradient: Gradient, rates: Float[Array, "steps modulation"], first: Float[Array, " modulation"] | None = None
) -> Float[Array, " modulation"]:
    """Fit a modulation by gradient steps from the zero modulation (functa, Algorithm 1).

    Differentiable to any order. The few steps are unrolled, which lets XLA fuse across them: 17 % faster
    through the outer loop (128x6, 512 points, 2 cores).

    Args:
        gradient: Gradient of the error at a modulation, for the step of a number.
        rates: Learning rates.
        first: The gradient at the zero modulation, of step 0, if it is known.

    Returns:
        The fitted modulation.
    """

    def step(modulation, row):
        rate, number = row
        return modulation - rate * gradient(modulation, number), None

    start, numbers = jnp.zeros(rates.shape[-1], rates.dtype), jnp.arange(len(rates))
    if first is not None:
        start, rates, numbers = -rates[0] * first, rates[1:], numbers[1:]
    return jax.lax.scan(step, start, (rates, numbers), unroll=True)[0]


def descend_safely(
    error_and_gradient: ErrorAndGradient,
    steps: Steps,
    first: tuple[Float[Array, ""], Float[Array, " modulation"]],
) -> Float[Array, " modulation"]:
    """Fit a modulation by gradient steps with momentum from the zero modulation, and go back where they diverge.

    phi_{k+1} = phi_k - rate_k * gradient_k(phi_k) + momentum_k * (phi_k - phi_{k-1}), where rates and momenta suit
    most examples. On an example that they do not suit the error grows: above `WORSE` times the lowest one so far,
    step k returns to the modulation that had it, without momentum, and halves the rates of the steps that follow.

    Args:
        error_and_gradient: Error and gradient at a modulation, for the step of a number, from 1 on.
        steps: Rates and momenta.
        first: Error and gradient at the zero modulation, of step 0.

    Returns:
        The fitted modulation.
    """

    def step(state, row):
        modulation, previous, best, lowest, damping = state
        rate, momentum, number = row
        error, gradient = error_and_gradient(modulation, number)
        diverged = ~(error <= WORSE * lowest)  # not-a-number, too; 0 is the error where nothing is to be seen
        following = modulation - damping * rate * gradient + momentum * (modulation - previous)
        following, previous = (jnp.where(diverged, best, value) for value in (following, modulation))
        lower = (error < lowest) & (error > 0)
        best, lowest = (jnp.where(lower, now, before) for now, before in ((modulation, best), (error, lowest)))
        return (following, previous, best, lowest, jnp.where(diverged, damping / 2, damping)), None

    error, gradient = first
    zero = jnp.zeros(steps.rates.shape[-1], steps.rates.dtype)
    start = (-steps.rates[0] * gradient, zero, zero, error, jnp.ones((), steps.rates.dtype))
    rows = (steps.rates[1:], steps.momenta[1:], jnp.arange(1, len(steps.rates)))
    return jax.lax.scan(jax.checkpoint(step), start, rows)[0][0]


def extend(rates: Float32[Array | np.ndarray, "learned modulation"], num_steps: int) -> Steps:
    """Any number of steps from those that a base was learned with: further ones repeat the last; no momentum."""
    rows = np.minimum(np.arange(num_steps), len(rates) - 1)
    return Steps(jnp.asarray(rates)[rows], jnp.zeros((num_steps, rates.shape[-1]), jnp.float32))


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
"""What the function of a modulation looks like at the places of one tile."""


def reconstruction_error(
    predict: Predict,
    base: ModulatedSiren,
    modulation: Float[Array, " modulation"],
    target: Target,
    precision: MatmulPrecision = "float32",
) -> Float[Array, ""]:
    """Squared error of one example, mean over channels, by the weights of its places; never over a batch."""
    return sum_over_tiles(lambda tile: _error(base, modulation, predict, precision, tile), target)


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
    slope = jax.value_and_grad(_error, argnums=1)
    return sum_over_tiles(lambda tile: slope(base, modulation, predict, precision, tile), target)


def squared_differences(predicted: Float[Array, "*tile channels"], features: Float[Array, "*tile channels"]) -> Array:
    """Squared differences, 0 where features are missing."""
    return jnp.where(jnp.isnan(features), 0, predicted - features) ** 2


def _error(
    base: ModulatedSiren, modulation: Array, predict: Predict, precision: MatmulPrecision, tile: Target
) -> Array:
    predicted = predict(base, modulation, tile.places, precision)
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
