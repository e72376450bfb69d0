"""All of a store but its shards: groups, arrays, and the statistics that it is completed with."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import zarr
from zarr.codecs import ZstdCodec
from zarr.storage import MemoryStore

from functa_store.config import NetworkConfig
from functa_store.domains.domain import Domain
from functa_store.errors import ConfigError
from functa_store.store.format.layout import Table
from functa_store.store.format.side_arrays import (
    AUGMENTATION_ATTRIBUTES,
    ROWS_PER_CHUNK,
    TEXT,
    metric_attributes,
    text_limit,
)
from functa_store.store.format.spec import ROOT, Contents, StoreSpec

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


def skeleton(contents: Contents, spec: StoreSpec) -> dict[str, bytes]:
    """Every object of a store but shards and statistics, by key; the root, without which there is no store, last."""
    files: dict[str, Any] = {}
    root = zarr.create_group(MemoryStore(files), zarr_format=3)
    for name, table in spec.tables(contents.rounding).items():
        _create_table(root, name, table, contents)
    example = ["example"]
    _put(root, "id", _texts("id", contents.ids), example, {"long_name": "name of the example in its archive"})
    _put(root, "split", _texts("split", contents.split), example, {"long_name": "split of the example"})
    labels = root.create_group("labels", attributes={"long_name": "labels of the examples"})
    for name, label in sorted(contents.labels.items()):
        names = {"names": list(label.names)} if label.names else {}
        _put(labels, name, label.values, example, {"long_name": name} | names)
    if (augmentations := contents.augmentations) is not None:
        for name, array in augmentations.arrays.items():
            _put(root, name, array, example, AUGMENTATION_ATTRIBUTES[name])
    rejects = root.create_group("rejects", attributes={"long_name": "members of the archive that were skipped"})
    for field, long_name in {"member": "name of the member", "reason": "why it was skipped"}.items():
        values = _texts(f"rejects/{field}", [getattr(reject, field) for reject in contents.rejects])
        _put(rejects, field, values, ["reject"], {"long_name": long_name})
    dimension, of = _per_number(contents.config.network)
    for name, array in sorted(contents.rounding_arrays.items()):
        _put(root, name, array, [dimension], {"long_name": ROUNDING[name].format(of=of), "units": "1"})
    _create_base(root, contents)
    return {**_objects(files), ROOT: spec.to_root()}


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
    group.create_array(
        name,
        data=values,
        chunks=chunks or (min(max(len(values), 1), ROWS_PER_CHUNK),),
        compressors=ZstdCodec(level=3),
        dimension_names=dimensions,
        attributes=dict(attributes),
        config={"write_empty_chunks": True},  # a file that is absent is damage, never zeros
    )
