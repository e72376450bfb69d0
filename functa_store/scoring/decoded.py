"""Decoded arrays as inputs of classifiers: their resolution, decoding, and their principal components."""

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float32

from functa_store.decode.functaset import Functaset, check_memory
from functa_store.learn.scores import principal_axes
from functa_store.scoring.classes import Rows
from functa_store.sources.splits import evenly

MOST_POINTS = {1: 1024, 2: 32, 3: 16}
"""Points along an axis of a domain of one, two and three axes, so that a convolutional network takes minutes."""

DECODED_AT_ONCE = 256
MOST_FITTED = 4096
"""Arrays that a PCA is fitted to where they have more values: its time grows with the third power."""


def cheap_resolution(functaset: Functaset, resolution: int | Sequence[int] | None) -> tuple[int, ...]:
    """Points along each axis at which arrays are decoded.

    Args:
        functaset: Over a domain of one to three axes.
        resolution: That of the caller; None means that of the archive, with all axes in proportion if the longest one
            has more points than `MOST_POINTS`.

    Raises:
        GridError: If it does not fit the domain.
    """
    if resolution is not None:
        return functaset.domain.resolve(resolution)
    native = functaset.domain.resolve()
    scale = min(1.0, MOST_POINTS[len(native)] / max(native))
    return functaset.domain.resolve([max(min(2, size), round(size * scale)) for size in native])


def decoded_arrays(
    functaset: Functaset, rows: Rows, resolution: tuple[int, ...]
) -> Float32[np.ndarray, "row ... channels"]:
    """Values of some examples on a grid; not a number where the domain has none.

    Raises:
        GridError: If memory does not hold them.
    """
    channels = functaset.features.num_channels
    check_memory(len(rows), math.prod(resolution), channels)
    arrays = np.empty((len(rows), *resolution, channels), np.float32)
    for start in range(0, len(rows), DECODED_AT_ONCE):
        part = slice(start, start + DECODED_AT_ONCE)
        arrays[part] = functaset.decode(rows[part], resolution)
    return arrays


def normalized_channels(
    train: Float32[np.ndarray, "train ... channels"], test: Float32[np.ndarray, "test ... channels"]
) -> tuple[np.ndarray, np.ndarray]:
    """Arrays less the mean of each channel, by its deviation, both over the training arrays; 0 where values miss."""
    axes = tuple(range(train.ndim - 1))
    mean, deviation = np.nanmean(train, axes), np.nanstd(train, axes)
    deviation = np.where(deviation > 0, deviation, 1)
    train, test = (np.nan_to_num((arrays - mean) / deviation, nan=0.0) for arrays in (train, test))
    return train, test


def principal_components(
    train: Float32[np.ndarray, "train ..."], test: Float32[np.ndarray, "test ..."], count: int
) -> tuple[np.ndarray, np.ndarray]:
    """Arrays as their first principal components, fitted to the training arrays, scaled by one number to deviation 1.

    There are as many as `count`, or fewer where arrays have fewer values or there are fewer arrays.
    """
    train, test = train.reshape(len(train), -1), test.reshape(len(test), -1)
    fitted = train if train.shape[1] <= MOST_FITTED else train[evenly(np.arange(len(train)), MOST_FITTED)]
    mean, axes = principal_axes(fitted.copy(), min(count, len(fitted) - 1, train.shape[1]))
    train, test = (train - mean) @ axes, (test - mean) @ axes
    deviation = max(float(train.std()), 1e-12)
    return train / deviation, test / deviation
