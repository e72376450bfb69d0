"""When is a shard of a table believed?"""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

from functa_store.errors import StoreFormatError
from functa_store.store.objects import FileRecord, Objects, record
from functa_store.store.tables import Table

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
    """

    def __init__(
        self,
        objects: Objects,
        table: Table,
        indices: Sequence[int],
        records: Mapping[str, FileRecord],
        *,
        verify: bool,
    ) -> None:
        self.objects, self.table, self.indices, self.verify = objects, table, indices, verify
        self._records = records

    def __len__(self) -> int:
        return len(self.indices)

    @contextlib.contextmanager
    def touched(self, position: int) -> Iterator[str]:
        """Its key, for reading it; what is wrong with it is said with its name."""
        key = self.table.key(self.indices[position])
        try:
            yield key
        except (FileNotFoundError, StoreFormatError) as error:
            raise StoreFormatError(
                f"{self.objects.name}/{key}: a shard is missing or damaged: {error} "
                "Copy the store again, repair it (functa repair), or convert again."
            ) from error

    def check_whole(self, key: str, data: bytes | memoryview) -> np.ndarray:
        """The rows of a whole shard, without a copy."""
        found = self.table.decode(data)
        if self.verify and key in self._records and record(bytes(data)) != self._records[key]:
            raise StoreFormatError("its checksum is not that of the manifest.")
        return found
