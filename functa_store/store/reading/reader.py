"""An open store: its inventory, and what of it can be read."""

import contextlib
import dataclasses
import functools
import itertools
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from functa_store.domains.domain import network_inputs
from functa_store.errors import StorageError, StoreFormatError, StoreMismatchError
from functa_store.sources.augmentation import ARRAYS, OF, Augmentations, originals_problem
from functa_store.sources.source import Reject
from functa_store.store.format.layout import Shard, ShardSequence, Table
from functa_store.store.format.load_spec import load_root, load_spec
from functa_store.store.format.parts import PartRecord
from functa_store.store.format.quantization import EXACT, Rounding
from functa_store.store.format.receipts import Receipts
from functa_store.store.format.side_arrays import TEXT, base_problems, describe_array, description_problems
from functa_store.store.format.spec import ROOT, Quality, StoreSpec
from functa_store.store.format.summaries import Examples
from functa_store.store.reading.array_reader import Column, ColumnInMemory, MetricColumn, SmallArrays
from functa_store.store.reading.records import FileTotals, Records
from functa_store.store.reading.rows import Rows, RowTable
from functa_store.store.reading.shard_rows import FileRows, MappedRows, RangeRows, Shards, Values, are_mappable
from functa_store.store.storage.local import LocalObjects
from functa_store.store.storage.objects import (
    NO_OPTIONS,
    FileRecord,
    FileRecords,
    Location,
    Objects,
    StorageOptions,
    open_objects,
)
from functa_store.support.memory import available_bytes, gibibytes


@dataclasses.dataclass(frozen=True, kw_only=True)
class Inventory:
    """What is there of a store.

    Attributes:
        spec: What it says about itself.
        shards: The shards that are written, in order: all of them if it is complete.
        records: Size and checksum of every object but the root, by the manifest, or by the receipts of an
            unfinished store.
        knows_skeleton: Whether they cover more than shards.
        parts: Other functasets that follow it, as its root lists them.
    """

    spec: StoreSpec
    shards: Sequence[Shard]
    records: Records
    knows_skeleton: bool
    parts: tuple[PartRecord, ...] = ()


def take_inventory(objects: Objects) -> Inventory:
    """Find out what is there, reading nothing but metadata.

    Raises:
        StoreFormatError: If there is no functaset that this release can read.
        StorageError: If the place cannot be read.
    """
    spec, parts = load_root(objects)
    if not spec.complete:
        receipts, count = Receipts(objects, spec.fingerprint), spec.examples.count
        shards = [spec.layout.shard(i, count) for i in receipts.indices() if i < spec.layout.num_shards(count)]
        done, skeleton = receipts.done(shards), receipts.read_skeleton()
        tables = spec.tables(Rounding(spec.config.modulation_dtype)).values()
        done = {i: written for i, written in done.items() if all(_holds(written.files, table, i) for table in tables)}
        if not (spec := load_spec(objects)).complete:  # else it became so meanwhile, and its receipts went
            records = {key: file for key, file in (skeleton or {}).items() if key != ROOT}
            for written in done.values():
                records |= written.files
            return Inventory(
                spec=spec,
                shards=[shard for shard in shards if shard.index in done],
                records=Records(objects, spec, records),
                knows_skeleton=skeleton is not None,
            )
    shards = spec.layout.shards(spec.examples.count)
    return Inventory(spec=spec, shards=shards, records=Records(objects, spec), knows_skeleton=True, parts=parts)


def _holds(files: Mapping[str, FileRecord], table: Table, shard: int) -> bool:
    """Whether a receipt is for a shard of the size that the store's description gives it."""
    return (file := files.get(table.key(shard))) is not None and file.bytes == table.shard_bytes


def open_rows(shards: Shards, to_values: Values) -> RowTable:
    """The rows of some shards; nothing is read yet.

    Args:
        shards: The shards.
        to_values: Turns stored rows into what is returned.
    """
    if not isinstance(shards.objects, LocalObjects) or not shards.objects.mapped:
        return RangeRows(shards, to_values)
    if are_mappable([shards]):
        with contextlib.suppress(StorageError):  # the process may not have so many addresses or files
            return MappedRows([shards], to_values)
    return FileRows(shards, to_values)


MOST_PROBLEMS = 10
"""Problems that one message names."""


class StoreReader:
    """An open functaset, checked against its own description; reads arrays when they are asked for.

    An unfinished store is the functaset of the examples that were finished when it was opened.

    Args:
        location: The store: a path or a URL.
        storage: How to reach the store.
        verify: Compare the checksum of each shard when it is first touched; everything else always is.
        alone: Read what lies at the location itself although its root lists parts that follow it.

    Attributes:
        path: Its path or URL.
        verifies: Whether checksums of shards are compared.
        alone: Whether its root lists parts, which are not among what is read.
        spec: Its description: domain, features, config, provenance, quality and more.
        shards: The shards that can be read, in order.
        modulations: One modulation per example, float32 however they are stored: (example, modulation), or
            (example, *cells, channel) where a modulation is a grid.
        mse: Mean squared error of each fit, float32, in the squared unit of the features.
        metrics: The columns of `features` by name, one float32 per example, not a number where it has none.
        metrics_table: The same in one, (example, metric); None if there are none.
        ids: Name of each example.
        split: Split of each example.
        labels: Named labels, one value per example.
        odd_labels: Labels that only some examples have, which are not among these, with the reason.
        decodable: Whether all examples are of its domain and features.
        label_names: What the integers 0, 1, ... of a label stand for, where it has names.
        augmentations: Empty where no example is an augmentation of another one, else one value per example under "of",
            "flip", "top", "left" and "side"; see `Augmentations`. In an unfinished store "of" is -1 where the original
            is not there yet.

    Raises:
        StoreFormatError: If there is no functaset that this release can read.
        StorageError: If the place cannot be read.
    """

    def __init__(
        self, location: Location, *, storage: StorageOptions = NO_OPTIONS, verify: bool = False, alone: bool = False
    ) -> None:
        self._objects = open_objects(location, storage)
        self.path = self.objects.name
        self._stamp = self._root_stamp()
        there = take_inventory(self.objects)
        if there.parts and not alone:
            raise StoreFormatError(f"{self.path}: has {len(there.parts)} parts more; open it by functa_store.open")
        self.alone = bool(there.parts)
        self.spec = spec = there.spec
        self.shards = there.shards
        self._records, self._knows_skeleton, self.verifies = there.records, there.knows_skeleton, verify
        self._small = SmallArrays(self.objects, there.records if there.knows_skeleton else None)
        shape = (self.num_examples, *self.spec.config.network.modulation_shape)
        arrays = self._augmentation_arrays()
        columns = ["id", "split", *(f"labels/{name}" for name in self._label_names()), *arrays]
        self._small.describe_all([*spec.tables(EXACT), *columns])
        self._check_tables()
        self.modulations = Rows(f"{self.path}/modulations", shape, np.dtype(np.float32), self._open_modulations)
        self.mse = Rows(f"{self.path}/mse", shape[:1], np.dtype(np.float32), self._open_mse)
        self.metrics_table, self.metrics = self._metrics()
        self.ids, self.split = self._column("id"), self._column("split")
        self.odd_labels: Mapping[str, str] = {}
        self.decodable = True
        labels = {column.removeprefix("labels/"): column for column in columns if column.startswith("labels/")}
        self.labels: Mapping[str, Rows] = {name: self._column(column) for name, column in labels.items()}
        names = {name: self._small.describe(column)["attributes"].get("names") for name, column in labels.items()}
        self.label_names: Mapping[str, tuple[str, ...]] = {
            name: tuple(map(str, values)) for name, values in names.items() if isinstance(values, list)
        }
        self.augmentations: Mapping[str, Rows] = {
            name.removeprefix("augmentation_"): self._column(name) for name in arrays
        }

    @property
    def objects(self) -> Objects:
        """Where it lies."""
        return self._objects

    @property
    def places(self) -> list[Objects]:
        """The same, of all stores that it is read from."""
        return [self.objects]

    @property
    def is_local(self) -> bool:
        """Whether all of it lies on disks of this machine."""
        return all(isinstance(place, LocalObjects) for place in self.places)

    def reopened(self, *, verify: bool) -> "StoreReader":
        """The same, opened again.

        Args:
            verify: As for a new one.
        """
        return StoreReader(self.objects, verify=verify, alone=True)

    @property
    def quality(self) -> Mapping[str, Quality]:
        """How well each split was fitted."""
        return self.spec.quality

    def __repr__(self) -> str:
        state = "complete" if self.spec.complete else f"{self.num_examples} of {self.spec.examples.count} examples"
        return f"<StoreReader {self.path}: {state}>"

    def __len__(self) -> int:
        return self.num_examples

    @property
    def num_examples(self) -> int:
        """Number of examples that can be read."""
        return self.spec.examples.count if self.spec.complete else sum(map(len, self.shards))

    @functools.cached_property
    def base(self) -> dict[str, np.ndarray]:
        """The base weights and inner-loop rates by name, float32 however they are stored; see `stored_base`."""
        return _for_reading({name: array.astype(np.float32, copy=False) for name, array in self.stored_base.items()})

    @functools.cached_property
    def stored_base(self) -> dict[str, np.ndarray]:
        """The base as it is stored, checked against its SHA-256.

        Raises:
            StoreFormatError: If an array is missing, damaged or not of this network.
        """
        network = self.spec.config.network
        sizes = network, network_inputs(self.spec.domain, network), self.spec.features.num_channels
        described = self.spec.base
        kinds = {name: (array.dtype, array.shape) for name, array in described.items()}
        self._refuse(description_problems(kinds, *sizes))  # before anything of that size is read
        self._check_memory(sum(math.prod(shape) * (4 + np.dtype(dtype).itemsize) for dtype, shape in kinds.values()))
        base = {name: self._small.read(f"base/{name}", *kind) for name, kind in kinds.items()}
        self._refuse(f"base/{name} is damaged" for name in base if describe_array(base[name]) != described[name])
        self._refuse(base_problems(base, *sizes))
        return _for_reading(base)

    def _check_memory(self, needed: int) -> None:
        """Refuse a base that does not fit into memory, as stored and in float32."""
        if needed > (free := available_bytes()):
            raise StoreFormatError(
                f"{self.path}: its base needs {gibibytes(needed)} of memory, this process may take {gibibytes(free)}; "
                "use a machine or limits with more, if you trust the store."
            )

    def _refuse(self, problems: Iterable[str]) -> None:
        if found := "; ".join(itertools.islice(problems, MOST_PROBLEMS))[:2000]:
            raise StoreFormatError(f"{self.path}: {found}. Copy the store again, or convert again.")

    @functools.cached_property
    def rounding(self) -> Rounding:
        """How modulations are stored.

        Raises:
            StoreFormatError: If `scale` or `offset` are missing or damaged.
        """
        arrays = {name: self._small.read(name, array.dtype, array.shape) for name, array in self.spec.rounding.items()}
        for name, array in arrays.items():
            if describe_array(array) != self.spec.rounding[name] or not np.isfinite(array).all():
                raise StoreFormatError(f"{self.path}/{name}: damaged. Copy the store again, or convert again.")
        rounding = Rounding(self.spec.config.modulation_dtype, **arrays)
        if not rounding.is_finite:
            raise StoreFormatError(f"{self.path}: scale and offset lead beyond float32, or a scale is not positive.")
        return rounding

    def check_complete(self) -> None:
        """Refuse a store that a command has left unfinished.

        Raises:
            StoreFormatError: If it is one.
        """
        if not self.spec.complete:
            raise StoreFormatError(f"{self.path}: unfinished store; finish it by the command that was interrupted.")

    @functools.cached_property
    def statistics(self) -> dict[str, np.ndarray]:
        """Over all examples, per dimension of the modulations: `mean`, `std` (population), `min`, `max`, float32.

        Where a modulation is a grid, they are per channel, over all examples and cells.

        Raises:
            StoreFormatError: If the store is unfinished, or they are missing or damaged.
        """
        if not self.spec.complete:
            raise StoreFormatError(
                f"{self.path}: unfinished store, which has no statistics. Run the command that was interrupted "
                "(convert, recode or repair) again to finish it."
            )
        shape = (self.spec.config.network.cell_size,)
        return _for_reading(
            {name: self._small.read(f"statistics/{name}", "float32", shape) for name in ("mean", "std", "min", "max")}
        )

    @functools.cached_property
    def rejects(self) -> list[Reject]:
        """The members of the archive that were skipped."""
        fields = [self._small.read(f"rejects/{field}", "string") for field in ("member", "reason")]
        if fields[0].shape != fields[1].shape:
            raise StoreFormatError(f"{self.path}/rejects: members and reasons differ in number. Copy the store again.")
        return [Reject(member=str(member), reason=str(reason)) for member, reason in zip(*fields, strict=True)]

    @functools.cached_property
    def sizes(self) -> Mapping[str, FileTotals]:
        """Files and bytes of each array and group of the store, and of its root, as far as they are recorded.

        Raises:
            StoreFormatError: If the manifest is damaged.
        """
        return self._records.sizes() | {ROOT: FileTotals(1, self.objects.size(ROOT) or 0)}

    @property
    def bytes_total(self) -> int:
        """Bytes of all files of the store, as far as they are recorded."""
        return sum(size.bytes for size in self.sizes.values())

    @property
    def bytes_base(self) -> int:
        """Bytes of the base's files, compressed as they are."""
        listed = self._records.listed  # those of the base are there without a look at the manifest's arrays
        return sum(file.bytes for key, file in listed.items() if key.startswith("base/"))

    @property
    def bytes_per_example(self) -> int:
        """Bytes of one stored modulation: what another example costs."""
        return self.spec.config.network.modulation_size * np.dtype(self.spec.config.modulation_dtype).itemsize

    def _open_modulations(self) -> RowTable:
        return open_rows(self.shards_of("modulations"), self.rounding.to_values)

    def _open_mse(self) -> RowTable:
        return open_rows(self.shards_of("mse"), np.asarray)

    def _metrics(self) -> tuple[Rows | None, Mapping[str, Rows]]:
        columns, n = self.spec.features.columns, self.num_examples
        if not columns:
            return None, {}
        dtype = np.dtype(np.float32)
        table = Rows(f"{self.path}/metrics", (n, len(columns)), dtype, self._open_metrics)
        opening = [functools.partial(MetricColumn, table, i) for i in range(len(columns))]
        return table, {
            column: Rows(f"{self.path}/metrics, {column}", (n,), dtype, open_column)
            for column, open_column in zip(columns, opening, strict=True)
        }

    def _open_metrics(self) -> RowTable:
        return open_rows(self.shards_of("metrics"), np.asarray)

    def shards_of(self, name: str) -> Shards:
        """The shards of a table that can be read."""
        table = self.spec.tables(Rounding(self.spec.config.modulation_dtype))[name]
        return Shards(
            self.objects,
            table,
            self.shards.which if isinstance(self.shards, ShardSequence) else [shard.index for shard in self.shards],
            self._records,
            verify=self.verifies,
            check_store=self.check_unchanged,
        )

    def check_unchanged(self) -> None:
        """Compare what lies at the path with what was opened; on a disk alone, where that costs nothing.

        Raises:
            StoreMismatchError: If the store was replaced by another one.
            StoreFormatError: If there is none any more.
        """
        if (stamp := self._root_stamp()) == self._stamp:
            return
        if (found := load_spec(self.objects).fingerprint) != self.spec.fingerprint:
            raise StoreMismatchError(
                f"{self.path}: found the store {found[:16]}, expected {self.spec.fingerprint[:16]}, which was there "
                "when it was opened; it was replaced. Open it again."
            )
        self._stamp = stamp

    def _root_stamp(self) -> tuple[int, int, int] | None:
        return self.objects.stamp(ROOT) if isinstance(self.objects, LocalObjects) else None

    def _column(self, name: str) -> Rows:
        """A small per-example array, described; read chunk by chunk when it is asked for."""
        described = self._small.describe(name)
        if described["shape"] != (self.spec.examples.count,):
            raise self._unexpected(name, f"shape {described['shape']}", f"({self.spec.examples.count},)")
        is_text, wanted = described["data_type"] == "string", name in ("id", "split")
        if is_text != wanted:
            raise self._unexpected(name, described["data_type"], "string" if wanted else "numbers")
        dtype = TEXT if is_text else np.dtype(described["data_type"])
        if dtype != ARRAYS.get(name, dtype):
            raise self._unexpected(name, dtype.name, ARRAYS[name])
        return Rows(f"{self.path}/{name}", (self.num_examples,), dtype, functools.partial(self._open_column, name))

    def _open_column(self, name: str) -> RowTable:
        array = self._small.open(name, None)
        if name == OF:
            return ColumnInMemory(self._originals(array.read()))
        if self.spec.complete:
            return Column(array)
        return ColumnInMemory(array.read()[self._readable])

    @functools.cached_property
    def _readable(self) -> np.ndarray:
        """Rows of the finished store that can be read by now, in order."""
        return np.concatenate([np.arange(0), *(np.arange(shard.start, shard.stop) for shard in self.shards)])

    def _originals(self, of: np.ndarray) -> np.ndarray:
        """The place of each example's original, of those that can be read, -1 where it cannot.

        Raises:
            StoreFormatError: If there is no such example, or it is an augmentation itself.
        """
        count = self.spec.examples.count
        if problem := originals_problem(of, count):
            raise self._small.damaged(OF, problem)
        if self.spec.complete:
            return of
        places = np.full(count, -1, np.int64)
        places[self._readable] = np.arange(len(self._readable))
        return places[of[self._readable]]

    def _augmentation_arrays(self) -> list[str]:
        files: Collection[str] = self._records.listed
        if not self._knows_skeleton:
            files = [f"{name}/zarr.json" for name in ARRAYS if self.objects.size(f"{name}/zarr.json") is not None]
        return list(ARRAYS) if any(f"{name}/zarr.json" in files for name in ARRAYS) else []

    def _label_names(self) -> list[str]:
        suffix = "/zarr.json"
        files = self._records.listed if self._knows_skeleton else self.objects.sizes("labels")
        found = [key.removeprefix("labels/").removesuffix(suffix) for key in files if key.startswith("labels/")]
        return sorted(name for name in found if "/" not in name and f"labels/{name}{suffix}" in files)

    def _check_tables(self) -> None:
        """Compare what other Zarr readers are told about the tables with what they are."""
        for name, table in self.spec.tables(Rounding(self.spec.config.modulation_dtype)).items():
            described = self._small.describe(name)
            expected: dict[str, Any] = {
                "shape": (self.spec.examples.count, *table.row_shape),
                "data_type": table.dtype.name,
                "chunks": (table.rows_per_shard, *table.row_shape),
                "codecs": table.codecs,
            }
            found = {key: described[key] for key in expected}
            if found != expected:
                raise self._unexpected(name, str(found), str(expected))

    def _unexpected(self, name: str, found: str, expected: str) -> StoreFormatError:
        return StoreFormatError(
            f"{self.path}/{name}: {found[:1000]}, expected {expected}; two conversions were mixed. "
            "Convert again into an empty path."
        )


def read_augmentations(reader: StoreReader) -> Augmentations | None:
    """Which examples of a complete store are augmentations of which; None if none is.

    Raises:
        StoreFormatError: If that is missing or damaged.
    """
    return (
        Augmentations(**{name: rows[:] for name, rows in reader.augmentations.items()})
        if reader.augmentations
        else None
    )


def originals_of(reader: StoreReader) -> np.ndarray:
    """Row of the original of each example, int64 (examples,): its own unless it is an augmentation.

    In an unfinished store -1 where the original is not there yet.
    """
    return reader.augmentations["of"][:] if reader.augmentations else np.arange(len(reader))


def read_examples(store: Objects, spec: StoreSpec, records: FileRecords) -> Examples:
    """What an unfinished store keeps of all its examples, fitted or not; ids and splits are read on demand.

    Args:
        store: The store.
        spec: What it says about itself.
        records: Size and checksum of everything but shards.

    Raises:
        StoreFormatError: If that is missing or damaged.
    """
    small, shape = SmallArrays(store, records), (spec.examples.count,)

    def column(name: str) -> Rows:
        array = small.open(name, "string", shape)
        return Rows(f"{store.name}/{name}", shape, array.dtype, functools.partial(Column, array))

    of = None
    if f"{OF}/zarr.json" in records:
        of = small.read(OF, "int64", shape)
        if problem := originals_problem(of, spec.examples.count):
            raise small.damaged(OF, problem)
    return Examples(ids=column("id"), split=column("split"), augmentation_of=of)


def read_base(store: Objects, spec: StoreSpec, records: Mapping[str, FileRecord]) -> dict[str, np.ndarray]:
    """The base of a store as it is stored, by name; arguments and errors as for `read_examples`."""
    small = SmallArrays(store, records)
    base = {name: small.read(f"base/{name}", array.dtype, array.shape) for name, array in spec.base.items()}
    for name, array in base.items():
        if describe_array(array) != spec.base[name]:
            raise small.damaged(f"base/{name}", "its SHA-256 is not that of the root")
    return base


def read_rounding(store: Objects, spec: StoreSpec, records: Mapping[str, FileRecord]) -> Rounding:
    """How a store keeps modulations; arguments and errors as for `read_examples`."""
    small = SmallArrays(store, records)
    arrays = {name: small.read(name, array.dtype, array.shape) for name, array in spec.rounding.items()}
    return Rounding(spec.config.modulation_dtype, **arrays)


def _for_reading(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Arrays that are handed out again and again, and must not be changed."""
    for array in arrays.values():
        array.setflags(write=False)
    return arrays
