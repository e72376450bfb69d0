"""What is exported: examples, points and values, and checks that it can be written before work starts."""

import dataclasses
import math
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

import numpy as np

from functa_store.config import ExportDtype
from functa_store.decode.descriptions import example_columns
from functa_store.decode.functaset import Functaset, check_memory
from functa_store.domains.cells import Region
from functa_store.errors import ConfigError, ExampleIndexError, StorageError
from functa_store.sources.features import FeatureSpec
from functa_store.store.reading.reader import StoreReader
from functa_store.store.reading.rows import Index, as_array, places_of
from functa_store.store.storage.local import check_outside
from functa_store.store.storage.location import local_path
from functa_store.store.storage.objects import Objects
from functa_store.support.atomic_output import PART_SUFFIX, check_folder
from functa_store.support.memory import gibibytes

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
        columns: Values by column; see `example_columns`.
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


NO_FOLDERS = (".functa", ".png", ".npy", PART_SUFFIX)
"""Endings that a folder of pictures or arrays may not have."""


def check_out(out: str | os.PathLike[str], stores: Sequence[Objects]) -> Path:
    """The output as a path of this machine that lies in none of the places of a store.

    Raises:
        ConfigError: If it is none.
    """
    path = local_path(out)
    if path.suffix.lower() in NO_FOLDERS:
        raise ConfigError(f"{path}: expected NAME.zarr, NAME.npz, or the name of a folder, got one in {path.suffix}")
    check_folder(path)
    check_outside(path, stores)
    return path


def check_values(path: Path, chosen: Chosen, dtype: ExportDtype) -> None:
    """Refuse values that files of a kind cannot have.

    Raises:
        ConfigError: If they cannot.
    """
    kind = path.suffix.lower()
    if dtype not in get_args(ExportDtype):
        raise ConfigError(f"{path}: dtype must be one of {get_args(ExportDtype)}, got {dtype!r}")
    if dtype == "uint8" and (kind != ".zarr" or not chosen.clip):
        raise ConfigError(f"{path}: dtype uint8 is for NAME.zarr and for clipped values; take float32")
    if kind not in (".zarr", ".npz") and chosen.makes_pictures and not chosen.clip:
        raise ConfigError(f"{path}: pictures are always clipped; write NAME.zarr or NAME.npz for unclipped values")


def check_room(path: Path, chosen: Chosen) -> None:
    """Refuse what memory or, where its size is known, the disk cannot hold.

    Raises:
        GridError: If memory does not hold the arrays of NAME.npz.
        StorageError: If the disk is too small.
    """
    kind, everything = path.suffix.lower(), len(chosen) * chosen.example_bytes
    if kind == ".npz":
        texts = 4 * len(chosen) * max(len(str(name)) for name in chosen.columns["id"])
        check_memory(len(chosen), chosen.num_points, chosen.shape[-1], beside=texts)
    is_compressed = kind == ".zarr" or (kind != ".npz" and chosen.makes_pictures)
    if not is_compressed and everything > (free := shutil.disk_usage(path.parent).free):
        raise StorageError(f"{path}: needs {gibibytes(everything)}, {path.parent} has {gibibytes(free)}; make room")
