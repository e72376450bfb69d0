"""Writer of a store: rehearsed in memory, begun or taken up, filled shard by shard, and completed."""

import collections
import contextlib
import dataclasses
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike

from functa_store.config import differences
from functa_store.errors import (
    LearningError,
    StoreExistsError,
    StoreFormatError,
    StoreMismatchError,
)
from functa_store.metrics import moments
from functa_store.sources.augmentation import originals_of
from functa_store.store.format.layout import Shard, Table
from functa_store.store.format.load_spec import MOST_JSON_BYTES
from functa_store.store.format.receipts import Receipts
from functa_store.store.format.spec import ROOT, Contents, StoreSpec, identity
from functa_store.store.reading.reader import StoreReader
from functa_store.store.storage.objects import (
    FileRecord,
    Location,
    Objects,
    check_key,
    record,
    too_long,
    write_all,
    write_once,
)
from functa_store.store.storage.writer_lock import WORK_SUFFIX, is_of_store, is_part
from functa_store.store.writing.destination import already_complete, check_output
from functa_store.store.writing.skeleton import quality_by_split, skeleton, statistics_objects


def create(store: Objects, spec: StoreSpec, files: Mapping[str, bytes], receipts: Receipts) -> dict[str, FileRecord]:
    """Write everything but shards, the root last: without it there is no store."""
    written = {key: record(data) for key, data in files.items()}
    receipts.write_skeleton(written)  # first: from now on, whatever lies there is known to be ours
    receipts.clear_shards()
    # Of an attempt with other options; what a user put there stays.
    store.delete([key for key in store.sizes() if key not in files and is_of_store(key)])
    write_all(store, {key: data for key, data in files.items() if key != ROOT})
    store.write(ROOT, files[ROOT])
    return written


def resume(
    found: StoreSpec, store: Objects, spec: StoreSpec, files: Mapping[str, bytes], receipts: Receipts
) -> dict[str, FileRecord]:
    """Make sure that the unfinished store is this one, and whole but for its shards.

    What is there is judged by its receipt, not by encoding it again, which another release of zstd does differently.

    Returns:
        The records of everything but shards.
    """
    different = list(differences(identity(found), identity(spec)))
    if different:
        different.sort(key=lambda difference: not difference.startswith(("format_version", "config")))  # causes first
        raise StoreMismatchError(
            f"{store.name}: unfinished store of another conversion: {'; '.join(different[:5])}. "
            f"Convert as before to finish it, delete it and {store.sibling(WORK_SUFFIX).name}, or choose another path."
        )
    store.delete([key for key in store.sizes() if is_part(key)])  # what a killed writer left behind
    recorded = {key: file for key, file in (receipts.read_skeleton() or {}).items() if key in files and key != ROOT}
    wrong = {key: files[key] for key in files if key != ROOT and not _holds(store, key, recorded.get(key))}
    written = recorded | {key: record(data) for key, data in wrong.items()}
    receipts.write_skeleton(written)
    write_all(store, wrong)
    return written


def _holds(store: Objects, key: str, expected: FileRecord | None) -> bool:
    try:
        return expected is not None and record(store.read(key, expected.bytes)) == expected
    except (FileNotFoundError, StoreFormatError):
        return False


class StoreWriter:
    """Writes the shards of one store; made by `resume_or_create`."""

    def __init__(
        self,
        store: Objects,
        contents: Contents,
        spec: StoreSpec,
        receipts: Receipts,
        skeleton_files: Mapping[str, FileRecord],
        done: dict[int, dict[str, FileRecord]],
    ) -> None:
        self._store = store
        self._contents = contents
        self._spec = spec
        self._shards = _shards(spec)
        self._tables = spec.tables(contents.rounding)
        self._receipts = receipts
        self._skeleton_files = skeleton_files
        self._done = done
        self._root = store.read(ROOT, MOST_JSON_BYTES)

    @classmethod
    @contextlib.contextmanager
    def resume_or_create(cls, location: Location, contents: Contents) -> Iterator["StoreWriter"]:
        """Start a store, or go on with the same conversion where it was interrupted; under `sole_writer`.

        On leaving the context with nothing missing, the store is completed in one atomic step.
        After an error, or with shards missing, what was written stays and can be resumed.

        Args:
            location: The store, ending in `.functa`; `NAME.functa.work` beside it holds the receipts.
            contents: Everything but modulations and errors.

        Yields:
            The writer.

        Raises:
            ConfigError: If the location has another suffix.
            StoreExistsError: If it holds a complete store or something foreign.
            StoreMismatchError: If it holds an unfinished store of another conversion.
            StorageError: If it cannot be written.
        """
        found, spec = check_output(location), contents.spec()
        store, receipts = found.store, Receipts(found.store, spec.fingerprint)
        if found.spec is not None and found.state == "complete":
            if found.spec.fingerprint != spec.fingerprint or receipts.read_skeleton() is None:
                raise already_complete(store)
            receipts.clear()  # all that was left to do: the process that completed it died before it had cleared up
            yield cls(store, contents, spec, receipts, {}, done={shard.index: {} for shard in _shards(spec)})
            return
        files = skeleton(contents, spec)
        if found.spec is None:
            written = create(store, spec, files, receipts)
        else:
            written = resume(found.spec, store, spec, files, receipts)
        writer = cls(store, contents, spec, receipts, written, done=receipts.done(_shards(spec)))
        if found.spec is not None:
            writer._remove_unproven()
        yield writer
        if not writer.missing_shards():
            writer._complete()

    def missing_shards(self) -> list[Shard]:
        """The shards that are still to be written, in order."""
        return [shard for shard in self._shards if shard.index not in self._done]

    def write(
        self, shard: Shard, modulations: ArrayLike, mse: ArrayLike | None, metrics: ArrayLike | None = None
    ) -> None:
        """Write one shard atomically, then its receipt. Different shards may be written from threads.

        Args:
            shard: One of `missing_shards`.
            modulations: Shape (len(shard), *shape of a modulation), see `NetworkConfig.modulation_shape`; rounded as
                the store's contents say.
            mse: Mean squared error of each fit, shape (len(shard),), stored as float32. None if errors are unknown,
                since modulations were not fitted to anything: they are stored as not a number, and so are all metrics.
            metrics: Its metrics, shape (len(shard), columns), in the order of the columns of the store's features,
                stored as float32; not a number where an example has none. None if the features have no metrics.

        Raises:
            StoreFormatError: If a shape does not fit the shard, or metrics are there or absent against the features.
            LearningError: If a value is not finite, or cannot be stored.
            StoreMismatchError: If the shard was written before with other values, or is by another process meanwhile.
            StorageError: If it cannot be written.
        """
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
                f"metrics of its features are {self._contents.features.metrics}."
            )
        checked = {
            name: self._check(shard, name, np.asarray(values, np.float32), may_be_unknown=name in unknown)
            for name, values in given.items()
        }
        stored = {**checked, "modulations": self._contents.rounding.to_stored(checked["modulations"])}
        files = {self._tables[name].key(shard): self._tables[name].encode(rows) for name, rows in stored.items()}
        records = {key: record(*parts) for key, parts in files.items()}
        if self._done.get(shard.index, records) != records:
            raise StoreMismatchError(
                f"{self._store.name}: shard {shard.index} was written before with other values; the same conversion "
                "must give the same bytes. Convert again into an empty path."
            )
        for key, parts in files.items():
            write_once(self._store, key, *parts)
        self._receipts.write(shard, records)
        self._done[shard.index] = records

    def _remove_unproven(self) -> None:
        """Remove what is there of missing shards, which an interrupted writer left, perhaps of other last bits."""
        there, missing = self._store.sizes(), self.missing_shards()
        self._receipts.forget(missing)
        keys = (table.key(shard) for shard in missing for table in self._tables.values())
        self._store.delete([key for key in keys if key in there])

    def _check(self, shard: Shard, name: str, rows: np.ndarray, *, may_be_unknown: bool) -> np.ndarray:
        where, expected = f"{self._store.name}/{name}", (len(shard), *self._tables[name].row_shape)
        if rows.shape != expected:
            raise StoreFormatError(
                f"{where}: shard {shard.index} got values of shape {rows.shape}, expected {expected}."
            )
        wrong = np.isinf(rows) if may_be_unknown or name == "metrics" else ~np.isfinite(rows)
        if wrong.any():
            row = int(np.argwhere(wrong)[0, 0])
            raise LearningError(
                f"{where}: the fit of example {self._contents.ids[shard.start + row]!r} is not finite. "
                "Look at its features, or learn with lower learning rates."
            )
        return rows

    def _complete(self) -> None:
        """Statistics, manifest and quality, then `complete: true` in one atomic replacement of the root."""
        features = self._contents.features
        scores: dict[str, list[np.ndarray]] = {name: [] for name in self._tables if name != "modulations"}
        network = self._contents.config.network
        tables = (rows.reshape(-1, network.cell_size) for rows in self._read_back(scores))
        statistics = statistics_objects(moments(tables), network)
        write_all(self._store, statistics)
        mse = np.concatenate(scores["mse"])
        columns = np.concatenate(scores["metrics"]).T if "metrics" in scores else ()
        own = originals_of(self._contents)
        metrics = {name: column[own] for name, column in zip(features.columns, columns, strict=True)}
        spec = dataclasses.replace(
            self._spec,
            complete=True,
            quality=quality_by_split(mse[own], metrics, np.asarray(self._contents.split)[own], features.span),
            manifest=self._manifest(statistics),
        )
        root = spec.to_root()
        if not self._store.replace(ROOT, self._root, root) and self._store.read(ROOT, MOST_JSON_BYTES) != root:
            raise StoreExistsError(
                f"{self._store.name}: another process completed or changed this store meanwhile; leave it to that, and "
                "look at it with functa verify."
            )
        self._receipts.clear()

    def _read_back(self, scores: Mapping[str, list[np.ndarray]]) -> Iterator[np.ndarray]:
        """The modulations of shard after shard as a reader will see them; the rows of other tables are put apart.

        Raises:
            StoreFormatError: After the last one, if shards changed since they were written; they are missing then.
        """
        damaged: list[str] = []
        for shard in self._shards:
            read = {name: self._unchanged(shard, table) for name, table in self._tables.items()}
            found = {name: rows for name, rows in read.items() if rows is not None}
            if wrong := [self._tables[name].key(shard) for name in read.keys() - found.keys()]:
                damaged += sorted(wrong)
                self._receipts.forget([shard])
            else:
                for name, rows in scores.items():
                    rows.append(found[name])
                yield self._contents.rounding.to_values(found["modulations"])
        if damaged:
            raise StoreFormatError(
                f"{self._store.name}: {', '.join(damaged)} changed after they were written. Run the same command again "
                "to write them anew, and mistrust this disk."
            )

    def _unchanged(self, shard: Shard, table: Table) -> np.ndarray | None:
        """The stored rows of a shard; None if they are not what was written."""
        key = table.key(shard)
        try:
            data = self._store.read(key, table.shard_bytes)
        except (FileNotFoundError, StoreFormatError):
            return None
        return table.decode(data)[: len(shard)] if record(data) == self._done[shard.index].get(key) else None

    def _manifest(self, statistics: Mapping[str, bytes]) -> dict[str, FileRecord]:
        files = {key: file for done in self._done.values() for key, file in done.items()}
        files |= {key: record(data) for key, data in statistics.items()} | dict(self._skeleton_files)
        return {key: files[key] for key in sorted(files) if key != ROOT}


def _shards(spec: StoreSpec) -> list[Shard]:
    return spec.layout.shards(spec.examples.count)


def rehearse(contents: Contents) -> None:
    """Write everything of a store but its shards to memory, and open it.

    Raises:
        ConfigError: If something cannot be written.
        StoreFormatError: If it cannot be read again.
        ValueError: If something cannot be written that was not thought of.
    """
    spec, store = contents.spec(), MemoryObjects("rehearsal.functa", {})
    create(store, spec, skeleton(contents, spec), Receipts(store, spec.fingerprint))
    reader = StoreReader(store)
    _ = reader.stored_base, reader.rejects


class MemoryObjects:
    """Objects in a dictionary, gone with it; see `Objects`.

    Args:
        name: Of the folder.
        files: All objects, by the name of the folder and their key.
    """

    writable = True
    lists = True

    def __init__(self, name: str, files: dict[str, bytes]) -> None:
        self.name, self._files = name, files
        self.requests: collections.Counter[str] = collections.Counter()

    def read(self, key: str, at_most: int) -> bytes:
        """All bytes of an object."""
        try:
            data = self._files[self._key(key)]
        except KeyError as error:
            raise FileNotFoundError(f"{self._key(key)}: there is no such object") from error
        if len(data) > at_most:
            raise too_long(self.name, key, len(data), at_most)
        return data

    def read_ranges(self, key: str, starts: Sequence[int], lengths: Sequence[int]) -> list[bytes]:
        """Some ranges of an object."""
        data = self.read(key, 2**63)
        parts = [data[start : start + length] for start, length in zip(starts, lengths, strict=True)]
        if [len(part) for part in parts] != list(lengths):
            raise StoreFormatError(f"{self._key(key)}: ends before a range does")
        return parts

    def write(self, key: str, *parts: bytes | memoryview) -> None:
        """Replace an object."""
        self._files[self._key(key)] = b"".join(parts)

    def write_new(self, key: str, *parts: bytes | memoryview) -> bool:
        """Create an object, if there is none."""
        if self._key(key) in self._files:
            return False
        self.write(key, *parts)
        return True

    def replace(self, key: str, before: bytes, *parts: bytes | memoryview) -> bool:
        """Replace an object, if it is still what it was."""
        if self._files.get(self._key(key)) != before:
            return False
        self.write(key, *parts)
        return True

    def append_beside(self, suffix: str, data: bytes) -> None:
        """Add to the end of the object beside this folder."""
        self._files[self.name + suffix] = self._files.get(self.name + suffix, b"") + data

    def delete(self, keys: Sequence[str]) -> None:
        """Remove objects."""
        for key in keys:
            self._files.pop(self._key(key), None)

    def sizes(self, below: str = "") -> dict[str, int]:
        """Size of every object below a folder."""
        folder, skip = self._key(below) + "/" if below else f"{self.name}/", len(self.name) + 1
        return {key[skip:]: len(data) for key, data in sorted(self._files.items()) if key.startswith(folder)}

    def size(self, key: str) -> int | None:
        """Size of one object."""
        return None if (data := self._files.get(self._key(key))) is None else len(data)

    def sibling(self, suffix: str) -> "MemoryObjects":
        """The folder beside this one."""
        return MemoryObjects(self.name + suffix, self._files)

    def below(self, folder: str) -> "MemoryObjects":
        """A folder inside this one."""
        return MemoryObjects(self._key(folder), self._files)

    def _key(self, key: str) -> str:
        return f"{self.name}/{check_key(key)}"
