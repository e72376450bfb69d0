"""Choice of what reads the rows of some shards fastest, wherever they lie."""

import contextlib

from functa_store.errors import StorageError
from functa_store.store.by_shard import FileRows, RangeRows
from functa_store.store.local import LocalObjects
from functa_store.store.mapped import MappedRows, are_whole_pages
from functa_store.store.rows import RowTable
from functa_store.store.shards import Shards, Values


def open_rows(shards: Shards, to_values: Values) -> RowTable:
    """The rows of some shards; nothing is read yet.

    Args:
        shards: The shards.
        to_values: Turns stored rows into what is returned.
    """
    if not isinstance(shards.objects, LocalObjects) or not shards.objects.mapped:
        return RangeRows(shards, to_values)
    if are_whole_pages(shards):
        with contextlib.suppress(StorageError):  # the process may not have so many addresses or files
            return MappedRows(shards, shards.objects, to_values)
    return FileRows(shards, shards.objects, to_values)
