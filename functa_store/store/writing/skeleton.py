"""All of a store but its shards: groups, arrays, and the statistics and manifest that it is completed with."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import zarr
from zarr.codecs import ZstdCodec
from zarr.storage import MemoryStore

from functa_store.config import NetworkConfig
from functa_store.domains.domain import Domain
from functa_store.errors import ConfigError
from functa_store.store.format.layout import ROWS_PER_CHUNK, Table, rows_per_chunk_of_columns
from functa_store.store.format.manifest import MANIFEST
from functa_store.store.format.side_arrays import (
    AUGMENTATION_ATTRIBUTES,
    TEXT,
    metric_attributes,
    text_limit,
)
from functa_store.store.format.spec import ROOT, Contents, StoreSpec, Values

STATISTICS = {
    "mean": "mean of each modulation {of} over all examples",
    "std": "standard deviation of each modulation {of} over all examples (population)",
    "min": "smallest value of each modulation {of}",
    "max": "largest value of each modulation {of}",
}

ROUNDING = {
    "scale": "value of a modulation = scale * stored + offset, per {of}",
    "offset": "value of a modulation = scale * stored + offset, per {of}",
}


def modulation_dimensions(domain: Domain, network: NetworkConfig) -> list[str]:
    """Names of the dimensions of one modulation: that of a vector, or those of the cells of a grid and its channels."""
    if network.modulation_grid is None:
        return ["modulation"]
    return [*(f"{axis}_cell" for axis in domain.axes), "channel"]


def _per_number(network: NetworkConfig) -> tuple[str, str]:
    """The dimension along which statistics, scales and rates of modulations lie, and what they are of in words."""
    return ("modulation", "dimension") if network.modulation_grid is None else ("channel", "channel")


@dataclasses.dataclass(frozen=True, eq=False)
class ColumnChunks:
    """The chunks of a column, one value per example, each encoded when it is asked for.

    Attributes:
        name: Of the array.
        values: Of all examples, read in slices.
        is_text: Whether values are texts.
        array: Where zarr encodes them.
        files: What that writes to, and this takes from.
        rows: Values of a chunk.
    """

    name: str
    values: Values
    is_text: bool
    array: zarr.Array[Any]
    files: dict[str, Any]
    rows: int

    @property
    def keys(self) -> list[str]:
        """Of all of them."""
        return [f"{self.name}/c/{number}" for number in range(-(-len(self.values) // self.rows))]

    def __getitem__(self, key: str) -> bytes:
        """The bytes of one.

        Raises:
            ConfigError: If it is longer than a reader allows.
        """
        start = int(key.rpartition("/")[2]) * self.rows
        values = self.values[start : start + self.rows]
        if self.is_text:
            values = _texts(self.name, values)
        self.array[start : start + len(values)] = values
        return self.files.pop(key).to_bytes()


@dataclasses.dataclass(frozen=True, eq=False)
class Skeleton:
    """Every object of a store but shards, statistics and manifest.

    Attributes:
        files: All whose number does not depend on that of the examples, by key; the root, without which there is no
            store, last.
        columns: Ids, splits, labels and augmentations by name.
    """

    files: dict[str, bytes]
    columns: dict[str, ColumnChunks]

    @property
    def chunk_keys(self) -> list[str]:
        """Names of the objects that are not among `files`."""
        return [key for column in self.columns.values() for key in column.keys]

    def __getitem__(self, key: str) -> bytes:
        """The bytes of an object."""
        return self.files[key] if key in self.files else self.columns[key.rpartition("/c/")[0]][key]


def skeleton(contents: Contents, spec: StoreSpec) -> Skeleton:
    """Every object of a store but shards, statistics and manifest; see `Skeleton`."""
    files: dict[str, Any] = {}
    root = zarr.create_group(MemoryStore(files), zarr_format=3)
    for name, table in spec.tables(contents.rounding).items():
        _create_table(root, name, table, contents)
    columns: dict[str, ColumnChunks] = {}

    def column(group: zarr.Group, name: str, values: Values, dtype: Any, attributes: Mapping[str, Any]) -> None:
        rows = rows_per_chunk_of_columns(len(values))
        array = _create(group, name, (len(values),), dtype, ["example"], attributes, (rows,))
        columns[array.path] = ColumnChunks(array.path, values, dtype == TEXT, array, files, rows)

    column(root, "id", contents.ids, TEXT, {"long_name": "name of the example in its archive"})
    column(root, "split", contents.split, TEXT, {"long_name": "split of the example"})
    labels = root.create_group("labels", attributes={"long_name": "labels of the examples"})
    for name, label in sorted(contents.labels.items()):
        names = {"names": list(label.names)} if label.names else {}
        column(labels, name, label.values, label.values.dtype, {"long_name": name} | names)
    if (augmentations := contents.augmentations) is not None:
        for name, array in augmentations.arrays.items():
            column(root, name, array, array.dtype, AUGMENTATION_ATTRIBUTES[name])
    rejects = root.create_group("rejects", attributes={"long_name": "members of the archive that were skipped"})
    for field, long_name in {"member": "name of the member", "reason": "why it was skipped"}.items():
        values = _texts(f"rejects/{field}", [getattr(reject, field) for reject in contents.rejects])
        _put(rejects, field, values, ["reject"], {"long_name": long_name})
    dimension, of = _per_number(contents.config.network)
    for name, array in sorted(contents.rounding_arrays.items()):
        _put(root, name, array, [dimension], {"long_name": ROUNDING[name].format(of=of), "units": "1"})
    _create_base(root, contents)
    return Skeleton({**_objects(files), ROOT: spec.to_root()}, columns)


def statistics_objects(statistics: Mapping[str, np.ndarray], network: NetworkConfig) -> dict[str, bytes]:
    """The objects below `statistics/`: one vector per statistic of the modulations."""
    dimension, of = _per_number(network)
    files: dict[str, Any] = {}
    group = zarr.create_group(MemoryStore(files), zarr_format=3).create_group(
        "statistics", attributes={"long_name": "statistics of the modulations over all examples"}
    )
    for name, long_name in STATISTICS.items():
        _put(group, name, statistics[name], [dimension], {"long_name": long_name.format(of=of), "units": "1"})
    return _objects(files)


def manifest_objects(arrays: Mapping[str, np.ndarray]) -> dict[str, bytes]:
    """The objects below `manifest/`.

    Args:
        arrays: See `FileSeries.numbers`, by name of the array whose files they are of.
    """
    files: dict[str, Any] = {}
    group = zarr.create_group(MemoryStore(files), zarr_format=3).create_group(
        MANIFEST, attributes={"long_name": "checksums of files that are the more the more examples there are"}
    )
    for name, numbers in sorted(arrays.items()):
        folder, _, last = name.rpartition("/")
        parent = group.require_group(folder) if folder else group
        dimensions, what = [f"file_of_{last}"], "CRC-32C"
        if numbers.ndim == 2:
            dimensions, what = [*dimensions, "crc32c_bytes"], "CRC-32C and size"
        chunks = (min(max(len(numbers), 1), ROWS_PER_CHUNK), *numbers.shape[1:])
        _put(parent, last, numbers, dimensions, {"long_name": f"{what} of each file of {name}"}, chunks)
    return _objects(files)


def _objects(files: Mapping[str, Any]) -> dict[str, bytes]:
    return {key: files[key].to_bytes() for key in sorted(files) if key != ROOT}


def _create_table(root: zarr.Group, name: str, table: Table, contents: Contents) -> None:
    columns = metric_attributes(contents.features)
    dimensions = {"modulations": modulation_dimensions(contents.domain, contents.config.network), "metrics": ["metric"]}
    attributes: dict[str, dict[str, Any]] = {
        "modulations": {"long_name": "the modulation of each example", "units": "1"},
        "mse": {"long_name": "mean squared error of each fit, of features", "units": "1"},
        "metrics": {
            "long_name": "how good each fit is, beside its error",
            "columns": list(columns),
            "column_units": [column["units"] for column in columns.values()],
        },
    }
    root.create_array(
        name,
        shape=(contents.num_examples, *table.row_shape),
        dtype=table.dtype,
        shards=(table.rows_per_shard, *table.row_shape),
        chunks=(table.rows_per_chunk, *table.row_shape),
        compressors=None,  # flat shards can be mapped; zstd would save 7 to 12 %
        fill_value=np.nan if table.dtype.kind == "f" else 0,  # a missing shard should not read as data
        dimension_names=["example", *dimensions.get(name, [])],
        attributes={**attributes[name], "coordinates": "id split"},
    )


def _texts(name: str, values: Sequence[str] | np.ndarray) -> np.ndarray:
    """Strings that a reader will take: a chunk of them must not be longer than it allows."""
    texts = np.asarray(values, TEXT)
    for start in range(0, len(texts), ROWS_PER_CHUNK):
        chunk = texts[start : start + ROWS_PER_CHUNK].tolist()
        length = sum(4 + len(text.encode()) for text in chunk)
        if length > text_limit(len(chunk)):
            longest = max(chunk, key=len)
            raise ConfigError(
                f"{name}: {len(chunk)} strings have {length:,} bytes, expected at most {text_limit(len(chunk)):,}; "
                f"the longest starts with {longest[:80]!r}"
            )
    return texts


def _create(
    group: zarr.Group,
    name: str,
    shape: tuple[int, ...],
    dtype: Any,
    dimensions: Sequence[str],
    attributes: Mapping[str, Any],
    chunks: tuple[int, ...],
) -> zarr.Array[Any]:
    return group.create_array(
        name,
        shape=shape,
        dtype=dtype,
        chunks=chunks,
        compressors=ZstdCodec(level=3),
        dimension_names=dimensions,
        attributes=dict(attributes),
        config={"write_empty_chunks": True},  # a file that is absent is damage, never zeros
    )


def _create_base(root: zarr.Group, contents: Contents) -> None:
    base, network = contents.base, contents.config.network
    (per_number, _), (*cells, _) = _per_number(network), modulation_dimensions(contents.domain, network)
    map_input = "modulation" if network.modulation_grid is None else "input"
    group = root.create_group("base", attributes={"long_name": "weights of the base network, and the inner loop"})
    for name in sorted(base):
        owner, _, field = name.rpartition("/")
        dimensions = {"map": [map_input, "shift"], "inner_loop": ["step", per_number]}.get(owner, ["input", "output"])
        array = np.asarray(base[name])
        if array.ndim > 2:  # a bias of each cell
            dimensions = [*cells, *dimensions[1:]]
        parent = group.require_group(owner) if owner else group
        named = dimensions[len(dimensions) - array.ndim :]
        _put(parent, field, array, named, {"long_name": f"{owner} {field}"}, chunks=array.shape)


def _put(
    group: zarr.Group,
    name: str,
    values: np.ndarray,
    dimensions: Sequence[str],
    attributes: Mapping[str, Any],
    chunks: tuple[int, ...] | None = None,
) -> None:
    shape = chunks or (min(max(len(values), 1), ROWS_PER_CHUNK),)
    array = _create(group, name, values.shape, values.dtype, dimensions, attributes, shape)
    array[...] = values
