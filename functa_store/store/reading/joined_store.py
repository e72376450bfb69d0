"""Several stores of one base network as one, whose examples follow each other."""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from functa_store.config import differences, to_dict
from functa_store.errors import ConfigError, StorageError, StoreFormatError
from functa_store.sources.source import Reject
from functa_store.store.format.load_spec import load_root
from functa_store.store.format.parts import PARTS_VERSION, PartRecord
from functa_store.store.format.quantization import EXACT, Rounding
from functa_store.store.format.spec import ExamplesSummary, Quality, sha256_json
from functa_store.store.format.summaries import masks_by_split, merged_quality, sums_by_split
from functa_store.store.reading.joined_labels import join_labels
from functa_store.store.reading.reader import StoreReader, originals_of
from functa_store.store.reading.records import NO_FILES, FileTotals
from functa_store.store.reading.rows import Rows, RowTable, Selection, following, table_of
from functa_store.store.reading.shard_rows import MappedRows, are_mappable
from functa_store.store.storage.local import LocalObjects
from functa_store.store.storage.objects import (
    NO_OPTIONS,
    REQUESTS_AT_A_TIME,
    Location,
    Objects,
    StorageOptions,
    open_objects,
)
from functa_store.store.storage.server_calls import map_in_threads

NAMED = 3
"""Stores whose paths are part of the name of all together."""

WHOLE = {"flip": False, "top": 0.0, "left": 0.0, "side": 1.0}
"""What is said of the augmentation of an example that is none."""


class JoinedStore(StoreReader):
    """Several stores of one base network, read as one.

    It has the labels that all of them have, with the classes of all, and is decoded with the domain and features of the
    first. Modulations that lie on disks in equal data types are mapped side by side, so that a batch is one
    gather, whichever stores it is of.

    Args:
        stores: At least one, in order.
        root: The folder that they all lie in, if its root lists them.

    Attributes:
        stores: The same.
        odd_labels: Labels that not all of them have, or that have names of classes in some alone, with the reason.
        decodable: Whether all have the same domain and features.

    Raises:
        ConfigError: If their base networks differ.
    """

    def __init__(self, stores: Sequence[StoreReader], root: Objects | None = None) -> None:
        stores = [one for store in stores for one in (store.stores if isinstance(store, JoinedStore) else [store])]
        first = stores[0]
        for store in stores:
            if store.spec.base_fingerprint != first.spec.base_fingerprint:
                raise ConfigError(
                    f"{store.path} has the base network {store.spec.base_fingerprint[:8]}, {first.path} has "
                    f"{first.spec.base_fingerprint[:8]}, in which modulations mean something else; load functasets of "
                    "one base network together, whose base_fingerprint is the same"
                )
        self.stores, self._root = stores, root
        self.verifies, self.alone = all(store.verifies for store in stores), False
        self._counts = [len(store) for store in stores]
        more = [] if len(stores) <= NAMED else [f"{len(stores) - NAMED} more"]
        named = " + ".join([*(store.path for store in stores[:NAMED]), *more])
        self.path = named if root is None else root.name
        specs = [store.spec for store in stores]
        self.decodable = all((spec.domain, spec.features) == (first.spec.domain, first.spec.features) for spec in specs)
        self.modulations = self._rows("modulations", self._open_modulations)
        self.mse, self.ids, self.split = self._rows("mse"), self._rows("ids"), self._rows("split")
        self.labels, self.label_names, self.odd_labels = join_labels(self.path, stores)
        self.metrics_table, self.metrics = self._metrics()
        self.augmentations = self._augmentations()
        self.spec = dataclasses.replace(
            first.spec,
            format_version=first.spec.format_version if root is None else PARTS_VERSION,
            fingerprint=sha256_json([spec.fingerprint for spec in specs]),
            complete=all(spec.complete for spec in specs),
            config=dataclasses.replace(first.spec.config, modulation_dtype=self._dtype),
            rounding=first.spec.rounding if self._rounded_alike else {},
            examples=ExamplesSummary(
                count=sum(spec.examples.count for spec in specs),
                sha256=sha256_json([spec.examples.sha256 for spec in specs]),
            ),
            provenance={**first.spec.provenance, "merged_from": [origin_of(store) for store in stores]},
            reference={},
            rounding_loss=max((s.rounding_loss for s in specs if s.rounding_loss), key=_loss, default=None),
            quality={},
            manifest={},
        )

    @property
    def objects(self) -> Objects:
        """The folder whose root lists the stores.

        Raises:
            ConfigError: If there is none.
        """
        if self._root is None:
            raise ConfigError(
                f"{self.path}: these are {len(self.stores)} functasets that are read as one, and lie in no place of "
                "their own; write them as one by functa_store.merge first"
            )
        return self._root

    @property
    def is_view(self) -> bool:
        """Whether the stores are together in this process alone."""
        return self._root is None

    @property
    def places(self) -> list[Objects]:
        """Where all of them lie."""
        return [place for store in self.stores for place in store.places]

    def check_disjoint(self) -> None:
        """Refuse stores that are not of one kind of example, or have an example in common.

        Raises:
            ConfigError: If domains or features differ, or two examples have one id.
        """
        first = self.stores[0]
        for store in self.stores:
            for what in ("domain", "features"):
                found, expected = (to_dict(getattr(one.spec, what)) for one in (store, first))
                if other := next(differences(found, expected, what), None):
                    raise ConfigError(
                        f"{store.path} and {first.path} differ in {other}; functasets that follow each other have one "
                        "domain and one meaning of their values, as those that functa encode made of one base"
                    )
        seen: dict[str, int] = {}
        for place, store in enumerate(self.stores):
            names = map(str, np.asarray(store.ids).tolist())
            if twice := [name for name in names if seen.setdefault(name, place) != place]:
                shown = ", ".join(map(repr, twice[:3]))
                other = self.stores[seen[twice[0]]].path
                raise ConfigError(
                    f"{store.path}: {len(twice)} examples have ids that examples of {other} have, such as {shown}; "
                    "leave them out of one of the two by its select(index=...)"
                )

    def reopened(self, *, verify: bool) -> StoreReader:
        """The same, opened again."""
        if self._root is not None:
            return open_store(self._root, verify=verify)
        return JoinedStore([store.reopened(verify=verify) for store in self.stores])

    @property
    def num_examples(self) -> int:
        """Examples of all of them."""
        return sum(self._counts)

    @functools.cached_property
    def base(self) -> dict[str, np.ndarray]:
        """That of the first one, which has the rates of its own fit."""
        return self.stores[0].base

    @functools.cached_property
    def stored_base(self) -> dict[str, np.ndarray]:
        """That of the first one."""
        return self.stores[0].stored_base

    @functools.cached_property
    def rounding(self) -> Rounding:
        """How modulations are stored, where that is the same in all; else as float32, which they are read as."""
        return self.stores[0].rounding if self._rounded_alike else EXACT

    @functools.cached_property
    def rejects(self) -> list[Reject]:
        """What was skipped of all archives."""
        return [reject for store in self.stores for reject in store.rejects]

    @property
    def quality(self) -> Mapping[str, Quality]:
        """How well each split was fitted, from all errors, which are read for it."""
        return quality_of(self)

    @functools.cached_property
    def sizes(self) -> Mapping[str, FileTotals]:
        """Files and bytes of all, those of the same name together; each has its own base."""
        found: dict[str, FileTotals] = {}
        for store in self.stores:
            for name, (files, size) in store.sizes.items():
                before = found.get(name, NO_FILES)
                found[name] = FileTotals(before.files + files, before.bytes + size)
        return found

    @property
    def bytes_base(self) -> int:
        """Bytes of the base's files, of which each has its own."""
        return sum(store.bytes_base for store in self.stores)

    @property
    def bytes_per_example(self) -> int:
        """That of the one whose modulations are largest."""
        return max(store.bytes_per_example for store in self.stores)

    @functools.cached_property
    def statistics(self) -> dict[str, np.ndarray]:
        """Over all examples of all, per dimension or channel: `mean`, `std` (population), `min`, `max`, float32.

        Raises:
            StoreFormatError: If one is unfinished, or its statistics are missing or damaged.
        """
        parts = [store.statistics for store in self.stores]
        shares = np.array(self._counts, np.float64)[:, None] / self.num_examples
        means, stds = (np.array([part[name] for part in parts], np.float64) for name in ("mean", "std"))
        mean = (shares * means).sum(axis=0)
        std = np.sqrt((shares * (stds**2 + (means - mean) ** 2)).sum(axis=0))
        return {
            "mean": mean.astype(np.float32),
            "std": std.astype(np.float32),
            "min": np.min([part["min"] for part in parts], axis=0),
            "max": np.max([part["max"] for part in parts], axis=0),
        }

    @property
    def _dtype(self) -> Any:
        dtypes = {store.spec.config.modulation_dtype for store in self.stores}
        return dtypes.pop() if len(dtypes) == 1 else "float32"

    @property
    def _rounded_alike(self) -> bool:
        first = self.stores[0].spec
        wanted = first.config.modulation_dtype, first.rounding
        return all((store.spec.config.modulation_dtype, store.spec.rounding) == wanted for store in self.stores)

    def _rows(self, name: str, open_table: Callable[[], RowTable] | None = None) -> Rows:
        rows = following(f"{self.path}/{name}", [getattr(store, name) for store in self.stores])
        return rows if open_table is None else Rows(rows.name, rows.shape, rows.dtype, open_table)

    def _metrics(self) -> tuple[Rows | None, Mapping[str, Rows]]:
        if not self.decodable or self.stores[0].metrics_table is None:
            return None, {}
        columns = self.stores[0].metrics
        return self._rows("metrics_table"), {
            name: following(f"{self.path}/metrics, {name}", [store.metrics[name] for store in self.stores])
            for name in columns
        }

    def _augmentations(self) -> Mapping[str, Rows]:
        """The arrays of all, with originals as they are counted here."""
        if not any(store.augmentations for store in self.stores):
            return {}
        originals = []
        for store, start in zip(self.stores, np.cumsum([0, *self._counts]), strict=False):
            of = originals_of(store)
            originals.append(np.where(of < 0, of, of + start).astype(np.int64))
        found = {"of": rows_in_memory(f"{self.path}/of", np.concatenate(originals))}
        like = next(store.augmentations for store in self.stores if store.augmentations)
        for name, value in WHOLE.items():
            dtype = like[name].dtype
            parts = [
                store.augmentations[name]
                if store.augmentations
                else rows_in_memory(name, np.full(len(store), value, dtype))
                for store in self.stores
            ]
            found[name] = following(f"{self.path}/{name}", parts)
        return found

    def _open_modulations(self) -> RowTable:
        """Mapped side by side if they can be, else read store by store."""
        plain = [store for store in self.stores if type(store) is StoreReader and len(store)]
        if len(plain) == len(self.stores):
            parts = [store.shards_of("modulations") for store in plain]
            if len({part.table.dtype for part in parts}) == 1 and are_mappable(parts):
                try:
                    rounding = [self.rounding] if self._rounded_alike else [store.rounding for store in plain]
                    return PartsSideBySide(MappedRows(parts, np.asarray), parts_of(plain), rounding)
                except StorageError:  # the process may not have so many addresses or files
                    pass
        return table_of([store.modulations for store in self.stores])


def open_store(location: Location, *, storage: StorageOptions = NO_OPTIONS, verify: bool = False) -> StoreReader:
    """Open a store, with the parts that its root lists, or open again what is open.

    The message of a part that cannot be opened names the command that says what mends it; damage that is found when
    examples of a part are read is told by the place of the part alone.

    Args:
        location: A path, a URL, a functaset or a reader; see `Location`.
        storage: How to reach it.
        verify: As for `StoreReader`.

    Raises:
        StoreFormatError: If there is no functaset that this release can read.
        StorageError: If the place cannot be read.
    """
    store = location if isinstance(location, StoreReader) else getattr(location, "store", None)
    if isinstance(store, StoreReader):
        return store.reopened(verify=verify)
    objects = open_objects(location, storage)
    first, (_, parts) = StoreReader(objects, verify=verify, alone=True), load_root(objects)
    if not parts:
        return first

    def open_part(part: PartRecord) -> StoreReader:
        try:
            found = StoreReader(objects.below(part.name), verify=verify)
        except StoreFormatError as error:
            raise StoreFormatError(
                f"{str(error).rstrip('.')}. It is a part of {objects.name}: functa verify {objects.name} says what "
                "mends it."
            ) from error
        if (found.spec.fingerprint, len(found)) != (part.fingerprint, part.examples):
            raise StoreFormatError(
                f"{objects.name}/{part.name}: has {len(found)} examples of the store {found.spec.fingerprint[:16]}, "
                f"expected {part.examples} of {part.fingerprint[:16]}; copy the functaset again."
            )
        return found

    threads = 1 if isinstance(objects, LocalObjects) else REQUESTS_AT_A_TIME
    return JoinedStore([first, *map_in_threads(open_part, parts, threads=threads, name="open")], objects)


def origin_of(store: StoreReader) -> dict[str, Any]:
    """Which store examples are from, for provenance."""
    spec = store.spec
    return {"archive": spec.provenance.get("archive"), "fingerprint": spec.fingerprint, "examples": len(store)}


def quality_of(store: StoreReader) -> Mapping[str, Quality]:
    """Quality by split of the examples of a store that are no augmentations, from their errors."""
    of = originals_of(store)
    own = np.flatnonzero(of == np.arange(len(of)))
    metrics = {name: np.asarray(column)[own] for name, column in store.metrics.items()}
    span = store.spec.features.span
    splits = {name: mask[own] for name, mask in masks_by_split(store.split, 0, len(store)).items()}
    sums = sums_by_split(np.asarray(store.mse)[own], metrics, splits, span)
    return merged_quality([sums], span)


def rows_in_memory(name: str, values: np.ndarray) -> Rows:
    """Values in memory as `Rows`."""
    return Rows(name, values.shape, values.dtype, functools.partial(np.asarray, values))


def _loss(loss: Any) -> float:
    return loss.psnr_loss_max


def parts_of(stores: Sequence[StoreReader]) -> np.ndarray:
    """First examples of stores that follow each other, and of the shards in which each begins: (2, stores + 1)."""
    rows = [len(store.shards) * store.spec.layout.rows_per_shard for store in stores]
    return np.cumsum([[0, *map(len, stores)], [0, *rows]], axis=1)


MOST_LISTED = 2**24
"""Rows whose places are listed, in 4 bytes each: looking up takes a fifth of the time of searching for their stores."""


class PartsSideBySide:
    """Modulations of several stores whose shards are mapped into one array, see `rows.RowTable`.

    Args:
        mapped: Rows of all shards, those included that fill up the last shard of a store.
        starts: See `parts_of`.
        roundings: How each store's are stored, or one that is that of all.

    Attributes:
        finds_rows: See `rows.FindsRows`.
    """

    def __init__(self, mapped: MappedRows, starts: np.ndarray, roundings: Sequence[Rounding]) -> None:
        self._mapped, self._starts = mapped, starts[0, 1:-1]
        self._shifts, counts = starts[1, :-1] - starts[0, :-1], np.diff(starts[0])
        self._places = self._stores = None
        self.finds_rows = starts[0, -1] <= MOST_LISTED and starts[1, -1] < 2**31
        if self.finds_rows:
            self._places = (np.arange(starts[0, -1]) + np.repeat(self._shifts, counts)).astype(np.int32)
        if self.finds_rows and len(roundings) > 1:
            numbers = np.arange(len(counts), dtype=np.min_scalar_type(len(counts)))
            self._stores = np.repeat(numbers, counts)
        self._to_values = roundings[0].to_values if len(roundings) == 1 else None
        self._scales, self._offsets = (
            None if self._to_values else np.stack([getattr(rounding, name) for rounding in roundings])
            for name in ("scale", "offset")
        )

    def __getitem__(self, rows: Selection) -> np.ndarray:
        """The values of some rows, in the order asked for."""
        if isinstance(rows, slice):
            first, last = self._starts.searchsorted([rows.start, rows.stop - 1], side="right")
            if first == last:
                shift = int(self._shifts[first])
                stored = self._mapped[slice(rows.start + shift, rows.stop + shift, rows.step)]
                return self._values(stored, rows)
            rows = np.arange(rows.start, rows.stop, rows.step)
        if self._places is not None:
            return self._values(self._mapped[self._places.take(rows)], rows)
        return self._values(self._mapped[rows + self._shifts.take(self._stores_of(rows))], rows)

    def _stores_of(self, rows: Selection) -> np.ndarray:
        """The number of the store of each row."""
        places = np.arange(rows.start, rows.stop, rows.step) if isinstance(rows, slice) else rows
        if self._stores is not None:
            return self._stores.take(places)
        return self._starts.searchsorted(places, side="right")

    def _values(self, stored: np.ndarray, rows: Selection) -> np.ndarray:
        """Values of some rows that are stored so."""
        if self._to_values is not None:
            return self._to_values(stored)
        assert self._scales is not None
        assert self._offsets is not None
        which, shape = self._stores_of(rows), (len(stored), *[1] * (stored.ndim - 2), stored.shape[-1])
        values = stored.astype(np.float32)
        values *= self._scales.take(which, axis=0).reshape(shape)
        values += self._offsets.take(which, axis=0).reshape(shape)
        return values
