"""Functasets of any size, made in seconds without learning."""

from collections.abc import Callable, Sequence
from typing import overload

import numpy as np

from functa_store.config import ConvertConfig, ModulationDtype, NetworkConfig
from functa_store.domains.cells import CellGrid
from functa_store.sources.features import FeatureSpec
from functa_store.store.format.quantization import choose_rounding
from functa_store.store.format.side_arrays import RATES, base_shapes
from functa_store.store.format.spec import Contents
from functa_store.store.storage.objects import (
    Location,
    Objects,
    StorageOptions,
    open_objects,
)
from functa_store.store.storage.writer_lock import sole_writer
from functa_store.store.writing.writer import StoreWriter

RANGE = 4.0
"""Generated modulations lie within this distance of 0."""


class Texts(Sequence[str]):
    """Texts of numbered examples, made when they are asked for.

    Args:
        count: How many.
        pattern: Of each, with its number as the only field.
    """

    def __init__(self, count: int, pattern: str) -> None:
        self._count, self._pattern = count, pattern

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        """One text, or several."""
        if isinstance(index, slice):
            return [self._pattern.format(number) for number in range(self._count)[index]]
        return self._pattern.format(range(self._count)[index])


Table = Callable[[int, int], np.ndarray]
"""Modulations of the examples from `start` up to `stop`: float32 of shape (stop - start, size)."""


def random_table(size: int) -> Table:
    """Random modulations, the same for the same `start` and `stop`."""

    def rows(start: int, stop: int) -> np.ndarray:
        found = np.random.default_rng([start, stop]).random((stop - start, size), dtype=np.float32)
        found *= 2
        found -= 1
        found *= RANGE
        return found

    return rows


def write_functaset(
    location: Location,
    table: Table,
    num_examples: int,
    size: int,
    dtype: ModulationDtype = "float32",
    storage: StorageOptions | None = None,
    rows_per_shard: int | None = None,
) -> None:
    """Write a complete functaset, shard by shard, through the store's own writer.

    Args:
        location: The store.
        table: Its modulations, within `RANGE` of 0.
        num_examples: How many there are.
        size: Numbers of a modulation.
        dtype: How they are stored.
        storage: How to reach a bucket.
        rows_per_shard: Examples of a shard; None takes the layout's choice.
    """
    contents = generated_contents(num_examples, size, dtype, rows_per_shard)
    write_contents(open_objects(location, storage or StorageOptions()), contents, table)


def write_contents(objects: Objects, contents: Contents, table: Table) -> None:
    """Write a functaset that is described already."""
    with sole_writer(objects) as (store, _), StoreWriter.resume_or_create(store, contents) as writer:
        for shard in writer.missing_shards():
            writer.write(shard, table(shard.start, shard.stop), np.full(len(shard), 0.001, np.float32))


def generated_contents(
    num_examples: int, size: int, dtype: ModulationDtype = "float32", rows_per_shard: int | None = None
) -> Contents:
    """All of a functaset but its modulations; the base network is small and random."""
    network = NetworkConfig(width=16, depth=3, modulation_dim=size)
    rng = np.random.default_rng(0)
    shapes = base_shapes(network, 2, 3) | {RATES: (3, size)}
    ends = np.full(size, RANGE, np.float32)
    return Contents(
        domain=CellGrid(axes=("y", "x"), resolution=(64, 64)),
        features=FeatureSpec(channels=("red", "green", "blue")),
        config=ConvertConfig(network=network, modulation_dtype=dtype, rows_per_shard=rows_per_shard),
        base={name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()},
        ids=Texts(num_examples, "{:08d}"),
        split=Texts(num_examples, "train"),
        provenance={"archive": "generated", "sha256": None},
        rounding=choose_rounding(dtype, -ends, ends),
    )
