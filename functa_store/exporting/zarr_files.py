"""How are features written as a Zarr group that xarray opens?"""

import math
from pathlib import Path
from typing import Any, Literal

import numpy as np

from functa_store.errors import ConfigError
from functa_store.exporting.array_files import Selection

ExportDtype = Literal["float32", "uint8"]

CHUNK_BYTES = 4 * 2**20
"""Most bytes of a chunk of a Zarr group's features, before compression."""

ROWS_PER_CHUNK = 65536
"""Values per chunk of its other arrays."""

LEVELS = 255
"""Steps from the lowest to the highest value of the data range in 8 bits."""


class ZarrGroup:
    """A Zarr v3 group that xarray opens as a dataset.

    Args:
        place: An empty folder.
        selection: What is to be written.
        dtype: Of the features; `uint8` has 256 levels over the data range, which readers that know the
            CF conventions turn into features again.
    """

    def __init__(self, place: Path, selection: Selection, dtype: ExportDtype) -> None:
        import zarr

        self._dtype, (self._low, high) = dtype, selection.features.data_range
        self._step = (high - self._low) / LEVELS
        root = zarr.create_group(place, zarr_format=3, attributes={"source": "decoded from a functaset"})
        dimensions, beside = ["example", *selection.coords, "channel"], _beside(selection)
        for name, (values, dimension, attributes) in beside.items():
            root.create_array(
                name,
                data=values,
                chunks=(min(len(values), ROWS_PER_CHUNK),),
                dimension_names=[dimension],
                attributes=attributes,
            )
        facts: dict[str, Any] = {"long_name": "decoded features", "units": selection.features.units}
        facts |= {"coordinates": " ".join(name for name in beside if name not in dimensions and name.split() == [name])}
        facts |= {"scale_factor": self._step, "add_offset": self._low} if dtype == "uint8" else {}
        self._features = root.create_array(
            selection.quantity,
            shape=(len(selection), *selection.shape),
            chunks=chunk_shape(len(selection), selection.shape, np.dtype(dtype).itemsize),
            dtype=dtype,
            dimension_names=dimensions,
            attributes=facts,
        )
        self.examples_at_once = self._features.chunks[0]

    def write(self, start: int, features: np.ndarray) -> None:
        """Whole chunks."""
        if self._dtype == "uint8":
            features = np.clip(np.round((features - self._low) / self._step), 0, LEVELS)
        self._features[start : start + len(features)] = features.astype(self._dtype, copy=False)

    def finish(self) -> None:
        """Nothing is left."""


def chunk_shape(num_examples: int, shape: tuple[int, ...], itemsize: int) -> tuple[int, ...]:
    """Whole examples up to `CHUNK_BYTES`, or slabs of one along its first axes where that is more.

    Args:
        num_examples: How many there are.
        shape: Of one example.
        itemsize: Bytes of a number.
    """
    sizes, found = [num_examples, *shape], []
    for axis, size in enumerate(sizes):
        rest = itemsize * math.prod(sizes[axis + 1 :])
        found.append(min(size, max(1, CHUNK_BYTES // rest)))
    return tuple(found)


def check_names(place: str, selection: Selection) -> None:
    """Refuse axes and labels that cannot be arrays of one Zarr group beside each other.

    Raises:
        ConfigError: If two arrays would have one name, or a name is no plain one.
    """
    names = [selection.quantity, "example", *selection.coords, "channel", "id", "split", "psnr", *selection.labels]
    for name in names:
        if names.count(name) > 1 or not name or "/" in name or name.startswith((".", "__")) or name == "zarr.json":
            raise ConfigError(
                f"{place}: axis or label {name!r} cannot be an array beside {', '.join(sorted(set(names)))[:500]}; "
                "write NAME.npz, which keeps labels and coordinates apart"
            )


def _beside(selection: Selection) -> dict[str, tuple[np.ndarray, str, dict[str, Any]]]:
    """Values, dimension and attributes of every array but the features."""
    text = np.dtypes.StringDType()
    channels = np.array(selection.features.channels, text)
    found: dict[str, tuple[np.ndarray, str, dict[str, Any]]] = {
        "example": (selection.positions, "example", {"long_name": "place of the example in its functaset"}),
        "channel": (channels, "channel", {"long_name": "name of the channel"}),
        "id": (selection.ids.astype(text), "example", {"long_name": "name of the example in its archive"}),
        "split": (selection.split.astype(text), "example", {"long_name": "split of the example"}),
        "psnr": (selection.psnr, "example", {"long_name": "PSNR of the fit", "units": "dB"}),
    }
    for axis, values in selection.coords.items():
        found[axis] = (values, axis, {"long_name": f"cell centres along {axis}, of the whole axis", "units": "1"})
    for name, values in selection.labels.items():
        names = selection.label_names.get(name)
        found[name] = (values, "example", {"long_name": name} | ({"names": list(names)} if names else {}))
    return found
