"""How well would as many linear coefficients reconstruct the same examples?"""

from typing import Any

import numpy as np

from functa_store.feed import Feed, evenly
from functa_store.learn.observers import shares_grid
from functa_store.metrics import psnr_mean, psnr_of_mean_mse
from functa_store.sources import Source

MAX_FITTED = 2048
MAX_EVALUATED = 1024
MAX_BYTES = 2**27
BATCH = 64


def pca_reference(source: Source, components: int) -> dict[str, Any]:
    """Held-out PSNR of a principal component analysis that stores as many numbers per example.

    Fitted on the training split (at most `MAX_FITTED` examples and `MAX_BYTES` of memory, evenly
    chosen) and evaluated on every other split (at most `MAX_EVALUATED` examples each). Points count as they do in a
    fit.

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
    feed = Feed(source)
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
        components: Number of axes.

    Returns:
        Shapes (values,) and (values, components), float32.
    """
    mean = rows.mean(axis=0)
    rows -= mean
    _, vectors = np.linalg.eigh((rows @ rows.T).astype(np.float64))
    axes, _ = np.linalg.qr(rows.T @ vectors[:, : -components - 1 : -1].astype(np.float32))
    return mean, axes


def _rounded(decibels: float) -> float | None:
    """To what threaded linear algebra repeats exactly; JSON has no infinity."""
    return round(decibels, 3) if np.isfinite(decibels) else None


def _errors(rows: np.ndarray, mean: np.ndarray, axes: np.ndarray) -> np.ndarray:
    rows = rows - mean
    return np.mean((rows - rows @ axes @ axes.T) ** 2, axis=1)


def _features(source: Source, feed: Feed, indices: np.ndarray) -> np.ndarray:
    rows = np.empty((len(indices), source.domain.num_points * source.features.num_channels), np.float32)
    for start, raw in enumerate(feed.batches(np.split(indices, range(BATCH, len(indices), BATCH)))):
        rows[start * BATCH : start * BATCH + len(raw)] = raw.reshape(len(raw), -1)
    rows *= np.float32(source.features.scale)
    rows += np.float32(source.features.offset)
    if (weights := source.domain.weights) is not None:  # a mean of squares of these is one by the weights
        rows *= np.repeat(np.sqrt(weights / weights.mean()), source.features.num_channels).astype(np.float32)
    return rows
