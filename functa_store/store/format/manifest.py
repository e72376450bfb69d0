"""The manifest as arrays: checksums of shards, and of chunks of ids, splits and labels, which grow with the examples.

A file that is one of many, `NAME/c/3/0`, has its checksum in row 3 of the array `manifest/NAME`: of the tables, whose
shards all have one size, a number each, of the columns checksum and size. All other files, those of these arrays among
them, are in the root's field `manifest`.
"""

import collections
import dataclasses
import hashlib
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from functa_store.errors import StoreFormatError
from functa_store.sources.augmentation import ARRAYS
from functa_store.store.format.quantization import Rounding
from functa_store.store.format.spec import StoreSpec
from functa_store.store.storage.objects import FileRecord

ARRAYS_VERSION = 9
"""First format version whose manifest is in arrays."""

MANIFEST = "manifest"

_NUMBER = "<u4"
_COLUMNS = ("id", "split", *ARRAYS)


@dataclasses.dataclass(frozen=True, kw_only=True)
class FileSeries:
    """Files of one array, of which there are the more the more examples there are.

    Attributes:
        name: Of the array.
        count: How many there are; None where only the manifest tells.
        suffix: What follows their number in their names, such as "/0".
        num_bytes: Size of each; None where they differ.
    """

    name: str
    count: int | None = None
    suffix: str = ""
    num_bytes: int | None = None

    def key(self, number: int) -> str:
        """Name of a file."""
        return f"{self.name}/c/{number}{self.suffix}"

    @property
    def array(self) -> str:
        """Name of the array with their checksums."""
        return f"{MANIFEST}/{self.name}"

    @property
    def shape(self) -> tuple[int | None, ...]:
        """Shape of that array."""
        return (self.count,) if self.num_bytes is not None else (self.count, 2)

    def number_of(self, key: str) -> int | None:
        """Number of a file by its name; None if it is none of these."""
        start, end = f"{self.name}/c/", len(key) - len(self.suffix)
        number = key[len(start) : end]
        if not key.startswith(start) or not number.isascii() or not number.isdigit() or len(number) > 15:
            return None
        return int(number) if self.key(int(number)) == key else None

    def numbers(self, records: Mapping[str, FileRecord]) -> np.ndarray:
        """The array of the manifest: checksums of all files, and their sizes if these differ.

        Args:
            records: Sizes and checksums of at least these files.

        Raises:
            StoreFormatError: If a file has another size than all.
        """
        found = [records[self.key(number)] for number in range(self.count or 0)]
        if self.num_bytes is not None and (wrong := [file for file in found if file.bytes != self.num_bytes]):
            raise StoreFormatError(f"{self.name}: found a shard of {wrong[0].bytes} bytes, expected {self.num_bytes}")
        rows = [[int(file.crc32c, 16), file.bytes] for file in found]
        numbers = np.array(rows, np.dtype(_NUMBER)).reshape(-1, 2)
        return numbers if self.num_bytes is None else np.ascontiguousarray(numbers[:, 0])

    def record(self, numbers: np.ndarray, number: int) -> FileRecord:
        """Size and checksum of a file from the array."""
        if self.num_bytes is not None:
            return FileRecord(bytes=self.num_bytes, crc32c=f"{numbers[number]:08x}")
        crc, size = numbers[number].tolist()
        return FileRecord(bytes=size, crc32c=f"{crc:08x}")


def series_of_tables(spec: StoreSpec) -> list[FileSeries]:
    """The shards of a store, by table."""
    tables = spec.tables(Rounding(spec.config.modulation_dtype)).values()
    count = spec.layout.num_shards(spec.examples.count)
    return [
        FileSeries(name=t.name, count=count, suffix="/0" * len(t.row_shape), num_bytes=t.shard_bytes) for t in tables
    ]


def series_in(spec: StoreSpec) -> dict[str, FileSeries]:
    """The files of a complete store that are in arrays of its manifest, by array that they are of."""
    if spec.format_version < ARRAYS_VERSION:
        return {}
    found = {series.name: series for series in series_of_tables(spec)}
    suffix = "/zarr.json"
    for key in spec.manifest:
        if key.startswith(f"{MANIFEST}/") and key.endswith(suffix):
            name = key[len(MANIFEST) + 1 : -len(suffix)]
            if is_column(name):
                found.setdefault(name, FileSeries(name=name))
    return found


def series_of_columns(records: Mapping[str, FileRecord]) -> list[FileSeries]:
    """The chunks of columns that are among some files."""
    counts = collections.Counter(key.partition("/c/")[0] for key in records if "/c/" in key)
    return [FileSeries(name=name, count=count) for name, count in sorted(counts.items()) if is_column(name)]


def is_column(name: str) -> bool:
    """Whether an array has one value per example, in chunks."""
    return name in _COLUMNS or (name.startswith("labels/") and name.count("/") == 1)


def sha256_of(arrays: Mapping[str, np.ndarray]) -> str:
    """SHA-256 of the arrays of a manifest: of their little-endian bytes, in the order of their names."""
    digest = hashlib.sha256()
    for name in sorted(arrays):
        digest.update(np.ascontiguousarray(arrays[name], np.dtype(_NUMBER)).tobytes())
    return digest.hexdigest()


def manifest_problems(spec: StoreSpec) -> Iterator[str]:
    """What keeps the root's part of a manifest from being that of such a store, in words."""
    if not spec.complete:
        if spec.manifest or spec.manifest_sha256 is not None:
            yield "a manifest is there, though the store is unfinished"
        return
    if spec.manifest_sha256 is None:
        yield "manifest_sha256 is null, though the store is complete"
    series = series_in(spec)
    missing = [name for name in (*series, "id", "split") if f"{MANIFEST}/{name}/zarr.json" not in spec.manifest]
    if missing:
        yield f"the manifest has no checksums of {missing[0]}: {MANIFEST}/{missing[0]} is not in it"
    if (twice := _twice(spec.manifest, series)) is not None:
        yield f"the manifest has {twice}, whose checksum is in {MANIFEST}/{twice.partition('/c/')[0]}"


def _twice(names: Mapping[str, FileRecord], series: Mapping[str, FileSeries]) -> str | None:
    return next((key for key in names if "/c/" in key and key.partition("/c/")[0] in series), None)


def sizes_of(arrays: Mapping[str, np.ndarray], series: Sequence[FileSeries]) -> int:
    """Bytes of all files of some series."""
    return sum(
        len(arrays[one.name]) * one.num_bytes if one.num_bytes is not None else int(arrays[one.name][:, 1].sum())
        for one in series
    )
