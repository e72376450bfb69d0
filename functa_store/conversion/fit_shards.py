"""The fit of a finished base, of shards with it, and the cost of reduced precision."""

import dataclasses
import itertools
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from functa_store.config import (
    ConvertConfig,
    whole,
)
from functa_store.domains.domain import Domain
from functa_store.errors import ArchiveError
from functa_store.learn.fit import (
    Fit,
    FittedExamples,
    Sampled,
    choose_batch_size,
    fit_batches,
    in_batches,
    join,
    mean_psnr,
)
from functa_store.learn.inner_loop import Steps
from functa_store.learn.observer import Observer
from functa_store.learn.outer_loop import Base
from functa_store.learn.training_set import TrainingSet
from functa_store.learn.tuning import ReadyFit
from functa_store.metrics import psnr
from functa_store.nets.siren import network_of
from functa_store.progress import Fitted, Report
from functa_store.sources.batch_reader import BatchReader
from functa_store.sources.features import FeatureSpec
from functa_store.sources.source import Source, check_unchanged
from functa_store.store.format.layout import Shard, choose_layout
from functa_store.store.format.side_arrays import MOMENTA, RATES


def compare_precision(base: Base, ready: ReadyFit, training: TrainingSet, config: ConvertConfig) -> dict[str, Any]:
    """Mean PSNR of the monitored examples, fitted in the precision of the conversion and in float32.

    What learning in reduced precision costs is not in it: both fits have the base that was learned.

    Returns:
        JSON-ready, under `matmul_precision`: `precision`, `examples`, and `psnr_mean` and
        `psnr_mean_in_float32` in decibels; empty if the conversion is in float32.
    """
    if config.matmul_precision == "float32":
        return {}
    exact = Fit(base.graph, dataclasses.replace(config, matmul_precision="float32"), training.source)
    fits = {
        "psnr_mean": (ready.fit, ready.shared),
        "psnr_mean_in_float32": (exact, exact.prepare(base.learnable.base, ready.shared.steps)),
    }
    found = {}
    for name, (fit, shared) in fits.items():
        psnr = mean_psnr(fit, shared, training.reader, training.monitored, training.group)
        found[name] = round(psnr, 3) if np.isfinite(psnr) else None
    return {"matmul_precision": {"precision": config.matmul_precision, "examples": len(training.monitored), **found}}


def check_batch(fit_batch_size: int | None) -> None:
    """Check the size of a fit's batch.

    Raises:
        ConfigError: If it is no whole number from 1 on.
    """
    if fit_batch_size is not None:
        whole("fit_batch_size", fit_batch_size, 1)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sampling:
    """Where examples are sampled, and what their raw values mean: a `Sampled` without a source.

    Attributes:
        domain: Where.
        features: What raw values mean.
    """

    domain: Domain
    features: FeatureSpec


def ready_fit(
    config: ConvertConfig, base: Mapping[str, np.ndarray], source: Sampled, observer: Observer | None = None
) -> ReadyFit:
    """The fit of a conversion as it was, from what a store keeps.

    Args:
        config: The conversion.
        base: Its base and tuned steps by name.
        source: Where the examples are sampled, and what their raw values mean.
        observer: How examples are looked at, and then by a stride that suits it; None means as their domain has it, by
            the stride of the conversion.
    """
    if observer is not None:
        config = dataclasses.replace(config, fit=dataclasses.replace(config.fit, stride=None))
    weights = {name: np.asarray(array, np.float32) for name, array in base.items()}
    graph, state = nnx.split(network_of(config.network, source.domain, source.features.num_channels, weights))
    fit = Fit(graph, config, source, observer)
    rates = weights[RATES]
    momenta = weights.get(MOMENTA, np.zeros_like(rates))  # format version 1 had none
    return ReadyFit(fit, fit.prepare(state, Steps(jnp.asarray(rates), jnp.asarray(momenta))), config.fit)


def largest_shard(num_examples: int, config: ConvertConfig) -> int:
    """Examples of the largest shard of exact modulations, which bounds the batches of a fit."""
    layout = choose_layout(num_examples, 4 * config.network.modulation_size, config.rows_per_shard)
    return min(layout.rows_per_shard, num_examples)


FittedShard = tuple[Shard, np.ndarray, np.ndarray, np.ndarray | None]
"""A shard, its modulations (examples, *shape of a modulation), mean squared errors (examples,) and metrics (examples,
columns), None if the source has none."""


@runtime_checkable
class Counts(Protocol):
    """What is told of every batch that was fitted, such as a `Tally`."""

    def add(self, mse: np.ndarray) -> None:
        """Count a batch by its errors."""
        ...


class ShardFit:
    """The fit of a conversion, shard by shard, in batches of one size.

    Args:
        source: Reads the examples.
        ready: The fit.
        config: The conversion.
        fit_batch_size: As for `convert`.

    Attributes:
        batch_size: Examples per call of the fit.
        examples_per_device: The same for each device; it decides the last bits on accelerators, not on CPUs.
    """

    def __init__(
        self, source: Source, ready: ReadyFit, config: ConvertConfig, fit_batch_size: int | None = None
    ) -> None:
        self._source, self._ready, self._config = source, ready, config
        self._feed = BatchReader(source, cache_bytes=0)  # reads every example once
        most = largest_shard(len(source.ids), config)
        self.batch_size = choose_batch_size(ready.fit, ready.shared, self._feed, fit_batch_size, most)
        self.examples_per_device = self.batch_size // jax.local_device_count()

    def __call__(self, shards: Iterable[Shard], tally: Counts) -> Iterator[FittedShard]:
        """Fit the examples of some shards, one shard after the other, without a pause between them.

        A shard is given once its archive is seen to be as it was, after its examples were read: none that is written
        is of an archive that was changed meanwhile.

        Args:
            shards: Asked for the next one some batches ahead.
            tally: Told of every batch.

        Raises:
            ArchiveError: If the archive was changed; also in the place of an error of a member that is gone.
        """
        try:
            for fitted in self._fitted(shards, tally):
                check_unchanged(self._source)
                yield fitted
        except ArchiveError:
            check_unchanged(self._source)
            raise

    def _fitted(self, shards: Iterable[Shard], tally: Counts) -> Iterator[FittedShard]:
        # No batch holds examples of two shards: whichever are missing, an example meets the same ones.
        batches = ((shard, part) for shard in shards for part in in_batches(shard.start, shard.stop, self.batch_size))
        listed, given = itertools.tee(batches)
        fitted = fit_batches(
            self._ready.fit, self._ready.shared, self._feed, (part for _, part in given), self.batch_size
        )
        for shard, of_shard in itertools.groupby(zip(listed, fitted, strict=True), key=lambda pair: pair[0][0]):
            parts = []
            for _, part in of_shard:
                parts.append(part)
                tally.add(part.mse)
            modulations, mse, metrics = join(parts)
            modulations = modulations.reshape(-1, *self._config.network.modulation_shape)
            yield shard, modulations, mse, metrics if self._source.features.columns else None

    def one(self, example: int) -> FittedExamples:
        """One example, fitted in a batch as large as all others."""
        batches = [np.array([example])]
        return join(fit_batches(self._ready.fit, self._ready.shared, self._feed, batches, self.batch_size))


def fit_shards(
    source: Source,
    ready: ReadyFit,
    shards: Iterable[Shard],
    config: ConvertConfig,
    fit_batch_size: int | None,
    tally: Counts,
) -> Iterator[FittedShard]:
    """Fit the examples of some shards; see `ShardFit`."""
    return ShardFit(source, ready, config, fit_batch_size)(shards, tally)


class Tally:
    """Counts fitted examples and reports how the fit goes.

    Args:
        done: Examples that were fitted before.
        total: Examples of the functaset.
        span: Width of the data range that PSNR is relative to.
        report: Told of progress.
    """

    def __init__(self, done: int, total: int, span: float, report: Report) -> None:
        self._done, self._total, self._span, self._report = done, total, span, report
        self._fitted, self._psnr_sum, self._began = 0, 0.0, time.perf_counter()

    def add(self, mse: np.ndarray) -> None:
        """Count a batch by its errors."""
        self.count(len(mse), float(psnr(mse, self._span).sum()))

    def count(self, examples: int, psnr_sum: float) -> None:
        """Count examples by the sum of their PSNRs in decibels; a shard that was there already has none."""
        if not examples:
            return
        self._fitted += examples
        self._done = min(self._done + examples, self._total)  # workers may fit a shard twice
        self._psnr_sum += psnr_sum
        speed = self._fitted / (time.perf_counter() - self._began)
        self._report(
            Fitted(
                done=self._done,
                total=self._total,
                psnr_mean=self._psnr_sum / self._fitted,
                examples_per_second=speed,
                seconds_left=(self._total - self._done) / speed,
            )
        )
