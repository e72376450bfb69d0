"""Names and CF attributes of decoded variables.

In the words of the CF conventions where they have some. `xr.open_dataset` and `functa export` both ask here.
"""

import re
from typing import Any

import numpy as np

from functa_store.store.format.side_arrays import metric_attributes
from functa_store.store.reading.reader import StoreReader
from functa_store.store.reading.rows import Rows

EXAMPLE, CHANNEL = "example", "channel"
MOST_FLAGS = 1000
"""Classes whose names go into attributes; more do not fit into those of a netCDF file."""

EXAMPLE_ATTRIBUTES = {"long_name": "place of the example in the functaset"}
CHANNEL_ATTRIBUTES = {"long_name": "name of the channel"}


def example_columns(store: StoreReader) -> dict[str, Rows]:
    """One value per example in each column: "id", "split", "mse", every "metrics/NAME", and every "labels/NAME"."""
    columns = {"id": store.ids, "split": store.split, "mse": store.mse}
    columns |= {f"metrics/{name}": rows for name, rows in store.metrics.items()}
    return columns | {f"labels/{name}": rows for name, rows in store.labels.items()}


def variable_names(store: StoreReader) -> dict[str, str]:
    """Name of each axis ("axis/y"), of the "features", and of each column.

    Spaces and slashes, which files of arrays do not take in a name, become underscores; dots and double underscores
    at its beginning, which hide it, are left out. A name that an earlier one has already gets underscores at its
    end: dimensions come first, labels last.
    """
    keys = [*(f"axis/{axis}" for axis in store.spec.domain.axes), "features", *example_columns(store)]
    names, taken = {}, {EXAMPLE, CHANNEL, "zarr.json"}
    for key in keys:
        name = _plain(store.spec.domain.quantity if key == "features" else key.partition("/")[2] or key)
        names[key] = _claimed(name, taken)
    return names


def _claimed(name: str, taken: set[str]) -> str:
    """A name with underscores at its end if it is taken; it is taken from now on."""
    while name in taken:
        name += "_"
    taken.add(name)
    return name


def _plain(name: str) -> str:
    return re.sub(r"\A(\.|__)+", "", re.sub(r"[\s/\0]", "_", name)) or "_"


def features_attributes(store: StoreReader, clip: bool) -> dict[str, Any]:
    """CF attributes of decoded values; their range is no `valid_range` of CF, which hides values beyond it."""
    spec, ranges = store.spec.features, store.spec.features.value_ranges
    return {
        "long_name": "decoded from modulations" + (", clipped to the ranges of the values" if clip else ""),
        **({"units": spec.units[0]} if len(set(spec.units)) == 1 else {"channel_units": list(spec.units)}),
        **(
            {"value_range": list(ranges[0])} if len(set(ranges)) == 1 else {"channel_ranges": np.ravel(ranges).tolist()}
        ),
    }


def attributes_of_column(store: StoreReader, column: str) -> dict[str, Any]:
    """CF attributes of "id", "split", "mse", "metrics/NAME" or "labels/NAME", with CF flags for classes."""
    known: dict[str, dict[str, Any]] = {
        "id": {"long_name": "name in the archive"},
        "split": {"long_name": "train, validation or test"},
        "mse": {"long_name": "mean squared error of the fit, unclipped"},
        **{f"metrics/{name}": meaning for name, meaning in metric_attributes(store.spec.features).items()},
    }
    if column in known:
        return known[column]
    label = column.removeprefix("labels/")
    names, dtype = store.label_names.get(label, ()), store.labels[label].dtype
    if not 0 < len(names) <= MOST_FLAGS or dtype.kind not in "iu":
        return {}
    taken: set[str] = set()
    meanings = [_claimed("_".join(name.split()) or "_", taken) for name in names]
    return {"flag_values": np.arange(len(names), dtype=dtype), "flag_meanings": " ".join(meanings)}


def global_attributes(store: StoreReader) -> dict[str, Any]:
    """CF attributes of the dataset."""
    return {
        "Conventions": "CF-1.11",
        "title": f"{store.spec.provenance.get('archive', 'functaset')}, decoded",
        "source": f"functaset {store.path}, decoded by functa-store",
        "functa_format_version": store.spec.format_version,
    }
