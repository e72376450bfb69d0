"""PSNR, and the names of metrics."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

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
