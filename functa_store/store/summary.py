"""What do the modulations and errors of a whole store look like, read one shard at a time?"""

from collections.abc import Iterable, Mapping

import numpy as np

from functa_store.metrics import psnr_mean, psnr_of_mean_mse
from functa_store.store.spec import Quality


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


def quality_by_split(mse: np.ndarray, split: np.ndarray, span: float) -> dict[str, Quality]:
    """How well each split was fitted.

    Args:
        mse: Mean squared error of each example.
        split: Its split.
        span: Width of the data range that PSNR is relative to.

    Returns:
        One entry per split that has examples, in alphabetical order.
    """
    return {str(name): _quality(mse[split == name], span) for name in np.unique(split)}


def _quality(mse: np.ndarray, span: float) -> Quality:
    figures: Mapping[str, float] = {
        "psnr_mean": psnr_mean(mse, span),
        "psnr_of_mean_mse": psnr_of_mean_mse(mse, span),
    }
    return Quality(examples=len(mse), **{k: v if np.isfinite(v) else None for k, v in figures.items()})
