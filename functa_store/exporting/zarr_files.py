"""Export as a Zarr group that xarray opens."""

import math
from pathlib import Path
from typing import Any

import numpy as np

from functa_store.config import ExportDtype
from functa_store.decode.descriptions import (
    CHANNEL,
    CHANNEL_ATTRIBUTES,
    EXAMPLE,
    EXAMPLE_ATTRIBUTES,
    attributes_of_column,
    features_attributes,
    global_attributes,
    variable_names,
)
from functa_store.exporting.selection import Chosen
from functa_store.store.format.layout import ROWS_PER_CHUNK
from functa_store.store.format.side_arrays import TEXT

MOST_CHUNK_BYTES = 4 * 2**20
"""Bytes of a chunk of the values, before compression, unless one row of points has more."""

LEVELS = 255
"""Steps from the lowest to the highest value in 8 bits; where values may be missing, one less."""

FILL = 255
"""What is stored where there is no value, if there may be none."""


class ZarrGroup:
    """A Zarr v3 group that xarray opens as the dataset that it sees in the functaset itself.

    Args:
        place: An empty folder.
        chosen: What is to be written.
        dtype: Of the values; `uint8` has 256 levels over their range, or 255 and one for what is
            missing, which readers that know the CF conventions turn into values again.
    """

    def __init__(self, place: Path, chosen: Chosen, dtype: ExportDtype) -> None:
        import zarr

        self._dtype, (self._low, high) = dtype, chosen.features.value_range
        self._masked = chosen.store.spec.domain.masked
        self._levels = LEVELS - self._masked
        self._step = (high - self._low) / self._levels
        names = variable_names(chosen.store)
        root = zarr.create_group(place, zarr_format=3, attributes=global_attributes(chosen.store))
        for name, (values, dimension, attributes) in _coordinates(chosen, names).items():
            root.create_array(
                name,
                data=values,
                chunks=(min(len(values), ROWS_PER_CHUNK),),
                dimension_names=[dimension],
                attributes=_plain(attributes),
            )
        facts = features_attributes(chosen.store, chosen.clip)
        facts["coordinates"] = " ".join(names[column] for column in chosen.columns)
        if dtype == "uint8":
            facts |= {"scale_factor": self._step, "add_offset": self._low}
            facts |= {"_FillValue": FILL} if self._masked else {}
        self._values = root.create_array(
            names["features"],
            shape=(len(chosen), *chosen.shape),
            chunks=chunk_shape(len(chosen), chosen.shape, np.dtype(dtype).itemsize),
            dtype=dtype,
            dimension_names=[EXAMPLE, *(names[f"axis/{axis}"] for axis in chosen.coords), CHANNEL],
            attributes=facts,
        )
        self.examples_at_once = self._values.chunks[0]

    def write(self, start: int, values: np.ndarray) -> None:
        """Write whole chunks."""
        if self._dtype == "uint8":
            values = np.clip(np.round((values - self._low) / self._step), 0, self._levels)
            values = np.where(np.isnan(values), FILL, values) if self._masked else values
        self._values[start : start + len(values)] = values.astype(self._dtype, copy=False)

    def finish(self) -> None:
        """Nothing is left."""


def chunk_shape(num_examples: int, shape: tuple[int, ...], itemsize: int) -> tuple[int, ...]:
    """Whole examples up to `MOST_CHUNK_BYTES`, or slabs of one along its first axes where that is more.

    Args:
        num_examples: How many there are.
        shape: Of one example.
        itemsize: Bytes of a number.
    """
    sizes, found = [num_examples, *shape], []
    for axis, size in enumerate(sizes):
        rest = itemsize * math.prod(sizes[axis + 1 :])
        found.append(min(size, max(1, MOST_CHUNK_BYTES // rest)))
    return tuple(found)


def _coordinates(chosen: Chosen, names: dict[str, str]) -> dict[str, tuple[np.ndarray, str, dict[str, Any]]]:
    """Values, dimension and attributes of every array but the decoded values."""
    channels = np.array(chosen.features.channels, TEXT)
    found = {
        EXAMPLE: (chosen.positions, EXAMPLE, EXAMPLE_ATTRIBUTES),
        CHANNEL: (channels, CHANNEL, CHANNEL_ATTRIBUTES),
    }
    for axis, values in chosen.coords.items():
        name = names[f"axis/{axis}"]
        found[name] = (values, name, chosen.store.spec.domain.axis_attributes(axis))
    for column, values in chosen.columns.items():
        found[names[column]] = (values, EXAMPLE, attributes_of_column(chosen.store, column))
    return found


def _plain(attributes: dict[str, Any]) -> dict[str, Any]:
    """The same without arrays, which JSON has not."""
    return {name: value.tolist() if isinstance(value, np.ndarray) else value for name, value in attributes.items()}
