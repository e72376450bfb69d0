"""What do the columns of the table `metrics` mean, and how is one of them read?"""

from collections.abc import Mapping

import numpy as np

from functa_store.metrics import Metric, columns_of
from functa_store.sources import FeatureSpec
from functa_store.store.rows import Rows

HELD_OUT, PSNR_HELD_OUT = "mse_held_out", "psnr_held_out"
"""The column whose values also have a PSNR, and what that is called."""

LONG_NAMES: Mapping[Metric, str] = {
    "iou": "intersection over union of what is above 0.5",
    "accuracy": "share of the points that are on the same side of 0.5",
    "rmse": "root mean squared error",
    "mse_held_out": "mean squared error of features that the fit did not see",
}


def column_attributes(spec: FeatureSpec) -> dict[str, dict[str, str]]:
    """`long_name` and `units` of each column, in order."""
    found = {
        column: {"long_name": LONG_NAMES[metric], "units": "1"}
        for metric in spec.metrics
        for column in columns_of(metric, spec.channels)
    }
    for column, channel, unit in zip(columns_of("rmse", spec.channels), spec.channels, spec.units, strict=True):
        if column in found:
            found[column] = {"long_name": f"{LONG_NAMES['rmse']} of {channel}", "units": unit}
    return found


def summary_units(spec: FeatureSpec) -> dict[str, str]:
    """The unit of every number that a store keeps of a whole split: its columns, and the PSNR of what was held out."""
    units = {column: attributes["units"] for column, attributes in column_attributes(spec).items()}
    return units | ({PSNR_HELD_OUT: "dB"} if HELD_OUT in units else {})


class MetricColumn:
    """One column of a table, see `rows.RowTable`; all columns read through the same rows.

    Args:
        rows: The table, (example, metric).
        column: Which.
    """

    def __init__(self, rows: Rows, column: int) -> None:
        self._rows, self._column = rows, column

    def __getitem__(self, rows: slice | np.ndarray) -> np.ndarray:
        """The values of some rows, in the order asked for."""
        return np.ascontiguousarray(self._rows[rows][..., self._column])
