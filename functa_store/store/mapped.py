"""How does a batch become one gather from all files of a table?"""

import mmap
import threading

import numpy as np

from functa_store.errors import StorageError
from functa_store.store.address_range import AddressRange
from functa_store.store.by_shard import FileRows
from functa_store.store.local import LocalObjects
from functa_store.store.parts import Selection, take
from functa_store.store.shards import Shards, Values

WORTH_ADVICE = 2**20
"""Bytes of rows from which on the system is told where they lie before they are touched."""

ADVISED_BYTES = 2**18
"""Unit of that advice."""


def are_whole_pages(shards: Shards) -> bool:
    """Whether shards can be mapped side by side: memory is mapped in whole pages."""
    return shards.table.rows_bytes % mmap.ALLOCATIONGRANULARITY == 0


class MappedRows:
    """Rows of shards of whole pages on a disk, which are mapped side by side into one array, see `rows.RowTable`.

    Reading is then as fast as from one memory-mapped file. Where the system refuses to map a file, shards are read one
    by one from then on.

    Args:
        shards: The shards.
        objects: Where they are.
        to_values: Turns stored rows into what is returned.

    Raises:
        StorageError: If the process may not have so many addresses or files.
    """

    def __init__(self, shards: Shards, objects: LocalObjects, to_values: Values) -> None:
        table = shards.table
        self._shards, self._objects, self._to_values = shards, objects, to_values
        self._range = AddressRange(len(shards) * table.rows_bytes, len(shards))
        self._rows = self._range.array.view(table.dtype).reshape(-1, *table.row_shape)
        self._is_mapped = np.zeros(len(shards), bool)
        self._all_mapped = False
        self._one_by_one: FileRows | None = None
        self._lock = threading.Lock()

    def __getitem__(self, rows: Selection) -> np.ndarray:
        """The values of some rows, in the order asked for."""
        if not self._all_mapped:
            self._map(rows)
        if self._one_by_one is not None:
            return self._one_by_one[rows]
        self._advise(rows)
        return self._to_values(take(self._rows, rows))

    def _advise(self, rows: Selection) -> None:
        """Have many rows that lie close together read at once: from a disk, page by page is a tenth as fast."""
        row_bytes = self._shards.table.row_bytes
        if isinstance(rows, slice):
            if rows.step == 1 and (rows.stop - rows.start) * row_bytes >= WORTH_ADVICE:
                self._range.will_need(rows.start * row_bytes, rows.stop * row_bytes)
        elif (wanted := len(rows) * row_bytes) >= WORTH_ADVICE:
            touched = np.unique(rows * row_bytes // ADVISED_BYTES)
            if len(touched) * ADVISED_BYTES <= 2 * wanted:
                for run in np.split(touched, np.flatnonzero(np.diff(touched) != 1) + 1):
                    stop = min((int(run[-1]) + 1) * ADVISED_BYTES, len(self._range.array))
                    self._range.will_need(int(run[0]) * ADVISED_BYTES, stop)

    def _map(self, rows: Selection) -> None:
        """Map the shards that some rows touch; afterwards they may be read without asking."""
        per_shard = self._shards.table.rows_per_shard
        if isinstance(rows, slice):
            touched = np.arange(rows.start // per_shard, (rows.stop - 1) // per_shard + 1)
        else:
            touched = np.unique(rows // per_shard)
        with self._lock:
            for position in touched[~self._is_mapped[touched]].tolist():
                self._map_shard(position)
                self._is_mapped[position] = True
            self._all_mapped = bool(self._is_mapped.all())

    def _map_shard(self, position: int) -> None:
        size = self._shards.table.rows_bytes
        with self._shards.touched(position) as key, self._objects.opened(key) as descriptor:
            self._shards.check_file(key, self._objects, descriptor)
            try:
                self._range.map(position * size, size, descriptor)
            except StorageError:
                self._one_by_one = FileRows(self._shards, self._objects, self._to_values)
