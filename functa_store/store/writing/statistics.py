"""Moments of modulations and errors by split, summed shard by shard."""

from collections.abc import Iterable, Mapping

import numpy as np

from functa_store.metrics import psnr, psnr_mean, psnr_of_mean_mse
from functa_store.store.format.side_arrays import HELD_OUT, PSNR_HELD_OUT
from functa_store.store.format.spec import Quality


def moments(tables: Iterable[np.ndarray]) -> dict[str, np.ndarray]:
    """Statistics per column over the rows of all tables, accumulated in float64.

    Means and squared deviations are merged pairwise (Chan et al. 1983), which does not cancel.

    Args:
        tables: At least one, each of shape (rows, columns) with at least one row.

    Returns:
        float32 `mean`, `std` (population), `min` and `max`, one value per column.
    """
    count, mean, deviation = 0, np.zeros(()), np.zeros(())
    low, high = np.full((), np.inf, np.float32), np.full((), -np.inf, np.float32)
    for table in tables:
        rows = table.astype(np.float64)
        delta = rows.mean(axis=0) - mean
        total = count + len(rows)
        deviation = deviation + rows.var(axis=0) * len(rows) + delta**2 * (count * len(rows) / total)
        mean = mean + delta * (len(rows) / total)
        low, high = np.minimum(low, table.min(axis=0)), np.maximum(high, table.max(axis=0))
        count = total
    return {
        "mean": mean.astype(np.float32),
        "std": np.sqrt(deviation / count).astype(np.float32),
        "min": low,
        "max": high,
    }


def quality_by_split(
    mse: np.ndarray, metrics: Mapping[str, np.ndarray], split: np.ndarray, span: float
) -> dict[str, Quality]:
    """How well each split was fitted.

    Args:
        mse: Mean squared error of each example.
        metrics: Each column of the table `metrics`; not a number for examples that have none.
        split: Its split.
        span: Width of the data range that PSNR is relative to.

    Returns:
        One entry per split that has examples, in alphabetical order.
    """
    if HELD_OUT in metrics:
        metrics = {**metrics, PSNR_HELD_OUT: psnr(metrics[HELD_OUT], span)}
    found = {}
    for name in np.unique(split):
        chosen = split == name
        found[str(name)] = Quality(
            examples=int(chosen.sum()),
            psnr_mean=_if_finite(psnr_mean(mse[chosen], span)),
            psnr_of_mean_mse=_if_finite(psnr_of_mean_mse(mse[chosen], span)),
            metrics={column: _mean_of_numbers(values[chosen]) for column, values in metrics.items()},
        )
    return found


def _mean_of_numbers(values: np.ndarray) -> float | None:
    numbers = values[~np.isnan(values)].astype(np.float64)
    return _if_finite(float(numbers.mean())) if len(numbers) else None


def _if_finite(figure: float) -> float | None:
    return figure if np.isfinite(figure) else None
