"""Other codes of as many numbers, or bytes, for shapes."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from functa_store.learn.scores import principal_axes
from functa_store.sources.batch_reader import BatchReader
from functa_store.sources.source import Source

THRESHOLDS = np.linspace(0.2, 0.7, 26)
BATCH = 64

Blocks = Iterator[tuple[np.ndarray, np.ndarray]]
"""Positions of some examples, and their occupancy as booleans (examples, cells)."""


def blocks(source: Source, indices: np.ndarray, batch: int = BATCH) -> Blocks:
    """The examples of a source, a few at a time."""
    parts = np.split(indices, range(batch, len(indices), batch))
    for part, raw in zip(parts, BatchReader(source, cache_bytes=0).batches(parts), strict=True):
        yield part, raw[..., 0] * source.features.scale + source.features.offset > 0.5


def scores(predicted: np.ndarray, occupied: np.ndarray) -> np.ndarray:
    """IoU and accuracy of each example, shape (examples, 2); IoU is 1 where both are empty."""
    either = np.count_nonzero(predicted | occupied, axis=1)
    both = np.count_nonzero(predicted & occupied, axis=1)
    return np.stack(
        [np.where(either, both / np.maximum(either, 1), 1.0), np.mean(predicted == occupied, axis=1)], axis=1
    )


def best_threshold(source: Source, reconstruct: Callable[[np.ndarray], np.ndarray]) -> float:
    """The threshold of the best mean IoU on the training split."""
    totals = np.zeros(len(THRESHOLDS))
    for _, occupied in blocks(source, np.flatnonzero(source.split == "train")):
        values = reconstruct(occupied)
        totals += [scores(values > t, occupied)[:, 0].sum() for t in THRESHOLDS]
    return float(THRESHOLDS[np.argmax(totals)])


class Pca:
    """Principal components of the occupancies of the training split, thresholded where that suits it best.

    Takes 4 bytes per training example and cell, and as many for each component: 2.7 GB for 2,333 shapes at 64^3 and
    256 components, 4 GB at its peak.

    Args:
        source: The shapes.
        components: Numbers per shape, fewer than training examples.
    """

    def __init__(self, source: Source, components: int) -> None:
        train = np.flatnonzero(source.split == "train")
        rows = np.empty((len(train), source.domain.num_points), np.float32)
        for start, (part, occupied) in enumerate(blocks(source, train)):
            rows[start * BATCH : start * BATCH + len(part)] = occupied
        self._mean, self._axes = principal_axes(rows, components)
        del rows
        self.threshold = best_threshold(source, self.reconstruct)

    def __call__(self, occupied: np.ndarray) -> np.ndarray:
        """What is left of some shapes."""
        return self.reconstruct(occupied) > self.threshold

    def reconstruct(self, occupied: np.ndarray) -> np.ndarray:
        """Values before the threshold."""
        rows = ((occupied - self._mean) @ self._axes) @ self._axes.T
        rows += self._mean
        return rows


class CoarseGrid:
    """Occupancy averaged over a coarse grid, decoded by trilinear interpolation, thresholded where that suits it best.

    Args:
        source: The shapes, in cubes.
        num_bytes: Most bytes of a shape.
        itemsize: Bytes of a cell of the coarse grid: 4 as float32, 1 rounded to 255 levels.

    Attributes:
        size: Cells of the coarse grid per axis.
    """

    def __init__(self, source: Source, num_bytes: int, itemsize: int) -> None:
        self._resolution = source.domain.resolution[0]
        self.size = int(np.floor((num_bytes / itemsize) ** (1 / 3) + 1e-9))
        self._rounded = itemsize == 1
        self._down = averages(self._resolution, self.size)
        self._up = interpolation(self.size, self._resolution)
        self.threshold = best_threshold(source, self.reconstruct)

    def __call__(self, occupied: np.ndarray) -> np.ndarray:
        """What is left of some shapes."""
        return self.reconstruct(occupied) > self.threshold

    def reconstruct(self, occupied: np.ndarray) -> np.ndarray:
        """Values before the threshold."""
        cubes = occupied.reshape(-1, *(self._resolution,) * 3).astype(np.float32)
        coarse = _along_axes(cubes, self._down)
        if self._rounded:
            coarse = np.round(coarse * 255) / np.float32(255)
        return _along_axes(coarse, self._up).reshape(len(cubes), -1)


def _along_axes(cubes: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    for _ in range(3):
        cubes = np.tensordot(cubes, matrix, axes=(1, 1))  # each axis in turn comes last
    return cubes


def averages(many: int, few: int) -> Float[np.ndarray, "few many"]:
    """By how much each of many cells lies in each of few, as a weight of a mean."""
    edges = np.arange(few + 1) * many / few
    cells = np.arange(many)
    overlap = np.minimum(edges[1:, None], cells + 1) - np.maximum(edges[:-1, None], cells)
    return (np.clip(overlap, 0, None) * few / many).astype(np.float32)


def interpolation(few: int, many: int) -> Float[np.ndarray, "many few"]:
    """Weights of the values at few cell centres for many, constant beyond the first and the last."""
    places = np.clip((np.arange(many) + 0.5) * few / many - 0.5, 0, few - 1)
    return np.maximum(0, 1 - np.abs(places[:, None] - np.arange(few))).astype(np.float32)


def evaluate(source: Source, indices: np.ndarray, code: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> np.ndarray:
    """IoU and accuracy of some examples under a code that takes their positions and cells, shape (examples, 2)."""
    return np.concatenate([scores(code(part, occupied), occupied) for part, occupied in blocks(source, indices, 16)])


def summary(found: np.ndarray, classes: np.ndarray, names: Sequence[str]) -> dict[str, Any]:
    """JSON-ready means: `iou`, `accuracy`, and `iou_by_class`."""
    by_class = {name: float(found[classes == k, 0].mean()) for k, name in enumerate(names) if (classes == k).any()}
    return {"iou": float(found[:, 0].mean()), "accuracy": float(found[:, 1].mean()), "iou_by_class": by_class}
