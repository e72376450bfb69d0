"""Functasets described: names and CF attributes of decoded variables, short phrases, HTML for notebooks.

Names and attributes are in the words of the CF conventions where they have some; `xr.open_dataset` and `functa export`
both ask here.
"""

import base64
import html
import io
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from functa_store.store.format.side_arrays import AUGMENTATION_ATTRIBUTES, metric_attributes
from functa_store.store.reading.reader import StoreReader
from functa_store.store.reading.rows import Rows

if TYPE_CHECKING:
    from functa_store.decode.functaset import Functaset
    from functa_store.store.format.spec import Quality


EXAMPLE, CHANNEL = "example", "channel"
MOST_FLAGS = 1000
"""Classes whose names go into attributes; more do not fit into those of a netCDF file."""

EXAMPLE_ATTRIBUTES = {"long_name": "place of the example in the functaset"}
CHANNEL_ATTRIBUTES = {"long_name": "name of the channel"}


def example_columns(store: StoreReader) -> dict[str, Rows]:
    """One value per example in each column.

    These are "id", "split", "mse", where there are augmentations "augmentation_of" and the like, every "metrics/NAME",
    and every "labels/NAME".
    """
    columns = {"id": store.ids, "split": store.split, "mse": store.mse}
    columns |= {f"augmentation_{name}": rows for name, rows in store.augmentations.items()}
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
        names[key] = claimed(name, taken)
    return names


def claimed(name: str, taken: set[str]) -> str:
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
    """CF attributes of a column of `example_columns`, with CF flags for classes."""
    known: dict[str, dict[str, Any]] = {
        "id": {"long_name": "name in the archive"},
        "split": {"long_name": "train, validation or test"},
        "mse": {"long_name": "mean squared error of the fit, unclipped"},
        **AUGMENTATION_ATTRIBUTES,
        **{f"metrics/{name}": meaning for name, meaning in metric_attributes(store.spec.features).items()},
    }
    if column in known:
        return known[column]
    label = column.removeprefix("labels/")
    names, dtype = store.label_names.get(label, ()), store.labels[label].dtype
    if not 0 < len(names) <= MOST_FLAGS or dtype.kind not in "iu":
        return {}
    taken: set[str] = set()
    meanings = [claimed("_".join(name.split()) or "_", taken) for name in names]
    return {"flag_values": np.arange(len(names), dtype=dtype), "flag_meanings": " ".join(meanings)}


def global_attributes(store: StoreReader) -> dict[str, Any]:
    """CF attributes of the dataset."""
    return {
        "Conventions": "CF-1.11",
        "title": f"{store.spec.provenance.get('archive', 'functaset')}, decoded",
        "source": f"functaset {store.path}, decoded by functa-store",
        "functa_format_version": store.spec.format_version,
    }


def summary(functaset: "Functaset") -> list[str]:
    """A functaset in a few short phrases: path, examples, grid, modulations, quality."""
    store = functaset.store
    sizes = zip(store.spec.domain.axes, store.spec.domain.resolution, strict=True)
    phrases = [
        store.path,
        (f"{len(store)} examples" if store.spec.complete else f"{len(store)} of {store.spec.examples.count} examples")
        + (", augmentations among them" if store.augmentations else ""),
        f"{' x '.join(f'{axis} {n}' for axis, n in sizes)} x {len(store.spec.features.channels)} channels",
        f"modulations of {sizes_in_words(store.modulations.shape[1:])}",
    ]
    return phrases + [f"{name} {', '.join(found)}" for name, q in store.spec.quality.items() if (found := _figures(q))]


def sizes_in_words(shape: Sequence[int]) -> str:
    """The numbers of a modulation in words: "128", or "8 x 8 cells of 16" of a grid."""
    *cells, channels = shape
    return f"{' x '.join(map(str, cells))} cells of {channels}" if cells else str(channels)


def _figures(quality: "Quality") -> list[str]:
    """PSNR, and the first metric if there is one."""
    figures = [] if quality.psnr_mean is None else [f"{quality.psnr_mean:.2f} dB"]
    return figures + [f"{name} {mean:.3g}" for name, mean in list(quality.metrics.items())[:1] if mean is not None]


THUMBNAILS = 8
THUMBNAIL_SIZE = 64


def functaset_html(functaset: "Functaset") -> str:
    """A few facts and, for images, thumbnails decoded on the spot."""
    facts = " · ".join(html.escape(phrase) for phrase in summary(functaset))
    return f"<div><p><b>Functaset</b> {facts}</p>{_thumbnails(functaset)}</div>"


def _thumbnails(functaset: "Functaset") -> str:
    store = functaset.store
    features = store.spec.features
    one_range = len(set(features.value_ranges)) == 1
    if (
        not store.spec.complete
        or store.spec.domain.num_axes != 2
        or features.num_channels not in (1, 3)
        or not one_range
    ):
        return ""
    from functa_store.decode.pictures import contact_sheet, to_image  # imports Pillow

    decoded = functaset.decode(slice(0, THUMBNAILS), THUMBNAIL_SIZE)
    sheet = contact_sheet([to_image(example, features.value_range) for example in decoded], columns=THUMBNAILS)
    png = io.BytesIO()
    sheet.save(png, "PNG")
    return f'<img alt="decoded examples" src="data:image/png;base64,{base64.b64encode(png.getvalue()).decode()}">'
