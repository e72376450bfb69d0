"""Checks that decide when a shard is believed."""

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

from functa_store.errors import StoreFormatError
from functa_store.store.format.layout import Table
from functa_store.store.storage.local import LocalObjects
from functa_store.store.storage.objects import FileRecord, Objects, record

Values = Callable[[np.ndarray], np.ndarray]
"""Turns stored rows into what is returned."""


class Shards:
    """The shards of a table that are there; their rows are counted without gaps.

    None is believed before its index is found where it should be, on a disk its size, and, if `verify` is set, its
    checksum.

    Args:
        objects: The store.
        table: What they look like.
        indices: Which are there, ascending.
        records: Size and checksum of each one's file by key.
        verify: Compare checksums when a shard is first touched.
        check_store: Called before a shard is first touched; raises if the store is not the same any more.
    """

    def __init__(
        self,
        objects: Objects,
        table: Table,
        indices: Sequence[int],
        records: Mapping[str, FileRecord],
        *,
        verify: bool,
        check_store: Callable[[], None],
    ) -> None:
        self.objects, self.table, self.indices, self.verify = objects, table, indices, verify
        self._records, self._check_store = records, check_store

    def __len__(self) -> int:
        return len(self.indices)

    @contextlib.contextmanager
    def touched(self, position: int) -> Iterator[str]:
        """Its key, for reading it; what is wrong with it is said with its name."""
        key = self.table.key(self.indices[position])
        self._check_store()
        try:
            yield key
        except (FileNotFoundError, StoreFormatError) as error:
            raise StoreFormatError(
                f"{self.objects.name}/{key}: a shard is missing or damaged: {error} "
                "Copy the store again, repair it (functa repair), or convert again."
            ) from error

    def check_file(self, key: str, objects: LocalObjects, descriptor: int) -> None:
        """Refuse an opened file that is not this shard."""
        table = self.table
        if self.verify:
            self.check_whole(key, objects.read_at(key, descriptor, table.shard_bytes, 0))
        tail = objects.read_at(key, descriptor, table.tail_bytes, table.rows_bytes)  # mapped, it would cost megabytes
        table.check(os.fstat(descriptor).st_size, tail)

    def check_whole(self, key: str, data: bytes) -> np.ndarray:
        """The rows of a whole shard, without a copy."""
        found = self.table.decode(data)
        if self.verify and key in self._records and record(data) != self._records[key]:
            raise StoreFormatError("its checksum is not that of the manifest.")
        return found
