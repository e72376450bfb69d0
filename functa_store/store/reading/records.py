"""Sizes and checksums of all objects of a store; those in arrays of its manifest are read on demand."""

import collections
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np

from functa_store.errors import StoreFormatError
from functa_store.store.format.manifest import FileSeries, series_in, sha256_of, sizes_of
from functa_store.store.format.spec import StoreSpec
from functa_store.store.reading.array_reader import SmallArrays
from functa_store.store.storage.objects import FileRecord, Objects


class FileTotals(NamedTuple):
    """Files of something, and bytes of these together."""

    files: int
    bytes: int


NO_FILES = FileTotals(0, 0)


class Records:
    """Size and checksum of every object of a store but the root, by key; see `FileRecords`.

    Those that the root of a complete store or the receipts of an unfinished one list are there at once. An array of
    the manifest is read when an object that is in it is first asked for, or all are. Where such an array is damaged,
    what it has is left out when all are listed, and asking for one of them raises StoreFormatError.

    Args:
        objects: The store.
        spec: What it says about itself.
        receipts: What the receipts of an unfinished store list; None of a complete one, whose root lists it.

    Attributes:
        listed: What the root or the receipts list.
        series: The objects that are in arrays, by the array of the store that they are of.
    """

    # No Mapping, as code that knows one may look at its items: the runtime checks of tests take a sample of them,
    # which reads arrays of the manifest that nobody asked for.

    def __init__(self, objects: Objects, spec: StoreSpec, receipts: Mapping[str, FileRecord] | None = None) -> None:
        self.listed = spec.manifest if receipts is None else receipts
        self.series = series_in(spec) if receipts is None else {}
        self._most, self._sha256, self._name = spec.examples.count, spec.manifest_sha256, objects.name
        self._small = SmallArrays(objects, spec.manifest)
        self._read: dict[str, np.ndarray] = {}

    def __getitem__(self, key: str) -> FileRecord:
        if (found := self.listed.get(key)) is not None:
            return found
        name = key.partition("/c/")[0]
        if (series := self.series.get(name)) is None or (number := series.number_of(key)) is None:
            raise KeyError(key)
        numbers = self.numbers(series)
        if number >= len(numbers):
            raise KeyError(key)
        return series.record(numbers, number)

    def __contains__(self, key: object) -> bool:
        return isinstance(key, str) and self.get(key) is not None

    def get(self, key: str) -> FileRecord | None:
        """That of a key, if it is there."""
        try:
            return self[key]
        except KeyError:
            return None

    def items(self) -> Iterator[tuple[str, FileRecord]]:
        """All of them with their keys."""
        return ((key, self[key]) for key in self)

    def __iter__(self) -> Iterator[str]:
        yield from self.listed
        for series in self.series.values():
            if (numbers := self._if_whole(series)) is not None:
                yield from map(series.key, range(len(numbers)))

    def __bool__(self) -> bool:
        return bool(self.listed)  # without a look at the arrays

    def __len__(self) -> int:
        arrays = map(self._if_whole, self.series.values())
        return len(self.listed) + sum(len(numbers) for numbers in arrays if numbers is not None)

    def may_have(self, key: str) -> bool:
        """Whether an object may be one of those that a damaged array of the manifest has."""
        series = self.series.get(key.partition("/c/")[0])
        return series is not None and series.number_of(key) is not None and self._if_whole(series) is None

    def sizes(self) -> dict[str, FileTotals]:
        """Files and bytes of what is in each folder at the top of the store; of a file that is in none by its name.

        Raises:
            StoreFormatError: If the manifest is damaged.
        """
        files, sizes = collections.Counter[str](), collections.Counter[str]()
        for key, file in self.listed.items():
            files[top_folder(key)] += 1
            sizes[top_folder(key)] += file.bytes
        for name, series in self.series.items():
            numbers = self.numbers(series)
            files[top_folder(name)] += len(numbers)
            sizes[top_folder(name)] += sizes_of({name: numbers}, [series])
        return {name: FileTotals(files[name], sizes[name]) for name in files}

    def count_of(self, name: str) -> int | None:
        """How many objects of an array are in the manifest; None if they are not in an array of their own."""
        return None if (series := self.series.get(name)) is None else len(self.numbers(series))

    def check_sha256(self) -> None:
        """Compare all arrays with the checksum in the root.

        Raises:
            StoreFormatError: If they are others, or damaged.
        """
        if self.series and sha256_of({name: self.numbers(one) for name, one in self.series.items()}) != self._sha256:
            raise StoreFormatError(f"{self._name}: the arrays of its manifest are not those that its root is of.")

    def numbers(self, series: FileSeries) -> np.ndarray:
        """An array of the manifest.

        Raises:
            StoreFormatError: If it is missing or damaged.
        """
        if (found := self._read.get(series.name)) is None:  # two threads may both read it
            array, expected = self._small.open(series.array, "uint32"), series.shape
            wrong = len(array.shape) != len(expected) or any(
                wanted not in (None, n) for n, wanted in zip(array.shape, expected, strict=True)
            )
            if wrong or array.shape[0] > self._most:
                raise self._small.damaged(series.array, f"shape {array.shape}, expected {expected}")
            self._read[series.name] = found = array.read()
        return found

    def _if_whole(self, series: FileSeries) -> np.ndarray | None:
        try:
            return self.numbers(series)
        except StoreFormatError:
            return None


def top_folder(key: str) -> str:
    """The first part of a key: the array or group of the store that an object is of."""
    return key.partition("/")[0]
