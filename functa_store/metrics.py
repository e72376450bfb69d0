"""PSNR, the names of metrics, and moments of tables of numbers."""

from collections.abc import Callable, Iterable, Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from functa_store.support.memory import row_blocks

Metric = Literal["iou", "accuracy", "rmse", "mse_held_out"]
"""What can be kept of each example's fit beside its error.

`iou` is the intersection over union of what is above 0.5 in the first channel, 1 where both are empty; `accuracy` the
share of points that are on the same side of 0.5; `rmse` the root of the mean squared error of each channel in the unit
of its values; `mse_held_out` the mean squared error on what the fit did not see, not a number where it saw everything.
"""


def columns_of(metric: Metric, channels: Sequence[str]) -> tuple[str, ...]:
    """What the numbers of a metric are called."""
    return tuple(f"rmse_{channel}" for channel in channels) if metric == "rmse" else (metric,)


def psnr(mse: ArrayLike, data_range: float = 1.0) -> np.ndarray:
    """Peak signal-to-noise ratio in decibels, 10 log10(data_range^2 / mse).

    Args:
        mse: Mean squared errors, in the squared unit of the features.
        data_range: Distance between the largest and the smallest possible value.

    Returns:
        float64 of the same shape; infinite where the error is zero.
    """
    with np.errstate(divide="ignore"):
        return np.asarray(20 * np.log10(data_range) - 10 * np.log10(np.asarray(mse, dtype=np.float64)))


def psnr_mean(mse: ArrayLike, data_range: float = 1.0) -> float:
    """Mean of the per-example PSNRs: what most papers on functa report."""
    return float(np.mean(psnr(mse, data_range)))


def psnr_of_mean_mse(mse: ArrayLike, data_range: float = 1.0) -> float:
    """PSNR of the mean error over all examples; never above `psnr_mean` (Jensen)."""
    return float(psnr(np.mean(np.asarray(mse, dtype=np.float64)), data_range))


class Moments(NamedTuple):
    """Moments of the columns of one table, float64 but for `low` and `high`.

    Attributes:
        rows: How many rows the table has, at least 1.
        mean: Mean of each column.
        variance: Its variance (population).
        low: Its smallest value, float32.
        high: Its largest value, float32.
    """

    rows: int
    mean: np.ndarray
    variance: np.ndarray
    low: np.ndarray
    high: np.ndarray


def moments_of(table: np.ndarray, to_values: Callable[[np.ndarray], np.ndarray] = np.asarray) -> Moments:
    """Moments per column of one table.

    Rows are added up in their order, so that the sums do not depend on the blocks, to the last bit. What numpy adds up
    in pairs, a single column, is one block.

    Args:
        table: Shape (rows, columns), with at least one row.
        to_values: Makes float32 values of some rows, of the same shape; none are made where rows are values.
    """
    blocks = list(row_blocks(len(table), table.shape[1])) if table.shape[1] > 1 else [slice(None)]

    def total(of: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
        before = np.zeros((0, table.shape[1]))
        for block in blocks:
            rows = of(to_values(table[block]).astype(np.float64, order="C"))
            before = np.concatenate([before, rows]).sum(axis=0, keepdims=True)
        return before[0]

    mean = total(lambda rows: rows) / len(table)
    variance = total(lambda rows: (rows - mean) ** 2) / len(table)
    ends = [(values.min(axis=0), values.max(axis=0)) for values in (to_values(table[block]) for block in blocks)]
    low, high = np.min([low for low, _ in ends], axis=0), np.max([high for _, high in ends], axis=0)
    return Moments(len(table), mean, variance, low, high)


def merged(parts: Iterable[Moments]) -> dict[str, np.ndarray]:
    """Statistics per column over the rows of all tables, accumulated in float64.

    Means and squared deviations are merged pairwise (Chan et al. 1983), which does not cancel. The order of the parts
    decides the last bits.

    Args:
        parts: Moments of at least one table, all of as many columns.

    Returns:
        float32 `mean`, `std` (population), `min` and `max`, one value per column.
    """
    count, mean, deviation = 0, np.zeros(()), np.zeros(())
    low, high = np.full((), np.inf, np.float32), np.full((), -np.inf, np.float32)
    for part in parts:
        delta = part.mean - mean
        total = count + part.rows
        deviation = deviation + part.variance * part.rows + delta**2 * (count * part.rows / total)
        mean = mean + delta * (part.rows / total)
        low, high = np.minimum(low, part.low), np.maximum(high, part.high)
        count = total
    return {
        "mean": mean.astype(np.float32),
        "std": np.sqrt(deviation / count).astype(np.float32),
        "min": low,
        "max": high,
    }


def moments(tables: Iterable[np.ndarray]) -> dict[str, np.ndarray]:
    """Statistics per column over the rows of all tables; see `moments_of` and `merged`."""
    return merged(map(moments_of, tables))
