"""Many examples through a fit, batch by batch."""

import collections
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Float32

from functa_store.learn.devices import FIT_BATCH, fit_batch_size, timed
from functa_store.learn.fit import Fit, Shared
from functa_store.metrics import psnr_mean
from functa_store.sources.batch_reader import BatchReader


class FittedExamples(NamedTuple):
    """Some examples, fitted.

    Attributes:
        modulations: Their modulations.
        mse: Mean squared error of each over all that was fitted, in the squared unit of the features.
        metrics: The metrics of the source; see `FeatureSpec.columns`.
    """

    modulations: Float32[np.ndarray, "examples modulation"]
    mse: Float32[np.ndarray, " examples"]
    metrics: Float32[np.ndarray, "examples columns"]


def choose_batch_size(fit: Fit, shared: Shared, feed: BatchReader, wanted: int | None, most: int) -> int:
    """Examples per call of a fit, a multiple of the number of devices; see `memory.fit_batch_size`.

    Args:
        fit: The compiled fit.
        shared: From its `prepare`.
        feed: Reads the examples.
        wanted: What the user asked for.
        most: Examples that are fitted in a row.
    """
    example = next(feed.batches([np.zeros(1, np.int64)]))[0]

    def time_of(size: int) -> float:
        return timed(fit, shared, np.repeat(example[None], size, axis=0))

    return fit_batch_size(wanted, 4 * example.size, most, time_of)


def in_batches(start: int, stop: int, batch_size: int) -> list[np.ndarray]:
    """Consecutive numbers in batches, the last one perhaps short."""
    return np.split(np.arange(start, stop), range(batch_size, stop - start, batch_size))


def fit_examples(fit: Fit, shared: Shared, feed: BatchReader, indices: np.ndarray) -> FittedExamples:
    """A few examples, all at once in memory; see `fit_batches`."""
    devices = jax.local_device_count()
    batch_size = devices * min(FIT_BATCH, -(-len(indices) // devices))
    batches = [indices[batch] for batch in in_batches(0, len(indices), batch_size)]
    return join(fit_batches(fit, shared, feed, batches, batch_size))


def join(fitted: Iterable[FittedExamples]) -> FittedExamples:
    """Some examples after the others."""
    return FittedExamples(*map(np.concatenate, zip(*fitted, strict=True)))


def mean_psnr(fit: Fit, shared: Shared, feed: BatchReader, indices: np.ndarray) -> float:
    """Mean PSNR of a few examples in decibels."""
    return psnr_mean(fit_examples(fit, shared, feed, indices).mse, fit.span)


def fit_batches(
    fit: Fit, shared: Shared, feed: BatchReader, batches: Sequence[np.ndarray], batch_size: int
) -> Iterator[FittedExamples]:
    """Fit batches of examples with one compilation; the next one starts while one is consumed.

    Args:
        fit: The compiled fit.
        shared: From its `prepare`.
        feed: Reads the examples ahead of the device.
        batches: Which examples.
        batch_size: Examples per call of `fit`, a multiple of the number of devices; no batch is larger.

    Yields:
        One batch after the other. A batch is filled up by repetition and cut again.
    """
    started = collections.deque()
    for batch, raw in zip(batches, feed.batches(np.resize(batch, batch_size) for batch in batches), strict=True):
        started.append((len(batch), fit(shared, raw)))
        if len(started) > 1:
            yield _fetch(*started.popleft())
    while started:
        yield _fetch(*started.popleft())


def _fetch(count: int, fitted: tuple[Array, Array, Array]) -> FittedExamples:
    return FittedExamples(*(np.asarray(array)[:count] for array in fitted))
