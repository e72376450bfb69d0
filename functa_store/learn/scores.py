"""How good is a fit, beside its error?"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from functa_store.learn.losses import Predict, Target, squared_differences, sum_over_tiles
from functa_store.metrics import Metric
from functa_store.nets.siren import ModulatedSiren
from functa_store.sources import FeatureSpec

THRESHOLD = 0.5
"""What is above it is occupied."""


class Score(NamedTuple):
    """A metric, as sums over tiles and what becomes of them.

    Attributes:
        sums: (prediction, tile) -> sums of the tile.
        finish: (sums, what values mean) -> the metric's numbers.
    """

    sums: Callable[[Array, Target], Array]
    finish: Callable[[Array, FeatureSpec], Array]


def score(
    predict: Predict, base: ModulatedSiren, shifts: Float[Array, "layers width"], target: Target, spec: FeatureSpec
) -> tuple[Float[Array, ""], Float[Array, " columns"]]:
    """Mean squared error of one example in float32, and its metrics of what was fitted, in the order of `spec`."""
    wanted = [SCORES[metric] for metric in spec.metrics if metric in SCORES]

    def of_tile(tile: Target) -> tuple[Array, list[Array]]:
        predicted = predict(base, shifts, tile.places, "float32")
        error = jnp.sum(tile.weights * jnp.mean(squared_differences(predicted, tile.features), axis=-1))
        return error, [metric.sums(predicted, tile) for metric in wanted]

    error, sums = sum_over_tiles(of_tile, target)
    numbers = [metric.finish(total, spec) for metric, total in zip(wanted, sums, strict=True)]
    return error, jnp.concatenate([jnp.zeros(0, error.dtype), *numbers])


def _overlap(predicted: Array, tile: Target) -> Array:
    here, there = predicted[..., 0] > THRESHOLD, tile.features[..., 0] > THRESHOLD
    counted = (tile.weights > 0) & ~jnp.isnan(tile.features[..., 0])
    return jnp.stack([jnp.sum(counted & here & there), jnp.sum(counted & (here | there))]).astype(jnp.float32)


def _share(overlap: Array, spec: FeatureSpec) -> Array:
    both, either = overlap
    return jnp.where(either > 0, both / jnp.maximum(either, 1), 1)[None]


def _agreement(predicted: Array, tile: Target) -> Array:
    """Sum of the weights where both agree, and of all weights, what is missing apart."""
    same = (predicted[..., 0] > THRESHOLD) == (tile.features[..., 0] > THRESHOLD)
    weights = jnp.where(jnp.isnan(tile.features[..., 0]), 0, tile.weights)
    return jnp.stack([jnp.sum(weights * same), jnp.sum(weights)])


def _ratio(agreement: Array, spec: FeatureSpec) -> Array:
    same, all_of_them = agreement
    return jnp.where(all_of_them > 0, same / jnp.where(all_of_them > 0, all_of_them, 1), jnp.nan)[None]


def _squares(predicted: Array, tile: Target) -> Array:
    """Sum of squared differences, and of weights, of each channel."""
    weights, present = tile.weights[..., None], ~jnp.isnan(tile.features)
    squares = weights * squared_differences(predicted, tile.features)
    return jnp.stack([jnp.sum(squares, axis=0), jnp.sum(weights * present, axis=0)])


def _root(squares: Array, spec: FeatureSpec) -> Array:
    total, weight = squares
    mean = jnp.where(weight > 0, total / jnp.where(weight > 0, weight, 1), jnp.nan)
    return jnp.sqrt(mean) * jnp.abs(jnp.asarray(np.asarray(spec.value_scale, np.float32)))


SCORES: Mapping[Metric, Score] = {
    "iou": Score(_overlap, _share),
    "accuracy": Score(_agreement, _ratio),
    "rmse": Score(_squares, _root),
}
"""Those of what the steps of a fit looked at."""


def in_order(spec: FeatureSpec, fitted: Float[Array, " fitted"], held_out: Float[Array, ""]) -> Float[Array, " all"]:
    """All metrics of an example in the order of `spec.columns`."""
    if "mse_held_out" not in spec.metrics:
        return fitted
    return jnp.insert(fitted, spec.columns.index("mse_held_out"), held_out)
