"""Writer of shards, each of them put once and for all, then its receipt; needs no claim on the store."""

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike

from functa_store.errors import LearningError, StorageError, StoreExistsError, StoreFormatError, StoreMismatchError
from functa_store.store.format.layout import Shard
from functa_store.store.format.quantization import Rounding
from functa_store.store.format.receipts import Receipts, Written
from functa_store.store.format.spec import StoreSpec
from functa_store.store.format.summaries import Examples, ShardSummary, summarise
from functa_store.store.storage.objects import FileRecords, Objects, record, write_once
from functa_store.support.memory import row_blocks

ATTEMPTS = 5
"""Times that a shard is written whose folder vanishes, as the next writer of the store clears up."""


class ShardWriter:
    """Creates shards of an unfinished store, and their receipts; many processes may do so at a time.

    An equal shard or receipt that is there already counts as written.

    Args:
        store: The store.
        spec: What it says about itself.
        rounding: How modulations are stored.
        examples: What the store keeps of its examples.
        is_over: Says whether nothing is to be written any more, as the store has been completed or begun anew. What
            came too late is taken back then. None where a claim sees to that.
        worker: Who writes, for messages; None where there is only one.
    """

    def __init__(
        self,
        store: Objects,
        spec: StoreSpec,
        rounding: Rounding,
        examples: Examples,
        is_over: Callable[[], bool] | None = None,
        worker: str | None = None,
    ) -> None:
        self._store, self._spec, self._rounding, self._examples = store, spec, rounding, examples
        self._tables = spec.tables(rounding)
        self._receipts = Receipts(store, spec.fingerprint)
        self._is_over, self._worker = is_over or (lambda: False), worker

    def write(
        self,
        shard: Shard,
        modulations: ArrayLike,
        mse: ArrayLike | None,
        metrics: ArrayLike | None = None,
        *,
        some_unknown: bool = False,
    ) -> Written:
        """Write one shard atomically, then its receipt; see `StoreWriter.write`.

        Raises:
            StoreExistsError: If nothing is to be written any more; then nothing has changed.
            StoreFormatError: If a shape does not fit the shard, or metrics are there or absent against the features.
            LearningError: If a value is not finite, or cannot be stored.
            StoreMismatchError: If the shard was written before with other values.
            StorageError: If it cannot be written.
        """
        files, written = self._encoded(shard, modulations, mse, metrics, some_unknown)
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return self._put(shard, files, written)
            except StorageError as error:
                if self._is_over():
                    raise self.late() from error
                if not isinstance(error.__cause__, FileNotFoundError) or attempt == ATTEMPTS:
                    raise
        raise AssertionError("unreachable")

    def remove(self, shards: Sequence[Shard]) -> None:
        """Remove shards and their receipts, so that others may be written in their place; the store is claimed."""
        if not shards:
            return
        self._receipts.forget(shards)
        keys = (table.key(shard) for shard in shards for table in self._tables.values())
        there = self._store.sizes()
        self._store.delete([key for key in keys if key in there])

    def late(self) -> StoreExistsError:
        """What to raise where nothing is to be written any more."""
        return StoreExistsError(
            f"{self._store.name}: was completed or begun anew meanwhile; leave it to whoever did that."
        )

    def _put(self, shard: Shard, files: dict[str, list[bytes | memoryview]], written: Written) -> Written:
        if self._is_over():
            raise self.late()
        try:
            for key, parts in files.items():
                write_once(self._store, key, *parts)
            is_new = self._receipts.write(shard, written)
        except StoreMismatchError as error:
            if self._is_over():  # it has been completed by those whose bytes differ
                raise self.late() from error
            raise error if self._worker is None else StoreMismatchError(f"{self._worker}: {error}") from error
        if is_new and self._is_over():
            self._receipts.withdraw(shard)
            raise self.late()
        return written

    def encode(
        self,
        shard: Shard,
        modulations: ArrayLike,
        mse: ArrayLike | None,
        metrics: ArrayLike | None = None,
        *,
        some_unknown: bool = False,
    ) -> Written:
        """What `write` would record of a shard, without writing it; errors as for `write`."""
        return self._encoded(shard, modulations, mse, metrics, some_unknown)[1]

    def read_back(self, shard: Shard, files: FileRecords) -> Written:
        """What the receipt of a shard says that lies in the store.

        Args:
            shard: Which.
            files: Size and checksum of each of its files.
        """
        stored = {}
        for name, table in self._tables.items():
            data = self._store.read(table.key(shard), table.shard_bytes)
            stored[name] = table.decode(data)[: len(shard)]
        kept = {table.key(shard): files[table.key(shard)] for table in self._tables.values()}
        return Written(files=kept, summary=self._summarise(shard, stored))

    def _encoded(
        self,
        shard: Shard,
        modulations: ArrayLike,
        mse: ArrayLike | None,
        metrics: ArrayLike | None,
        some_unknown: bool,
    ) -> tuple[dict[str, list[bytes | memoryview]], Written]:
        """The files of a shard, in parts to be joined, and what its receipt says."""
        unknown = {
            name: np.full((len(shard), *table.row_shape), np.nan)
            for name, table in self._tables.items()
            if mse is None and name != "modulations"
        }
        known = {} if mse is None else {"mse": mse}
        given = {"modulations": modulations} | known | ({} if metrics is None else {"metrics": metrics}) | unknown
        if given.keys() != self._tables.keys():
            raise StoreFormatError(
                f"{self._store.name}: shard {shard.index} got {list(given)}, expected {list(self._tables)}, since the "
                f"metrics of its features are {self._spec.features.metrics}."
            )
        checked = {
            name: self._check(
                shard, name, np.asarray(values, np.float32), may_be_unknown=some_unknown or name in unknown
            )
            for name, values in given.items()
        }
        stored = {**checked, "modulations": self._rounding.to_stored(checked["modulations"])}
        files = {self._tables[name].key(shard): self._tables[name].encode(rows) for name, rows in stored.items()}
        records = {key: record(*parts) for key, parts in files.items()}
        return files, Written(files=records, summary=self._summarise(shard, stored))

    def _summarise(self, shard: Shard, stored: Mapping[str, np.ndarray]) -> ShardSummary:
        cell_size = self._spec.config.network.cell_size
        return summarise(shard, self._examples, self._spec.features, cell_size, self._rounding, stored)

    def _check(self, shard: Shard, name: str, rows: np.ndarray, *, may_be_unknown: bool) -> np.ndarray:
        where, expected = f"{self._store.name}/{name}", (len(shard), *self._tables[name].row_shape)
        if rows.shape != expected:
            raise StoreFormatError(
                f"{where}: shard {shard.index} got values of shape {rows.shape}, expected {expected}."
            )
        may_be_unknown = may_be_unknown and name != "modulations"
        for block in row_blocks(len(rows), math.prod(rows.shape[1:])):
            some = rows[block]
            wrong = np.isinf(some) if may_be_unknown or name == "metrics" else ~np.isfinite(some)
            if wrong.any():
                example = self._examples.ids[shard.start : shard.stop][block.start + int(np.argwhere(wrong)[0, 0])]
                raise LearningError(
                    f"{where}: the fit of example {str(example)!r} is not finite. "
                    "Look at its features, or learn with lower learning rates."
                )
        return rows
