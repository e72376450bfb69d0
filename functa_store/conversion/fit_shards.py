"""The fit of missing shards, and the cost of reduced precision."""

import dataclasses
import itertools
import time
from collections.abc import Iterator
from typing import Any

import numpy as np

from functa_store.config import (
    ConvertConfig,
    whole,
)
from functa_store.learn.fit import (
    Fit,
    choose_batch_size,
    fit_batches,
    in_batches,
    join,
    mean_psnr,
)
from functa_store.learn.outer_loop import Base
from functa_store.learn.training_set import TrainingSet
from functa_store.learn.tuning import ReadyFit
from functa_store.metrics import psnr
from functa_store.progress import Fitted, Report, silent
from functa_store.sources.batch_reader import BatchReader
from functa_store.sources.source import Source
from functa_store.store.format.layout import Shard, choose_layout


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
    layout = choose_layout(num_examples, 4 * config.network.modulation_size, config.rows_per_shard)
    most = max(map(len, layout.shards(num_examples)))
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
