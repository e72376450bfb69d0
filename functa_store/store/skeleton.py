"""Which groups and arrays does a store hold before and beside its shards?"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from zarr.codecs import ZstdCodec

from functa_store.store.layout import ROW_DTYPE, Layout
from functa_store.store.spec import Contents, StoreSpec

ROWS_PER_CHUNK = 65536
"""Rows per chunk of the small per-example arrays."""

TEXT = np.dtypes.StringDType()
STATISTICS = {
    "mean": "mean of each modulation dimension over all examples",
    "std": "standard deviation of each modulation dimension over all examples (population)",
    "min": "smallest value of each modulation dimension",
    "max": "largest value of each modulation dimension",
}


def create_skeleton(path: Path, contents: Contents, spec: StoreSpec) -> None:
    """Create a store with everything but shards and statistics; not atomic, not durable."""
    root = zarr.create_group(path, zarr_format=3, attributes=spec.to_attributes())
    size = contents.config.network.modulation_size
    _create_table(root, "modulations", (spec.examples.count, size), spec.layout, "the modulation of each example", "1")
    units = contents.features.units
    mse_units = units if units == "1" else f"({units})^2"
    _create_table(root, "mse", (spec.examples.count,), spec.layout, "mean squared error of each fit", mse_units)
    example = ["example"]
    _put(root, "id", np.array(contents.ids, TEXT), example, {"long_name": "name of the example in its archive"})
    _put(root, "split", np.array(list(map(str, contents.split)), TEXT), example, {"long_name": "split of the example"})
    labels = root.create_group("labels", attributes={"long_name": "labels of the examples"})
    for name, label in sorted(contents.labels.items()):
        names = {"names": list(label.names)} if label.names else {}
        _put(labels, name, label.values, example, {"long_name": name} | names)
    rejects = root.create_group("rejects", attributes={"long_name": "members of the archive that were skipped"})
    for field, long_name in {"member": "name of the member", "reason": "why it was skipped"}.items():
        values = np.array([getattr(reject, field) for reject in contents.rejects], TEXT)
        _put(rejects, field, values, ["reject"], {"long_name": long_name})
    _create_base(root, contents.base)


def write_statistics(path: Path, statistics: Mapping[str, np.ndarray]) -> None:
    """Write one vector per statistic of the modulations."""
    group = zarr.open_group(path, mode="r+").create_group(
        "statistics", attributes={"long_name": "statistics of the modulations over all examples"}
    )
    for name, long_name in STATISTICS.items():
        _put(group, name, statistics[name], ["modulation"], {"long_name": long_name, "units": "1"})


def table_keys(shard_index: int) -> dict[str, str]:
    """Where the shards of the per-example float arrays lie, by array."""
    return {"modulations": f"modulations/c/{shard_index}/0", "mse": f"mse/c/{shard_index}"}


def table_chunks(layout: Layout, size: int) -> dict[str, tuple[tuple[int, ...], tuple[int, ...]]]:
    """Shape of a shard and of an inner chunk of the per-example float arrays, by array."""
    return {
        "modulations": ((layout.rows_per_shard, size), (layout.rows_per_chunk, size)),
        "mse": ((layout.rows_per_shard,), (layout.mse_rows_per_chunk,)),
    }


def _create_table(
    root: zarr.Group, name: str, shape: tuple[int, ...], layout: Layout, long_name: str, units: str
) -> None:
    shards, chunks = table_chunks(layout, shape[-1])[name]
    root.create_array(
        name,
        shape=shape,
        dtype=ROW_DTYPE,
        shards=shards,
        chunks=chunks,
        compressors=None,  # flat shards can be mapped; zstd would save 7 to 12 %
        fill_value=np.nan,  # a missing shard must not read as data
        dimension_names=["example", "modulation"][: len(shape)],
        attributes={"long_name": long_name, "units": units, "coordinates": "id split"},
    )


def _create_base(root: zarr.Group, base: Mapping[str, np.ndarray]) -> None:
    group = root.create_group("base", attributes={"long_name": "weights of the base network, and the inner loop"})
    for name in sorted(base):
        owner, _, field = name.rpartition("/")
        dimensions = {"map": ["modulation", "shift"], "inner_loop": ["step", "modulation"]}.get(
            owner, ["input", "output"]
        )
        array = np.asarray(base[name])
        parent = group.require_group(owner) if owner else group
        _put(parent, field, array, dimensions[2 - array.ndim :], {"long_name": f"{owner} {field}"}, chunks=array.shape)


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
