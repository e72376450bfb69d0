"""The fit of a finished base, of missing shards with it, and the cost of reduced precision."""

import dataclasses
import itertools
import time
from collections.abc import Iterator, Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import nnx

from functa_store.config import (
    ConvertConfig,
    whole,
)
from functa_store.learn.fit import (
    Fit,
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
from functa_store.progress import Fitted, Report, silent
from functa_store.sources.batch_reader import BatchReader
from functa_store.sources.source import Source
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
        psnr = mean_psnr(fit, shared, training.reader, training.monitored)
        found[name] = round(psnr, 3) if np.isfinite(psnr) else None
    return {"matmul_precision": {"precision": config.matmul_precision, "examples": len(training.monitored), **found}}


def check_batch(fit_batch_size: int | None) -> None:
    """Check the size of a fit's batch.

    Raises:
        ConfigError: If it is no whole number from 1 on.
    """
    if fit_batch_size is not None:
        whole("fit_batch_size", fit_batch_size, 1)


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


def fit_shards(
    source: Source,
    ready: ReadyFit,
    shards: list[Shard],
    config: ConvertConfig,
    fit_batch_size: int | None = None,
    report: Report = silent,
) -> Iterator[tuple[Shard, np.ndarray, np.ndarray, np.ndarray | None]]:
    """Fit the examples of some shards, one shard after the other, without a pause between them.

    Yields:
        The shard, its modulations (examples, *shape of a modulation), mean squared errors (examples,) and metrics
        (examples, columns), None if the source has none.
    """
    left, num_examples = sum(map(len, shards)), len(source.ids)
    most = largest_shard(num_examples, config)
    feed = BatchReader(source, cache_bytes=0)  # reads every example once
    batch_size = choose_batch_size(ready.fit, ready.shared, feed, fit_batch_size, most)
    # No batch holds examples of two shards: whichever are missing, an example meets the same ones.
    batches = [(shard, part) for shard in shards for part in in_batches(shard.start, shard.stop, batch_size)]
    fitted = fit_batches(ready.fit, ready.shared, feed, [part for _, part in batches], batch_size)
    tally = _Tally(num_examples - left, num_examples, source.features.span, report)
    for shard, of_shard in itertools.groupby(zip(batches, fitted, strict=True), key=lambda pair: pair[0][0]):
        parts = []
        for _, part in of_shard:
            parts.append(part)
            tally.add(part.mse)
        modulations, mse, metrics = join(parts)
        modulations = modulations.reshape(-1, *config.network.modulation_shape)
        yield shard, modulations, mse, metrics if source.features.columns else None


class _Tally:
    """Reports how the fit goes."""

    def __init__(self, done: int, total: int, span: float, report: Report) -> None:
        self._done, self._total, self._span, self._report = done, total, span, report
        self._fitted, self._psnr_sum, self._began = 0, 0.0, time.perf_counter()

    def add(self, mse: np.ndarray) -> None:
        self._fitted += len(mse)
        self._done += len(mse)
        self._psnr_sum += float(psnr(mse, self._span).sum())
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
