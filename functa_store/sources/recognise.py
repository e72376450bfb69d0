"""What something is that is no source, by the names of its classes, and how it becomes one; imports no library."""

import os
from collections.abc import Sequence
from typing import Any

ATTRIBUTES = ("domain", "features", "ids", "split", "labels", "rejects", "provenance", "read")
"""What every source has; see `functa_store.sources.source.Source`."""

_ARRAY = "pass functa_store.ArraySource(values), examples along its first axis"
_TORCH = "pass functa_store.from_torch(dataset)"
_HUGGINGFACE = "pass functa_store.from_huggingface(dataset)"
_STREAM = "it has no examples by number"
_TABLE = (
    "pass functa_store.ArraySource(table.to_numpy()) if its rows are examples, or write it as a Parquet file and run "
    "functa convert huggingface FILE OUT"
)

# First word of the module of a class, or of one that it is made from; its names, any if there are none; and advice.
_KNOWN: Sequence[tuple[str, str, str, str]] = (
    ("datasets", "IterableDataset IterableDatasetDict", "a stream of `datasets`", f"{_STREAM}; {_HUGGINGFACE}, loaded "
     "without streaming=True"),
    ("datasets", "Dataset DatasetDict", "a data set of `datasets`", _HUGGINGFACE),
    ("torch", "DataLoader", "a PyTorch DataLoader", "pass functa_store.from_torch(loader.dataset)"),
    ("torch", "IterableDataset", "a PyTorch IterableDataset", f"{_STREAM}; {_TORCH} of a map-style one"),
    ("torch", "Dataset", "a PyTorch dataset", _TORCH),
    ("torch", "Tensor", "a PyTorch tensor", "pass functa_store.ArraySource(tensor.numpy()), examples along its first "
     "axis"),
    ("xarray", "DataArray Dataset", "an xarray object", "pass functa_store.from_xarray(data, example_dim=...)"),
    ("tensorflow_datasets", "", "something of TensorFlow Datasets", "pass functa_store.from_tfds(builder)"),
    ("tensorflow", "", "something of TensorFlow", f"{_STREAM}; pass functa_store.from_tfds(FOLDER) of ArrayRecord "
     "files, or functa_store.ArraySource(values) of an array"),
    ("pandas", "DataFrame Series", "a table of pandas", _TABLE),
    ("polars", "DataFrame LazyFrame", "a table of Polars", _TABLE),
    ("pyarrow", "Table RecordBatch Dataset", "a table of pyarrow", _TABLE),
    ("grain", "", "a data set of grain", f"{_TORCH} if it has a length and examples by number"),
    ("numpy", "ndarray", "a NumPy array", _ARRAY),
    ("h5py", "Dataset", "an HDF5 dataset", _ARRAY),
    ("zarr", "Array", "a Zarr array", _ARRAY),
    ("jax", "Array", "a JAX array", _ARRAY),
    ("jaxlib", "", "a JAX array", _ARRAY),
    ("dask", "Array", "a Dask array", "pass functa_store.from_xarray(xarray.DataArray(array), example_dim='dim_0')"),
    ("PIL", "", "one picture", "pass functa_store.from_torch of a list of pictures"),
    ("functa_store", "Functaset", "a functaset already", "functa_store.recode writes it in another data type"),
)  # fmt: skip


def why_no_source(value: Any) -> str | None:
    """What keeps something from being a source, in words that say what to call; None if it is one."""
    missing = [name for name in ATTRIBUTES if not hasattr(value, name)]
    if not missing:
        return None
    kind = f"{type(value).__module__}.{type(value).__qualname__}"
    if isinstance(value, type):
        return f"found the class {value.__qualname__}, expected a functa_store.Source: make one of it first"
    if isinstance(value, str | os.PathLike):
        return (
            f"found the path {os.fspath(value)!r:.200}, expected a functa_store.Source: run functa convert KIND PATH "
            "OUT, or pass what its converter opens, such as converters.images.images.open_images(PATH)"
        )
    for made_from in type(value).__mro__:
        for module, name, what, advice in _KNOWN:
            is_of = made_from.__module__.partition(".")[0] == module
            if is_of and (not name or made_from.__name__ in name.split()):
                return f"found {what} ({kind}), expected a functa_store.Source: {advice}"
    if len(missing) < len(ATTRIBUTES) // 2:
        return f"found {kind}, expected a functa_store.Source: it lacks {', '.join(missing)}"
    if isinstance(value, dict) and value:
        return f"{why_no_source(next(iter(value.values())))}, of which a dict by splits is taken, too"
    if hasattr(value, "__len__") and hasattr(value, "__getitem__"):
        return f"found {kind}, expected a functa_store.Source: {_TORCH} if it gives examples by number, or {_ARRAY}"
    return f"found {kind}, expected a functa_store.Source: it lacks {', '.join(missing)}"
