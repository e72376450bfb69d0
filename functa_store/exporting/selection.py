"""Examples that are exported, and what is known about them."""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from functa_store.decode.cf import example_columns
from functa_store.decode.functaset import Functaset
from functa_store.decode.points import check_memory
from functa_store.domains.cells import Region
from functa_store.errors import ExampleIndexError
from functa_store.sources.features import FeatureSpec
from functa_store.store.reading.reader import StoreReader
from functa_store.store.reading.rows import Index, as_array, places_of

BATCHES_HELD = 4
"""Batches that memory must hold: one being decoded, one being written, and a copy of each."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Chosen:
    """Examples to be exported.

    Attributes:
        store: Where they are from.
        positions: Place of each there.
        shape: Shape of one example's values: points per axis, then channels.
        clip: Whether they are clipped to the data range.
        coords: Cell centres by axis, in the order of the axes.
        columns: Values by column: "id", "split", "mse", and every "metrics/NAME" and "labels/NAME".
    """

    store: StoreReader
    positions: np.ndarray
    shape: tuple[int, ...]
    clip: bool
    coords: dict[str, np.ndarray]
    columns: dict[str, np.ndarray]

    def __len__(self) -> int:
        return len(self.positions)

    @property
    def features(self) -> FeatureSpec:
        """What their values mean."""
        return self.store.spec.features

    @property
    def num_points(self) -> int:
        """Points of one example."""
        return math.prod(self.shape[:-1])

    @property
    def example_bytes(self) -> int:
        """Bytes of one example's decoded values."""
        return 4 * math.prod(self.shape)

    @property
    def makes_pictures(self) -> bool:
        """Whether an example is a picture: an image whose channels have one range."""
        is_image, ranges = self.store.spec.domain.quantity == "image", set(self.features.value_ranges)
        return is_image and self.shape[-1] in (1, 3, 4) and len(ranges) == 1


def choose(
    functaset: Functaset, index: Index, resolution: int | Sequence[int] | None, region: Region | None, *, clip: bool
) -> Chosen:
    """The examples that an index names, on a grid.

    Raises:
        ExampleIndexError: If the index names no example.
        GridError: If resolution or region do not fit the domain, or memory does not hold a few examples.
    """
    store, domain, num_channels = functaset.store, functaset.domain, functaset.features.num_channels
    positions = as_array(places_of(store.path, index, len(functaset)))
    if not positions.size:
        raise ExampleIndexError(f"{store.path}: found no example to export, expected some of its {len(functaset)}")
    shape = domain.resolve(resolution, region)
    check_memory(BATCHES_HELD, math.prod(shape), num_channels)
    return Chosen(
        store=store,
        positions=positions,
        shape=(*shape, num_channels),
        clip=clip,
        coords=dict(zip(domain.axes, domain.axis_coords(resolution, region), strict=True)),
        columns={column: rows[positions] for column, rows in example_columns(store).items()},
    )
