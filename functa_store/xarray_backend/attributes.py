"""What do the attributes of a dataset say, in the words of the CF conventions where they have some?"""

from typing import Any

import numpy as np

from functa_store.store.reader import StoreReader

CF_AXES = {"x": "X", "y": "Y", "z": "Z", "t": "T"}
MOST_FLAGS = 1000
"""Classes whose names go into attributes; more do not fit into those of a netCDF file."""


def features_attributes(store: StoreReader, clip: bool) -> dict[str, Any]:
    """Of decoded features; their range is no `valid_range` of CF, which hides values beyond it."""
    return {
        "units": store.features.units,
        "long_name": "features decoded from modulations" + (", clipped to the data range" if clip else ""),
        "data_range": list(store.features.data_range),
    }


def axis_attributes(axis: str) -> dict[str, Any]:
    """Of the positions along an axis."""
    attributes = {"long_name": f"position along {axis}, as a fraction of the domain", "units": "1"}
    return attributes | ({"axis": CF_AXES[axis]} if axis in CF_AXES else {})


def column_attributes(store: StoreReader, column: str) -> dict[str, Any]:
    """Of "id", "split", "mse" or "labels/NAME"; classes of the latter get the flags of CF."""
    known = {
        "id": {"long_name": "name in the archive"},
        "split": {"long_name": "train, validation or test"},
        "mse": {"long_name": "mean squared error of the fit, unclipped"},
    }
    if column in known:
        return known[column]
    label = column.removeprefix("labels/")
    names, dtype = store.label_names.get(label, ()), store.labels[label].dtype
    if not 0 < len(names) <= MOST_FLAGS or dtype.kind not in "iu":
        return {}
    meanings = " ".join("_".join(name.split()) for name in names)
    return {"flag_values": np.arange(len(names), dtype=dtype), "flag_meanings": meanings}


def global_attributes(store: StoreReader) -> dict[str, Any]:
    """Of the dataset."""
    return {
        "Conventions": "CF-1.11",
        "title": f"{store.provenance.get('archive', 'functaset')}, decoded",
        "source": f"functaset {store.path}, decoded by functa-store",
        "functa_format_version": store.format_version,
    }
