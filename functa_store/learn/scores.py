"""Quality of a fit beside its error, and principal components as a reference."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from functa_store.learn.inner_loop import (
    Predict,
    Target,
    squared_differences,
    sum_over_tiles,
)
from functa_store.learn.observers import shares_grid
from functa_store.metrics import Metric, psnr_mean, psnr_of_mean_mse
from functa_store.nets.siren import ModulatedSiren
from functa_store.sources.batch_reader import BatchReader
from functa_store.sources.features import FeatureSpec
from functa_store.sources.source import Source
from functa_store.sources.splits import evenly

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
    predict: Predict, base: ModulatedSiren, modulation: Float[Array, " modulation"], target: Target, spec: FeatureSpec
) -> tuple[Float[Array, ""], Float[Array, " columns"]]:
    """Mean squared error of one example in float32, and its metrics of what was fitted, in the order of `spec`."""
    wanted = [SCORES[metric] for metric in spec.metrics if metric in SCORES]

    def of_tile(tile: Target) -> tuple[Array, list[Array]]:
        predicted = predict(base, modulation, tile.places, "float32")
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


MAX_FITTED = 2048
MAX_EVALUATED = 1024
MAX_BYTES = 2**27
BATCH = 64


def pca_reference(source: Source, components: int) -> dict[str, Any]:
    """Held-out PSNR of a principal component analysis that stores as many numbers per example.

    Fitted on the training split, as learning with its augmentations (at most `MAX_FITTED` examples and `MAX_BYTES` of
    memory, evenly chosen), and evaluated on every other split (at most `MAX_EVALUATED` examples each). Points count as
    they do in a fit.

    Args:
        source: The examples.
        components: Numbers per example.

    Returns:
        JSON-ready: `method`, `components`, `train_examples`, and by split `psnr_mean` and
        `psnr_of_mean_mse` in decibels (None for no error at all); empty if there are too few training
        examples for it, values are missing, or examples are no values on a grid.
    """
    if source.features.missing or not shares_grid(source.domain):
        return {}
    most = min(MAX_FITTED, MAX_BYTES // (4 * source.domain.num_points * source.features.num_channels))
    train = evenly(np.flatnonzero(source.split == "train"), most)
    others = [name for name in np.unique(source.split) if name != "train"]
    if len(train) <= components or not others:
        return {}
    feed = BatchReader(source, cache_bytes=0)  # reads every example once
    mean, axes = principal_axes(_features(source, feed, train), components)
    mse = {}
    for name in others:
        chosen = evenly(np.flatnonzero(source.split == name), MAX_EVALUATED)
        batches = np.split(chosen, range(BATCH, len(chosen), BATCH))
        mse[str(name)] = np.concatenate([_errors(_features(source, feed, batch), mean, axes) for batch in batches])
    span = source.features.span
    return {
        "method": "pca",
        "components": components,
        "train_examples": len(train),
        "psnr_mean": {name: _rounded(psnr_mean(errors, span)) for name, errors in mse.items()},
        "psnr_of_mean_mse": {name: _rounded(psnr_of_mean_mse(errors, span)) for name, errors in mse.items()},
    }


def principal_axes(rows: np.ndarray, components: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean of the rows and their first principal axes, orthonormal.

    Args:
        rows: Shape (examples, values), more examples than `components`; changed in place.
        components: Number of axes, not more than values.

    Returns:
        Shapes (values,) and (values, components), float32.
    """
    mean = rows.mean(axis=0)
    rows -= mean
    if rows.shape[1] < rows.shape[0]:  # the smaller one of the two products
        _, vectors = np.linalg.eigh((rows.T @ rows).astype(np.float64))
        return mean, vectors[:, : -components - 1 : -1].astype(np.float32)
    _, vectors = np.linalg.eigh((rows @ rows.T).astype(np.float64))
    axes, _ = np.linalg.qr(rows.T @ vectors[:, : -components - 1 : -1].astype(np.float32))
    return mean, axes


def _rounded(decibels: float) -> float | None:
    """A number rounded to what threaded linear algebra repeats exactly; JSON has no infinity."""
    return round(decibels, 3) if np.isfinite(decibels) else None


def _errors(rows: np.ndarray, mean: np.ndarray, axes: np.ndarray) -> np.ndarray:
    rows = rows - mean
    return np.mean((rows - rows @ axes @ axes.T) ** 2, axis=1)


def _features(source: Source, feed: BatchReader, indices: np.ndarray) -> np.ndarray:
    rows = np.empty((len(indices), source.domain.num_points * source.features.num_channels), np.float32)
    for start, raw in enumerate(feed.batches(np.split(indices, range(BATCH, len(indices), BATCH)))):
        rows[start * BATCH : start * BATCH + len(raw)] = raw.reshape(len(raw), -1)
    rows *= np.float32(source.features.scale)
    rows += np.float32(source.features.offset)
    if (weights := source.domain.weights) is not None:  # a mean of squares of these is one by the weights
        rows *= np.repeat(np.sqrt(weights / weights.mean()), source.features.num_channels).astype(np.float32)
    return rows
